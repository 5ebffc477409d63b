import torch

from networks.checkpoint import build_network, load_network
from tests.helpers import assert_one_line_error, run_script


def test_surgery_of_the_published_onnx(saliency_onnx, tmp_path):
    result = run_script(
        "setup_model_weights.py", "--model", "u2netp", "--weights", saliency_onnx, "--save_dir", tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "784 tensors copied, 14 of the head" in result.stdout
    network, info = load_network(tmp_path / "cloth_segm_u2netp_surgery.pth")
    saliency, _ = load_network(saliency_onnx)
    assert info.class_names == ("background", "upper", "lower", "full")
    key = "stage6.rebnconv1.conv_s1.weight"
    assert torch.equal(network.state_dict()[key], saliency.state_dict()[key])


def test_surgery_of_a_pth_for_another_class_map(tmp_path):
    torch.save(build_network("u2net", 1).state_dict(), tmp_path / "u2net.pth")
    (tmp_path / "map.yml").write_text("a: [0]\nb: [1]\n")
    result = run_script(
        "setup_model_weights.py", "--weights", tmp_path / "u2net.pth", "--save_dir", tmp_path / "out",
        "--class_map", tmp_path / "map.yml",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert load_network(tmp_path / "out" / "cloth_segm_unet_surgery.pth")[1].class_names == ("background", "a", "b")


def test_broken_weights_are_one_line_and_leave_nothing(tmp_path):
    (tmp_path / "u2net.pth").write_bytes(b"<html>quota exceeded</html>")
    result = run_script("setup_model_weights.py", "--weights", tmp_path / "u2net.pth", "--save_dir", tmp_path / "out")
    assert_one_line_error(result, "u2net.pth")
    assert not (tmp_path / "out").exists()


def test_a_failed_download_says_what_to_do_by_hand_and_leaves_nothing(tmp_path):
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "PATH": ""}
    result = run_script("setup_model_weights.py", "--save_dir", tmp_path / "out", env=nowhere)
    assert_one_line_error(result, "download failed", "--weights FILE", "1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ")
    assert not list((tmp_path / "out").iterdir())
