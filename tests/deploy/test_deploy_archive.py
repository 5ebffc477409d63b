"""The model archive and the TorchScript file."""

import json
import zipfile

import pytest
import torch
import yaml

from deploy.build_archive import archive, contents
from networks.checkpoint import load_network
from tests.helpers import ROOT, assert_one_line_error, run_script
from utils.errors import UserError

CONFIG = ROOT / "deploy/model-config.yaml"


def test_one_command_builds_the_archive(tiny_checkpoint, tmp_path):
    result = run_script("deploy/build_archive.py", "--checkpoint_path", tiny_checkpoint, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(tmp_path / "cloth_seg.mar") as archive:
        names = set(archive.namelist())
        model = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        assert {model["handler"], model["serializedFile"], model["configFile"]} <= names
        assert archive.read(model["serializedFile"]) == tiny_checkpoint.read_bytes()
        assert not [name for name in names if "__pycache__" in name or name.startswith(("train", "tests"))]


def test_the_same_inputs_make_the_same_bytes(tiny_checkpoint, tmp_path):
    copy = tmp_path / tiny_checkpoint.name
    copy.write_bytes(tiny_checkpoint.read_bytes())
    files = contents(tiny_checkpoint, CONFIG)
    assert archive(files) == archive(dict(reversed(contents(copy, CONFIG).items())))


def test_a_checkpoint_that_is_none_is_one_line(tmp_path):
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    result = run_script("deploy/build_archive.py", "--checkpoint_path", broken, "--output_dir", tmp_path)
    assert_one_line_error(result, str(broken))
    assert not (tmp_path / "cloth_seg.mar").exists()


def test_settings_that_the_server_could_not_use_are_refused(tiny_checkpoint, tmp_path):
    config = tmp_path / "config.yaml"
    with pytest.raises(UserError, match="cannot read"):
        contents(tiny_checkpoint, config)
    for text, words in (("minWorkers: 1\n", "lack the section handler"), ("a: [", "no valid YAML")):
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


def test_torchscript_gives_the_networks_logits(tiny_checkpoint, tmp_path):
    target = tmp_path / "torchscript.pt"
    result = run_script("deploy/convert_to_torchscript.py", "--checkpoint_path", tiny_checkpoint, "--output", target)
    assert result.returncode == 0, result.stderr
    traced = torch.jit.load(target)
    network, _ = load_network(tiny_checkpoint)
    for size in ((64, 64), (97, 131)):
        image = torch.randn(1, 3, *size)
        with torch.inference_mode():
            torch.testing.assert_close(traced(image)[0], network(image)[0])
