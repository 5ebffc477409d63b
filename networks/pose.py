"""Joints of the person on a photograph, by BlazePose (Bazarevsky et al. 2020), run in OpenVINO."""

import importlib.util
import zipfile
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import Image

from networks.engines.openvino import openvino_core
from utils.errors import UserError

MAX_BYTES = 100_000_000  # of a network inside a zip; the largest published one has 30 million
DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
ROOM = 1.25  # the square that the joints are looked for in, as a multiple of the circle round the person
SCORE = 0.5  # below, nobody is there


class PoseNetwork:
    """Finds the person on a photograph, then the person's joints. Threads may share one."""

    def __init__(self, detector: Path, landmarks: Path):
        """The two networks, as TensorFlow Lite files."""
        core = openvino_core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        self._detector, self._landmarks = (
            core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
            for model in (detector, landmarks)
        )
        self._in_use = Lock()  # a request serves one caller at a time

    def __call__(self, photo: Image.Image) -> np.ndarray | None:
        """Joints of the largest person on an RGB photo: 33 x 3 float32, (x, y) in pixels and visibility in 0..1.

        Their order is BlazePose's. None where nobody is found. Joints may lie outside the photo.
        """
        with self._in_use:
            square = self._find(photo)
            if square is None:
                return None
            joints, square = self._joints(photo, square)
            return joints if square is None else self._joints(photo, square)[0]  # once more, from where joints are

    def _find(self, photo):
        scale = max(photo.size) / DETECTOR_SIDE
        left, top = ((DETECTOR_SIDE - side / scale) / 2 for side in photo.size)
        matrix = np.float32([[scale, 0, -left * scale], [0, scale, -top * scale]])
        image = warp(photo, matrix, DETECTOR_SIDE) * 2 - 1
        self._detector.infer({0: image[None]})
        outs = [self._detector.get_output_tensor(i).data for i in range(2)]
        boxes, scores = sorted((o[0] for o in outs), key=lambda o: -o.shape[-1])
        scores = 1 / (1 + np.exp(-scores[:, 0].clip(-100, 100)))
        good = scores > SCORE
        if not good.any():
            return None
        boxes = boxes[good].copy()
        a = ANCHORS[good]
        pts = boxes[:, 4:8].reshape(-1, 2, 2) + a[:, None] * DETECTOR_SIDE
        size = np.hypot(*(pts[:, 1] - pts[:, 0]).T)
        best = np.argmax(size * scores[good])
        hips, rim = (pts[best] @ matrix[:, :2].T) + matrix[:, 2]
        return hips, rim

    def _joints(self, photo, square):
        centre, rim = square
        up = rim - centre
        side = 2 * ROOM * np.hypot(*up)
        up = up / np.hypot(*up)
        right = np.array([-up[1], up[0]])
        s = side / LANDMARK_SIDE
        matrix = np.stack([right * s, -up * s], 1)
        shift = centre - matrix @ np.array([LANDMARK_SIDE / 2] * 2)
        matrix = np.float32(np.column_stack([matrix, shift]))
        self._landmarks.infer({0: warp(photo, matrix, LANDMARK_SIDE)[None]})
        outs = {self._landmarks.get_output_tensor(i).data.size: self._landmarks.get_output_tensor(i).data for i in range(5)}
        found = outs[195].reshape(39, 5)
        pts = found[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        vis = 1 / (1 + np.exp(-found[:33, 3]))
        joints = np.column_stack([pts[:33], vis]).astype(np.float32)
        flag = float(outs[1].ravel()[0])
        if flag < SCORE:
            return None, None
        self.mask = (outs[256 * 256].reshape(256, 256), matrix)
        return joints, (pts[33], pts[34])


def warp(photo, matrix, side):
    shrink = np.hypot(*matrix[:, 0])
    return cv2.warpAffine(np.asarray(photo), matrix, (side, side), flags=cv2.INTER_AREA if False else cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP).astype(np.float32) / 255


def _anchors():
    rows = []
    for stride, count in ((8, 2), (16, 2), (32, 6)):
        n = DETECTOR_SIDE // stride
        y, x = np.mgrid[:n, :n]
        c = np.stack([(x + 0.5) / n, (y + 0.5) / n], -1).reshape(-1, 1, 2)
        rows.append(np.repeat(c, count, 1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)


ANCHORS = _anchors()
