"""From a photograph and its label map to a training sample: the augmentation."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.preprocessing import normalise
from data.published import SMALLEST_CROP


class TrainTransform:
    """Photo and label map -> normalised image (3 x h x w float32) and label (h x w int64)."""

    def __init__(
        self, size: tuple[int, int], mean: float, std: float, augment: str, min_crop_area: float, close_ups: float
    ):
        """size: (h, w). augment: 'none' (the published recipe) or 'full' (random crop, flip, colour jitter).

        min_crop_area: share of the photo that a crop has at least. close_ups: share of the samples that are
        small crops instead: SMALLEST_CROP to min_crop_area of the photo, and of more varied shape.
        """
        self.size, self.mean, self.std, self.smallest_area = size, mean, std, 1.0
        augmentation = [v2.Identity()]
        if augment == "full":
            crop = v2.RandomResizedCrop(size, scale=(min_crop_area, 1.0), ratio=(0.8, 1.25))
            self.smallest_area = min_crop_area
            if close_ups:
                small_crop = v2.RandomResizedCrop(size, scale=(SMALLEST_CROP, min_crop_area), ratio=(0.5, 2.0))
                crop = v2.RandomChoice([crop, small_crop], p=[1 - close_ups, close_ups])
                self.smallest_area = SMALLEST_CROP
            augmentation = [
                crop,
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            ]
        self.augmentation = v2.Compose(augmentation)

    def working_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """(h, w) that a photo stored at (H, W) is squeezed to before it is cropped, and its label rasterised at.

        Larger than the target by what a crop is enlarged, but of no more pixels than the photo has. It has the
        target's aspect: crops are distorted as whole photos are.
        """
        scale = math.sqrt(max(1.0, min(1 / self.smallest_area, math.prod(stored) / math.prod(self.size))))
        return tuple(math.ceil(side * scale) for side in self.size)

    def __call__(self, photo: Image.Image, label: np.ndarray) -> tuple[Tensor, Tensor]:
        """photo: RGB of the working size. label: h x w uint8, of the same size."""
        mask = tv_tensors.Mask(torch.from_numpy(label)[None])  # v2 samples a Mask nearest
        photo, mask = self.augmentation(photo, mask)
        image = torch.from_numpy(normalise(photo, self.mean, self.std))
        return image, mask.as_subclass(Tensor)[0].long()
