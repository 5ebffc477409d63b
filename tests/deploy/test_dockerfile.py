"""Every step of the Dockerfile that needs no Docker, run as it stands: its build, its start, its health check.

What is left out are the base image, apt-get, useradd and the download of packages.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, encoded_photo, run_script

DOCKERFILE = ROOT / "deploy/Dockerfile"


def instructions(stage: int) -> list[tuple[str, str]]:
    """(keyword, rest) of a build stage, in order."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:][stage].splitlines()
    return [(keyword, " ".join(rest)) for keyword, *rest in map(str.split, filter(str.strip, lines))]


def only(keyword: str, stage: int) -> str:
    (rest,) = [rest for word, rest in instructions(stage) if word == keyword]
    return rest


def build_context(target: Path) -> None:
    """Copy what deploy/Dockerfile.dockerignore lets through."""
    for line in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            for path in ROOT.glob(line[1:]):
                copy = target / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
        elif line not in ("", "*") and not line.startswith("#"):
            shutil.rmtree(target / line, ignore_errors=True)


@pytest.fixture(scope="module")
def built(tiny_checkpoint, tmp_path_factory) -> Path:
    """The folder of the stage 'archive' after its COPY and RUN."""
    folder = tmp_path_factory.mktemp("build")
    build_context(folder)
    weights = folder / "trained_checkpoint/cloth_segm_u2netp.pth"
    weights.parent.mkdir(exist_ok=True)
    shutil.copy(tiny_checkpoint, weights)
    assert only("COPY", 1) == ". ."
    command = shlex.split(only("RUN", 1))
    assert command[0] == "python"
    result = run_script(*command[1:], cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_build_sees_only_what_it_needs(built):
    kept = {path.relative_to(built).parts[0] for path in built.rglob("*") if path.is_file()}
    assert kept == {"data", "deploy", "model-store", "networks", "options", "trained_checkpoint", "utils"}
    assert [path.name for path in (built / "model-store").iterdir()] == ["cloth_seg.mar"]


def test_files_that_are_copied_exist(built):
    for stage in range(3):
        for keyword, rest in instructions(stage):
            if keyword == "COPY":
                *flags, source, _ = rest.split()
                folder = built if flags else ROOT
                assert (folder / source.removeprefix("/build/")).exists(), rest


def test_the_pinned_packages_are_what_the_tests_run_on():
    """pip, offline, finds nothing to add."""
    result = run_script("-m", "pip", "install", "--no-index", "--dry-run", "-r", "deploy/requirements.txt")
    assert result.returncode == 0, result.stderr
    assert "Would install" not in result.stdout


def test_the_server_is_not_root_and_on_the_published_port():
    assert only("USER", 2) == "model-server"
    assert only("EXPOSE", 2) == "7080"
    assert "inference_address=http://0.0.0.0:7080\n" in (ROOT / "deploy/config.properties").read_text()


def test_the_command_serves_and_the_health_check_tells(built):
    pytest.importorskip("ts", reason="needs torchserve: pip install -r requirements-dev.txt")
    if shutil.which("java") is None:
        pytest.skip("needs Java 17, which TorchServe runs on")
    from benchmarks.local_server import START, LocalServer

    assert json.loads(only("CMD", 2)) == ["torchserve", *START]
    check = json.loads(only("HEALTHCHECK", 2).partition("CMD ")[2])
    with LocalServer(built / "model-store/cloth_seg.mar") as server:
        server.wait_until_ready()
        assert server.predict(encoded_photo()).status == 200
        assert server.request("/ping").status == 200
        port = server.url.rpartition(":")[2]
        run = [sys.executable, *(argument.replace("7080", port) for argument in check[1:])]
        proxy = os.environ | {"http_proxy": "http://127.0.0.1:9"}  # as Docker hands its client's on
        assert subprocess.run(run, timeout=60, env=proxy).returncode == 0
    assert subprocess.run(run, stderr=subprocess.DEVNULL, timeout=60).returncode != 0
