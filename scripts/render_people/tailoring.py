"""Garments cut from the body's helper meshes, and simple accessories (hats, bags, scarves, glasses)."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np

from scripts.render_people.body import Assets, Mesh
from scripts.render_people.garments import Cut

WAIST, NECK = 1.8, 5.95
ARM = ("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
ROUND, TUBE = 28, 8  # points around the vertical, and around a tube


def cut(mesh: Mesh, keep: np.ndarray) -> Mesh:
    """The part of a mesh where ``keep``, one number a point, is above 0; faces are cut where it is 0."""
    made: dict[tuple[int, int], int] = {}  # the number of the new point between two
    faces, inside = [], (keep > 0).tolist()
    for face in mesh.faces:
        corners = []
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            if inside[a]:
                corners.append(a)
            if inside[a] != inside[b]:
                corners.append(made.setdefault((min(a, b), max(a, b)), len(keep) + len(made)))
        if len(corners) > 2:
            faces.append(corners)
    if made:
        a, b = np.array(list(made)).T
        share = (keep[a] / (keep[a] - keep[b]))[:, None]
    used = np.unique([v for face in faces for v in face]).astype(int)
    number = {old: new for new, old in enumerate(used.tolist())}

    def kept(values: np.ndarray) -> np.ndarray:
        return (np.concatenate([values, values[a] * (1 - share) + values[b] * share]) if made else values)[used]

    faces = [[number[v] for v in face] for face in faces]
    return Mesh(kept(mesh.points), kept(mesh.neutral), kept(mesh.weights), faces)


def joined(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    faces = [[v + start for v in face] for part, start in zip(parts, starts, strict=False) for face in part.faces]
    arrays = (np.concatenate([getattr(p, name) for p in parts]) for name in ("points", "neutral", "weights"))
    return Mesh(*arrays, faces)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N x 3) at length 1; those of no length stay as they are."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def normals(mesh: Mesh) -> np.ndarray:
    """Unit normal of each point."""
    result = np.zeros_like(mesh.points)
    for corners in (3, 4, 5):
        faces = np.array([face for face in mesh.faces if len(face) == corners])
        if len(faces):
            p = mesh.points[faces]
            across = np.cross(p[:, 2] - p[:, 0], p[:, -1] - p[:, 1])
            for corner in faces.T:
                np.add.at(result, corner, across)
    return unit(result)


def smoothed(mesh: Mesh, rounds: int) -> Mesh:
    """The mesh with its points drawn towards their neighbours, as cloth spans hollows."""
    edges = np.array([(p, q) for face in mesh.faces for p, q in zip(face, face[1:] + face[:1], strict=True)])
    a, b = np.concatenate([edges, edges[:, ::-1]]).T
    count = np.bincount(a, minlength=len(mesh.points))[:, None]
    points = mesh.points
    for _ in range(rounds):
        total = np.zeros_like(points)
        np.add.at(total, a, points[b])
        points = points * 0.5 + 0.5 * total / np.maximum(count, 1)
    return replace(mesh, points=points)


class Tailor:
    """Cuts garments for bodies from the helper meshes of the base mesh."""

    def __init__(self, assets: Assets):
        self.assets = assets
        self.arm = [assets.joint(f"l-{name}", assets.base) for name in ("shoulder", "elbow", "hand")]

    def along_arm(self, neutral: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Where points are along the arm: 0 shoulder, 1 elbow, 2 wrist; down to -0.5 on the trunk."""
        share = weights[:, [bone.startswith(ARM) for bone in self.assets.bones]].sum(1)
        p, place = np.abs(neutral * [1, 0, 0]) + neutral * [0, 1, 1], 0
        for start, end in pairwise(self.arm):
            way = end - start
            last = 1.5 if end is self.arm[-1] else 1
            place += np.clip((p - start) @ way / (way @ way), 0, last)
        return np.where(share > 0.5, np.maximum(place, 0.01), share - 0.5)

    def keep(self, shape: Cut, neutral: np.ndarray, weights: np.ndarray, front: bool = True) -> np.ndarray:
        """Above 0 where a garment covers points; about the distance to its edge. ``front``: mind the open front."""
        x, y, z = np.abs(neutral[:, 0]), neutral[:, 1], neutral[:, 2]
        arm = self.along_arm(neutral, weights)
        on_arm = arm > 0
        keep = np.where(on_arm, 9.0, y - shape.hem)
        keep = np.minimum(keep, np.where(on_arm & (shape.top < 9) & (shape.sleeve is None), -9.0, shape.top - y))
        if shape.sleeve is not None:
            keep = np.minimum(keep, (shape.sleeve - arm) * 2.5)
        elif shape.top > 4 and not shape.bib:
            keep = np.minimum(keep, (-0.1 - arm) * 2.5)
        if shape.neck:
            kind, width, depth = shape.neck
            depth = np.where(z > 0.35, depth, 0.2)
            down = np.maximum(NECK + 0.1 - y, 0) / (depth + 0.1)
            hole = np.hypot(x / width, down) - 1 if kind == "round" else x / width + down - 1
            keep = np.minimum(keep, np.where(on_arm, 9.0, np.where(y > NECK + 0.1, x / width - 1, hole) * width))
        if shape.bib:
            bib = np.minimum(np.where(z > 0.5, 1.05 - x, -9), 4.0 - y)
            straps = 0.17 - np.abs(x - 0.85)
            keep = np.maximum(keep, np.where(on_arm, -9, np.minimum(np.maximum(bib, straps), y - shape.hem)))
        if shape.opening and front:
            at_neck, at_hem = shape.opening
            down = np.clip((NECK - y) / max(NECK - shape.hem, 1), 0, 1)
            keep = np.minimum(keep, np.where(z > 0.2, x - at_neck - (at_hem - at_neck) * down, 9))
        return keep

    def garment(self, shape: Cut, body: np.ndarray) -> Mesh:
        """A garment of a shape on a body in the rest pose."""
        tights = self._helper("tights", body, 2 + round(shape.ease * 25))
        tights.points = tights.points + normals(tights) * self._width(shape, tights, shape.legs)[:, None]
        keep = self.keep(shape, tights.neutral, tights.weights)
        skirted = not shape.legs and shape.hem < 0.6
        if skirted:  # the trunk ends below the waist, over the skirt's upper edge: a seam
            above = np.where(self.along_arm(tights.neutral, tights.weights) > 0, 9, tights.neutral[:, 1])
            keep = np.minimum(keep, above - 1.4)
        parts = [cut(tights, keep)] if shape.legs or shape.top > 1.9 else []
        if skirted:
            skirt = self._helper("skirt", body, 1)
            around = unit((skirt.points - [0, 0, 0.2]) * [1, 0, 1])
            skirt.points = skirt.points + around * (self._width(shape, skirt, True) - 0.03)[:, None]
            parts.append(cut(skirt, self.keep(shape, skirt.neutral, skirt.weights)))
        mesh = joined(parts)
        wide_open = shape.opening is not None and max(shape.opening) > 0.05
        mesh.hidden = self.keep(shape, self.assets.base, self.assets.weights, wide_open) > 0.15
        if shape.bib:
            mesh.hidden &= self.assets.base[:, 1] < 1.5
        return mesh

    def _helper(self, name: str, body: np.ndarray, rounds: int) -> Mesh:
        """A helper mesh on a body, without the points that no face has, smoothed."""
        mesh = self.assets.part(f"helper-{name}", body)
        return smoothed(cut(mesh, np.ones(len(mesh.points))), rounds)

    def _width(self, shape: Cut, mesh: Mesh, flared: bool) -> np.ndarray:
        """Distance from the body of each point."""
        x, y, z = mesh.neutral.T
        arm = self.along_arm(mesh.neutral, mesh.weights)
        width = shape.ease * np.where(arm > 0, 0.65, 1.0)
        width += np.where(arm > 0, shape.cuff * np.clip(arm, 0, 2) / 2, 0)
        below = np.where(arm > 0, 0, np.maximum(WAIST - y, 0))
        if flared:
            width += shape.flare * below
            number, depth = shape.pleats
            width += depth * np.sin(number * np.arctan2(x, z - 0.2)) * np.minimum(below / 5, 1.2)
        return width


def revolved(profile: list[tuple[float, float]], centre: np.ndarray, squeeze: float = 1.0):
    """Points and faces of a profile of radii and heights turned about the vertical; ``squeeze`` scales x."""
    angles = np.arange(ROUND) * 2 * np.pi / ROUND
    points = [[r * np.sin(a) * squeeze, h, r * np.cos(a)] for r, h in profile for a in angles]
    return np.array(points) + centre, ring_faces(len(profile), ROUND)


def ring_faces(rings: int, corners: int, closed: bool = False) -> list[list[int]]:
    """Faces between rings of ``corners`` points each; ``closed``: also between the last ring and the first."""
    faces = []
    for ring in range(rings if closed else rings - 1):
        a, b = ring * corners, (ring + 1) % rings * corners
        faces += [[a + i, a + (i + 1) % corners, b + (i + 1) % corners, b + i] for i in range(corners)]
    return faces


def tube(path: np.ndarray, radius: float, flat: float = 1.0, closed: bool = False):
    """Points and faces of a tube along a path; ``flat`` scales its height."""
    way = unit(np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0))
    side = unit(np.cross(way, [0.1, 1, 0.05]))
    up = np.cross(side, way)
    angles = np.arange(TUBE) * 2 * np.pi / TUBE
    ring = np.cos(angles)[None, :, None] * side[:, None] + flat * np.sin(angles)[None, :, None] * up[:, None]
    points = (path[:, None] + radius * ring).reshape(-1, 3)
    return points, ring_faces(len(path), TUBE, closed)


def box(centre: np.ndarray, size: tuple[float, float, float]):
    """Points and faces of a box whose upper edge is a little narrower."""
    corners = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    points = np.array(corners) * size
    points[:, [0, 2]] *= np.where(points[:, 1:2] > 0, 0.85, 1)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return points + centre, faces


def _curve(points: list) -> np.ndarray:
    """A smooth curve through points."""
    points = np.array(points, float)
    at = np.linspace(0, len(points) - 1, 6 * len(points))
    result = np.stack([np.interp(at, np.arange(len(points)), points[:, axis]) for axis in range(3)], 1)
    for _ in range(4):
        result[1:-1] = (result[:-2] + 2 * result[1:-1] + result[2:]) / 4
    return result


def accessory(kind: str, assets: Assets, body: np.ndarray, rnd: Random) -> Mesh:
    """A hat, scarf, bag or glasses on a body in the rest pose, each stiff on one bone."""
    crown, neck = assets.joint("head-2", body), assets.joint("neck", body)
    side = rnd.choice([-1, 1])
    parts = []
    if kind in ("beanie", "cap", "hat"):
        centre = np.array([0, crown[1] - 0.95, 0.42])
        dome = [(1.19, -0.1), (1.2, 0.2), (1.16, 0.6), (1.0, 0.95), (0.7, 1.2), (0.3, 1.32), (0.01, 1.35)]
        parts.append(revolved(dome, centre, 0.84))
        if kind == "cap":
            points, faces = revolved([(1.15, 0.0), (1.9, -0.12)], centre, 0.84)
            front = [face for face in faces if np.cos(face[0] * 2 * np.pi / ROUND) > 0.35]
            parts.append((points, front))
        if kind == "hat":
            wide = rnd.uniform(1.6, 2.3)
            parts.append(revolved([(1.15, 0.05), (wide, rnd.uniform(-0.3, 0.1)), (wide - 0.05, -0.1)], centre, 0.9))
        bone = "head"
    elif kind == "glasses":
        for eye in ("l-eye", "r-eye"):
            place = assets.joint(eye, body) + [0, 0, 0.3]
            angles = np.arange(16) * 2 * np.pi / 16
            ring = np.stack([0.24 * np.cos(angles), 0.18 * np.sin(angles), 0 * angles], 1) + place
            parts.append(tube(ring, 0.03, closed=True))
            outside = np.sign(place[0])
            temple = [place + [outside * 0.24, 0.05, 0], place + [outside * 0.42, 0.05, -0.3]]
            parts.append(tube(np.array([*temple, place + [outside * 0.45, 0.05, -1.1]]), 0.03))
        bone = "head"
    elif kind == "scarf":
        angles = np.arange(24) * 2 * np.pi / 24
        for turn in range(rnd.choice([1, 2])):
            radius, height = 0.95 + 0.12 * turn, 0.18 * np.cos(angles + np.pi) + 0.1 * turn
            ring = np.stack([radius * np.sin(angles), height, radius * np.cos(angles)], 1)
            parts.append(tube(ring + neck + [0, -0.15, 0.15], rnd.uniform(0.26, 0.4), 0.9, closed=True))
        for end in rnd.choice([[], [0.35], [0.3, -0.4]]):
            length = rnd.uniform(1.5, 4.5)
            hang = _curve([neck + [end, -0.3, 1.05], neck + [end, -1.3, 1.75], neck + [end * 1.2, -1.3 - length, 1.95]])
            parts.append(tube(hang, 0.35, 0.25))
        bone = "spine01"
    elif kind == "shoulder bag":
        place = np.array([side * 2.35, rnd.uniform(-0.6, 0.9), 0.3])
        parts.append(box(place, (rnd.uniform(0.5, 0.9), rnd.uniform(1.5, 2.6), rnd.uniform(1.8, 3.0))))
        other = -side * rnd.choice([1.0, 1.0, -1.0])
        top = place + [0, 1.0, 0]
        in_front, behind = (side * 0.5, 0) if other * side < 0 else (side * 1.6, side * 1.5)
        strap = [
            top + [0, 0, 0.7], [in_front, 3.6, 2.2], [other * 1.0, 5.7, 1.3], [other * 1.15, 5.9, 0.1],
            [other * 0.9, 5.3, -0.9], [behind, 3.4, -1.15], top + [0, 0, -0.7],
        ]  # fmt: skip
        parts.append(tube(_curve(strap), 0.16, 0.3))
        bone = "spine04"
    elif kind == "handbag":
        letter = "l" if side > 0 else "r"
        hand = assets.joint(f"{letter}-hand-3", body)
        way = hand - assets.joint(f"{letter}-hand", body)
        way /= np.linalg.norm(way)
        place = hand + way * 2.1
        points, faces = box(np.zeros(3), (rnd.uniform(0.6, 1.0), rnd.uniform(1.6, 2.4), rnd.uniform(2.0, 3.2)))
        across = np.cross(way, [0, 0, 1])
        frame = np.stack([across, -way, np.cross(across, -way)])
        parts.append((points @ frame + place, faces))
        handle = _curve([place - way * 0.9 + [0, 0, 0.6], hand + way * 0.1, place - way * 0.9 - [0, 0, 0.6]])
        parts.append(tube(handle, 0.1))
        bone = f"wrist.{letter.upper()}"
    else:  # backpack
        parts.append(box(np.array([0, 3.2, -1.75]), (2.7, rnd.uniform(3.2, 4.4), 1.2)))
        for at in (-1.05, 1.05):
            strap = [[at, 5.0, -1.2], [at, 6.0, -0.3], [at, 5.95, 0.8], [at, 4.7, 1.9], [at * 1.4, 3.0, 1.7]]
            parts.append(tube(_curve([*strap, [at * 1.6, 2.3, 0.2], [at, 2.0, -1.2]]), 0.2, 0.35))
        bone = "spine02"
    weights = np.zeros((1, len(assets.bones)))
    weights[0, assets.bones.index(bone)] = 1
    return joined([Mesh(p, p, np.repeat(weights, len(p), 0), faces) for p, faces in parts])
