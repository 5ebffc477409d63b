"""From a photograph (and its label map) to tensors: the normalisation, the published recipe and the augmentation."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2


def to_input(size: tuple[int, int], mean: float, std: float) -> v2.Compose:
    """RGB photo -> 3 x h x w float32 at ``size`` = (h, w), (value in 0..1 - mean) / std."""
    return v2.Compose([v2.Resize(size), *_normalised(mean, std)])


class TrainTransform:
    """Photo and label map -> normalised image (3 x h x w float32) and label (h x w int64).

    ``working_size`` is the (h, w) that the photo is squeezed to first, and the size to rasterise labels at:
    larger than the target by what a crop is enlarged, so that crops keep the aspect that whole photos have.
    """

    def __init__(self, size: tuple[int, int], mean: float, std: float, augment: str, min_crop_area: float):
        """augment: 'none' (the published recipe) or 'full' (random resized crop, flip, colour jitter).

        min_crop_area: share of the photo that a crop has at least.
        """
        if augment == "none":
            self.working_size, augmentation = size, []
        else:
            self.working_size = tuple(math.ceil(side / math.sqrt(min_crop_area)) for side in size)
            augmentation = [
                v2.RandomResizedCrop(size, scale=(min_crop_area, 1.0), ratio=(0.8, 1.25)),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            ]
        self.steps = v2.Compose([v2.Resize(self.working_size), *augmentation, *_normalised(mean, std)])

    def __call__(self, photo: Image.Image, label: np.ndarray) -> tuple[Tensor, Tensor]:
        mask = tv_tensors.Mask(torch.from_numpy(label)[None])  # v2 samples a Mask nearest
        image, mask = self.steps(photo, mask)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)[0].long()


def _normalised(mean: float, std: float) -> list[v2.Transform]:
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([mean] * 3, [std] * 3)]


def denormalise(image: Tensor, mean: float, std: float) -> Tensor:
    """Normalised image -> 3 x h x w uint8 RGB."""
    return ((image.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
