"""ONNX exports in all the ways they are written: the right masks, or one line."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from networks.folding import is_folded
from networks.u2net import build_network
from networks.weights.checkpoint import load_network, read_weights
from tests.helpers import trained_like
from utils.errors import UserError


def export(network: nn.Module, path: Path, folded: bool = True, **kwargs) -> None:
    training = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kwargs = kwargs or {"dynamo": False, "training": training}
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 64),), path, **kwargs)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("u2netp", 4)


@pytest.fixture(scope="module")
def exports(network, tmp_path_factory) -> dict[str, bytes]:
    """Files of the network with its batch norms folded, and with them as they are."""
    path, files = tmp_path_factory.mktemp("exports") / "a.onnx", {}
    for name in ("folded", "unfolded"):
        export(network, path, name == "folded")
        files[name] = path.read_bytes()
    return files


def assert_same_as_runtime(path: Path) -> None:
    """What the file gives in onnxruntime, load_network's network gives, too."""
    session = onnxruntime.InferenceSession(path)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)
    expected = session.run(None, {session.get_inputs()[0].name: x})[0]
    with torch.inference_mode():
        ours = load_network(path)[0](torch.from_numpy(x))[0].numpy()
    assert np.abs(ours - expected).max() < 1e-3 * np.abs(expected).max()


def in_another_order(model: onnx.ModelProto) -> None:
    """Execute what is ready last first: a valid order that is far from the exporter's."""
    nodes, order = list(model.graph.node), []
    known = {"", *(each.name for each in (*model.graph.initializer, *model.graph.input))}
    while nodes:
        node = next(node for node in reversed(nodes) if known.issuperset(node.input))
        nodes.remove(node)
        order.append(node)
        known |= set(node.output)
    assert [node.name for node in order] != [node.name for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(order)


def without_names(model: onnx.ModelProto) -> None:
    names = {tensor.name: f"t{i}" for i, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
        node.input[:] = [names.get(name, name) for name in node.input]


def as_constants(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]


def as_half(model: onnx.ModelProto) -> None:
    """Weights in half precision, that an operation makes float32."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            node = helper.make_node("Cast", [f"raw_{tensor.name}"], [tensor.name], to=TensorProto.FLOAT)
            model.graph.node.insert(0, node)
            array = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(array, f"raw_{tensor.name}"))


def with_another_epsilon(model: onnx.ModelProto) -> None:
    for attribute in (each for node in model.graph.node for each in node.attribute if each.name == "epsilon"):
        attribute.f = 1e-2


SEVERAL = in_another_order, without_names, as_half


@pytest.mark.parametrize(("name", "changes"), [
    ("folded", ()), ("unfolded", ()), ("folded", SEVERAL), ("unfolded", SEVERAL), ("folded", (as_constants,)),
    ("unfolded", (with_another_epsilon,)),
])  # fmt: skip
def test_an_export_gives_what_it_gives_in_onnxruntime(name, changes, exports, tmp_path):
    model = onnx.load_from_string(exports[name])
    for change in changes:
        change(model)
    onnx.save(model, tmp_path / "a.onnx")
    assert_same_as_runtime(tmp_path / "a.onnx")


def test_a_network_runs_in_another_thread_while_an_export_is_read(network, exports, tmp_path):
    (tmp_path / "a.onnx").write_bytes(exports["folded"])
    read, faults = threading.Event(), []

    def run() -> None:
        while not (read.is_set() or faults):
            try:
                network.side1(torch.zeros(1, 64, 3, 3))
            except Exception as fault:
                faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        load_network(tmp_path / "a.onnx")
    finally:
        read.set()
        thread.join()
    assert not faults


def test_batch_norms_are_taken_where_they_were_not_folded(network, exports, tmp_path):
    for name, content in exports.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    folded, unfolded = (load_network(tmp_path / f"{name}.onnx")[0] for name in ("folded", "unfolded"))
    loaded = unfolded.state_dict()
    assert is_folded(folded)
    for key, tensor in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(loaded[key], tensor), key


def test_todays_exporter_with_its_weights_beside_the_file(network, tmp_path):
    pytest.importorskip("onnxscript")
    export(network, tmp_path / "new.onnx", dynamo=True, external_data=True, verbose=False)
    assert (tmp_path / "new.onnx.data").exists()
    assert_same_as_runtime(tmp_path / "new.onnx")


@pytest.fixture
def external(exports, tmp_path) -> Path:
    """An export with its weights in a file beside it, in a folder that is not the current one."""
    path, model = tmp_path / "model/a.onnx", onnx.load_from_string(exports["unfolded"])
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="a.weights", size_threshold=0)
    return path


def test_weights_beside_the_file_are_found_from_any_folder_and_asked_for_where_they_are_not(external):
    assert_same_as_runtime(external)
    data = external.parent / "a.weights"
    data.write_bytes(data.read_bytes()[:100_000])
    with pytest.raises(UserError, match="cannot read the weight"):
        load_network(external)
    data.unlink()
    with pytest.raises(UserError, match="keeps its weights in a.weights, which is not beside it"):
        load_network(external)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "..", "..\\secret", "", "link"])
def test_weights_outside_the_files_own_folder_are_never_read(location, external):
    (external.parent.parent / "secret").write_bytes(bytes(10_000_000))
    (external.parent / "link").symlink_to("../secret")
    model = onnx.load(external, load_external_data=False)
    for entry in (entry for tensor in model.graph.initializer for entry in tensor.external_data):
        entry.value = location if entry.key == "location" else entry.value
    external.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="is refused"):
        load_network(external)


def test_the_published_saliency_file_computes_what_onnxruntime_computes(saliency_onnx):
    network = build_network("u2netp", 1).eval()
    network.load_state_dict(read_weights(saliency_onnx)[0])
    x = np.random.default_rng(0).standard_normal((1, 3, 320, 320), np.float32)
    expected = onnxruntime.InferenceSession(saliency_onnx).run(None, {"input.1": x})
    with torch.inference_mode():
        outputs = network(torch.from_numpy(x))
    for ours, theirs in zip(outputs, expected, strict=True):
        assert np.abs(torch.sigmoid(ours).numpy() - theirs).max() < 1e-4


# What must not become wrong masks


def first(model: onnx.ModelProto, op: str, index: int = 0) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == op][index]


def arithmetic(op: str, index: int) -> Callable[[onnx.ModelProto], None]:
    """An operation with a constant before a convolution: of the input, or as a batch norm is written elsewhere."""

    def change(model: onnx.ModelProto) -> None:
        node = first(model, "Conv", index)
        model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "a_constant"))
        added = helper.make_node(op, [node.input[0], "a_constant"], ["after"])
        model.graph.node.insert(list(model.graph.node).index(node), added)
        node.input[0] = "after"

    return change


def replaced(op: str, domain: str = "", old: str = "Conv") -> Callable[[onnx.ModelProto], None]:
    return lambda model: first(model, old).MergeFrom(onnx.NodeProto(op_type=op, domain=domain))


def connected_in_another_way(model: onnx.ModelProto) -> None:
    first(model, "Conv", 4).input[0] = first(model, "Relu", 1).output[0]


REFUSED = {
    "batch norm as arithmetic": (arithmetic("Sub", 5), "computes Sub before a convolution"),
    "input scaled": (arithmetic("Mul", 0), "computes Mul before a convolution"),
    "another activation": (replaced("LeakyRelu", old="Relu"), "computes LeakyRelu"),
    "connected in another way": (connected_in_another_way, "connected in another way"),
    **{op: (replaced(op), f"quantised graph ({op})") for op in ("QLinearConv", "DequantizeLinear")},
    "FusedConv": (replaced("FusedConv", "com.microsoft"), "fused for one runtime (FusedConv)"),
    "Conv without weights": (lambda model: first(model, "Conv").input.__delitem__(slice(1, None)), "U2NET export"),
    "a description that is no JSON": (
        lambda model: helper.set_model_props(model, {"cloth_segmentation": "no JSON"}), "must be a JSON object",
    ),
    **{
        f"Conv without {field}": (lambda model, field=field: first(model, "Conv").ClearField(field), "U2NET export")
        for field in ("input", "output")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_whose_weights_would_give_wrong_masks_is_refused(name, exports, tmp_path):
    change, words = REFUSED[name]
    model = onnx.load_from_string(exports["folded"])
    change(model)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UserError) as caught:
        load_network(tmp_path / "a.onnx")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_all_one_large_constant_are_refused_before_they_are_copied(exports, tmp_path):
    model = onnx.load_from_string(exports["folded"])
    model.graph.initializer.append(onnx.TensorProto(name="large", data_type=onnx.TensorProto.INT8, dims=[5_000_000]))
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.input[1] = "large"
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(UserError, match="weights of over 2 GB"):
        load_network(tmp_path / "a.onnx")


def test_another_network_is_refused(tmp_path):
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    export(other, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="2 convolutions, U2NET has 119"):
        load_network(tmp_path / "other.onnx")
