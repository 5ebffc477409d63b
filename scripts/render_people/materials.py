"""Blender materials: skin, hair and eyes, cloth with its patterns, and the flat light that says what a pixel is.

Patterns and codes lie in the coordinates of the base mesh, which every mesh keeps as its attribute ``rest``.
"""

from pathlib import Path
from random import Random

import bpy
import numpy as np

from scripts.render_people.encode import CODE_HEIGHTS


def new_node(tree, kind: str, inputs: dict | None = None, **settings):
    """A new node of a node tree, its attributes set first, then its inputs, see ``connect``."""
    node = tree.nodes.new(f"ShaderNode{kind}")
    for name, value in settings.items():
        setattr(node, name, value)
    connect(tree, node, inputs or {})
    return node


def connect(tree, node, inputs: dict) -> None:
    """Set a node's inputs, by name or number, to values, or link them to outputs of other nodes."""
    for key, value in inputs.items():
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, node.inputs[key])
        else:
            node.inputs[key].default_value = value


def _new_material():
    """A material, its node tree, and the shader in it."""
    material = bpy.data.materials.new("material")
    material.use_nodes = True
    return material, material.node_tree, material.node_tree.nodes["Principled BSDF"]


def _rest(tree):
    """Where a point lies on the base mesh."""
    return new_node(tree, "Attribute", attribute_name="rest").outputs["Vector"]


def _textured(tree, texture: Path):
    """(colour, alpha) of a texture; alpha is all or nothing, so that photograph and labels agree."""
    image = new_node(tree, "TexImage", image=bpy.data.images.load(str(texture), check_existing=True))
    hard = new_node(tree, "Math", {0: image.outputs["Alpha"], 1: 0.5}, operation="GREATER_THAN")
    return image.outputs["Color"], hard.outputs[0]


def surface(colour, texture=None, hue=0.5, saturation=1.0, value=1.0, roughness=0.8):
    """A plain or textured surface."""
    material, tree, shader = _new_material()
    connect(tree, shader, {"Roughness": roughness, "Specular IOR Level": 0.25, "Base Color": (*colour, 1)})
    if texture:
        colours, alpha = _textured(tree, texture)
        inputs = {"Hue": hue, "Saturation": saturation, "Value": value, "Color": colours}
        tone = new_node(tree, "HueSaturation", inputs)
        connect(tree, shader, {"Base Color": tone.outputs["Color"], "Alpha": alpha})
    return material


def eyeball(iris, centre: np.ndarray):
    """White, with iris and pupil where the eye looks forward in the rest pose."""
    material, tree, shader = _new_material()
    middle = (centre[0], centre[1], centre[2] + 0.14)
    away = new_node(tree, "VectorMath", {0: _rest(tree), 1: middle}, operation="DISTANCE")
    ramp = new_node(tree, "ValToRGB", {"Fac": away.outputs["Value"]})
    rings = ramp.color_ramp
    rings.interpolation = "CONSTANT"
    rings.elements[0].color = (0.003, 0.003, 0.003, 1)
    rings.elements[1].position, rings.elements[1].color = 0.045, (*iris, 1)
    rings.elements.new(0.1).color = (0.7, 0.68, 0.66, 1)
    connect(tree, shader, {"Base Color": ramp.outputs["Color"], "Roughness": 0.2})
    return material


def woven(cloth: dict, rnd: Random, texture: Path | None = None):
    """Cloth: a colour or texture, a pattern in the garment's own coordinates, wrinkles and weave."""
    material = surface(cloth["colour"], texture, cloth["hue"], cloth["saturation"], cloth["value"], cloth["roughness"])
    tree = material.node_tree
    shader, where = tree.nodes["Principled BSDF"], _rest(tree)
    if cloth["pattern"] != "plain":
        base, second = shader.inputs["Base Color"], (*cloth["second"], 1)
        first = base.links[0].from_socket if base.links else (*cloth["colour"], 1)
        share = _pattern(cloth["pattern"], cloth["scale"], where, tree, rnd)
        if cloth["pattern"] == "flowers":
            second = new_node(tree, "TexVoronoi", {"Scale": cloth["scale"] * 1.2, "Vector": where}).outputs["Color"]
        blend = {"data_type": "RGBA", "blend_type": "MULTIPLY" if texture else "MIX"}
        mixed = new_node(tree, "Mix", {"A": first, "B": second, "Factor": share}, **blend)
        tree.links.new(mixed.outputs["Result"], base)
    if cloth["wrinkles"]:
        inputs = {"Scale": rnd.uniform(0.7, 1.6), "Distortion": 0.6, "Detail": 1.5, "Vector": where}
        height = new_node(tree, "TexNoise", inputs).outputs["Fac"]
        bump = new_node(tree, "Bump", {"Strength": cloth["wrinkles"], "Distance": 0.06, "Height": height})
        connect(tree, shader, {"Normal": bump.outputs["Normal"]})
    return material


def _pattern(kind: str, scale: float, where, tree, rnd: Random):
    """The share, 0 to 1, of a cloth's second colour."""

    def math(operation: str, first, second):
        return new_node(tree, "Math", {0: first, 1: second}, operation=operation).outputs[0]

    def bands(axis: str):
        wave = new_node(tree, "TexWave", {"Scale": scale * 0.5, "Vector": where}, bands_direction=axis)
        return math("GREATER_THAN", wave.outputs["Fac"], rnd.uniform(0.3, 0.8))

    if kind == "stripes":
        return bands("Y")
    if kind == "upright stripes":
        return bands("X")
    if kind == "check":
        return math("MULTIPLY", math("ADD", bands("X"), bands("Y")), 0.5)
    if kind in ("dots", "flowers"):
        spots = new_node(tree, "TexVoronoi", {"Scale": scale * 1.2, "Vector": where})
        return math("LESS_THAN", spots.outputs["Distance"], rnd.uniform(0.25, 0.45))
    noise = new_node(tree, "TexNoise", {"Scale": scale, "Detail": rnd.uniform(2, 8), "Vector": where}).outputs["Fac"]
    return math("GREATER_THAN", noise, rnd.uniform(0.45, 0.6)) if rnd.random() < 0.4 else noise


def code_material(code: tuple[int, int] | None, texture: Path | None):
    """Flat light that says what is seen: red category + 1, green the garment's number, blue the height. None: black."""
    material, tree, _ = _new_material()
    tree.nodes.clear()
    colour = (0, 0, 0, 1)
    if code:
        category, number = code
        up = new_node(tree, "SeparateXYZ", {0: _rest(tree)}).outputs["Y"]
        low, high = CODE_HEIGHTS
        height = new_node(tree, "MapRange", {"From Min": low, "From Max": high, "Value": up}).outputs[0]
        mixed = new_node(tree, "CombineColor", {0: (category + 1) / 255, 1: number / 255, 2: height})
        colour = mixed.outputs[0]
    shown = new_node(tree, "Emission", {"Color": colour}).outputs[0]
    if texture:
        _, alpha = _textured(tree, texture)
        clear = new_node(tree, "BsdfTransparent").outputs[0]
        shown = new_node(tree, "MixShader", {"Fac": alpha, 1: clear, 2: shown}).outputs[0]
    new_node(tree, "OutputMaterial", {0: shown})
    return material
