"""Renders a plan with Blender's Python package: the photograph, and a picture that says what each pixel is."""

import math
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from random import Random

import bpy
import mathutils
import numpy as np
from PIL import Image

from scripts.render_people.body import Assets, Mesh, pieces, posed
from scripts.render_people.encode import cropped_backdrop
from scripts.render_people.garments import ACCESSORIES, HAT, SPLIT, Garment
from scripts.render_people.materials import code_material, connect, eyeball, new_node, surface, woven
from scripts.render_people.plan import Person, Plan
from scripts.render_people.tailoring import Tailor, accessory

METRE = 0.1  # of a decimetre
HDRI_FOLDER = Path(bpy.utils.resource_path("LOCAL")) / "datafiles/studiolights/world"


class Studio:
    """Renders plans with the assets in a folder."""

    def __init__(self, assets: Assets, height: int, samples: int, threads: int, photos: list[Path]):
        self.assets, self.tailor = assets, Tailor(assets)
        self.height, self.samples, self.threads, self.photos = height, samples, threads, photos

    def render(self, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """The photograph (H x W x 3 uint8) and the code picture (H x W x 3 uint8) that encode.py reads."""
        scene = self._new_scene(plan)
        self.things: list[tuple[bpy.types.Object, tuple[int, int] | None, Path | None]] = []  # with code and texture
        self.garments = 0
        people = [self._person(person, plan) for person in plan.people]
        target, back = self._camera(scene, plan, people)
        self._surroundings(plan, people, back)
        self._light(scene, plan, target)
        with tempfile.TemporaryDirectory() as folder:
            photo = self._rendered(scene, Path(folder, "photo.png"))
            if plan.place in ("plain", "gradient", "photo"):
                photo = self._on_backdrop(photo, plan)
            self._paint_codes(scene)
            codes = self._rendered(scene, Path(folder, "codes.png"))
        return photo[..., :3], codes[..., :3]

    def _new_scene(self, plan: Plan):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        scene.cycles.device = "CPU"
        scene.render.threads_mode, scene.render.threads = "FIXED", self.threads
        scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.max_bounces = self.samples, True, 2
        scene.cycles.diffuse_bounces, scene.cycles.glossy_bounces, scene.cycles.transparent_max_bounces = 1, 1, 12
        scene.cycles.denoising_prefilter = "FAST"
        scene.cycles.use_light_tree, scene.cycles.adaptive_threshold = False, 0.05
        scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
        scene.render.resolution_y = self.height
        scene.render.resolution_x = round(self.height * plan.camera["aspect"])
        scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
        scene.render.film_transparent = plan.place in ("plain", "gradient", "photo")
        scene.view_settings.view_transform = plan.light["look"]
        scene.view_settings.exposure = plan.light["exposure"]
        scene.world = bpy.data.worlds.new("world")
        scene.world.use_nodes = True
        scene.world.cycles.sampling_method, scene.world.cycles.sample_map_resolution = "MANUAL", 256
        return scene

    def _rendered(self, scene, path: Path) -> np.ndarray:
        scene.render.filepath = str(path)
        with _quiet():
            bpy.ops.render.render(write_still=True)
        return np.asarray(Image.open(path).convert("RGBA"))

    # ---- people

    def _person(self, person: Person, plan: Plan) -> dict:
        """Put a person into the scene; what camera and seat need to know of them, in metres."""
        body = self.assets.body(**person.build)
        transforms = self.assets.pose(body, person.turns)
        skin = posed(self.assets.part("body", body), transforms)
        place = self._placing(person, skin.points)
        worn = [posed(self._worn(garment, body), transforms) for garment in person.garments]
        for garment, mesh in zip(person.garments, worn, strict=True):
            self._garment(garment, mesh, place)
        whole = place(skin.points)
        if person.pose == "without a body":
            shown = np.concatenate([place(mesh.points) for mesh in worn])
        else:
            shown = whole[: self.assets.skin_points]
            self._bare_body(person, body, transforms, skin, np.any([mesh.hidden for mesh in worn], 0), place)
            for kind, seed in person.accessories:
                rnd = Random(seed)
                mesh = posed(accessory(kind, self.assets, body, rnd), transforms)
                material = woven(plan.backdrop["surfaces"][rnd.randrange(8)], rnd)
                self._add(kind, mesh, place, material, (ACCESSORIES[kind][0], 0), subdivide=kind != "glasses")
        bones = [bone.startswith(("pelvis", "upperleg01")) for bone in self.assets.bones]
        hips = np.flatnonzero(self.assets.weights[: self.assets.skin_points, bones].sum(1) > 0.6)
        return {
            "low": shown.min(0),
            "high": shown.max(0),
            "head": self.assets.joint("head", whole),
            "pose": person.pose,
            "seat": (*whole[hips, :2].mean(0), whole[hips, 2].min()),
        }

    def _worn(self, garment: Garment, body: np.ndarray) -> Mesh:
        if garment.cut:
            return self.tailor.garment(garment.cut, body)
        return self.assets.fitted("clothes", garment.name, body)

    def _placing(self, person: Person, body: np.ndarray):
        """The function that brings posed points to their place in the scene: metres, z up, floor at 0."""
        turn = math.radians(person.turn)
        c, s = math.cos(turn), math.sin(turn)
        floor = body[: self.assets.skin_points, 1].min() - 0.15
        flat = 0.3 if person.pose == "without a body" else 1.0

        def place(points: np.ndarray) -> np.ndarray:
            x, y, z = points[:, 0], points[:, 1] - floor, points[:, 2] * flat
            x, z = x * c + z * s, z * c - x * s
            return np.stack([x * METRE + person.place[0], -z * METRE + person.place[1], y * METRE], 1)

        return place

    def _garment(self, garment: Garment, mesh: Mesh, place) -> None:
        self.garments += 1
        if garment.name in SPLIT:
            middle = np.array([mesh.neutral[face, 1].mean() for face in mesh.faces])
            piece_of_face = (middle < SPLIT[garment.name]).astype(int)
        elif len(garment.categories) > 1:
            piece_of_face = pieces(mesh)
        else:
            piece_of_face = np.zeros(len(mesh.faces), int)
        for number, category in enumerate(garment.categories):
            piece = mesh.with_faces(np.flatnonzero(piece_of_face == number))
            cloth = garment.cloth[garment.categories.index(category)]  # a buckle looks as its trousers do
            material = woven(cloth, Random(cloth["seed"]), mesh.texture)
            tailored = garment.cut is not None
            self._add(garment.name, piece, place, material, (category, self.garments), tailored, 0.006 * tailored)

    def _bare_body(self, person: Person, body, transforms, skin: Mesh, hidden, place) -> None:
        seen = skin.with_faces([i for i, face in enumerate(skin.faces) if not hidden[face].all()])
        texture = self.assets.skin(person.build["age"], person.build["race"], person.build["sex"])
        self._add("body", seen, place, surface((0.6, 0.4, 0.3), texture, roughness=0.55), None)
        for side in ("l", "r"):
            eye = posed(self.assets.part(f"helper-{side}-eye", body), transforms)
            self._add("eye", eye, place, eyeball(person.iris, self.assets.joint(f"{side}-eye", self.assets.base)), None)
        hat = any(ACCESSORIES[kind][0] == HAT for kind, _ in person.accessories)
        if person.hair and not (hat and person.hair == "afro01"):
            mesh = posed(self.assets.fitted("hair", person.hair, body), transforms)
            saturation, value = person.hair_colour
            material = surface((0.1, 0.07, 0.05), mesh.texture, saturation=saturation, value=value, roughness=0.5)
            self._add("hair", mesh, place, material, None)

    def _add(self, name, mesh: Mesh, place, material, code, subdivide=False, thick=0.0) -> None:
        """Put a mesh into the scene; ``code``: category and number of the garment, None for what is not worn."""
        data = bpy.data.meshes.new(name)
        data.from_pydata(place(mesh.points).tolist(), [], mesh.faces)
        if mesh.uv_faces:
            corners = np.array([uv for face in mesh.uv_faces for uv in face])
            data.uv_layers.new().data.foreach_set("uv", mesh.uv[corners].astype(np.float32).ravel())
        data.shade_smooth()
        thing = bpy.data.objects.new(name, data)
        bpy.context.collection.objects.link(thing)
        if subdivide:
            modifier = thing.modifiers.new("smooth", "SUBSURF")
            modifier.levels = modifier.render_levels = 1
        if thick:
            modifier = thing.modifiers.new("thick", "SOLIDIFY")
            modifier.thickness, modifier.offset = thick, 1
        self._keep(thing, material, mesh.neutral, code, mesh.texture)

    def _keep(self, thing, material, rest: np.ndarray, code=None, texture: Path | None = None) -> None:
        """rest: where its points lie on the base mesh; of other things, in decimetres."""
        attribute = thing.data.attributes.new("rest", "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", rest.astype(np.float32).ravel())
        thing.data.materials.append(material)
        self.things.append((thing, code, texture))

    # ---- place, light, camera

    def _camera(self, scene, plan: Plan, people: list[dict]) -> tuple[np.ndarray, float]:
        """Set up the camera; (where it looks, how far back the people reach)."""
        view, first = plan.camera, people[0]
        low, high = np.min([p["low"] for p in people], 0), np.max([p["high"] for p in people], 0)
        width = max(high[0] - low[0], 0.1)
        target, height = (low + high) / 2, view["height"]
        if view["frame"] == "half":
            if len(people) == 1:
                target[:2] = first["head"][:2]
            else:
                height = max(height, width * 0.8 / view["aspect"])
            target[2] = high[2] - height * 0.44
        elif view["frame"] == "legs":
            target[2] = low[2] + height * 0.48
        elif view["frame"] == "head":
            target = first["head"] + [0, 0, 0.17]
            target[2] -= height * view["low"]
        else:
            height *= max(high[2] - low[2], width * (0.75 if len(people) == 1 else 0.9) / view["aspect"])
        target += np.array([view["shift"][0] * height * view["aspect"], 0, view["shift"][1] * height])
        camera = bpy.data.cameras.new("camera")
        camera.lens, camera.sensor_height, camera.sensor_fit = view["lens"], 24, "VERTICAL"
        distance, tilt = height * view["lens"] / 24, math.radians(view["tilt"])
        where = target + distance * np.array([0, -math.cos(tilt), math.sin(tilt)])
        where[2] = max(where[2], 0.05)
        scene.camera = _aimed(camera, where, target)
        scene.camera.rotation_euler.rotate_axis("Z", math.radians(view["roll"]))
        return target, high[1]

    def _surroundings(self, plan: Plan, people: list[dict], back: float) -> None:
        surfaces = [woven(cloth, Random(cloth["seed"])) for cloth in plan.backdrop["surfaces"]]
        for person in people:
            if person["pose"] == "sitting":
                x, y, seat = person["seat"]
                self._box((x, y, seat / 2), (0.5, 0.45, seat), surfaces[0])
        if plan.place in ("room", "hanging"):
            self._box((0, 0, -0.05), (60, 60, 0.1), surfaces[1])
            wall = plan.backdrop["wall"] if plan.place == "room" else 0.05
            self._box((0, back + wall + 0.05, 4), (60, 0.1, 12), surfaces[2])
        elif plan.place == "lying":  # seen from above: the floor stands behind the garment
            self._box((0, back + 0.06, 0), (60, 0.1, 60), surfaces[1])
        elif plan.place == "hdri" and plan.view != "head" and plan.backdrop["flip"]:
            self._box((0, 0, -0.05), (60, 60, 0.1), surfaces[1])
        for thing in plan.backdrop["clutter"]:
            rnd = Random(thing["seed"])
            x, y = thing["at"]
            at = (x, back + 0.3 + y * plan.backdrop["wall"] / 2.3)
            self._clutter(thing["shape"], at, thing["size"], surfaces[rnd.randrange(3, 8)], rnd)

    def _box(self, at, size, material) -> None:
        bpy.ops.mesh.primitive_cube_add(size=1, location=at)
        bpy.context.object.scale = size
        self._keep_new(material, size)

    def _clutter(self, shape: str, at, size: float, material, rnd: Random) -> None:
        height = size * rnd.uniform(0.6, 2.5)
        if shape == "box":
            self._box((*at, height / 2), (size, size * 0.7, height), material)
            return
        if shape == "cylinder":
            bpy.ops.mesh.primitive_cylinder_add(radius=size / 3, depth=height, location=(*at, height / 2))
        elif shape == "ball":
            bpy.ops.mesh.primitive_uv_sphere_add(radius=size / 2, location=(*at, rnd.uniform(0.3, 1.6)))
        else:
            bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, radius=size / 2, location=(*at, height))
            for vertex in bpy.context.object.data.vertices:
                vertex.co *= rnd.uniform(0.5, 1.3)
        self._keep_new(material)

    def _keep_new(self, material, scale=(1, 1, 1)) -> None:
        """Keep the thing that Blender has made last."""
        thing = bpy.context.object
        self._keep(thing, material, np.array([[*v.co] for v in thing.data.vertices]) * np.array(scale) * 10)

    def _light(self, scene, plan: Plan, target: np.ndarray) -> None:
        tree, light = scene.world.node_tree, plan.light
        colour = (*light["sky"], 1)
        if light["hdri"]:
            place = new_node(tree, "TexCoord").outputs["Generated"]
            mapping = new_node(tree, "Mapping", {"Vector": place, "Rotation": (0, 0, math.radians(light["around"]))})
            image = bpy.data.images.load(str(HDRI_FOLDER / f"{light['hdri']}.exr"))
            colour = new_node(tree, "TexEnvironment", {0: mapping.outputs[0]}, image=image).outputs[0]
        connect(tree, tree.nodes["Background"], {0: colour, 1: light["strength"]})
        for lamp in light["lamps"]:
            data = bpy.data.lights.new("lamp", "AREA")
            data.energy, data.size = lamp["energy"], lamp["size"]
            _aimed(data, np.array([target[0], target[1], 0]) + lamp["at"], target)

    def _on_backdrop(self, photo: np.ndarray, plan: Plan) -> np.ndarray:
        height, width = photo.shape[:2]
        backdrop = plan.backdrop
        if plan.place == "photo":
            path = self.photos[int(backdrop["photo"] * len(self.photos))]
            behind = cropped_backdrop(path, (height, width), backdrop)
        else:
            ends = [np.array(backdrop[end]) ** (1 / 2.2) * 255 for end in ("top", "bottom")]
            ends = ends if plan.place == "gradient" else [ends[0], ends[0]]
            behind = np.linspace(*ends, height)[:, None].repeat(width, 1)
        share = photo[..., 3:] / 255
        return np.clip(photo[..., :3] * share + behind * (1 - share), 0, 255).astype(np.uint8)

    # ---- what each pixel is

    def _paint_codes(self, scene) -> None:
        """Replace materials by flat light: red is category + 1, green the garment's number, blue its height."""
        for thing, code, texture in self.things:
            thing.data.materials[0] = code_material(code, texture)
        scene.render.film_transparent = True
        scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.filter_width = 1, False, 0.01
        scene.view_settings.view_transform, scene.view_settings.exposure = "Raw", 0
        scene.render.dither_intensity = 0
        scene.world.node_tree.nodes["Background"].inputs[1].default_value = 0


def _aimed(data, where: np.ndarray, target: np.ndarray):
    """A camera or lamp in the scene, which looks from one place at another."""
    thing = bpy.data.objects.new(data.name, data)
    thing.location = where.tolist()
    thing.rotation_euler = mathutils.Vector((target - where).tolist()).to_track_quat("-Z", "Y").to_euler()
    bpy.context.collection.objects.link(thing)
    return thing


@contextmanager
def _quiet():
    """Blender writes its progress to the standard output, past Python: keep it away while it renders."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
