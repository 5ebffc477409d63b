"""From photographs to label maps: the only inference path."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from data.transforms import to_input
from networks.checkpoint import CheckpointInfo, load_network
from utils.devices import autocast

STRIP_BYTES = 64_000_000  # of full-size logits held at once, whatever the photo's size


class Predictor:
    """A network with the preprocessing that belongs to it.

    size: (height, width) the network sees. class_names: by label value. to_input: RGB photo -> 3 x h x w float.
    """

    def __init__(
        self,
        network: nn.Module,
        info: CheckpointInfo,
        device: torch.device,
        precision: str = "fp32",
        flip: bool = False,
    ):
        """network: taken over and put in eval mode. precision: 'fp32' or 'bf16' (autocast).

        flip: predict the mirrored photo too and take the mean of both.
        """
        # Channels-last is the faster format for inference on CPUs and GPUs alike.
        self.network = network.eval().to(device, memory_format=torch.channels_last)
        self.device, self.precision, self.flip = device, precision, flip
        self.size, self.class_names = (info.height, info.width), tuple(info.class_names)
        self.to_input = to_input(self.size, info.mean, info.std)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: torch.device,
        precision: str = "fp32",
        height: int | None = None,
        width: int | None = None,
        flip: bool = False,
    ) -> "Predictor":
        """Predictor of a weight file; height and width override what the file says. Raises UserError."""
        network, info = load_network(path)
        info.height, info.width = height or info.height, width or info.width
        return cls(network, info, device, precision, flip)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Fused logits of normalised images: N x 3 x h x w -> N x C x h x w float32, on the CPU."""
        images = images.to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            fused = self.network(images)[0].float()
            if self.flip:
                fused = (fused + self.network(images.flip(-1))[0].flip(-1).float()) / 2
        return fused.cpu()

    def predict(self, photos: list[Image.Image]) -> list[np.ndarray]:
        """Label maps (each H x W uint8, at the photo's own size) of RGB photographs, one pass of the network."""
        logits = self.logits(torch.stack([self.to_input(photo) for photo in photos]))
        return [labels_at(item, photo.size[::-1]) for item, photo in zip(logits, photos, strict=True)]


def labels_at(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Logits C x h x w resized bilinearly to ``size`` = (H, W), then argmax: H x W uint8.

    Done in strips of rows, so that memory does not grow with the photo.
    """
    classes, h, w = logits.shape
    height, width = size
    labels = np.empty(size, np.uint8)
    # Source row of each target row, pixel centres aligned, clamped at the edges as in F.interpolate.
    source = ((torch.arange(height) + 0.5) * (h / height) - 0.5).clamp(0, h - 1)
    above = source.floor().long()
    below = (above + 1).clamp(max=h - 1)
    part = (source - above)[:, None]
    rows = max(1, STRIP_BYTES // (classes * width * logits.element_size()))
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        lines = torch.lerp(logits[:, above[strip]], logits[:, below[strip]], part[strip])  # C x rows x w
        wide = F.interpolate(lines[None], size=(lines.shape[1], width), mode="bilinear", align_corners=False)[0]
        labels[strip] = wide.argmax(0).numpy()
    return labels
