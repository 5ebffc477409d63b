"""From a photograph and its label map to a training sample: the augmentation."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from data.constants import SMALLEST_CROP
from data.photos.preprocessing import normalise
from data.training.sources import Augmentation
from utils.label_values import SOME_CLOTHES

# Of a portrait crop, in heights of the clothes: how far it reaches above them and below their top, its width by its
# height, and by how much of its width it may be off centre. In the middle of these ranges it is the crop that
# `evaluate.py --close_ups` compares.
PORTRAIT_SCALE, PORTRAIT_ABOVE, PORTRAIT_BELOW = (0.75, 1.5), (0.2, 0.3), (0.24, 0.36)
PORTRAIT_ASPECT, PORTRAIT_OFF_CENTRE = (0.68, 0.96), 0.12
TILT, TILT_OF_PASTED = (-15, 15), (-25, 25)  # degrees
LEAST_CLOTHES = 0.08  # of the photo's height: lower clothes have no head and shoulders
EMPTY_DISTANCE = 0.04  # of the photo's longer side: between a crop without clothes and the clothes
EMPTY_TRIES = 256  # crops of which the largest without clothes is taken
BLACK_AND_WHITE = 0.05  # share of the samples
FRAMED, WIDEST_FRAME = 0.1, 0.25  # share of the samples, and of the width and height that each side may take


Labelled = tuple[Image.Image, np.ndarray, tuple[int, int]]  # photo, label map, and the size (H, W) of the photo's file


class TrainTransform:
    """Photo and label map -> normalised image (3 x h x w float32) and label (h x w int64).

    All randomness is torch's, and a seed before the call decides the sample.
    """

    def __init__(self, size: tuple[int, int], mean: float, std: float, augmentation: Augmentation):
        """size: (h, w)."""
        self.size, self.mean, self.std = size, mean, std
        self.shares = augmentation
        self.smallest_area = 1.0
        if augmentation.augment == "full":
            small = augmentation.close_ups or augmentation.portraits or augmentation.empty_crops
            self.smallest_area = SMALLEST_CROP if small else augmentation.min_crop_area
        self.jitter = v2.Compose(
            [
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
                v2.RandomGrayscale(BLACK_AND_WHITE),
            ]
        )

    def working_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """(h, w) that a photo stored at (H, W) is squeezed to before it is cropped, and its label rasterised at.

        Larger than the target by what a crop is enlarged, but of no more pixels than the photo has. It has the
        target's aspect: crops are distorted as whole photos are.
        """
        scale = math.sqrt(max(1.0, min(1 / self.smallest_area, math.prod(stored) / math.prod(self.size))))
        return tuple(math.ceil(side * scale) for side in self.size)

    def __call__(
        self, photo: Image.Image, label: np.ndarray, stored: tuple[int, int], another: Callable[[], Labelled]
    ) -> tuple[Tensor, Tensor]:
        """photo: RGB of the working size. label: h x w uint8, of the same size. stored: (H, W) of the photo's file.

        another: gives a random photo of the same source, to take garments from.
        """
        if self.shares.augment == "full":
            photo, label = self._varied(photo, label, stored, another)
        image = torch.from_numpy(normalise(photo, self.mean, self.std))
        return image, torch.from_numpy(label).long()

    def _varied(
        self, photo: Image.Image, label: np.ndarray, stored: tuple[int, int], another: Callable[[], Labelled]
    ) -> tuple[Image.Image, np.ndarray]:
        """Both augmented, of the target's size. Arguments: see __call__."""
        if chance(self.shares.pastes):
            photo, label = paste(photo, label, *another())
        if chance(self.shares.turns):
            photo, label = turn(photo, label, stored, uniform(0, 360))
        elif chance(self.shares.rotations):
            photo, label = turn(photo, label, stored, uniform(*TILT))
        box = empty_box(label, stored) if chance(self.shares.empty_crops) else None
        if not box and chance(self.shares.portraits):
            box = portrait_box(label, stored)
        left, top, right, bottom = box = box or self._random_box(photo)
        photo, label = resized(photo.crop(box), label[top:bottom, left:right], self.size)
        if chance(FRAMED):
            photo, label = frame(photo, label)
        if chance(0.5):
            photo, label = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), cv2.flip(label, 1)
        return self.jitter(photo), label

    def _random_box(self, photo: Image.Image) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a random crop, of about the photo's own aspect."""
        area, stretch = (self.shares.min_crop_area, 1.0), (0.8, 1.25)
        small = self.shares.close_ups
        # Not chance(): earlier runs drew this number so, and are to resume with the same crops.
        if small and torch.multinomial(torch.tensor([1.0 - small, small]), 1):
            area, stretch = (SMALLEST_CROP, self.shares.min_crop_area), (0.5, 2.0)
        aspect = [factor * photo.width / photo.height for factor in stretch]
        top, left, height, width = v2.RandomResizedCrop.get_params(photo, area, aspect)
        return left, top, left + width, top + height


def chance(share: float) -> bool:
    """True in a share of the calls. A share of 0 draws no random number: those that follow stay the same."""
    return share > 0 and float(torch.rand(())) < share


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def turn(
    photo: Image.Image, label: np.ndarray, stored: tuple[int, int], degrees: float
) -> tuple[Image.Image, np.ndarray]:
    """Both turned about the middle as the stored photo would be; what is missing at the edges is mirrored.

    photo, label: squeezed to one (h, w). stored: (H, W) before that. A turn by more than 45 degrees is made smaller
    until it fits, so that garments are not cut off.
    """
    h, w = label.shape
    squeeze = np.diag([w / stored[1], h / stored[0], 1.0])
    middle = (stored[1] / 2, stored[0] / 2)
    fit = 1.0
    if not -45 < degrees < 45:
        c, s = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        fit = min(1.0, stored[1] / (stored[1] * c + stored[0] * s), stored[0] / (stored[1] * s + stored[0] * c))
    about_middle = np.vstack([cv2.getRotationMatrix2D(middle, degrees, fit), [0, 0, 1]])
    corner = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # pixel centres are half a pixel off the corners
    matrix = (np.linalg.inv(corner) @ squeeze @ about_middle @ np.linalg.inv(squeeze) @ corner)[:2]

    def warp(values: np.ndarray, sampling: int) -> np.ndarray:
        return cv2.warpAffine(values, matrix, (w, h), flags=sampling, borderMode=cv2.BORDER_REFLECT_101)

    return Image.fromarray(warp(np.asarray(photo), cv2.INTER_LINEAR)), warp(label, cv2.INTER_NEAREST)


def portrait_box(label: np.ndarray, stored: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) in ``label`` of a random head and shoulders; None where the clothes are too low.

    label: h x w uint8, squeezed from ``stored`` = (H, W).
    """
    h, w = label.shape
    rows, columns = np.nonzero((label > 0) & (label <= SOME_CLOTHES))
    if not len(rows):
        return None
    first, last = np.percentile(rows, (0.5, 99.5))  # a speck above the head does not move the crop
    height = last + 1 - first
    if height < LEAST_CLOTHES * h:
        return None
    scale = uniform(*PORTRAIT_SCALE)
    top = max(0.0, first - scale * uniform(*PORTRAIT_ABOVE) * height)
    bottom = min(h, first + scale * uniform(*PORTRAIT_BELOW) * height)
    width = uniform(*PORTRAIT_ASPECT) * (bottom - top) * (stored[0] / h) * (w / stored[1])
    middle = columns.mean() + 0.5 + uniform(-PORTRAIT_OFF_CENTRE, PORTRAIT_OFF_CENTRE) * width
    left, right = max(0.0, middle - width / 2), min(w, middle + width / 2)
    box = tuple(round(value) for value in (left, top, right, bottom))
    return box if box[2] - box[0] > 1 and box[3] - box[1] > 1 else None


def empty_box(label: np.ndarray, stored: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) in ``label`` of a random crop that holds no clothes and nothing unknown.

    The crop also keeps EMPTY_DISTANCE from them, and it is at least SMALLEST_CROP of the photo. None where none of some
    random crops is so. label: h x w uint8, squeezed from ``stored`` = (H, W).
    """
    size = np.array(label.shape)
    area, aspect, down, across = torch.rand(4, EMPTY_TRIES, dtype=torch.float64).numpy()
    area = SMALLEST_CROP + (1 - SMALLEST_CROP) * area**2  # more small ones: there is seldom room for a large one
    aspect = 2 ** (2 * aspect - 1)  # height by width, 0.5 to 2, of the photo as it is stored
    squeeze = (size[0] / stored[0]) / (size[1] / stored[1])
    height = np.sqrt(area * size.prod() * aspect * squeeze).clip(1, size[0])
    width = (area * size.prod() / height).clip(1, size[1])
    top, left = down * (size[0] - height), across * (size[1] - width)
    boxes = np.stack((left, top, left + width, top + height), 1).round().astype(int)
    # The number of labelled pixels in each box and around it, from sums over all boxes that begin in the corner.
    reach = np.ceil(EMPTY_DISTANCE * max(stored) * size / stored).astype(int)
    x0, y0 = np.maximum(boxes[:, :2] - reach[::-1], 0).T
    x1, y1 = np.minimum(boxes[:, 2:] + reach[::-1], size[::-1]).T
    sums = cv2.integral((label > 0).astype(np.uint8))
    empty = boxes[sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] == 0]
    if not len(empty):
        return None
    return tuple(empty[np.argmax((empty[:, 2:] - empty[:, :2]).prod(1))].tolist())


def resized(photo: Image.Image, label: np.ndarray, size: tuple[int, int]) -> tuple[Image.Image, np.ndarray]:
    """Both at ``size`` = (h, w). The label is sampled at the centres of its pixels, as the photo is.

    From their corners, as torchvision and OpenCV's INTER_NEAREST do it, it would lie half a pixel off the photo.
    """
    label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return photo.resize(size[::-1], Image.Resampling.BILINEAR), label


def frame(photo: Image.Image, label: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Both made smaller, on a plain ground: photos are letterboxed, padded to a square, scanned with their border."""
    h, w = label.shape
    sides = [(1, 0), (0, 1), (1, 1)][int(uniform(0, 3))] * 2  # left and right, top and bottom, or all
    margins = [int(side * uniform(0, WIDEST_FRAME) * length) for side, length in zip(sides, (w, h, w, h), strict=True)]
    left, top, right, bottom = margins
    colour = 3 * [(0, 255)[int(uniform(0, 2))]] if chance(0.5) else [int(uniform(0, 256)) for _ in range(3)]
    photo, label = resized(photo, label, (h - top - bottom, w - left - right))
    ground, labels = Image.new("RGB", (w, h), tuple(colour)), np.zeros((h, w), np.uint8)
    ground.paste(photo, (left, top))
    labels[top : h - bottom, left : w - right] = label
    return ground, labels


def paste(
    photo: Image.Image, label: np.ndarray, other: Image.Image, other_label: np.ndarray, other_stored: tuple[int, int]
) -> tuple[Image.Image, np.ndarray]:
    """The garments of ``other``, tilted, at half to nearly all of the size that fits, put on ``photo`` somewhere.

    Only pixels of known classes are taken, and their edge is blended over about a pixel. A photo with clothes of an
    unknown class stays as it is: which ones they can be is known for the photo as a whole. Both pairs: RGB and h x w
    uint8. other_stored: (H, W) of the other photo's file. Copy-paste augmentation as in Ghiasi et al., "Simple
    copy-paste is a strong data augmentation method for instance segmentation" (CVPR 2021).
    """
    other, other_label = turn(other, other_label, other_stored, uniform(*TILT_OF_PASTED))
    if (label == SOME_CLOTHES).any():
        return photo, label
    wanted = (other_label > 0) & (other_label < SOME_CLOTHES)
    x, y, w, h = cv2.boundingRect(wanted.astype(np.uint8))
    if min(w, h) < 4:
        return photo, label
    window = slice(y, y + h), slice(x, x + w)
    rows, columns = label.shape
    scale = uniform(0.5, 0.95) * min(rows / h, columns / w)
    size = max(2, int(w * scale)), max(2, int(h * scale))
    sampling = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    garment = cv2.resize(np.asarray(other)[window], size, interpolation=sampling).astype(np.float32)
    inside = cv2.erode(wanted[window].astype(np.float32), np.ones((3, 3), np.uint8))
    opacity = cv2.GaussianBlur(cv2.resize(inside, size), (3, 3), 0)[..., None]
    classes = cv2.resize(np.where(wanted, other_label, 0)[window], size, interpolation=cv2.INTER_NEAREST_EXACT)
    left = int(uniform(0, columns - size[0] + 1))
    top = int(uniform(0, rows - size[1] + 1))
    place = slice(top, top + size[1]), slice(left, left + size[0])
    pixels, labels = np.array(photo), label.copy()
    pixels[place] = (garment * opacity + pixels[place] * (1 - opacity)).round().astype(np.uint8)
    labels[place] = np.where((opacity[..., 0] > 0.5) & (classes > 0), classes, labels[place])
    return Image.fromarray(pixels), labels
