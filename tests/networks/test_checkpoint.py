import copy
import os

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from networks.checkpoint import (
    MAX_BYTES,
    CheckpointInfo,
    build_network,
    initialise,
    load_network,
    read_weights,
    save_checkpoint,
)
from networks.folding import has_statistics, restore_statistics
from utils.errors import UserError


def trained_like(name: str, classes: int, seed: int = 0) -> nn.Module:
    """A network whose batch norms have statistics and scales of their own, as after training."""
    torch.manual_seed(seed)
    network = build_network(name, classes)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, 0, 0.1)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.num_batches_tracked.fill_(1000)
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return trained_like("u2netp", 4)


def equal(a: nn.Module, b: nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(torch.equal(x[k], y[k]) for k in x)


def test_published_onnx_computes_what_onnx_runtime_computes(saliency_onnx):
    network, _ = load_network(saliency_onnx)
    x = np.random.default_rng(0).standard_normal((1, 3, 320, 320)).astype(np.float32)
    expected = onnxruntime.InferenceSession(saliency_onnx).run(None, {"input.1": x})
    with torch.inference_mode():
        outputs = network(torch.from_numpy(x))
    for ours, theirs in zip(outputs, expected, strict=True):
        assert np.abs(torch.sigmoid(ours).numpy() - theirs).max() < 1e-4


def test_a_folded_export_of_the_full_network_comes_back(tmp_path):
    network = trained_like("u2net", 4)
    x, path = torch.randn(1, 3, 64, 64), tmp_path / "u2net_cloth_seg.onnx"
    torch.onnx.export(network, (x,), path, dynamo=False, do_constant_folding=True)
    loaded, info = load_network(path)
    assert info.class_names == ("background", "upper", "lower", "full")
    assert not has_statistics(loaded)
    with torch.inference_mode():
        for ours, theirs in zip(loaded(x), network(x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_restored_batch_norm_changes_nothing_in_eval_and_little_in_train_mode(saliency_onnx, ccp_train):
    from data.photo import open_photo
    from data.transforms import to_input

    transform = to_input((96, 96), 0.5, 0.5)
    photos = sorted(ccp_train.image_folder.iterdir())[:12]
    images = torch.stack([transform(open_photo(path)) for path in photos])
    network, _ = load_network(saliency_onnx)
    with torch.no_grad():
        before = torch.sigmoid(network(images)[0])
        unrestored = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
        restore_statistics(network, images.split(4))
        after = torch.sigmoid(network(images)[0])
        in_train_mode = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
    assert has_statistics(network)
    assert not network.training
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
    assert (in_train_mode - before).abs().mean() < 0.02
    assert (unrestored - before).abs().mean() > 5 * (in_train_mode - before).abs().mean()


def test_plain_prefixed_and_own_checkpoints_load_alike(network, tmp_path):
    plain, prefixed, own = tmp_path / "plain.pth", tmp_path / "ddp.pth", tmp_path / "own.pth"
    torch.save(network.state_dict(), plain)
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, prefixed)
    save_checkpoint(own, network, CheckpointInfo(("background", "a", "b", "c"), 64, 96, 0.4, 0.3, 7, {"miou": 0.5}))
    for path in (plain, prefixed, own):
        assert equal(load_network(path)[0], network)
    info = load_network(own)[1]
    assert info == CheckpointInfo(("background", "a", "b", "c"), 64, 96, 0.4, 0.3, 7, {"miou": 0.5})


def test_half_precision_weights_load_as_float32(network, tmp_path):
    save_checkpoint(tmp_path / "half.pth", network, CheckpointInfo(), half=True)
    assert (tmp_path / "half.pth").stat().st_size < 2_700_000
    assert {p.dtype for p in load_network(tmp_path / "half.pth")[0].parameters()} == {torch.float32}


@pytest.mark.parametrize(("name", "classes"), [("u2netp", 1), ("u2netp", 9), ("u2net", 3)])
def test_architecture_and_class_count_are_read_from_the_tensors(name, classes, tmp_path):
    torch.save(build_network(name, classes).state_dict(), tmp_path / "w.pth")
    loaded, info = load_network(tmp_path / "w.pth")
    assert type(loaded) is type(build_network(name, classes))
    assert len(info.class_names) == loaded.outconv.out_channels == classes


def test_surgery_copies_784_tensors_and_leaves_the_head(tmp_path):
    source, target = trained_like("u2netp", 1), trained_like("u2netp", 4, seed=1)
    head = copy.deepcopy(target)
    torch.save(source.state_dict(), tmp_path / "u2netp.pth")
    assert initialise(target, tmp_path / "u2netp.pth") == (784, 14)
    for key, tensor in target.state_dict().items():
        origin = head if key.startswith(("side", "outconv")) else source
        assert torch.equal(tensor, origin.state_dict()[key]), key


def test_same_number_of_classes_copies_all_798(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    target = build_network("u2netp", 4)
    assert initialise(target, tmp_path / "w.pth") == (798, 0)
    assert equal(target, network)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    torch.save({"state_dict": Malicious(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="run code") as error:
        read_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(error.value)


def test_wrong_keys_are_counted_and_named(network, tmp_path):
    state = dict(network.state_dict())
    del state["stage2.rebnconvin.conv_s1.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["side1.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        load_network(tmp_path / "w.pth")
    for words in ("1 missing (stage2.rebnconvin.conv_s1.bias", "1 unexpected (extra.weight", "1 misshaped (side1.bias"):
        assert words in str(error.value)


def test_weights_of_the_other_network_are_refused_for_surgery(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "small.pth")
    with pytest.raises(UserError, match="misshaped"):
        initialise(build_network("u2net", 4), tmp_path / "small.pth")


@pytest.mark.parametrize("name", ["broken.pth", "broken.onnx"])
@pytest.mark.parametrize("content", [b"", b"this is text", b"PK\x03\x04 cut off", bytes(range(256)) * 9])
def test_broken_files_give_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        load_network(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_truncated_checkpoint_gives_one_line(tiny_checkpoint, tmp_path):
    (tmp_path / "cut.pth").write_bytes(tiny_checkpoint.read_bytes()[:100_000])
    with pytest.raises(UserError, match="cut.pth"):
        load_network(tmp_path / "cut.pth")


def test_missing_and_oversized_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        load_network(tmp_path / "none.pth")
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a sparse file: takes no room
    with pytest.raises(UserError, match="over 2 GB"):
        load_network(tmp_path / "huge.pth")


def test_other_dicts_are_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "dict.pth")
    with pytest.raises(UserError, match="no state dict"):
        load_network(tmp_path / "dict.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "linear.pth")
    with pytest.raises(UserError, match="neither U2NET nor U2NETP"):
        load_network(tmp_path / "linear.pth")


def test_a_place_that_cannot_be_written_is_one_line(network, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "w.pth", network, CheckpointInfo())


@pytest.mark.parametrize("wrong", [{"height": "768"}, {"width": 10**9}, {"std": 0.0}, {"class_names": (1, 2, 3, 4)}])
def test_a_checkpoint_that_describes_itself_wrongly_is_refused(wrong, network, tmp_path):
    save_checkpoint(tmp_path / "w.pth", network, CheckpointInfo(**wrong))
    with pytest.raises(UserError, match="describes itself wrongly"):
        load_network(tmp_path / "w.pth")
