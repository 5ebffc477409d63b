"""The direction of the arrows: programs -> options, networks -> data -> utils; options stay free of PyTorch."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_script

ROOMS = ("options", "networks", "data", "utils")
MAY_IMPORT = {
    "utils": {"utils"},
    "data": {"data", "utils"},
    "networks": {"networks", "data", "utils"},
    "options": {"options", "networks", "data", "utils"},  # of networks and data what needs no PyTorch, see below
}
PROGRAMS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.py", "deploy/*.py", "scripts/*.py", "benchmarks/*.py")
    for path in ROOT.glob(pattern)
)
COMMANDS = [  # benchmarks measure PyTorch for developers; they may be slow to start
    path for path in PROGRAMS if path.parts[0] != "benchmarks" and "__main__" in (ROOT / path).read_text("utf-8")
]
PROGRAM_ROOMS = {path.parts[0].removesuffix(".py") for path in PROGRAMS} - set(ROOMS)
MODULES = sorted(
    path.relative_to(ROOT)
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if path.name != "__main__.py"  # python -m data.audit hands on to its program
)


def imported_modules(path: Path) -> set[str]:
    """Names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module)
    return names


def imported_rooms(path: Path) -> set[str]:
    """First parts of the names that a file imports that are rooms or programs of this repository."""
    return {name.split(".")[0] for name in imported_modules(path)} & {*ROOMS, *PROGRAM_ROOMS, "tests"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_from_its_own_room_and_those_below(path):
    assert imported_rooms(path) <= MAY_IMPORT[path.parts[0]]


def test_no_modules_and_no_rooms_import_each_other_in_a_circle():
    arrows = {".".join(path.with_suffix("").parts): imported_modules(path) for path in MODULES}
    TopologicalSorter({module: names & arrows.keys() for module, names in arrows.items()}).prepare()
    rooms = {}
    for module, names in arrows.items():
        room = module.rpartition(".")[0]
        rooms.setdefault(room, set()).update(name.rpartition(".")[0] for name in names & arrows.keys())
    sub_rooms = {room: {other for other in others if other != room and "." in other} for room, others in rooms.items()}
    TopologicalSorter({room: others for room, others in sub_rooms.items() if "." in room}).prepare()


@pytest.mark.parametrize("path", PROGRAMS, ids=str)
def test_a_program_imports_nothing_from_the_tests(path):
    assert "tests" not in imported_rooms(path)


def run_python(program: str, *arguments: object) -> str:
    """What a Python program prints; it runs in the repository's root."""
    result = run_script("-c", program, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(f"{name} imports torch")
"""
WITHOUT_TORCH = (
    "data.classes", "data.labels.rle", "data.photos.folder", "data.photos.open", "data.photos.preprocessing",
    "data.results.formats", "data.results.segmentation", "networks.weights.info", "deploy.deployed_infer",
)  # fmt: skip


def test_options_the_client_and_what_prepares_and_writes_photographs_do_not_import_torch():
    options = [".".join(path.with_suffix("").parts) for path in MODULES if path.parts[0] == "options"]
    run_python(IMPORTS, *WITHOUT_TORCH, *options)


PACKAGES = """
import importlib, importlib.metadata, sys
before = {*sys.modules}
importlib.import_module(sys.argv[1])
new = {name.partition(".")[0] for name in {*sys.modules} - before if sys.modules[name]}
known = importlib.metadata.packages_distributions()
print(*(package for name in new for package in known.get(name, ())))
"""


@pytest.mark.parametrize(("program", "file"), [
    ("deploy.deployed_infer", "requirements-client.txt"), ("deploy.handler", "requirements.txt"),
])  # fmt: skip
def test_client_and_server_have_in_their_requirements_what_they_import_of_ours(program, file):
    ours, named = (
        set(re.findall(r"^[\w-]+", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))
        for path in ("requirements.txt", f"deploy/{file}")
    )
    imported = ours & {name.lower().replace("_", "-") for name in run_python(PACKAGES, program).split()}
    assert "numpy" in imported and imported <= named


HELP = """
import contextlib, io, runpy, sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # importing them fails
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as screen:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            assert not end.code and b"usage" in screen.buffer.getvalue(), path
"""


def test_help_of_every_program_comes_without_torch():
    assert len(COMMANDS) > 8
    run_python(HELP, *COMMANDS)


def test_files_that_pages_name_exist():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r"\b(?:[\w-]+/)+\w+\.(?:py|sh|yml|csv|md)\b", page.read_text(encoding="utf-8"))
        if path.split("/")[0] in {each.name for each in ROOT.iterdir()}
    }
    assert len(named) > 50
    assert not {(page, path) for page, path in named if not (ROOT / path).exists() and page != "CHANGELOG.md"}
