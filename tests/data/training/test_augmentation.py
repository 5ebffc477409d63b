"""The augmentation: photo and label stay in register, crops are as large as asked for, unknown stays unknown."""

import numpy as np
import torch
from PIL import Image

from data.label_values import PALETTE, UNKNOWN
from data.training.augmentation import TrainTransform


def transform(
    size: tuple[int, int] = (64, 64), augment: str = "full", min_crop_area: float = 0.35, close_ups: float = 0
):
    return TrainTransform(size, 0.5, 0.5, augment, min_crop_area, close_ups)


def own_colours(height: int, width: int) -> tuple[Image.Image, np.ndarray]:
    """A photo whose pixels show their own label (red upper, green lower, black background), and its label map."""
    label = np.zeros((height, width), np.uint8)
    label[height // 8 : height // 2, width // 6 : -width // 6] = 1
    label[height // 2 : -height // 20, width // 4 : -width // 4] = 2
    return Image.fromarray(PALETTE[label]), label


def seen_shares(draws: int = 60, **options) -> list[float]:
    """Share of a photo that each of some samples shows, told by labels that number the fields of a 16 x 16 grid."""
    crops = transform((32, 32), **options)
    h, w = crops.working_size((400, 300))
    field = 16 * (np.arange(h)[:, None] * 16 // h) + np.arange(w) * 16 // w
    torch.manual_seed(0)
    labels = [crops(Image.new("RGB", (w, h)), field.astype(np.uint8))[1] for _ in range(draws)]
    return [len(label.unique()) / 256 for label in labels]


def test_no_augmentation_is_the_photo_normalised_and_its_label():
    photo, label = own_colours(64, 64)
    image, seen = transform(augment="none")(photo, label)
    assert (image.dtype, seen.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(image, (torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255 - 0.5) / 0.5)
    assert np.array_equal(seen.numpy(), label)


def test_augmentation_keeps_photo_and_label_in_register():
    augment = transform(close_ups=0.3)
    photo, label = own_colours(*augment.working_size((400, 300)))
    torch.manual_seed(0)
    agreement = []
    for _ in range(20):
        image, seen = augment(photo, label)
        assert image.shape == (3, 64, 64) and seen.shape == (64, 64)
        bright = (image[:2] * 0.5 + 0.5) > 0.15  # red, green
        agreement.append((torch.where(bright[0], 1, torch.where(bright[1], 2, 0)) == seen).float().mean())
    assert min(agreement) > 0.9


def test_labels_are_sampled_nearest_and_unknown_pixels_stay_unknown():
    augment = transform(close_ups=0.5)
    h, w = augment.working_size((400, 300))
    label = np.random.default_rng(0).choice(np.array([0, 2, UNKNOWN], np.uint8), (h, w))
    torch.manual_seed(0)
    for _ in range(20):
        _, seen = augment(Image.new("RGB", (w, h)), label)
        assert seen.unique().tolist() == [0, 2, UNKNOWN]
        assert 0.2 < (seen == UNKNOWN).float().mean() < 0.5


def test_a_crop_of_the_whole_photo_is_the_photo_mirrored_or_not():
    photo, label = own_colours(64, 64)
    label[:, :20] = 3
    whole = transform(min_crop_area=1.0)
    torch.manual_seed(0)
    kept = [np.array_equal(whole(photo, label)[1], label) for _ in range(12)]
    mirrored = [np.array_equal(whole(photo, label)[1], label[:, ::-1]) for _ in range(12)]
    assert any(kept) and any(mirrored)
    torch.manual_seed(0)
    assert all(
        np.array_equal(seen, label) or np.array_equal(seen, label[:, ::-1])
        for seen in (whole(photo, label)[1].numpy() for _ in range(12))
    )


def test_close_ups_are_crops_below_the_least_area_in_the_share_asked_for():
    none, some, all_ = (seen_shares(min_crop_area=0.4, close_ups=share) for share in (0.0, 0.3, 1.0))
    assert min(none) > 0.38
    assert min(all_) < 0.1 and max(all_) < 0.55  # fields cut at the rim count as seen
    assert 0.1 < np.mean([share < 0.35 for share in some]) < 0.5


def test_photos_are_worked_on_no_larger_than_they_are():
    close = transform(min_crop_area=0.25, close_ups=0.5)
    assert close.working_size((4000, 3000)) == (370, 370)  # 64 / sqrt(0.03)
    assert close.working_size((100, 100)) == (100, 100)
    assert close.working_size((20, 20)) == (64, 64)
    whole = transform((64, 48), "none", min_crop_area=0.25, close_ups=0.5)
    assert whole.working_size((4000, 3000)) == (64, 48)
