"""Joints of the person on a photo, by BlazePose (Bazarevsky et al. 2020), run in OpenVINO."""

import importlib.util
import shutil
import tempfile
import zipfile
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import Image

from networks.engines.openvino_engine import openvino_core
from utils.errors import UserError

PACKAGE = "mediapipe"
FILES = ("modules/pose_detection/pose_detection.tflite", "modules/pose_landmark/pose_landmark_full.tflite")
# The same two networks by the ends of their names: in a wheel of the package, and in MediaPipe's .task files.
ENDINGS = (
    ("pose_detection.tflite", "pose_detector.tflite"),
    ("pose_landmark_full.tflite", "landmarks_detector.tflite"),
)
MAX_BYTES = 100_000_000  # of a network in such a file; the largest published one has 30 million
DETECTOR_SIDE, JOINTS_SIDE = 224, 256
DETECTOR_GRIDS = ((8, 2), (16, 2), (32, 6))  # stride, boxes at each place
CIRCLE = 1.25  # joints are looked for in the square around so many times the circle around the person
FOUND = 0.5  # score from which there is a person


class PoseNetwork:
    """Finds the largest person on a photo, then that person's joints. Threads may share it."""

    def __init__(self, detector: Path, joints: Path):
        """The two networks, as TensorFlow Lite files. Raises UserError where they are not BlazePose's."""
        settings = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        core = openvino_core()
        try:
            models = [core.compile_model(core.read_model(path), "CPU", settings) for path in (detector, joints)]
            self._detector, self._joints = (model.create_infer_request() for model in models)
            # Outputs are told apart by size: their order differs between the published files.
            self._boxes, self._scores = _outputs(models[0], len(CENTRES) * 12, len(CENTRES))
            self._landmarks, self._presence = _outputs(models[1], 39 * 5, 1)
        except (RuntimeError, ValueError):
            raise UserError(f"{joints.name} or {detector.name} is not a network of BlazePose") from None
        self._in_use = Lock()  # a request serves one caller at a time

    @classmethod
    def load(cls, path: Path | None = None) -> "PoseNetwork":
        """From MediaPipe's installed package, or from a file of it: a wheel, or a pose_landmarker .task.

        Raises UserError.
        """
        if path is None:
            if package := missing_package():
                raise UserError(f"{package} is not installed; install requirements-tryon.txt as docs/tryon.md says")
            return cls(*(package_folder() / file for file in FILES))
        with tempfile.TemporaryDirectory() as folder:
            return cls(*_unpacked(path, Path(folder)))

    def __call__(self, photo: Image.Image) -> np.ndarray | None:
        """Joints on an RGB photo: 33 x 3 float32, (x, y) in pixels and visibility in 0..1, in BlazePose's order.

        They may lie outside the photo. None where nobody is found.
        """
        with self._in_use:
            square = self._find(photo)
            for _ in range(2):  # the second time in the square that the first one's joints ask for
                if square is None:
                    return None
                joints, square = self._look(photo, *square)
            return joints

    def _find(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray] | None:
        """The circle around the largest person: its centre, between the hips, and a point on it, above the head."""
        scale = max(photo.size) / DETECTOR_SIDE
        offset = (np.array(photo.size) - DETECTOR_SIDE * scale) / 2
        to_photo = np.column_stack([np.eye(2) * scale, offset])
        self._detector.infer({0: _cut(photo, to_photo, DETECTOR_SIDE) * 2 - 1})
        boxes = self._detector.get_output_tensor(self._boxes).data.reshape(-1, 12)
        scores = _sigmoid(self._detector.get_output_tensor(self._scores).data.ravel())
        points = boxes[:, 4:8].reshape(-1, 2, 2) + CENTRES[:, None]
        radius = np.hypot(*(points[:, 1] - points[:, 0]).T) * (scores > FOUND)
        best = points[radius.argmax()]
        return tuple(best @ to_photo[:, :2].T + to_photo[:, 2]) if radius.any() else None

    def _look(
        self, photo: Image.Image, centre: np.ndarray, rim: np.ndarray
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, np.ndarray] | None]:
        """(joints in such a circle, the circle that they ask for), or None and None."""
        up = CIRCLE * (rim - centre) / (JOINTS_SIDE / 2)
        turned = np.column_stack([[-up[1], up[0]], -up])
        to_photo = np.column_stack([turned, centre - turned.sum(1) * JOINTS_SIDE / 2])
        self._joints.infer({0: _cut(photo, to_photo, JOINTS_SIDE)})
        if self._joints.get_output_tensor(self._presence).data.item() < FOUND:
            return None, None
        found = self._joints.get_output_tensor(self._landmarks).data.reshape(39, 5)
        points = found[:, :2] @ turned.T + to_photo[:, 2]
        return np.column_stack([points, _sigmoid(found[:, 3])])[:33].astype(np.float32), (points[33], points[34])


def package_folder() -> Path | None:
    """Where the installed package keeps its files, if it has these: releases from 0.10.30 on do not."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = map(Path, spec.submodule_search_locations or ()) if spec else ()
    return next((folder for folder in folders if all((folder / file).is_file() for file in FILES)), None)


def missing_package() -> str | None:
    """Name of what is not installed of what finding joints takes."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino"
    return None if package_folder() else f"{PACKAGE} with BlazePose"


def _unpacked(path: Path, folder: Path) -> list[Path]:
    """The two networks of a wheel or .task file, copied into a folder. Raises UserError."""
    copies = []
    try:
        with zipfile.ZipFile(path) as file:
            for endings in ENDINGS:
                found = [entry for entry in file.infolist() if entry.filename.endswith(endings)]
                if len(found) != 1 or found[0].file_size > MAX_BYTES:
                    raise UserError(f"{path} does not hold BlazePose; take a pose_landmarker .task file of MediaPipe")
                copies.append(folder / endings[0])
                with file.open(found[0]) as source, copies[-1].open("wb") as target:
                    shutil.copyfileobj(source, target)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):  # broken, unknown packing, encrypted
        raise UserError(f"{path} is not a wheel or .task file of MediaPipe, or it is broken") from None
    return copies


def _outputs(model, *sizes: int) -> list[int]:
    """Indices of a model's outputs that have so many values. Raises ValueError."""
    known = [int(np.prod(output.shape)) for output in model.outputs]
    return [known.index(size) for size in sizes]


def _cut(photo: Image.Image, to_photo: np.ndarray, side: int) -> np.ndarray:
    """A square of a photo, 1 x side x side x 3 float32 in 0..1; what lies outside the photo is black.

    to_photo: 2 x 3, from places in the square to places in the photo, in pixels from the corner.
    """
    shrunk = max(1, int(np.hypot(*to_photo[:, 0]) / 2))  # a photo far larger than the square would be sampled sparsely
    pixels = np.asarray(photo.reduce(shrunk))
    matrix = to_photo / shrunk
    matrix[:, 2] += (matrix[:, :2].sum(1) - 1) / 2  # OpenCV's places are from the middle of the corner's pixel
    square = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return square[None].astype(np.float32) / 255


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(np.float64).clip(-100, 100)))


def _centres() -> np.ndarray:
    """Where the detector's boxes are counted from: N x 2 float32, in pixels of its square."""
    rows = []
    for stride, boxes in DETECTOR_GRIDS:
        y, x = np.mgrid[stride / 2 : DETECTOR_SIDE : stride, stride / 2 : DETECTOR_SIDE : stride]
        rows.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), boxes, 0))
    return np.concatenate(rows).astype(np.float32)


CENTRES = _centres()
