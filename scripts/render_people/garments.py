"""What each garment is: iMaterialist category ids of the asset garments, shapes of the tailored ones, and outfits.

Two kinds of garments are rendered. *Assets* are meshes with a texture; the table below says what each of their
connected pieces is, written by looking at each garment alone. *Tailored* garments are cut from the body's own
helper meshes (``tailoring.py``), so their length, width, neckline and sleeves vary without end.
Heights are decimetres on the base mesh: sole -8.2, knee -3.7, crotch -0.6, waist 1.8, armpit 4.5, neck 5.9, crown 8.5.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

SHIRT, TOP, SWEATER, CARDIGAN, JACKET, VEST, PANTS, SHORTS, SKIRT, COAT, DRESS, JUMPSUIT = range(12)
GLASSES, HAT, BELT, STOCKINGS, SHOE, BAG, SCARF = 13, 14, 19, 21, 23, 24, 25
ONE_PIECE = (COAT, DRESS, JUMPSUIT, 12)  # 12: cape. Told from others only where waist and hips are in the picture

# Asset garments by what they are drawn for, each with the category of every connected piece, in the order of the
# pieces' first vertices; one number for all pieces.
DRESSES = dict.fromkeys(["F_Beach_Dress_01", "F_Dress_01", "F_Dress_02", "F_Dress_03", "TubeDress"], DRESS)
TOPS = {"Asymmetric_Tunic_and_Sash": TOP, "Sleeveless": SHIRT, "Tank_Top_01": TOP, "VNeckTop": TOP}
TOPS |= {"short_tail_camo_tee": TOP}
BOTTOMS = {"Tightjeans": PANTS, "ShortJeans": SHORTS, "JeansSkirt": SKIRT, "miniskirt": SKIRT}
FEMALE_OUTFITS = {
    "female_casualsuit01": (TOP, PANTS),
    "female_casualsuit02": (SHORTS, SHORTS, TOP),
    "female_elegantsuit01": (SKIRT, SHIRT),
    "female_sportsuit01": (TOP, PANTS),
    "F_Dress_04": (SKIRT, TOP, SKIRT, TOP, TOP, TOP),
}
MALE_OUTFITS = {
    "male_casualsuit01": (SHIRT, PANTS),  # one mesh, see SPLIT
    "male_casualsuit02": (PANTS, TOP),
    "male_casualsuit03": (SHIRT, PANTS),
    "male_casualsuit04": (TOP, PANTS),
    "male_casualsuit05": (JACKET, JACKET, SHIRT, PANTS),
    "male_casualsuit06": (TOP, PANTS),
    "male_elegantsuit01": (PANTS, JACKET),
    "male_worksuit01": (JUMPSUIT, JUMPSUIT, JUMPSUIT, JUMPSUIT, JUMPSUIT, TOP),
}
SHOES = dict.fromkeys(["shoes01", "shoes02", "shoes04", "shoes05", "shoes06"], SHOE)
ASSETS = {"Coat": COAT} | DRESSES | TOPS | BOTTOMS | FEMALE_OUTFITS | MALE_OUTFITS | SHOES
SPLIT = {"male_casualsuit01": 1.35}  # height of the belt that divides a mesh in one piece into two
HELD_OUT = {  # seen in validation alone
    "Coat", "F_Dress_02", "JeansSkirt", "Tank_Top_01", "female_casualsuit02", "male_casualsuit03", "male_casualsuit06",
}  # fmt: skip

ACCESSORIES = {  # category, of which a person wears one thing at most, and per cent of the people who wear it
    "beanie": (HAT, 4), "cap": (HAT, 6), "hat": (HAT, 5), "glasses": (GLASSES, 10), "scarf": (SCARF, 8),
    "shoulder bag": (BAG, 9), "handbag": (BAG, 6), "backpack": (BAG, 6),
}  # fmt: skip


@dataclass
class Cut:
    """Shape of a tailored garment. Heights and widths in decimetres; ``sleeve``: 0 armhole, 1 elbow, 2 wrist."""

    hem: float
    top: float = 9.0  # upper edge of skirts, trousers and strapless dresses
    legs: bool = False  # whether it follows the legs below the waist; else it hangs freely
    neck: tuple[str, float, float] | None = None  # round or v, half its width, its depth below the neck
    sleeve: float | None = None  # None: nothing above ``top`` covers the arms
    ease: float = 0.1  # distance from the body
    flare: float = 0.0  # added width for each decimetre below the waist
    cuff: float = 0.0  # added width at the sleeve's end
    pleats: tuple[int, float] = (0, 0.0)  # number, and depth at knee height
    opening: tuple[float, float] | None = None  # half width of the open front at neck and hem
    bib: bool = False  # above the waist, only a bib with straps


@dataclass
class Garment:
    """A worn garment: an asset by ``name``, or a tailored one if ``cut`` is given."""

    name: str
    categories: tuple[int, ...]
    cut: Cut | None = None
    cloth: list[dict] = field(default_factory=list)  # one for each category, see plan.py


def asset(name: str) -> Garment:
    categories = ASSETS[name]
    return Garment(name, categories if isinstance(categories, tuple) else (categories,))


def neckline(rnd: Random, deep: float = 1.3) -> tuple[str, float, float]:
    return rnd.choice(["round", "round", "v"]), rnd.uniform(0.65, 1.25), rnd.uniform(0.25, deep)


TAILORED = {  # category by kind
    "top": TOP, "sweater": SWEATER, "shirt": SHIRT, "cardigan": CARDIGAN, "jacket": JACKET, "vest": VEST, "coat": COAT,
    "dress": DRESS, "skirt": SKIRT, "trousers": PANTS, "shorts": SHORTS, "jumpsuit": JUMPSUIT, "overalls": JUMPSUIT,
    "stockings": STOCKINGS, "boots": SHOE, "belt": BELT,
}  # fmt: skip


def tailored(name: str, rnd: Random, layer: int = 0) -> Garment:
    """A garment of TAILORED, its shape drawn at random. ``layer``: garments worn below it."""
    ease = 0.07 * layer
    below_knee = rnd.choice([rnd.uniform(-6.9, -5.0), rnd.uniform(-5.0, -3.2), rnd.uniform(-3.4, -1.8)])
    pleats = rnd.choice([(0, 0.0), (0, 0.0), (rnd.randint(7, 12), rnd.uniform(0.1, 0.3)), (rnd.randint(16, 30), 0.12)])
    long, short = rnd.uniform(1.75, 2.0), rnd.uniform(0.25, 0.8)
    match name:
        case "top":
            sleeve = rnd.choice([-0.15, short, short, long, rnd.uniform(0.8, 1.7)])
            cut = Cut(rnd.uniform(0.3, 1.6), neck=neckline(rnd), sleeve=sleeve, ease=rnd.uniform(0.08, 0.3))
        case "sweater":
            cut = Cut(rnd.uniform(0.1, 1.2), neck=neckline(rnd, 0.7), sleeve=long, ease=rnd.uniform(0.2, 0.45))
            cut.cuff = rnd.uniform(-0.1, 0.2)
        case "shirt":
            cut = Cut(rnd.uniform(-0.8, 1.0), neck=("v", rnd.uniform(0.5, 0.75), rnd.uniform(0.4, 1.1)), sleeve=long)
            cut.sleeve, cut.ease = rnd.choice([long, long, short]), rnd.uniform(0.12, 0.3)
            cut.opening = (0.012, 0.012)
        case "cardigan":
            cut = Cut(rnd.uniform(-2.0, 1.0), neck=("v", rnd.uniform(0.6, 0.9), rnd.uniform(0.6, 2.5)), sleeve=long)
            cut.ease, cut.opening = 0.22 + ease, (rnd.uniform(0.1, 0.7), rnd.uniform(0.3, 1.2))
        case "jacket":
            cut = Cut(rnd.uniform(-0.9, 1.0), neck=("v", rnd.uniform(0.5, 0.8), rnd.uniform(0.3, 2.4)), sleeve=long)
            cut.ease, cut.opening = 0.25 + ease, rnd.choice([(0.012, 0.012), (rnd.uniform(0.05, 0.5), 0.8)])
        case "vest":
            cut = Cut(rnd.uniform(0.0, 1.2), neck=("v", rnd.uniform(0.6, 0.8), rnd.uniform(0.5, 2.2)), sleeve=-0.15)
            cut.ease, cut.opening = 0.2 + ease, rnd.choice([(0.012, 0.012), (rnd.uniform(0.1, 0.5), 0.6)])
        case "coat":
            cut = Cut(rnd.uniform(-6.3, -2.4), neck=("v", rnd.uniform(0.45, 0.8), rnd.uniform(0.2, 2.2)), sleeve=long)
            cut.ease, cut.flare = rnd.uniform(0.28, 0.5) + ease, rnd.uniform(0.0, 0.12)
            cut.opening = rnd.choice([(0.015, 0.015), (rnd.uniform(0.1, 0.5), rnd.uniform(0.3, 1.4))])
        case "dress":
            sleeve = rnd.choice([-0.15, -0.15, short, short, long, rnd.uniform(0.8, 1.7)])
            cut = Cut(below_knee, neck=neckline(rnd, 1.8), sleeve=sleeve, ease=rnd.uniform(0.06, 0.25), pleats=pleats)
            cut.flare, cut.cuff = rnd.choice([0.0, rnd.uniform(0.0, 0.15), rnd.uniform(0.1, 0.45)]), rnd.uniform(0, 0.4)
            if rnd.random() < 0.12:
                cut.neck, cut.sleeve, cut.top = None, None, rnd.uniform(4.3, 4.8)
        case "skirt":
            cut = Cut(below_knee, top=rnd.uniform(1.1, 1.8), ease=rnd.uniform(0.1, 0.2), pleats=pleats)
            cut.flare = rnd.choice([0.0, rnd.uniform(0.0, 0.15), rnd.uniform(0.1, 0.45)])
        case "trousers":
            cut = Cut(rnd.choice([-7.3, -7.0, rnd.uniform(-6.8, -5.0)]), top=rnd.uniform(1.0, 1.7), legs=True)
            cut.ease, cut.flare = rnd.uniform(0.08, 0.25), rnd.choice([0.0, 0.02, rnd.uniform(0.0, 0.1)])
        case "shorts":
            cut = Cut(rnd.uniform(-3.8, -1.2), top=rnd.uniform(1.0, 1.7), legs=True, ease=rnd.uniform(0.1, 0.25))
            cut.flare = rnd.uniform(0.0, 0.1)
        case "jumpsuit":
            sleeve = rnd.choice([-0.15, short, long, long])
            cut = Cut(rnd.choice([-7.3, -7.0, rnd.uniform(-6.5, -2.0)]), legs=True, neck=neckline(rnd), sleeve=sleeve)
            cut.ease, cut.flare = rnd.uniform(0.1, 0.3), rnd.uniform(0.0, 0.09)
            cut.opening = rnd.choice([None, (0.012, 0.0)])
        case "overalls":
            cut = Cut(rnd.choice([-7.3, -7.0, rnd.uniform(-4.0, -1.5)]), top=2.0, legs=True, bib=True)
            cut.ease, cut.flare = rnd.uniform(0.18, 0.3), rnd.uniform(0.0, 0.08)
        case "stockings":
            cut = Cut(-7.9, top=1.0, legs=True, ease=0.03)
        case "boots":
            cut = Cut(-7.7, top=rnd.uniform(-6.8, -4.0), legs=True, ease=rnd.uniform(0.12, 0.3))
        case "belt":
            middle = rnd.uniform(1.5, 2.0)
            cut = Cut(middle - rnd.uniform(0.12, 0.3), top=middle + 0.2, legs=True, ease=ease)
    return Garment(name, (TAILORED[name],), cut)


def tucked(upper: Garment, lower: Garment) -> None:
    """Let the upper garment end inside the lower one."""
    upper.cut.ease = min(upper.cut.ease, 0.1)
    upper.cut.hem, lower.cut.ease = lower.cut.top - 0.3, max(lower.cut.ease, 0.17)


def hanging_out(upper: Garment, lower: Garment) -> None:
    """Let the upper garment hang over the lower one, so that no belly shows."""
    upper.cut.hem = min(upper.cut.hem, lower.cut.top - 0.2)
    upper.cut.ease = max(upper.cut.ease, lower.cut.ease + 0.08)


KINDS = {  # how often each kind of outfit is drawn, women and men
    "f": {"asset dress": 8, "dress": 22, "dress + open layer": 10, "coat": 12, "asset coat": 2, "jumpsuit": 6,
          "overalls": 4, "separates": 20, "skirt": 20, "skirt + layer": 10, "suit": 5, "asset outfit": 8,
          "asset separates": 9},
    "m": {"asset outfit": 24, "separates": 26, "suit": 12, "layer": 12, "coat": 12, "overalls": 7, "jumpsuit": 4},
}  # fmt: skip


def outfit(sex: str, rnd: Random, held_out: bool = False) -> tuple[str, list[Garment]]:
    """A kind of outfit and its garments, inner ones first. ``held_out``: draw asset garments from HELD_OUT alone."""
    kinds = dict(KINDS[sex])
    if not held_out:  # there is one, and it is held out
        kinds.pop("asset coat", None)
    kind = rnd.choices(list(kinds), list(kinds.values()))[0]

    def choose(names: Iterable[str]) -> Garment:
        return asset(rnd.choice([n for n in names if (n in HELD_OUT) == held_out] or list(names)))

    def separates(lower: str, uppers: tuple[str, ...]) -> list[Garment]:
        below, above = tailored(lower, rnd), tailored(rnd.choice(uppers), rnd)
        (tucked if rnd.random() < 0.4 else hanging_out)(above, below)
        return [above, below]

    everyday = ("top", "top", "sweater", "shirt")
    lower = rnd.choice(["trousers", "trousers", "trousers", "shorts"])
    match kind:
        case "asset dress":
            worn = [choose(DRESSES)]
        case "asset coat":
            worn = [asset("Coat")]
        case "asset outfit":
            worn = [choose(MALE_OUTFITS if sex == "m" else FEMALE_OUTFITS)]
        case "asset separates":
            worn = [choose(TOPS), choose(BOTTOMS)]
        case "dress" | "jumpsuit":
            worn = [tailored(kind, rnd)]
        case "dress + open layer":
            worn = [tailored("dress", rnd), tailored(rnd.choice(["coat", "cardigan", "jacket"]), rnd, 1)]
            worn[0].cut.ease, worn[0].cut.flare = 0.08, min(worn[0].cut.flare, 0.05)
            worn[0].cut.pleats, worn[0].cut.cuff = (0, 0.0), 0.0
            worn[1].cut.opening = (rnd.uniform(0.2, 0.6), rnd.uniform(0.5, 1.4))
        case "coat":
            below = rnd.choice(["trousers", "trousers", "skirt"]) if sex == "f" else "trousers"
            worn = [*separates(below, everyday), tailored("coat", rnd, 2)]
        case "overalls":
            worn = [tailored("top", rnd), tailored("overalls", rnd, 1)]
            worn[0].cut.ease, worn[0].cut.hem = 0.08, 0.8
        case "separates":
            worn = separates(lower, everyday)
        case "skirt":
            worn = separates("skirt", everyday)
        case "skirt + layer" | "layer":
            worn = separates("skirt" if sex == "f" else lower, ("top", "shirt"))
            worn += [tailored(rnd.choice(["cardigan", "jacket", "jacket", "vest"]), rnd, 2)]
        case "suit":
            worn = [*separates("trousers", ("shirt", "shirt", "top")), tailored("jacket", rnd, 2)]
            tucked(worn[0], worn[1])
            worn[1].cut.hem = -7.2
    if kind in ("coat", "skirt + layer", "layer", "suit"):  # below another layer: close to the body
        for garment in worn[:-1]:
            garment.cut.ease, garment.cut.cuff = min(garment.cut.ease, 0.18), 0.0
            if not garment.cut.legs and garment.cut.top < 9:
                garment.cut.flare, garment.cut.pleats = min(garment.cut.flare, 0.05), (0, 0.0)
    outer = worn[-1]
    bare_legs = {category for garment in worn for category in garment.categories} & {SKIRT, DRESS, SHORTS}
    if bare_legs and sex == "f" and rnd.random() < 0.35:
        worn.insert(0, tailored("stockings", rnd))
    if bare_legs and rnd.random() < 0.25:
        worn.append(tailored("boots", rnd))
    if outer.cut and {*outer.categories} & {*ONE_PIECE} and not outer.cut.bib and rnd.random() < 0.2:
        belt = tailored("belt", rnd)
        belt.cut.ease = outer.cut.ease + 0.1
        worn.append(belt)
    return kind, [*worn, choose(SHOES)]
