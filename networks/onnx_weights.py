"""Weights out of an ONNX export."""

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from networks.folding import make_identity
from networks.u2net import architecture_of_width, build_network
from utils.errors import UserError

CONVOLUTIONS = 119  # of U2NET and U2NETP alike


def read_onnx(path: Path) -> dict[str, Tensor]:
    """State dict with published keys of an ONNX export whose batch norms were folded into the convolutions.

    The exporter keeps the order of execution, which is the order of the published keys. Raises UserError.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
        tensors = {t.name: t for t in graph.initializer}
        convolutions = [[tensors[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
        loaded = [[torch.from_numpy(numpy_helper.to_array(t).copy()).float() for t in conv] for conv in convolutions]
    except Exception as error:  # protobuf's own exceptions differ from release to release
        raise UserError(f"cannot read {path} as ONNX with its weights inside ({type(error).__name__})") from None
    whole = len(loaded) == CONVOLUTIONS and all(len(conv) == 2 for conv in loaded)
    architecture = architecture_of_width(loaded[1][0].shape[0]) if whole else None
    if architecture is None:
        raise UserError(
            f"{path} is not a U2NET export ({len(loaded)} convolutions; U2NET has {CONVOLUTIONS}, each with a bias)"
        )
    network = build_network(architecture, loaded[-1][1].shape[0])
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    make_identity(network)
    state = network.state_dict()
    for name, (weight, bias) in zip(names, loaded, strict=True):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return state
