"""What int8 and fp16 would give on the CPU: python -m benchmarks.reduced_precision --photos FOLDER

Static int8: weights per channel, activations by the range they have on a part of the photographs. "corrected": biases
make up for the rounded weights, and the first convolution and those of the side maps stay as they are. Labels are
compared with those of fp32 on the other photographs, each model on the same prepared ones; seconds of one photo are
medians of one process, in turn. Needs onnxruntime and openvino.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor

from benchmarks.harness import interleaved_medians
from data.photos.folder import find_photos
from data.photos.open import open_photo
from networks.engines.onnx_cache import converted_onnx
from networks.engines.rounding import round_weights
from networks.folding import fold
from networks.onnx_model import onnx_for_engines
from networks.predictor import Predictor
from networks.weights.checkpoint import load_network
from networks.weights.info import INCLUDED_WEIGHTS

ROOT = Path(__file__).parents[1]
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}  # this project's names of precisions -> OpenVINO's


class Photographs(CalibrationDataReader):
    """Prepared photographs, one at a time, as ONNX Runtime's calibration takes them."""

    def __init__(self, images: list[np.ndarray]):
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=INCLUDED_WEIGHTS)
    parser.add_argument("--photos", type=Path, default=ROOT / "input_images", help="folder of photographs")
    parser.add_argument("--count", type=int, default=24, help="photographs, half of them to calibrate with")
    parser.add_argument("--repeats", type=int, default=10, help="predictions that are timed")
    options = parser.parse_args()
    predictor = Predictor.load(options.checkpoint, "cpu", engine="onnxruntime")
    names = find_photos(options.photos)[: options.count]
    images = [predictor.prepare(open_photo(options.photos / name))[None] for name in names]
    calibration, compared = images[: len(images) // 2], images[len(images) // 2 :]

    with tempfile.TemporaryDirectory() as folder:
        models = {"fp32": Path(folder, "fp32.onnx")}
        models["fp32"].write_bytes(converted_onnx(options.checkpoint))
        models["fp16"] = Path(folder, "fp16.onnx")
        onnx.save(convert_float_to_float16(onnx.load(models["fp32"]), keep_io_types=True), models["fp16"])
        corrected, info = load_network(options.checkpoint)
        fold(corrected)
        round_weights(corrected, as_int8)
        models["int8"], models["int8, corrected"] = Path(folder, "int8.onnx"), Path(folder, "corrected.onnx")
        quantise(models["fp32"].read_bytes(), models["int8"], calibration)
        quantise(onnx_for_engines(corrected, info), models["int8, corrected"], calibration, kept=sensitive)
        ways = {f"ONNX Runtime, {name}": onnx_runtime(model) for name, model in models.items()}
        for name in ("fp32", "bf16", "fp16"):
            model = Path(folder, f"openvino_{name}.onnx")
            model.write_bytes(converted_onnx(options.checkpoint, bf16=name == "bf16"))
            ways[f"OpenVINO, {name}"] = open_vino(model, (info.height, info.width), HINTS[name])
        for name in [name for name in models if name.startswith("int8")]:
            ways[f"OpenVINO, {name}"] = open_vino(models[name], (info.height, info.width), "f32")

        seconds = interleaved_medians(
            {name: lambda run=run: run(compared[0]) for name, run in ways.items()}, options.repeats
        )
        labels = {name: [run(image).argmax(1) for image in compared] for name, run in ways.items()}
        reference = labels["ONNX Runtime, fp32"]
        print(f"{options.checkpoint.name} at {info.width}x{info.height}; {len(calibration)} photographs to calibrate, "
              f"{len(compared)} compared")  # fmt: skip
        print(f"{'':<28}{'seconds':>9}{'same labels':>13}{'MB':>7}")
        for name in ways:
            same = np.mean([np.mean(a == b) for a, b in zip(labels[name], reference, strict=True)])
            model = models[name.partition(", ")[2] if "int8" in name or "Runtime" in name else "fp32"]
            print(f"{name:<28}{seconds[name]:>9.3f}{100 * same:>11.2f} %{model.stat().st_size / 1e6:>7.1f}")


def as_int8(weight: Tensor) -> Tensor:
    """What 8 bits make of weights, with a scale for each output channel."""
    scale = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    return (weight / scale).round() * scale


def sensitive(model: onnx.ModelProto) -> list[str]:
    """Names of the first convolution and of those of the side maps."""
    first, *others = (node.name for node in model.graph.node if node.op_type == "Conv")
    return [first, *(name for name in others if "side" in name)]


def quantise(content: bytes, target: Path, calibration: list[np.ndarray], kept=lambda model: []) -> None:
    """Write an ONNX model in int8. kept: of the model, names of the nodes that stay as they are."""
    quant_pre_process(onnx.load_from_string(content), target, skip_symbolic_shape=True)
    quantize_static(
        target, target, Photographs(calibration), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept(onnx.load(target)),
    )  # fmt: skip


def onnx_runtime(model: Path):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def open_vino(model: Path, size: tuple[int, int], precision: str):
    core = openvino.Core()
    network = core.read_model(model)
    network.reshape([1, 3, *size])
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return lambda image: request.infer({0: image})[0].copy()


if __name__ == "__main__":
    main()
