"""The TorchServe handler: a thin layer over the program's own predictor and deploy/reply.py."""

import os
import sys
from http import HTTPStatus
from pathlib import Path

from PIL import Image

from deploy.reply import answer
from deploy.request import Limits
from networks.predictor import Predictor
from utils.freed_memory import keep_freed_memory
from utils.ranks import share_of_cores


class ClothSegmentationHandler:
    """One worker: a predictor, and how to answer a batch of requests with it."""

    def initialize(self, context) -> None:
        """Load the network. context: TorchServe's, with the settings of model-config.yaml."""
        settings = context.model_yaml_config
        own = dict(settings["handler"])  # limits, and what Predictor.load takes under the same names
        self.batch_size = settings["batchSize"]
        self.limits = Limits(**own.pop("limits"))
        gpu = context.system_properties.get("gpu_id")  # TorchServe counts Apple's GPU as number 0
        device = "cpu" if gpu is None else "mps" if sys.platform == "darwin" else f"cuda:{gpu}"
        weights = Path(context.system_properties["model_dir"], context.manifest["model"]["serializedFile"])
        # Workers that each use every core wait for one another.
        threads = None if "OMP_NUM_THREADS" in os.environ else share_of_cores(settings["maxWorkers"])
        self.predictor = Predictor.load(weights, device, threads=threads, **own)
        self.predictor(Image.new("RGB", (8, 8)))  # engines finish their start here, not at the first request
        keep_freed_memory()

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Bodies of the replies, in order; status and content type are set in the context."""
        headers = [
            {name.lower(): value for name, value in context.get_all_request_header(i).items()} for i in range(len(data))
        ]
        replies = answer(list(zip(data, headers, strict=True)), self.predictor, self.limits, self.batch_size)
        for i, reply in enumerate(replies):
            context.set_response_status(reply.status, HTTPStatus(reply.status).phrase, i)
            context.set_response_content_type(i, reply.content_type)
        return [reply.body for reply in replies]
