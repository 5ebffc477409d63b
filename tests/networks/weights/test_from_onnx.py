"""ONNX exports in all the ways they are written: the right masks, or one line."""

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
from networks.u2net import U2NET, U2NETP, build_network
from networks.weights.checkpoint import load_network, read_weights
from networks.weights.from_onnx import convolution_names
from tests.helpers import trained_like
from utils.errors import UserError


def export(network: nn.Module, path: Path, folded: bool = True, **kwargs) -> None:
    training = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 64),), path, dynamo=False, training=training, **kwargs)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("u2netp", 4)


@pytest.fixture(scope="module")
def exports(network, tmp_path_factory) -> dict[str, bytes]:
    """Files of the network with its batch norms folded, and with them as they are."""
    folder = tmp_path_factory.mktemp("exports")
    export(network, folder / "folded.onnx")
    export(network, folder / "unfolded.onnx", folded=False)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=["folded", "unfolded"])
def model(request, exports) -> onnx.ModelProto:
    return onnx.load_from_string(exports[request.param])


def fused_of_runtime(model: onnx.ModelProto | Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model if isinstance(model, Path) else model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_same_as_runtime(path: Path, atol: float = 1e-3) -> nn.Module:
    """What the file gives in onnxruntime, load_network's network gives, too."""
    loaded, _ = load_network(path)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    expected = fused_of_runtime(path, x)
    with torch.inference_mode():
        ours = loaded(torch.from_numpy(x))[0].numpy()
    assert np.abs(ours - expected).max() < atol * np.abs(expected).max()
    return loaded


def in_another_order(model: onnx.ModelProto) -> None:
    """Execute what is ready last first: a valid order that is far from the exporter's."""
    nodes, known, order = list(model.graph.node), {t.name for t in model.graph.initializer}, []
    known |= {"", *(value.name for value in model.graph.input)}
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
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer]
    nodes += list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)


def through_identity(model: onnx.ModelProto) -> None:
    nodes = []
    for tensor in model.graph.initializer:
        nodes.append(helper.make_node("Identity", [f"raw_{tensor.name}"], [tensor.name]))
        tensor.name = f"raw_{tensor.name}"
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def as_half_through_cast(model: onnx.ModelProto) -> None:
    nodes = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            nodes.append(helper.make_node("Cast", [f"half_{tensor.name}"], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"half_{tensor.name}"))
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def as_inputs_too(model: onnx.ModelProto) -> None:
    """As files of the first years list their weights."""
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def with_another_epsilon(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f = 1e-2


CHANGES = [
    (), (in_another_order,), (without_names,), (as_constants,), (through_identity,), (as_half_through_cast,),
    (as_inputs_too,), (with_another_epsilon,), (in_another_order, without_names, as_half_through_cast),
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "+".join(c.__name__ for c in changes) or "as it is")
def test_an_export_gives_what_it_gives_in_onnxruntime(changes, model, tmp_path):
    for change in changes:
        change(model)
    onnx.save(model, tmp_path / "a.onnx")
    assert_same_as_runtime(tmp_path / "a.onnx")


def test_batch_norms_are_taken_where_they_are_and_the_identity_where_they_were_folded(network, exports, tmp_path):
    for name, content in exports.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    assert is_folded(load_network(tmp_path / "folded.onnx")[0])
    loaded = load_network(tmp_path / "unfolded.onnx")[0].state_dict()
    for key, tensor in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(loaded[key], tensor), key


class Fused(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


@pytest.mark.parametrize("folded", [True, False])
def test_an_export_of_the_fused_map_alone_or_in_half_precision_loads(folded, network, tmp_path):
    export(Fused(network).eval(), tmp_path / "fused.onnx", folded)
    assert_same_as_runtime(tmp_path / "fused.onnx")
    model = onnx.load(tmp_path / "fused.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))
    onnx.save(model, tmp_path / "half.onnx")
    half = load_network(tmp_path / "half.onnx")[0].state_dict()
    for key, tensor in load_network(tmp_path / "fused.onnx")[0].state_dict().items():
        torch.testing.assert_close(half[key], tensor, atol=1e-3, rtol=1e-3)


def test_todays_exporter_with_its_weights_beside_the_file(network, tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "model").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path / "model/new.onnx"
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 64),), path, dynamo=True, external_data=True, verbose=False)
    assert (tmp_path / "model/new.onnx.data").exists()
    assert_same_as_runtime(path)


@pytest.fixture
def external(exports, tmp_path) -> Path:
    """An export with its weights in a file beside it, in a folder that is not the current one."""
    path = tmp_path / "model/a.onnx"
    path.parent.mkdir()
    model = onnx.load_from_string(exports["unfolded"])
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


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/a", "..", "..\\secret", "", "link"])
def test_weights_outside_the_files_own_folder_are_never_read(location, external):
    (external.parent.parent / "secret").write_bytes(bytes(10_000_000))
    (external.parent / "link").symlink_to("../secret")
    model = onnx.load(external, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    external.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="is refused"):
        load_network(external)


def test_a_description_in_the_metadata_is_taken(model, tmp_path):
    text = '{"class_names": ["background", "a", "b", "c"], "height": 64, "width": 96, "mean": 0.4, "std": 0.3}'
    helper.set_model_props(model, {"cloth_segmentation": text})
    onnx.save(model, tmp_path / "a.onnx")
    info = load_network(tmp_path / "a.onnx")[1]
    assert (info.class_names, info.height, info.width, info.mean) == (("background", "a", "b", "c"), 64, 96, 0.4)


def test_the_published_saliency_file_computes_what_onnxruntime_computes(saliency_onnx):
    network = build_network("u2netp", 1).eval()
    network.load_state_dict(read_weights(saliency_onnx)[0])
    x = np.random.default_rng(0).standard_normal((1, 3, 320, 320)).astype(np.float32)
    expected = onnxruntime.InferenceSession(saliency_onnx).run(None, {"input.1": x})
    with torch.inference_mode():
        outputs = network(torch.from_numpy(x))
    for ours, theirs in zip(outputs, expected, strict=True):
        assert np.abs(torch.sigmoid(ours).numpy() - theirs).max() < 1e-4


def test_a_folded_export_of_the_full_network_comes_back(tmp_path):
    network = trained_like("u2net", 4)
    export(network, tmp_path / "u2net_cloth_seg.onnx")
    loaded, info = load_network(tmp_path / "u2net_cloth_seg.onnx")
    assert info.class_names == ("background", "upper", "lower", "full")
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(loaded(x), network(x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("cls", [U2NET, U2NETP])
def test_every_convolution_of_the_network_is_known_by_those_before_it(cls):
    with torch.device("meta"):
        convolutions = [name for name, module in cls().named_modules() if isinstance(module, nn.Conv2d)]
    assert list(convolution_names().values()) == convolutions


# What must not become wrong masks


def first(model: onnx.ModelProto, op: str, index: int = 0) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == op][index]


def arithmetic(op: str) -> Callable[[onnx.ModelProto], None]:
    """A batch norm written as arithmetic: an operation with a constant behind a convolution."""

    def change(model: onnx.ModelProto) -> None:
        node = first(model, "Conv", 5)
        output, node.output[0] = node.output[0], "before"
        model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "a_constant"))
        added = helper.make_node(op, ["before", "a_constant"], [output])
        model.graph.node.insert(list(model.graph.node).index(node) + 1, added)

    return change


def input_scaled(model: onnx.ModelProto) -> None:
    node = first(model, "Conv")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "a_constant"))
    model.graph.node.insert(0, helper.make_node("Mul", [node.input[0], "a_constant"], ["scaled"]))
    node.input[0] = "scaled"


def another_activation(model: onnx.ModelProto) -> None:
    first(model, "Relu").op_type = "LeakyRelu"


def connected_in_another_way(model: onnx.ModelProto) -> None:
    first(model, "Conv", 4).input[0] = first(model, "Relu", 1).output[0]


def one_operation(op: str, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = first(model, "Conv")
        node.op_type, node.domain = op, domain

    return change


def lacking(op: str, field: str, left: int) -> Callable[[onnx.ModelProto], None]:
    """A node with so few inputs or outputs."""

    def change(model: onnx.ModelProto) -> None:
        del getattr(first(model, op), field)[left:]

    return change


REFUSED = {
    **{op: (arithmetic(op), f"computes {op} before a convolution") for op in ("Mul", "Add", "Sub", "Div", "Pow")},
    "input scaled": (input_scaled, "computes Mul before a convolution"),
    "another activation": (another_activation, "computes LeakyRelu"),
    "connected in another way": (connected_in_another_way, "connected in another way"),
    "QLinearConv": (one_operation("QLinearConv"), "quantised graph (QLinearConv)"),
    "ConvInteger": (one_operation("ConvInteger"), "quantised graph (ConvInteger)"),
    "DequantizeLinear": (one_operation("DequantizeLinear"), "quantised graph (DequantizeLinear)"),
    "FusedConv": (one_operation("FusedConv", "com.microsoft"), "fused for one runtime (FusedConv)"),
    "another domain": (one_operation("Conv", "com.microsoft.nchwc"), "fused for one runtime (Conv)"),
    "a description that is no JSON": (
        lambda model: helper.set_model_props(model, {"cloth_segmentation": "no JSON"}), "must be a JSON object",
    ),
    **{
        f"{op} with {left} {field}s": (lacking(op, field, left), "U2NET export")
        for op, field, left in [
            ("Conv", "input", 0), ("Conv", "input", 1), ("Conv", "output", 0), ("Relu", "input", 0),
            ("Relu", "output", 0), ("MaxPool", "input", 0), ("MaxPool", "output", 0),
        ]
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


def test_another_network_is_refused(tmp_path):
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    export(other, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="2 convolutions, U2NET has 119"):
        load_network(tmp_path / "other.onnx")
