"""The handler without TorchServe: what it loads, on which device, with how many threads, and how it answers."""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from deploy import handler
from tests.helpers import ROOT, encoded_photo


def context_of(checkpoint: Path, headers: list[dict] = (), gpu: int | None = None) -> Mock:
    """TorchServe's context, as far as the handler uses it."""
    return Mock(
        model_yaml_config=yaml.safe_load((ROOT / "deploy/model-config.yaml").read_text()),
        manifest={"model": {"serializedFile": checkpoint.name}},
        system_properties={"model_dir": str(checkpoint.parent), "gpu_id": gpu},
        get_all_request_header=lambda index: headers[index],
    )


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setattr(handler, "keep_freed_memory", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_a_batch_is_answered_with_status_and_type_of_each(tiny_checkpoint):
    context = context_of(tiny_checkpoint, [{"X-Format": "json"}, {}, {"Content-Type": "image/png"}])
    served = handler.ClothSegmentationHandler()
    served.initialize(context)
    report, refused, mask = served.handle(
        [{"body": encoded_photo()}, {"body": bytearray(b"hello")}, {"body": encoded_photo(20, 10)}], context
    )
    statuses, types = context.set_response_status.mock_calls, context.set_response_content_type.mock_calls
    assert statuses == [call(200, "OK", 0), call(400, "Bad Request", 1), call(200, "OK", 2)]
    assert types == [call(0, "application/json"), call(1, "application/json"), call(2, "image/png")]
    assert json.loads(report)["width"] == 12
    assert "not an image" in json.loads(refused)["error"]
    assert np.asarray(Image.open(io.BytesIO(mask))).shape == (10, 20)


@pytest.mark.parametrize(
    ("system", "gpu", "device"), [("linux", None, "cpu"), ("linux", 1, "cuda:1"), ("darwin", 0, "mps")]
)
@pytest.mark.parametrize(("said", "threads"), [(None, 4), ("3", None)])  # of 8, for the 2 workers of the settings
def test_the_settings_torchserves_gpu_and_the_threads_are_taken(
    tiny_checkpoint, monkeypatch, system, gpu, device, said, threads
):
    monkeypatch.setattr(handler, "sys", SimpleNamespace(platform=system))
    monkeypatch.setattr(handler.Predictor, "load", load := Mock())
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    context = context_of(tiny_checkpoint, gpu=gpu)
    settings = {"engine": "onnxruntime", "precision": "bf16", "height": 32, "width": 64, "flip": True}
    context.model_yaml_config["handler"].update(settings)
    handler.ClothSegmentationHandler().initialize(context)
    load.assert_called_once_with(tiny_checkpoint, device, threads=threads, **settings)
    load.return_value.assert_called_once()  # or the first request would wait until the engine is ready
