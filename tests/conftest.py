"""Fixtures: real data where it exists, a drawn data set, a tiny checkpoint."""

import os
import tempfile
from pathlib import Path

# Networks this small gain nothing from threads, and threads of several processes on two cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Converted models are cached for the tests alone, not for the user who runs them.
CACHE = tempfile.TemporaryDirectory(prefix="cloth-segmentation-tests")
os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = CACHE.name

import hypothesis
import pytest
import torch

from networks.u2net import build_network
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from tests.helpers import DataSet, make_paper_dolls, shared

# A busy machine is no fault, and no folder of examples is left behind.
hypothesis.settings.register_profile("tests", deadline=None, database=None)
hypothesis.settings.load_profile("tests")

# Files that take half a minute and more, longest first.
LONG = (
    "test_server.py", "test_train.py", "test_bad_inputs.py", "test_train_processes.py", "test_notebook.py",
    "test_recipe.py", "test_app.py", "test_infer.py", "test_evaluate.py", "test_shipped_weights.py", "test_choose.py",
    "test_mixed_training.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first: one that began last would leave the other processes without work."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, whichever tests ran before it in its process."""
    torch.manual_seed(0)


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
def launched(monkeypatch):
    """Sets the environment as a launcher does: launched(RANK=1, ...)."""

    def launch(**variables: object) -> None:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("MASTER_PORT", "29500")
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    launch()
    return launch
