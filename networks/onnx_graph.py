"""A network as an ONNX model."""

import io
import json
import warnings
from dataclasses import asdict
from threading import Lock

import torch
from torch import Tensor, nn

from networks.weights.info import METADATA_KEY, CheckpointInfo

_EXPORTING = Lock()  # PyTorch exports in one thread at a time


def onnx_model(module: nn.Module, info: CheckpointInfo, size: tuple[int, int] | None = None) -> bytes:
    """ONNX (opset 17) of a module from images N x 3 x h x w to logits N x C x h x w, description inside.

    size: takes one image of this (h, w) only; None: any batch and any size.
    """
    import onnx

    buffer = io.BytesIO()
    image = next(module.parameters()).new_zeros(1, 3, *(size or (info.height, info.width)))
    # A caller's autocast would become part of the graph.
    with _EXPORTING, torch.inference_mode(), torch.autocast("cpu", enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (image,),
            buffer,
            opset_version=17,
            dynamo=False,  # the newer exporter needs onnxscript and writes this machine's paths into the file
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes=None if size else dict.fromkeys(("image", "logits"), {0: "batch", 2: "height", 3: "width"}),
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(asdict(info))})
    return model.SerializeToString()


class Fused(nn.Module):
    """The fused map alone, for exporters that take a module: in its cheaper form, or as the network is published."""

    def __init__(self, network: nn.Module, published: bool = False):
        super().__init__()
        self.network, self.published = network, published

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0] if self.published else self.network.fused(x)
