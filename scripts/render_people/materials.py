"""Blender materials: skin, hair and eyes, cloth with its patterns, and the flat light that says what a pixel is.

Patterns and codes lie in the coordinates of the base mesh, which every mesh keeps as its attribute ``rest``.
"""

from pathlib import Path
from random import Random

import bpy
import numpy as np

from scripts.render_people.encode import CODE_HEIGHTS


def _new_material():
    material = bpy.data.materials.new("material")
    material.use_nodes = True
    return material, material.node_tree.nodes, material.node_tree.links


def surface(colour, texture=None, hue=0.5, saturation=1.0, value=1.0, roughness=0.8):
    """A plain or textured surface."""
    material, nodes, links = _new_material()
    shader = nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value, shader.inputs["Specular IOR Level"].default_value = roughness, 0.25
    shader.inputs["Base Color"].default_value = (*colour, 1)
    if texture:
        image = nodes.new("ShaderNodeTexImage")
        image.image = bpy.data.images.load(str(texture), check_existing=True)
        tone = nodes.new("ShaderNodeHueSaturation")
        for name, number in (("Hue", hue), ("Saturation", saturation), ("Value", value)):
            tone.inputs[name].default_value = number
        links.new(image.outputs["Color"], tone.inputs["Color"])
        links.new(tone.outputs["Color"], shader.inputs["Base Color"])
        links.new(_hard(nodes, links, image.outputs["Alpha"]), shader.inputs["Alpha"])
    return material


def _hard(nodes, links, alpha):
    """Alpha as all or nothing, so that photograph and labels agree."""
    step = nodes.new("ShaderNodeMath")
    step.operation = "GREATER_THAN"
    step.inputs[1].default_value = 0.5
    links.new(alpha, step.inputs[0])
    return step.outputs[0]


def eyeball(iris, centre: np.ndarray):
    """White, with iris and pupil where the eye looks forward in the rest pose."""
    material, nodes, links = _new_material()
    rest, away = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeVectorMath")
    rest.attribute_name, away.operation = "rest", "DISTANCE"
    away.inputs[1].default_value = (centre[0], centre[1], centre[2] + 0.14)
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.interpolation = "CONSTANT"
    ramp.color_ramp.elements[0].color = (0.003, 0.003, 0.003, 1)
    ramp.color_ramp.elements[1].position, ramp.color_ramp.elements[1].color = 0.045, (*iris, 1)
    white = ramp.color_ramp.elements.new(0.1)
    white.color = (0.7, 0.68, 0.66, 1)
    links.new(rest.outputs["Vector"], away.inputs[0])
    links.new(away.outputs["Value"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.2
    return material


def woven(cloth: dict, rnd: Random, texture: Path | None = None):
    """Cloth: a colour or texture, a pattern in the garment's own coordinates, wrinkles and weave."""
    material = surface(cloth["colour"], texture, cloth["hue"], cloth["saturation"], cloth["value"], cloth["roughness"])
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    rest = nodes.new("ShaderNodeAttribute")
    rest.attribute_name = "rest"
    where = rest.outputs["Vector"]
    pattern = cloth["pattern"]
    if pattern != "plain":
        mixed = nodes.new("ShaderNodeMix")
        mixed.data_type, mixed.blend_type = "RGBA", "MULTIPLY" if texture else "MIX"
        base = shader.inputs["Base Color"]
        if base.links:
            links.new(base.links[0].from_socket, mixed.inputs["A"])
        else:
            mixed.inputs["A"].default_value = (*cloth["colour"], 1)
        second = mixed.inputs["B"]
        second.default_value = (*cloth["second"], 1)
        links.new(_pattern(pattern, cloth["scale"], where, nodes, links, rnd), mixed.inputs["Factor"])
        if pattern == "flowers":
            spots = nodes.new("ShaderNodeTexVoronoi")
            spots.inputs["Scale"].default_value = cloth["scale"] * 1.2
            links.new(where, spots.inputs["Vector"])
            links.new(spots.outputs["Color"], second)
        links.new(mixed.outputs["Result"], base)
    if cloth["wrinkles"]:
        noise, bump = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeBump")
        noise.inputs["Scale"].default_value, noise.inputs["Distortion"].default_value = rnd.uniform(0.7, 1.6), 0.6
        noise.inputs["Detail"].default_value = 1.5
        bump.inputs["Strength"].default_value, bump.inputs["Distance"].default_value = cloth["wrinkles"], 0.06
        links.new(where, noise.inputs["Vector"])
        links.new(noise.outputs["Fac"], bump.inputs["Height"])
        links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    return material


def _pattern(kind: str, scale: float, where, nodes, links, rnd: Random):
    """The share, 0 to 1, of a cloth's second colour."""

    def node(name: str, **inputs):
        made = nodes.new(f"ShaderNode{name}")
        for key, number in inputs.items():
            made.inputs[key].default_value = number
        return made

    def step(output, threshold: float, operation: str = "GREATER_THAN"):
        made = node("Math")
        made.operation = operation
        made.inputs[1].default_value = threshold
        links.new(output, made.inputs[0])
        return made.outputs[0]

    def bands(axis: str):
        wave = node("TexWave", Scale=scale * 0.5)
        wave.bands_direction = axis
        links.new(where, wave.inputs["Vector"])
        return step(wave.outputs["Fac"], rnd.uniform(0.3, 0.8))

    if kind == "stripes":
        return bands("Y")
    if kind == "upright stripes":
        return bands("X")
    if kind == "check":
        total = node("Math")
        total.operation = "ADD"
        links.new(bands("X"), total.inputs[0])
        links.new(bands("Y"), total.inputs[1])
        half = step(total.outputs[0], 0.5, "MULTIPLY")
        return half
    if kind in ("dots", "flowers"):
        spots = node("TexVoronoi", Scale=scale * 1.2)
        links.new(where, spots.inputs["Vector"])
        return step(spots.outputs["Distance"], rnd.uniform(0.25, 0.45), "LESS_THAN")
    noise = node("TexNoise", Scale=scale, Detail=rnd.uniform(2, 8))
    links.new(where, noise.inputs["Vector"])
    return step(noise.outputs["Fac"], rnd.uniform(0.45, 0.6)) if rnd.random() < 0.4 else noise.outputs["Fac"]


def code_material(code: tuple[int, int] | None, texture: Path | None):
    """Flat light that says what is seen: red category + 1, green the garment's number, blue the height. None: black."""
    material, nodes, links = _new_material()
    nodes.clear()
    light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    light.inputs["Color"].default_value = (0, 0, 0, 1)
    if code:
        category, number = code
        rest, parts, mix = (nodes.new(f"ShaderNode{name}") for name in ("Attribute", "SeparateXYZ", "CombineColor"))
        rest.attribute_name = "rest"
        low, high = CODE_HEIGHTS
        height = nodes.new("ShaderNodeMapRange")
        height.inputs["From Min"].default_value, height.inputs["From Max"].default_value = low, high
        links.new(rest.outputs["Vector"], parts.inputs[0])
        links.new(parts.outputs["Y"], height.inputs["Value"])
        mix.inputs[0].default_value, mix.inputs[1].default_value = (category + 1) / 255, number / 255
        links.new(height.outputs[0], mix.inputs[2])
        links.new(mix.outputs[0], light.inputs["Color"])
    shown = light.outputs[0]
    if texture:
        image, clear, mixed = (nodes.new(f"ShaderNode{n}") for n in ("TexImage", "BsdfTransparent", "MixShader"))
        image.image = bpy.data.images.load(str(texture), check_existing=True)
        links.new(_hard(nodes, links, image.outputs["Alpha"]), mixed.inputs["Fac"])
        links.new(clear.outputs[0], mixed.inputs[1])
        links.new(shown, mixed.inputs[2])
        shown = mixed.outputs[0]
    links.new(shown, output.inputs[0])
    return material
