"""notebooks/quickstart.ipynb runs from top to bottom, with a training cut to a few iterations."""

import importlib.util

import pytest

from tests.helpers import ROOT


@pytest.mark.skipif(not importlib.util.find_spec("ipykernel"), reason="needs nbclient and ipykernel")
def test_the_notebook_runs_from_a_checkout_and_ends_with_an_export(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "notebooks/quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # committed without results
    constants = next(cell for cell in notebook.cells if cell.source.startswith("REPOSITORY"))
    constants.source = constants.source.split("\n")[0] + '\nITERATIONS, SIZE, DEVICE = 2, 64, "cpu"'

    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()

    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "error: " not in said and "28 photographs" in said, said
    assert list(tmp_path.glob("*/quickstart.onnx")), said
