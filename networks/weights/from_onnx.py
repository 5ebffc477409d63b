"""Weights out of an ONNX export."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import GraphProto, NodeProto, TensorProto, external_data_helper, numpy_helper
from torch import Tensor

from networks.folding import identity_norm
from networks.u2net import U2NET_STAGES, Stage
from networks.weights.info import MAX_BYTES, StateDict, description_of
from utils.errors import UserError

EPSILON = 1e-5  # of the network's batch norms
# What the network does between its convolutions. A graph that does anything else there needs more than the weights.
BETWEEN = {"Relu", "MaxPool", "Resize", "Upsample", "Concat", "Add", "Identity", "Cast"}
FIRST_INPUT_ONLY = {"Conv", "BatchNormalization", "Resize", "Upsample"}  # whose other inputs are weights and sizes
QUANTISED = ("QLinear", "QuantizeLinear", "DequantizeLinear", "Integer")


def read_onnx(path: Path) -> tuple[StateDict, dict]:
    """(state dict with published keys, the file's description of itself) of an ONNX export. Raises UserError.

    Which convolution is which is read from how they are connected, whatever their names and order. Batch norms are
    taken where the export has them; where they were folded into the convolutions they are the identity.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's own exceptions differ from release to release
        raise UserError(f"cannot read {path} as ONNX (truncated, or not an ONNX file)") from None
    graph = model.graph
    _refuse_converted(graph, path)
    description = description_of({entry.key: entry.value for entry in model.metadata_props}, path)
    try:
        return _weights(graph, path, prepares_input=bool(description)), description
    except (IndexError, ValueError):
        raise UserError(f"{path} is not a U2NET export (one of its nodes lacks inputs or outputs)") from None


def _weights(graph: GraphProto, path: Path, prepares_input: bool) -> StateDict:
    """Weights by their published names. Raises UserError, and IndexError or ValueError on a malformed node."""
    constants = _constants(graph)
    state: StateDict = {}
    nodes = _match(graph, constants, path, prepares_input)
    _refuse_too_many_numbers([node for pair in nodes.values() for node in pair if node], constants, path)
    for name, (convolution, norm) in nodes.items():
        weight, *bias = (_tensor(constants, value, path) for value in convolution.input[1:])
        state |= {f"{name}.weight": weight, f"{name}.bias": bias[0] if bias else torch.zeros(len(weight))}
        if name.endswith("conv_s1"):
            values = identity_norm(len(weight)) if norm is None else _batch_norm(norm, constants, path)
            state |= {f"{name.removesuffix('conv_s1')}bn_s1.{key}": value for key, value in values.items()}
    return state


def _refuse_converted(graph: GraphProto, path: Path) -> None:
    for node in graph.node:
        quantised = any(word in node.op_type for word in QUANTISED)
        if quantised or node.domain.startswith("com.microsoft"):
            kind = "quantised graph" if quantised else "graph fused for one runtime"
            raise UserError(f"{path} is a {kind} ({node.op_type}); give the float export that it was made from")


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Tensors of a graph by name: its initializers, Constant nodes, and either through Identity and Cast."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
        elif node.op_type in ("Identity", "Cast") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def _refuse_too_many_numbers(nodes: list[NodeProto], constants: dict[str, TensorProto], path: Path) -> None:
    """Raise UserError where the weights of nodes would not fit into a weight file; they can all be one constant."""
    used = (constants[name] for node in nodes for name in node.input[1:] if name in constants)
    if 4 * sum(abs(math.prod(tensor.dims)) for tensor in used) > MAX_BYTES:
        raise UserError(f"{path} has weights of over {MAX_BYTES / 1e9:g} GB; it is not a U2NET export")


class FeatureMap(NamedTuple):
    """Where a value of the graph comes from.

    sources: the convolutions before it, without others between. producer: the convolution whose output it is.
    foreign: an operation since its sources that U2NET does not have.
    """

    sources: frozenset[str] = frozenset()
    producer: str | None = None
    foreign: str | None = None


def _match(
    graph: GraphProto, constants: dict[str, TensorProto], path: Path, prepares_input: bool
) -> dict[str, tuple[NodeProto, NodeProto | None]]:
    """(convolution, batch norm after it or None) by the convolution's published name, in that order. Raises UserError.

    prepares_input: whether the graph may change the image before the first convolution.
    """
    names = convolution_names()
    convolutions: dict[str, NodeProto] = {}
    norms: dict[str, NodeProto] = {}
    maps: dict[str, FeatureMap] = {}
    for node in graph.node:  # in an order of execution
        if not node.input or node.output[0] in constants or node.op_type in ("Shape", "Size"):
            continue  # its output is no feature map
        reads = node.input[:1] if node.op_type in FIRST_INPUT_ONLY else node.input
        inputs = [maps.get(name, FeatureMap()) for name in reads]
        sources = frozenset().union(*(each.sources for each in inputs))
        foreign = next((each.foreign for each in inputs if each.foreign), None)
        if node.op_type == "Conv":
            if foreign and (sources or not prepares_input):
                raise UserError(
                    f"{path} computes {foreign} before a convolution, as U2NET does not: its weights alone would give "
                    "wrong masks; export the network alone"
                )
            name = names.get(sources)
            if name is None or name in convolutions:
                raise UserError(f"{path} is not a U2NET export (its convolutions are connected in another way)")
            convolutions[name], maps[node.output[0]] = node, FeatureMap(frozenset([name]), name)
            continue
        producer = inputs[0].producer if node.op_type in ("Identity", "Cast") else None
        if node.op_type == "BatchNormalization" and inputs[0].producer:
            norms[inputs[0].producer] = node
        elif node.op_type not in BETWEEN or any(name in constants for name in reads):
            foreign = foreign or node.op_type
        maps[node.output[0]] = FeatureMap(sources, producer, foreign)
    if len(convolutions) < len(names):
        raise UserError(f"{path} is not a U2NET export ({len(convolutions)} convolutions, U2NET has {len(names)})")
    return {name: (convolutions[name], norms.get(name)) for name in names.values()}


def convolution_names() -> dict[frozenset[str], str]:
    """Published name of each of the 119 convolutions by the set of those that its input comes from directly.

    Those sets are all different, and the same for U2NET and U2NETP. The names are in their published order.
    Written out, not traced: a trace by torch.fx takes a second, and fails networks that run in other threads meanwhile.
    """
    names: dict[frozenset[str], str] = {}

    def convolution(name: str, before: frozenset[str]) -> frozenset[str]:
        names[before] = name
        return frozenset([name])

    def stage(stage: Stage, x: frozenset[str]) -> frozenset[str]:
        """As RSU.forward."""
        residual = convolution(f"{stage.name}.rebnconvin.conv_s1", x)
        features, h = [], residual
        for level in range(1, stage.height):
            h = convolution(f"{stage.name}.rebnconv{level}.conv_s1", h)
            features.append(h)
        h = convolution(f"{stage.name}.rebnconv{stage.height}.conv_s1", h)
        for level in range(stage.height - 1, 0, -1):
            h = convolution(f"{stage.name}.rebnconv{level}d.conv_s1", h | features.pop())
        return h | residual

    features, h = [], frozenset()
    for encoder in U2NET_STAGES[:6]:
        h = stage(encoder, h)
        features.append(h)
    decoded = [features.pop()]
    for decoder in U2NET_STAGES[6:]:
        decoded.append(stage(decoder, decoded[-1] | features.pop()))
    sides = [convolution(f"side{level}", h) for level, h in enumerate(reversed(decoded), 1)]
    convolution("outconv", frozenset().union(*sides))
    return names


def _batch_norm(node: NodeProto, constants: dict[str, TensorProto], path: Path) -> StateDict:
    weight, bias, mean, variance = (_tensor(constants, name, path) for name in node.input[1:5])
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), EPSILON)
    return {
        "weight": weight, "bias": bias, "running_mean": mean, "running_var": variance + (epsilon - EPSILON),
        "num_batches_tracked": torch.tensor(0),
    }  # fmt: skip


def _tensor(constants: dict[str, TensorProto], name: str, path: Path) -> Tensor:
    """A constant as float32. Raises UserError where the graph computes it, or its file is not beside the graph's."""
    if name not in constants:
        raise UserError(f"{path} computes its weight {name}; export it with the weights as constants")
    tensor = constants[name]
    if external_data_helper.uses_external_data(tensor):
        _read_external(tensor, path)
    try:
        return torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    except Exception:  # too few bytes for the shape, or a type without numbers
        raise UserError(f"cannot read the weight {name} of {path} (truncated?)") from None


def _read_external(tensor: TensorProto, path: Path) -> None:
    """Take a tensor's bytes from the file beside the graph's. Raises UserError."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    location = place.get("location", "")
    file = path.parent / location
    if Path(location).name != location or "\\" in location or location in ("", ".", ".."):
        raise UserError(f"{path} is refused: it reads its weights from {location!r}, outside its own folder")
    if not file.is_file():
        raise UserError(f"{path} keeps its weights in {location}, which is not beside it; put both into one folder")
    if file.resolve().parent not in (path.parent.resolve(), path.resolve().parent) or file.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is refused: {location}, which it reads its weights from, is a link or too large")
    try:
        with file.open("rb") as content:
            content.seek(int(place.get("offset", 0)))
            tensor.raw_data = content.read(int(place.get("length", -1)))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    tensor.data_location = TensorProto.DEFAULT
