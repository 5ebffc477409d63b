"""What the tests share: the repository's root, real data where it exists, a drawn data set, a tiny checkpoint."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Networks this small gain nothing from threads, and threads of several processes on two cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
sys.path.insert(0, str(ROOT))

from networks.checkpoint import CheckpointInfo, build_network, save_checkpoint  # noqa: E402
from tests.paper_dolls import make_paper_dolls  # noqa: E402


class DataSet(NamedTuple):
    image_folder: Path
    df_path: Path


def shared(path: str) -> Path:
    """A file below ../shared; the test is skipped where it is absent."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs {SHARED / path}, which is not part of the repository")
    return SHARED / path


@pytest.fixture(scope="session")
def ccp_val() -> DataSet:
    """110 real photographs with masks; skips where ../shared is absent."""
    return DataSet(shared("data/ccp/val"), shared("data/ccp/val.csv"))


@pytest.fixture(scope="session")
def ccp_train() -> DataSet:
    """784 real photographs with masks; skips where ../shared is absent."""
    return DataSet(shared("data/ccp/train"), shared("data/ccp/train.csv"))


@pytest.fixture(scope="session")
def saliency_onnx() -> Path:
    """The published U2NETP saliency weights, batch norm folded; skips where ../shared is absent."""
    return shared("weights/u2netp.onnx")


@pytest.fixture(scope="session")
def dolls(tmp_path_factory) -> DataSet:
    """12 drawn photographs in iMaterialist format."""
    return DataSet(*make_paper_dolls(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """An untrained U2NETP that sees 64x64: quick, and its masks are arbitrary but repeatable."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny_u2netp.pth"
    info = CheckpointInfo(("background", "upper", "lower", "full"), height=64, width=64)
    save_checkpoint(path, build_network("u2netp", 4), info)
    return path


@pytest.fixture
def signals():
    """Training listens for signals; the handlers of before are put back."""
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    yield
    for s, handler in handlers.items():
        signal.signal(s, handler)


def run_script(*command: object, timeout: float = 300, **kwargs) -> subprocess.CompletedProcess:
    """Run ``python <command>`` in the repository's root as a user would; output as text."""
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=timeout, **kwargs
    )


def assert_one_line_error(result: subprocess.CompletedProcess, *words: str) -> None:
    """The program failed with one clear line that has ``words``, and no traceback."""
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(("error: ", "train.py: error:", "infer.py: error:")), result.stderr
    for word in words:
        assert word in last, last
