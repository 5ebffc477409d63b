"""Memory of inference does not follow the photograph's size as full-size logits would."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from tests.helpers import ROOT

SIDE = 7000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_a_49_megapixel_photo_takes_far_less_memory_than_its_logits(tmp_path, tiny_checkpoint):
    def peak_megabytes(side: int) -> float:
        folder = tmp_path / str(side)
        folder.mkdir()
        Image.new("RGB", (side, side), (90, 20, 30)).save(folder / "photo.png", compress_level=1)
        command = ["infer.py", "--checkpoint_path", tiny_checkpoint, "--image_dir", folder, "--device", "cpu"]
        command += ["--result_dir", folder / "results", "--batchSize", 1, "--precision", "fp32"]
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert Image.open(folder / "results" / "photo.png").size == (side, side)
        return used.ru_maxrss / 1024

    photo = SIDE * SIDE * 3 / 1e6  # 147 MB as RGB
    logits = SIDE * SIDE * 4 * 4 / 1e6  # 784 MB
    more = peak_megabytes(SIDE) - peak_megabytes(64)
    assert more < 2 * photo + 250
    assert more < 0.8 * logits
