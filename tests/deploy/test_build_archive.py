"""The model archive: what is in it, and what is refused before it is built."""

import json
import zipfile

import pytest
import torch
import yaml

from deploy.build_archive import archive, contents
from networks.exporters import EXPORTERS
from networks.weights.checkpoint import load_network
from tests.helpers import ROOT, run_here, run_script
from utils.errors import UserError

CONFIG = ROOT / "deploy/model-config.yaml"


def test_one_command_builds_the_archive(tiny_checkpoint, tmp_path):
    result = run_here("deploy/build_archive.py", "--checkpoint_path", tiny_checkpoint, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(tmp_path / "cloth_seg.mar") as archive:
        names = set(archive.namelist())
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert {model["handler"], model["serializedFile"], model["configFile"]} <= names
        assert archive.read(model["serializedFile"]) == tiny_checkpoint.read_bytes()
        archive.extractall(tmp_path / "server")
        assert not [n for n in names if "__pycache__" in n or n.startswith(("train", "tests", "data/audit"))]

    # With the program's packages alone the server finds all that it imports, also what it imports late.
    alone = (
        "import ast, importlib, pathlib, handler\n"
        "for path in pathlib.Path().rglob('*.py'):\n"
        "    for node in ast.walk(ast.parse(path.read_text())):\n"
        "        if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] in ('data', 'networks', 'utils'):\n"
        "            importlib.import_module(node.module)\n"
    )
    result = run_script("-c", alone, cwd=tmp_path / "server")
    assert result.returncode == 0, result.stderr


def test_weights_of_another_kind_become_a_pth(tiny_checkpoint, tmp_path):
    """One that the server reads without the packages, or the files beside it, that the other kind needs."""
    network, info = load_network(tiny_checkpoint)
    other = tmp_path / "weights.onnx"
    EXPORTERS[".onnx"](network, info, other)
    files = contents(other, CONFIG)
    assert json.loads(files["MAR-INF/MANIFEST.json"])["model"]["serializedFile"] == "cloth_seg.pth"
    (tmp_path / "cloth_seg.pth").write_bytes(files["cloth_seg.pth"])
    packed, info = load_network(tmp_path / "cloth_seg.pth")
    network, expected = load_network(other)
    assert info == expected
    assert all(map(torch.equal, packed.state_dict().values(), network.state_dict().values()))
    assert archive(files) == archive(dict(reversed(contents(other, CONFIG).items())))  # the same bytes


def test_settings_that_the_server_could_not_use_are_refused(tiny_checkpoint, tmp_path):
    config = tmp_path / "config.yaml"
    with pytest.raises(UserError, match="cannot read"):
        contents(tiny_checkpoint, config)
    shipped = CONFIG.read_text()
    for text, words in (
        ("minWorkers: 1\n", "lack batchSize, handler, maxWorkers; start from"), ("a: [", "not valid YAML"),
        ("batchSize: 1\nmaxWorkers: 1\nhandler: 7", "section handler .* lacks flip"),
        (shipped.replace("    instances: 16", "    instances: 16\n    instance: 16"), "limits .* unknown instance$"),
        (shipped.replace("batchSize: 2", "batchSize: two"), "batchSize is 'two'; it must be a whole number over 0"),
        (shipped.replace("maxWorkers: 2", "maxWorkers: 0.5"), "maxWorkers is 0.5"),
        (shipped.replace("startupTimeout: 120", "startupTimeout: 2min"), "startupTimeout is '2min'"),
        (shipped.replace("flip: false", "flip: yes please"), "flip is 'yes please'; it must be true or false"),
        (shipped.replace("photo_megabytes: 20", "photo_megabytes: '20'"), "photo_megabytes is '20'"),
        (shipped.replace("reply_megabytes: 24", "reply_megabytes: .inf"), "reply_megabytes is inf"),
        (shipped.replace("precision: auto", "precision: bf17"), "precision is 'bf17'; use auto, fp32"),
        (shipped.replace("height: null", "height: 5"), "height is 5; it must be"),
    ):  # fmt: skip
        config.write_text(text)
        with pytest.raises(UserError, match=words):
            contents(tiny_checkpoint, config)


def test_shipped_limits_agree_with_the_servers():
    limits = yaml.safe_load((ROOT / "deploy/model-config.yaml").read_text())["handler"]["limits"]
    lines = (ROOT / "deploy/config.properties").read_text().splitlines()
    server = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    # A photograph at the limit passes, in base64 too, so that it is the handler that says what the limit is.
    assert limits["photo_megabytes"] * 1e6 * 4 / 3 < 0.9 * int(server["max_request_size"])
    assert limits["reply_megabytes"] * 1e6 < 0.9 * int(server["max_response_size"])
