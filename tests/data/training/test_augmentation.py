"""The augmentation: photo and label stay in register, crops are what was asked for, unknown stays unknown."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from data.training import augmentation
from data.training.augmentation import TrainTransform, empty_box, frame, paste, portrait_box, turn
from data.training.datasets import close_up
from data.training.sources import Augmentation
from utils.label_values import PALETTE, SOME_CLOTHES, UNKNOWN


@pytest.fixture(autouse=True)
def framed(monkeypatch) -> float:
    """The share of samples in a frame; nothing is framed but in the test of frames."""
    share = augmentation.FRAMED
    monkeypatch.setattr(augmentation, "FRAMED", 0)
    return share


def transform(size: tuple[int, int] = (64, 64), augment: str = "full", **shares):
    """Photo and label -> sample, as if the photo was stored as large as it is worked on."""
    made = TrainTransform(size, 0.5, 0.5, Augmentation(augment, **shares))
    return made, lambda photo, label, another=None: made(photo, label, label.shape, another)


def own_colours(height: int, width: int) -> tuple[Image.Image, np.ndarray]:
    """A photo whose pixels show their own label (red upper, green lower, black background), and its label map."""
    label = np.zeros((height, width), np.uint8)
    label[height // 8 : height // 2, width // 6 : -width // 6] = 1
    label[height // 2 : -height // 20, width // 4 : -width // 4] = 2
    return Image.fromarray(PALETTE[label]), label


def red_clothes(label: np.ndarray) -> Image.Image:
    """A photo whose red is 200 on clothes and 0 elsewhere."""
    return Image.fromarray(np.stack([np.where(label > 0, 200, 0), 0 * label, 0 * label], 2).astype(np.uint8))


def seen_shares(draws: int = 60, **shares) -> list[float]:
    """Share of a photo that each of some samples shows, told by labels that number the fields of a 16 x 16 grid."""
    crops, sample = transform((32, 32), **shares)
    h, w = crops.working_size((400, 300))
    field = 16 * (np.arange(h)[:, None] * 16 // h) + np.arange(w) * 16 // w
    labels = [sample(Image.new("RGB", (w, h)), field.astype(np.uint8))[1] for _ in range(draws)]
    return [len(label.unique()) / 256 for label in labels]


def is_grey(image: torch.Tensor) -> bool:
    return torch.equal(image[0], image[1]) and torch.equal(image[1], image[2])


def test_no_augmentation_is_the_photo_normalised_and_its_label():
    photo, label = own_colours(64, 64)
    image, seen = transform(augment="none", pastes=1, turns=1)[1](photo, label)
    assert (image.dtype, seen.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(image, (torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255 - 0.5) / 0.5)
    assert np.array_equal(seen.numpy(), label)


def middle(brightness: torch.Tensor) -> torch.Tensor:
    """Row and column of the middle of what is bright in an h x w picture."""
    pixels = torch.stack(torch.meshgrid(*map(torch.arange, brightness.shape), indexing="ij")) + 0.5
    return (pixels * brightness).sum((1, 2)) / brightness.sum()


@pytest.mark.parametrize("shares", [{}, {"portraits": 1}, {"rotations": 1}])
def test_labels_lie_on_their_photos_to_a_tenth_of_a_pixel(shares):
    made, sample = transform((96, 96), **shares)
    made.jitter = v2.Identity()
    _, label = own_colours(*made.working_size((400, 300)))
    apart = []
    for _ in range(60):
        image, seen = sample(red_clothes(label), label)
        assert image.shape == (3, 96, 96) and seen.shape == (96, 96)
        apart.append(middle(seen > 0) - middle(image[0] + 1))
    apart = torch.stack(apart)
    assert apart.abs().max() < 1
    assert abs(apart[:, 0].mean()) < 0.1  # mirrored photos would hide it across


def test_a_few_samples_are_black_and_white():
    photo, label = own_colours(32, 32)
    sample = transform((16, 16), min_crop_area=0.9)[1]
    assert 0.02 < np.mean([is_grey(sample(photo, label)[0]) for _ in range(400)]) < 0.09


def test_a_few_samples_stand_in_a_plain_frame_which_is_background(framed, monkeypatch):
    monkeypatch.setattr(augmentation, "FRAMED", framed)
    clothes = np.ones((32, 32), np.uint8)
    sample = transform((32, 32), min_crop_area=1.0)[1]
    labels = [label for _ in range(400) if not (label := sample(red_clothes(clothes), clothes)[1]).all()]
    assert 0.05 < len(labels) / 400 < 0.15
    for label in labels:
        rows, columns = label.any(1), label.any(0)
        assert torch.equal(label, torch.outer(rows, columns).long())
        assert min(rows.sum(), columns.sum()) >= 16
    photo, label = frame(red_clothes(clothes), clothes)
    assert (np.asarray(photo)[label > 0] == [200, 0, 0]).all()
    assert len({frame(red_clothes(clothes), clothes)[0].getpixel((0, 0)) for _ in range(20)}) > 5  # of any colour
    monkeypatch.setattr(augmentation, "FRAMED", 1)
    assert transform((32, 32), "none")[1](red_clothes(clothes), clothes)[1].all()  # the published recipe has no frames


def test_labels_are_sampled_nearest_and_unknown_pixels_stay_unknown():
    made, sample = transform(close_ups=0.5)
    h, w = made.working_size((400, 300))
    label = np.random.default_rng(0).choice(np.array([0, 2, UNKNOWN], np.uint8), (h, w))
    for _ in range(20):
        _, seen = sample(Image.new("RGB", (w, h)), label)
        assert seen.unique().tolist() == [0, 2, UNKNOWN]
        assert 0.2 < (seen == UNKNOWN).float().mean() < 0.5


def test_a_crop_of_the_whole_photo_is_the_photo_mirrored_or_not():
    photo, label = own_colours(64, 64)
    label[:, :20] = 3
    seen = {transform(min_crop_area=1.0)[1](photo, label)[1].numpy().astype(np.uint8).tobytes() for _ in range(12)}
    assert seen == {label.tobytes(), label[:, ::-1].tobytes()}


def test_close_ups_are_crops_below_the_least_area_in_the_share_asked_for():
    none, some, all_ = (seen_shares(min_crop_area=0.4, close_ups=share) for share in (0.0, 0.3, 1.0))
    assert min(none) > 0.38
    assert min(all_) < 0.1 and max(all_) < 0.55  # fields cut at the rim count as seen
    assert 0.1 < np.mean([share < 0.35 for share in some]) < 0.5


@pytest.mark.parametrize("size", [(256, 192), (192, 512)])
def test_crops_are_distorted_as_whole_photos_are_also_where_the_network_sees_no_square(size):
    crops = TrainTransform(size, 0.5, 0.5, Augmentation("full"))
    h, w = crops.working_size((3000, 2000))
    boxes = [crops._random_box(Image.new("RGB", (w, h))) for _ in range(200)]
    widths, heights = np.array([((right - left) / w, (bottom - top) / h) for left, top, right, bottom in boxes]).T
    assert np.log(widths / heights).mean() == pytest.approx(0, abs=0.05)  # neither wider nor higher
    assert (widths * heights).min() < 0.45 and (widths * heights).max() > 0.9


@pytest.mark.parametrize(("options", "stored", "expected"), [
    ({"close_ups": 0.5}, (4000, 3000), (370, 370)),  # 64 / sqrt(0.03)
    ({}, (4000, 3000), (128, 128)), ({"close_ups": 0.5}, (100, 100), (100, 100)),
    ({"close_ups": 0.5}, (20, 20), (64, 64)), ({"augment": "none", "close_ups": 0.5}, (4000, 3000), (64, 64)),
])  # fmt: skip
def test_photos_are_worked_on_no_larger_than_they_are(options, stored, expected):
    assert transform(min_crop_area=0.25, **options)[0].working_size(stored) == expected


@pytest.mark.parametrize("degrees", [10, 260])
def test_photo_and_label_turn_together(degrees):
    label = np.zeros((60, 90), np.uint8)
    label[10:50, :8] = 1  # at the edge, and not cut off
    photo, turned = turn(red_clothes(label), label, (60, 90), degrees)
    assert np.mean((np.asarray(photo)[..., 0] > 100) == (turned > 0)) > 0.98
    assert turned.any()


def test_a_turn_undoes_the_squeeze_first():
    stored = np.zeros((200, 100), np.uint8)  # twice as high as wide, with a bar down the middle
    stored[20:180, 45:55] = 1
    squeezed = np.ascontiguousarray(stored[::2])  # 100 x 100
    rows, columns = np.nonzero(turn(red_clothes(squeezed), squeezed, (200, 100), 30)[1])
    slope = np.polyfit((rows - 49.5) * 2, columns - 49.5, 1)[0]
    assert abs(slope) == pytest.approx(np.tan(np.radians(30)), rel=0.08)


def test_a_portrait_crop_is_about_what_close_ups_are_compared_on():
    label = np.zeros((400, 200), np.uint8)
    label[100:340, 60:140] = 1
    cut = close_up(red_clothes(label), label)[1]
    label[399, 100] = 1  # a speck does not move the crop
    left, top, right, bottom = np.mean([portrait_box(label, label.shape) for _ in range(1000)], 0)
    assert (bottom - top, right - left) == pytest.approx(cut.shape, rel=0.15)
    label[:369], label[369:] = 0, 1  # the hem of a garment
    assert portrait_box(label * 0, (400, 200)) is portrait_box(label, (400, 200)) is None


def test_crops_without_clothes_keep_away_from_all_that_is_labelled():
    label = np.zeros((100, 200), np.uint8)  # of a photo that was 400 high and 200 wide
    label[40:80, 90:120], label[5, 10] = 3, UNKNOWN
    far = np.ones_like(label)
    for row, column in zip(*np.nonzero(label), strict=True):
        far[max(0, row - 3) : row + 4, max(0, column - 15) : column + 16] = 0  # 16 pixels of the photo
    boxes = {empty_box(label, (400, 200)) for _ in range(50)}
    assert len(boxes) > 40
    for left, top, right, bottom in boxes:
        assert far[top:bottom, left:right].all()
        assert (right - left) * (bottom - top) > 0.025 * label.size
    label[::10] = 1
    assert empty_box(label, (400, 200)) is None


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_the_share_of_crops_without_clothes_is_what_was_asked_for(share):
    label = np.zeros((90, 90), np.uint8)
    label[30:70, 40:60] = 1
    sample = transform((32, 32), min_crop_area=0.9, empty_crops=share)[1]
    empty = np.mean([not sample(red_clothes(label), label)[1].any() for _ in range(100)])
    assert empty == pytest.approx(share, abs=0.12 if 0 < share < 1 else 0)


def test_pasted_garments_bring_their_labels():
    label, other = np.zeros((80, 60), np.uint8), np.zeros((50, 50), np.uint8)
    other[5:45, 10:40], other[:3] = 2, UNKNOWN
    photo, labels = paste(Image.new("RGB", (60, 80)), label, red_clothes(other), other, (50, 50))
    assert set(np.unique(labels)) == {0, 2}
    assert np.mean((np.asarray(photo)[..., 0] > 100) == (labels == 2)) > 0.96
    assert paste(photo, labels, red_clothes(other), other * 0, (50, 50))[1] is labels
    label[0] = SOME_CLOTHES  # what these can be is known for the photo as a whole
    assert np.array_equal(paste(photo, label, red_clothes(other), other, (50, 50))[1], label)
