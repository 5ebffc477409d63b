"""From a photograph (and its label map) to tensors: the normalisation, the published recipe and the augmentation."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

CLOSE_UP_AREA = 0.03  # of the photo: head and shoulders of a person who fills its height are about 0.1


def to_input(size: tuple[int, int], mean: float, std: float) -> v2.Compose:
    """RGB photo -> 3 x h x w float32 at ``size`` = (h, w), (value in 0..1 - mean) / std."""
    return v2.Compose([v2.Resize(size), *_normalised(mean, std)])


class TrainTransform:
    """Photo and label map -> normalised image (3 x h x w float32) and label (h x w int64)."""

    def __init__(
        self, size: tuple[int, int], mean: float, std: float, augment: str, min_crop_area: float, close_ups: float
    ):
        """augment: 'none' (the published recipe) or 'full' (random resized crop, flip, colour jitter).

        min_crop_area: share of the photo that a crop has at least. close_ups: share of the samples that are
        close-ups instead: crops of CLOSE_UP_AREA to min_crop_area, and of more varied shape.
        """
        self.size, self.smallest_area = size, 1.0
        augmentation = []
        if augment == "full":
            crop = v2.RandomResizedCrop(size, scale=(min_crop_area, 1.0), ratio=(0.8, 1.25))
            self.smallest_area = min_crop_area
            if close_ups:
                close_up = v2.RandomResizedCrop(size, scale=(CLOSE_UP_AREA, min_crop_area), ratio=(0.5, 2.0))
                crop = v2.RandomChoice([crop, close_up], p=[1 - close_ups, close_ups])
                self.smallest_area = CLOSE_UP_AREA
            augmentation = [
                crop,
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            ]
        self.steps = v2.Compose([*augmentation, *_normalised(mean, std)])

    def working_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """(h, w) that a photo stored at (H, W) is squeezed to before it is cropped, and its label rasterised at.

        Larger than the target by what a crop is enlarged, but of no more pixels than the photo has. It has the
        target's aspect, so that crops are distorted as whole photos are.
        """
        scale = math.sqrt(max(1.0, min(1 / self.smallest_area, math.prod(stored) / math.prod(self.size))))
        return tuple(math.ceil(side * scale) for side in self.size)

    def __call__(self, photo: Image.Image, label: np.ndarray) -> tuple[Tensor, Tensor]:
        """photo: RGB of any size. label: h x w uint8 at the photo's working size."""
        photo = v2.functional.resize(photo, label.shape)
        mask = tv_tensors.Mask(torch.from_numpy(label)[None])  # v2 samples a Mask nearest
        image, mask = self.steps(photo, mask)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)[0].long()


def _normalised(mean: float, std: float) -> list[v2.Transform]:
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([mean] * 3, [std] * 3)]


def denormalise(image: Tensor, mean: float, std: float) -> Tensor:
    """Normalised image -> 3 x h x w uint8 RGB."""
    return ((image.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
