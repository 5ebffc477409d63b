"""notebooks/quickstart.ipynb runs from top to bottom, with a training cut to a few iterations."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

SHORT = 'ITERATIONS, SIZE, DEVICE = 2, 64, "cpu"'


@pytest.mark.skipif(not importlib.util.find_spec("ipykernel"), reason="needs nbclient and ipykernel")
def test_the_notebook_runs_from_a_checkout_and_ends_with_an_export(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "notebooks/quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # committed without results
    constants = next(cell for cell in notebook.cells if cell.source.startswith("REPOSITORY"))
    repository, _ = constants.source.split("\n")
    constants.source = f"{repository}\n{SHORT}"

    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()

    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "error: " not in said and "20 photographs" in said, said
    assert list(tmp_path.glob("*/quickstart.onnx")), said


def test_the_notebook_says_what_to_do_without_a_checkout(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "notebooks/quickstart.ipynb", as_version=4)
    constants, first = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    program = "\n".join((constants, *(line for line in first.splitlines() if not line.startswith("%"))))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.strip() == "set REPOSITORY in the cell above"
