"""The TorchServe handler: a thin layer over the program's own predictor and the replies of deploy/protocol.py."""

import os
from http import HTTPStatus
from pathlib import Path

import torch

from deploy.protocol import Limits, answer
from networks.predictor import Predictor
from utils.devices import resolve_device, resolve_precision


class ClothSegmentationHandler:
    """One worker: a predictor, and how to answer a batch of requests with it."""

    def initialize(self, context) -> None:
        """Load the network. context: TorchServe's, with the settings of model-config.yaml."""
        settings = context.model_yaml_config
        own = settings["handler"]
        self.photos_a_pass = settings["batchSize"]
        self.limits = Limits(**own["limits"])
        gpu = context.system_properties.get("gpu_id")
        device = resolve_device("cpu" if gpu is None else f"cuda:{gpu}")
        if "OMP_NUM_THREADS" not in os.environ:
            # Workers that each use every core wait for one another.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // settings["maxWorkers"]))
        self.predictor = Predictor.from_checkpoint(
            Path(context.system_properties["model_dir"], context.manifest["model"]["serializedFile"]),
            device,
            resolve_precision(own["precision"], device),
            own["height"],
            own["width"],
            own["flip"],
        )

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Bodies of the replies, in order; status and content type are set in the context."""
        headers = [
            {name.lower(): value for name, value in context.get_all_request_header(i).items()} for i in range(len(data))
        ]
        replies = answer(list(zip(data, headers, strict=True)), self.predictor, self.limits, self.photos_a_pass)
        for i, reply in enumerate(replies):
            context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, i)
            context.set_response_content_type(i, reply.content_type)
        return [reply.body for reply in replies]
