"""The handler without TorchServe: what it loads, on which device, with how many threads, and how it answers."""

import io
import json
import os
import types

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from deploy import handler
from tests.helpers import ROOT, encoded_photo
from utils.errors import UserError


class Context:
    """TorchServe's context, as far as the handler uses it."""

    def __init__(self, checkpoint, headers: list[dict] = (), gpu: int | None = None):
        self.model_yaml_config = yaml.safe_load((ROOT / "deploy/model-config.yaml").read_text())
        self.manifest = {"model": {"serializedFile": checkpoint.name}}
        self.system_properties = {"model_dir": str(checkpoint.parent), "gpu_id": gpu}
        self.headers, self.statuses, self.content_types = headers, {}, {}

    def get_all_request_header(self, index: int) -> dict:
        return self.headers[index]

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        self.statuses[index] = (code, phrase)

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_types[index] = value


@pytest.fixture
def threads(monkeypatch):
    """The numbers of threads that are set, without setting them."""
    numbers = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setattr(handler, "keep_freed_memory", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return numbers


def test_a_batch_is_answered_with_status_and_type_of_each(tiny_checkpoint, threads):
    context = Context(tiny_checkpoint, [{"X-Format": "json"}, {}, {"Content-Type": "image/png"}])
    served = handler.ClothSegmentationHandler()
    served.initialize(context)
    report, refused, mask = served.handle(
        [{"body": encoded_photo()}, {"body": bytearray(b"hello")}, {"body": encoded_photo(20, 10)}], context
    )
    assert context.statuses == {0: (200, "OK"), 1: (400, "Bad Request"), 2: (200, "OK")}
    assert context.content_types == {0: "application/json", 1: "application/json", 2: "image/png"}
    assert json.loads(report)["width"] == 12
    assert "not an image" in json.loads(refused)["error"]
    assert np.asarray(Image.open(io.BytesIO(mask))).shape == (10, 20)


def test_the_workers_share_the_cores_unless_the_user_says_how_many_threads(tiny_checkpoint, threads, monkeypatch):
    handler.ClothSegmentationHandler().initialize(Context(tiny_checkpoint))
    assert threads == [4]  # of eight, for the two workers of the shipped settings
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    handler.ClothSegmentationHandler().initialize(Context(tiny_checkpoint))
    assert threads == [4]


def test_a_server_runs_the_engine_of_its_settings(tiny_checkpoint, threads, monkeypatch):
    pytest.importorskip("onnxruntime")
    context = Context(tiny_checkpoint)
    context.model_yaml_config["handler"]["engine"] = "onnxruntime"
    served = handler.ClothSegmentationHandler()
    served.initialize(context)
    assert served.predictor.name == "cpu, fp32, ONNX Runtime"


@pytest.mark.parametrize(
    ("system", "gpu", "device"), [("linux", None, "cpu"), ("linux", 1, "cuda:1"), ("win32", 0, "cuda:0"),
                                  ("darwin", None, "cpu"), ("darwin", 0, "mps")],
)  # fmt: skip
def test_torchserves_number_of_a_gpu_is_the_systems_device(tiny_checkpoint, threads, monkeypatch, system, gpu, device):
    asked = []
    monkeypatch.setattr(handler, "sys", types.SimpleNamespace(platform=system))

    def load(*given, **chosen):
        asked.append((*given, chosen))
        return lambda photo: None

    monkeypatch.setattr(handler.Predictor, "load", load)
    handler.ClothSegmentationHandler().initialize(Context(tiny_checkpoint, gpu=gpu))
    settings = {"engine": "torch", "precision": "auto", "height": None, "width": None, "flip": False}
    assert asked == [(tiny_checkpoint, device, settings | {"threads": 4})]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_pytorch_cannot_use_is_not_replaced_by_the_cpu(tiny_checkpoint, threads):
    with pytest.raises(UserError, match="PyTorch finds no CUDA"):
        handler.ClothSegmentationHandler().initialize(Context(tiny_checkpoint, gpu=0))
