"""What a picture shows, drawn from its seed and number alone: people, clothes, poses, view, place, light, camera."""

from colorsys import hsv_to_rgb
from dataclasses import dataclass
from random import Random

from scripts.render_people import poses
from scripts.render_people.garments import ACCESSORIES, BAG, COAT, JUMPSUIT, ONE_PIECE, SKIRT, Garment, outfit

VIEWS = {"whole": 42, "half": 22, "head": 15, "legs": 3, "small": 7, "group": 6, "garment": 5}
HAIR = {
    "m": ["short01", "short02", "short03", "short04", "afro01"],
    "f": ["bob01", "bob02", "long01", "long01", "ponytail01", "Braid01", "afro01", "short03"],
}
PLACES = {"room": 34, "hdri": 26, "plain": 16, "gradient": 8, "photo": 16}
HDRIS = ["city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"]
PATTERNS = {"plain": 55, "stripes": 9, "upright stripes": 4, "check": 8, "dots": 5, "flowers": 9, "mottled": 10}
HELD_OUT = {"short03", "bob02", "courtyard", "studio", "dots"}  # seen in validation alone

# Common colours of clothes: hue, saturation, value, and how often.
COLOURS = [
    ((0, 0, 0.015), 14), ((0, 0, 0.06), 7), ((0, 0, 0.2), 6), ((0, 0, 0.45), 5), ((0, 0, 0.85), 11),
    ((0.62, 0.7, 0.06), 9), ((0.6, 0.5, 0.25), 8), ((0.58, 0.3, 0.5), 4), ((0.09, 0.35, 0.55), 7),
    ((0.07, 0.6, 0.15), 5), ((0.2, 0.5, 0.12), 4), ((0.97, 0.8, 0.15), 5), ((0.99, 0.8, 0.5), 4),
    ((0.93, 0.4, 0.7), 3), ((0.13, 0.6, 0.75), 3), ((0.38, 0.6, 0.25), 3),
]  # fmt: skip


@dataclass
class Person:
    """A person; ``place`` is where they stand in metres (right, back), ``turn`` degrees about the vertical."""

    build: dict
    outfit: str
    garments: list[Garment]
    accessories: list[tuple[str, int]]  # kind and seed
    hair: str
    hair_colour: tuple[float, float]  # saturation and value of the texture
    pose: str
    turns: poses.Turns
    place: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    iris: tuple[float, float, float] = (0.1, 0.05, 0.02)


@dataclass
class Plan:
    seed: int
    number: int
    view: str
    people: list[Person]
    place: str
    camera: dict
    light: dict
    backdrop: dict
    effects: dict

    @property
    def name(self) -> str:
        return f"{self.seed}_{self.number:05d}"

    def row(self) -> dict:
        """What rendered.csv says of the picture."""
        worn = [
            " ".join(f"{g.name}:{'/'.join(map(str, g.categories))}" for g in person.garments) for person in self.people
        ]
        return {
            "ImageId": f"{self.name}.jpg",
            "Garments": "; ".join(worn),
            "Outfit": "; ".join(person.outfit for person in self.people),
            "View": self.view,
            "Pose": "; ".join(person.pose for person in self.people),
            "Turn": "; ".join(f"{person.turn:.0f}" for person in self.people),
            "Accessories": "; ".join(" ".join(kind for kind, _ in person.accessories) for person in self.people),
            "Background": self.place,
            "Seed": self.seed,
        }


def weighted(rnd: Random, table: dict) -> str:
    return rnd.choices(list(table), list(table.values()))[0]


def colour(rnd: Random) -> tuple[float, float, float]:
    """Linear RGB of a cloth."""
    if rnd.random() < 0.2:
        return hsv_to_rgb(rnd.random(), rnd.uniform(0.3, 1), rnd.uniform(0.05, 0.8))
    (h, s, v), _ = rnd.choices(COLOURS, [often for _, often in COLOURS])[0]
    hue = (h + rnd.gauss(0, 0.02)) % 1
    return hsv_to_rgb(hue, min(1, s * rnd.uniform(0.6, 1.3)), min(0.9, v * rnd.uniform(0.6, 1.5)))


def cloth(rnd: Random, held_out: bool) -> dict:
    """How a cloth looks."""
    patterns = {k: n * (8 if held_out else 0) if k in HELD_OUT else n for k, n in PATTERNS.items()}
    return {
        "colour": colour(rnd),
        "second": colour(rnd),
        "pattern": weighted(rnd, patterns),
        "scale": rnd.uniform(0.6, 2.2),
        "hue": rnd.choice([0.5, 0.5, rnd.random()]),
        "saturation": rnd.uniform(0.2, 1.4),
        "value": rnd.uniform(0.4, 1.8),
        "roughness": rnd.uniform(0.6, 1) if rnd.random() < 0.85 else rnd.uniform(0.3, 0.5),
        "wrinkles": rnd.uniform(0.05, 0.45),
        "seed": rnd.uniform(0, 100),
    }


def _person(rnd: Random, view: str, held_out: bool) -> Person:
    sex = rnd.choice("mff")
    build = {
        "sex": {"m": "male", "f": "female"}[sex],
        "age": rnd.choice(["young", "young", "old"]),
        "race": rnd.choice(["caucasian", "caucasian", "african", "asian"]),
        "muscle": rnd.choice(["average", "average", "max", "min"]),
        "weight": rnd.choice(["average", "average", "average", "max", "min"]),
    }
    kind, garments = outfit(sex, rnd, held_out)
    hanging = [g for g in garments if set(g.categories) & {*ONE_PIECE, SKIRT} - {JUMPSUIT}]
    pose = weighted(rnd, poses.POSES)
    # What follows the legs of a sitting person; asset meshes split, and coats stand off.
    folds = (g.cut is not None and COAT not in g.categories and g.cut.hem < -3.3 for g in hanging)
    if pose == "sitting" and not all(folds):
        pose = rnd.choice(["standing", "hands on hips", "arms in front", "arms raised"])
    if pose == "sitting":
        for garment in hanging:
            garment.cut.flare, garment.cut.pleats = min(garment.cut.flare, 0.02), (0, 0.0)
    turns = poses.turns(pose, rnd)
    if hanging and pose != "sitting":
        short = 1 if min(g.cut.hem if g.cut else -3 for g in hanging) > -4 else 0.6
        for bone in ("upperleg01.L", "upperleg01.R", "lowerleg01.L", "lowerleg01.R"):
            turns[bone] = [(axis, degrees * short) for axis, degrees in turns[bone]]
    for garment in garments:
        garment.cloth = [cloth(rnd, held_out) for _ in garment.categories]
    if kind == "suit":  # jacket and trousers of one cloth
        shared = garments[1].cloth[0]
        shared["pattern"] = shared["pattern"] if rnd.random() < 0.3 else "plain"
        garments[2].cloth = [{**shared}]
    accessories = {}  # by category: of several the last
    for name, (category, often) in ACCESSORIES.items():
        if rnd.random() < often / 100:
            accessories[category] = (name, rnd.randrange(10**6))
    if pose == "sitting":
        accessories.pop(BAG, None)
    hairs = [name for name in HAIR[sex] if (name in HELD_OUT) == held_out] or HAIR[sex]
    back, side = rnd.random() < 0.14, rnd.random() < 0.1
    turn = rnd.uniform(140, 220) if back else rnd.choice([-1, 1]) * rnd.uniform(60, 100) if side else rnd.gauss(0, 26)
    if view == "head":
        turn = turn if abs(turn) < 50 else turn * 0.4
    grey = build["age"] == "old" and rnd.random() < 0.6
    saturations, values = ((0.0, 0.3), (1.2, 2.4)) if grey else ((0.4, 1.3), (0.3, 1.7))
    hair_colour = (rnd.uniform(*saturations), rnd.uniform(*values))
    iris = rnd.choice([(0.1, 0.04, 0.02), (0.05, 0.02, 0.01), (0.1, 0.2, 0.35), (0.1, 0.2, 0.1)])
    worn = [*accessories.values()]
    return Person(build, kind, garments, worn, rnd.choice(hairs), hair_colour, pose, turns, turn=turn, iris=iris)


def _garment_alone(rnd: Random, held_out: bool) -> Person:
    """A garment without a body: dresses, coats and overalls, which photographs of single garments lack."""
    person = _person(rnd, "garment", held_out)
    while not any(set(g.categories) & {*ONE_PIECE} for g in person.garments) and rnd.random() < 0.85:
        person = _person(rnd, "garment", held_out)
    one = [g for g in person.garments if set(g.categories) & {*ONE_PIECE}] or person.garments[:1]
    person.garments, person.accessories, person.hair = one[-1:], [], ""
    person.pose, person.turns = "without a body", poses.HANGING
    person.turn = rnd.choice([0, 0, 0, 180]) + rnd.gauss(0, 4)
    return person


def plan(seed: int, number: int, held_out: bool = False, with_photos: bool = False) -> Plan:
    """What picture ``number`` of a seed shows. ``held_out``: of garments, hair, HDRIs and patterns those that the
    other pictures never show; ``with_photos``: whether there are photographs to use as backgrounds.
    """
    rnd = Random(f"{seed}/{number}")
    view = weighted(rnd, VIEWS)
    if view == "garment":
        people = [_garment_alone(rnd, held_out)]
    else:
        people = [_person(rnd, view, held_out) for _ in range(rnd.choice([2, 2, 3]) if view == "group" else 1)]
    for person in people[1:]:  # the second stands at the right, the third at the left
        aside, back = rnd.uniform(0.5, 0.95), rnd.uniform(-0.3, 0.9)
        person.place = (aside if person is people[1] else -rnd.uniform(0.5, 0.95), back)
    place = weighted(rnd, PLACES if with_photos else PLACES | {"photo": 0})
    if view == "garment":
        place = rnd.choice(["lying", "lying", "hanging", "hanging", "plain"])
    half_group = rnd.choice(["whole", "whole", "half"]) == "half" and view == "group"
    least, most = {  # height of the view: in metres, or in heights of the person
        "whole": (1.02, 1.35), "small": (1.7, 3.6), "garment": (1.1, 1.5), "half": (0.8, 1.2), "legs": (0.9, 1.3),
        "head": (0.48, 0.72), "group": (1.05, 1.5),
    }[view]  # fmt: skip
    tight = rnd.uniform(least, most)
    if half_group:
        tight = rnd.uniform(0.9, 1.2)
    aspects = [0.56, 0.67, 0.67, 0.75, 0.75, 0.8, 1.0]
    if view in ("small", "group"):
        aspects = [0.8, 1.0, 1.33, 1.33, 1.5]
    border = rnd.random() < 0.1
    camera = {
        "frame": "half" if half_group else {"group": "whole", "small": "whole"}.get(view, view),
        "height": tight,
        "aspect": rnd.choice(aspects),
        "tilt": rnd.gauss(2, 6) if view != "small" else rnd.uniform(0, 14),
        "roll": rnd.gauss(0, 1.5) if rnd.random() < 0.8 else rnd.gauss(0, 6),
        "lens": rnd.uniform(30, 85),
        "shift": (
            rnd.choice([-1, 1]) * rnd.uniform(0.3, 0.55) if border else rnd.gauss(0, 0.22 if view == "small" else 0.07),
            rnd.gauss(0, 0.12) if border or view == "small" else rnd.gauss(0, 0.03),
        ),
        "low": rnd.uniform(0.4, 0.5),
    }
    names = [name for name in HDRIS if (name in HELD_OUT) == held_out]
    light = {
        "hdri": rnd.choice(names) if place in ("hdri", "photo") or rnd.random() < 0.6 else None,
        "around": rnd.uniform(0, 360),
        "strength": rnd.uniform(0.5, 1.2),
        "sky": (rnd.uniform(0.7, 1), rnd.uniform(0.75, 1), rnd.uniform(0.75, 1)),
        "lamps": [
            {"energy": rnd.uniform(25, 160), "size": rnd.uniform(0.3, 2.5),
             "at": (rnd.uniform(-2.5, 2.5), rnd.uniform(-3.5, -1.5), rnd.uniform(0.5, 3))}
            for _ in range(rnd.choice([0, 1, 1, 2]))
        ],
        "look": rnd.choice(["Standard", "Filmic", "AgX"]),
        "exposure": rnd.gauss(0.55, 0.4),
    }  # fmt: skip
    if not light["hdri"] and not light["lamps"]:
        light["strength"] = rnd.uniform(0.9, 1.3)
    surfaces = [cloth(rnd, held_out) for _ in range(8)]
    patterns = {"plain": 3, "mottled": 3, "check": 1.5, "stripes": 1, "upright stripes": 1.5}
    for surface in surfaces:
        surface["wrinkles"] = 0
        surface["scale"] *= rnd.choice([0.15, 0.3, 0.6])
        surface["pattern"] = weighted(rnd, patterns)
    clutter = [
        {"shape": rnd.choice(["box", "box", "cylinder", "ball", "plant"]), "seed": rnd.randrange(10**6),
         "at": (rnd.uniform(-2.6, 2.6), rnd.uniform(0.5, 2.2)), "size": rnd.uniform(0.15, 0.9)}
        for _ in range(rnd.choice([0, 1, 3, 6, 9]))
    ]  # fmt: skip
    if place != "room":
        clutter = clutter[:2] if place == "hdri" and view in ("small", "whole") else []
    backdrop = {
        "top": colour(rnd),
        "bottom": colour(rnd),
        "surfaces": surfaces,
        "clutter": clutter,
        "wall": rnd.uniform(0.9, 3.0),
        "photo": rnd.random(),
        "flip": rnd.random() < 0.5,
        "zoom": rnd.uniform(0.5, 1.0),
        "blur": rnd.choice([0, 0, rnd.uniform(0.5, 3)]),
    }
    effects = {
        "seed": rnd.randrange(10**6),
        "noise": rnd.choice([0.0, rnd.uniform(0, 0.02), rnd.uniform(0, 0.06)]),
        "blur": rnd.choice([0.0, 0.0, 0.0, rnd.uniform(0.3, 1.3)]),
        "motion": rnd.choice([0] * 9 + [rnd.randint(3, 7)]),
        "dark": rnd.choice([1.0] * 6 + [rnd.uniform(0.3, 0.8)]),
        "gamma": rnd.uniform(0.85, 1.2),
        "warmth": rnd.gauss(0, 0.06),
        "saturation": rnd.choice([1.0, rnd.uniform(0.7, 1.25)] * 8 + [0.0]),
        "vignette": rnd.choice([0.0, 0.0, rnd.uniform(0, 0.4)]),
        "shrink": rnd.choice([1.0] * 5 + [rnd.uniform(0.45, 0.9)]),
        "quality": rnd.choice([95, 90, rnd.randint(40, 90)]),
    }
    return Plan(seed, number, view, people, place, camera, light, backdrop, effects)
