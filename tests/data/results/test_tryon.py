"""Files of the presets mean to each try-on project's loader what they should. The sources are in docs/tryon.md."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize
from torchvision.transforms.functional import to_tensor

from data.results.segmentation import Segmentation
from data.results.tryon import GREY, Margin, Preset, agnostic, to_inpaint, viton
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")
UPPER, LOWER, FULL = 1, 2, 3
HEIGHT, WIDTH = 256, 192  # 3:4, as VITON-HD's
NO_MARGIN = Margin(0, "px")


def person(*parts: tuple[int, int, int]) -> Segmentation:
    """Clothes one above the other, (class, top row, bottom row), with slanted sides, on a photo of coloured noise."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for value, top, bottom in parts:
        labels[(y >= top) & (y < bottom) & (abs(x - WIDTH / 2) < 30 + (y - top) // 5)] = value
    photo = np.random.default_rng(0).integers(0, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)  # darker than grey
    return Segmentation.from_labels(labels, NAMES, Image.fromarray(photo))


TWO_PIECES = person((UPPER, 60, 120), (LOWER, 120, 220))
DRESS = person((FULL, 60, 200))


def write(preset: Preset, segmentation: Segmentation, folder: Path) -> Path:
    """The data set of one photograph, 00001_00.jpg, as infer.py writes it."""
    encode = preset.encoder(segmentation)
    for key, path in preset.paths(folder, Path("00001_00")).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(*key))
    (folder / "image").mkdir()
    segmentation.photo.save(folder / "image" / "00001_00.jpg", quality=100)
    return folder


def smaller(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each pixel a mask covers after resizing: 0 or 1 where loaders must agree, whatever their filter."""
    return cv2.resize(cv2.blur(mask.astype(np.float32), (7, 7)), (width, height), interpolation=cv2.INTER_AREA)


def assert_mask(read: torch.Tensor, mask: np.ndarray) -> None:
    """A mask as a loader gives it, 1 x h x w, is 1 in the mask and 0 outside, edges apart."""
    assert read.shape[0] == 1
    cover = smaller(mask, *read.shape[1:])
    values = read[0].numpy()
    assert (cover == 1).sum() > 100
    assert (cover == 0).sum() > 100
    assert np.all(values[cover == 1] == 1)
    assert np.all(values[cover == 0] == 0)


# What the loaders do, in a few lines each.


def load_viton_hd(folder: Path, name: str, width: int) -> torch.Tensor:
    """VITON-HD's cloth mask."""
    mask = Resize(width, InterpolationMode.NEAREST)(Image.open(folder / "cloth-mask" / name))
    return torch.from_numpy(np.float32(np.asarray(mask) >= 128))[None]


def load_stable_viton(folder: Path, name: str, size: tuple[int, int]) -> tuple[np.ndarray, torch.Tensor]:
    """StableVITON's greyed photo, -1 to 1, and its mask: 1 is kept."""
    grey = cv2.resize(cv2.imread(str(folder / "agnostic-v3.2" / name)), size)
    mask = cv2.imread(str(folder / "agnostic-mask" / name.replace(".jpg", "_mask.png")), cv2.IMREAD_COLOR)
    mask = cv2.resize(cv2.cvtColor(mask, cv2.COLOR_BGR2GRAY), size)
    return grey / 127.5 - 1, torch.from_numpy(1 - np.float32(mask >= 128))[None]


def load_idm_vton(folder: Path, name: str, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """IDM-VTON's photo with nothing in the mask, -1 to 1, and its mask: 1 is inpainted."""
    image = to_tensor(Image.open(folder / "image" / name).resize(size)) * 2 - 1
    file = Image.open(folder / "agnostic-mask" / name.replace(".jpg", "_mask.png")).resize(size)
    keep = 1 - to_tensor(file)[:1]
    return image * keep, 1 - keep


def load_cat_vton(folder: Path, name: str, size: tuple[int, int]) -> torch.Tensor:
    """CatVTON's mask: 1 is inpainted."""
    file = Image.open(folder / "agnostic-mask" / name.replace(".jpg", "_mask.png"))
    return (to_tensor(file.convert("L").resize(size, Image.Resampling.LANCZOS)) >= 0.5).float()


def load_ootd(folder: Path, name: str, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """OOTDiffusion's greyed photo, -1 to 1, and its mask: 1 is inpainted. Its user opens the files."""
    file = Image.open(folder / "agnostic-mask" / name.replace(".jpg", "_mask.png"))
    mask = np.array(file.resize(size, Image.Resampling.NEAREST))
    assert file.mode == "L"
    grey = to_tensor(Image.open(folder / "agnostic-v3.2" / name).resize(size)) * 2 - 1
    return grey, torch.from_numpy(np.float32(mask >= 127))[None]


def test_viton_hd_reads_the_mask_of_a_garment(tmp_path):
    folder = write(viton(["any"]), TWO_PIECES, tmp_path)
    exact = load_viton_hd(folder, "00001_00.jpg", WIDTH)
    assert np.array_equal(exact[0].numpy(), TWO_PIECES.labels > 0)
    half = load_viton_hd(folder, "00001_00.jpg", WIDTH // 2)
    assert half.shape == (1, HEIGHT // 2, WIDTH // 2)
    assert_mask(half, TWO_PIECES.labels > 0)


def test_a_garment_mask_is_a_grey_jpeg_of_nearly_0_and_255(tmp_path):
    folder = write(viton(["upper"]), TWO_PIECES, tmp_path)
    image = Image.open(folder / "cloth-mask" / "00001_00.jpg")
    assert (image.format, image.mode, image.size) == ("JPEG", "L", (WIDTH, HEIGHT))
    assert abs(np.asarray(image).astype(int) - np.where(TWO_PIECES.labels == UPPER, 255, 0)).max() <= 1


def test_several_categories_have_a_data_set_each(tmp_path):
    folder = write(viton(["upper", "lower"]), TWO_PIECES, tmp_path)
    for value, category in ((UPPER, "upper"), (LOWER, "lower")):
        read = load_viton_hd(folder / category, "00001_00.jpg", WIDTH)
        assert np.array_equal(read[0].numpy(), TWO_PIECES.labels == value)
    assert not (folder / "cloth-mask").exists()


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (96, 128), (384, 512)])
def test_stable_viton_reads_the_part_to_keep_and_the_greyed_photo(tmp_path, size):
    folder = write(agnostic(["upper"], NO_MARGIN), TWO_PIECES, tmp_path)
    grey, keep = load_stable_viton(folder, "00001_00.jpg", size)
    replaced = TWO_PIECES.labels == UPPER
    assert_mask(1 - keep, replaced)
    assert_grey(grey, smaller(replaced, *size[::-1]))


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (96, 128), (384, 512)])
def test_idm_vton_reads_the_mask_to_inpaint(tmp_path, size):
    folder = write(agnostic(["lower"], NO_MARGIN), TWO_PIECES, tmp_path)
    image, inpaint = load_idm_vton(folder, "00001_00.jpg", size)
    replaced = TWO_PIECES.labels == LOWER
    assert_mask(inpaint, replaced)
    cover = smaller(replaced, *size[::-1])
    assert (image[:, cover == 1] == 0).all()
    assert (image[:, cover == 0] < 0).float().mean() > 0.95  # the dark photo is still there


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (96, 128), (384, 512)])
def test_cat_vton_reads_the_mask_to_inpaint(tmp_path, size):
    folder = write(agnostic(["upper"], NO_MARGIN), TWO_PIECES, tmp_path)
    assert_mask(load_cat_vton(folder, "00001_00.jpg", size), TWO_PIECES.labels == UPPER)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (96, 128), (384, 512)])
def test_ootdiffusion_reads_the_mask_to_inpaint_and_the_greyed_photo(tmp_path, size):
    folder = write(agnostic(["upper"], NO_MARGIN), TWO_PIECES, tmp_path)
    grey, inpaint = load_ootd(folder, "00001_00.jpg", size)
    replaced = TWO_PIECES.labels == UPPER
    assert_mask(inpaint, replaced)
    assert_grey(grey.permute(1, 2, 0).numpy(), smaller(replaced, *size[::-1]))


def assert_grey(image: np.ndarray, cover: np.ndarray) -> None:
    """An image, h x w x 3 in -1 to 1, is grey where a mask covers it, and the dark photo elsewhere."""
    distance = abs(image[cover == 1] - (GREY / 127.5 - 1))
    assert (distance.mean() < 0.02, distance.max() < 0.2) == (True, True)  # a JPEG is never exact
    assert image[cover == 0].mean() < -0.4


@pytest.mark.parametrize(
    ("category", "classes"),
    [
        ("upper", (UPPER, FULL)),
        ("lower", (LOWER, FULL)),
        ("full", (UPPER, LOWER, FULL)),
        ("any", (UPPER, LOWER, FULL)),
    ],
)
def test_a_garment_replaces_all_that_covers_the_same_part_of_the_body(category, classes):
    clothes = person((UPPER, 40, 100), (LOWER, 100, 160), (FULL, 170, 250))
    area = to_inpaint(clothes, category, NO_MARGIN)
    assert np.array_equal(area.labels > 0, np.isin(clothes.labels, classes))


def test_a_class_of_another_table_replaces_itself_alone():
    clothes = Segmentation.from_labels(TWO_PIECES.labels, ("background", "coat", "full"))
    assert np.array_equal(to_inpaint(clothes, "coat", NO_MARGIN).labels > 0, TWO_PIECES.labels == 1)


def test_the_margin_takes_from_the_background_and_not_from_clothes_that_stay():
    area = to_inpaint(TWO_PIECES, "upper", Margin(10, "px")).labels > 0
    assert area[TWO_PIECES.labels == UPPER].all()
    assert not area[TWO_PIECES.labels == LOWER].any()
    assert area[50, WIDTH // 2]  # row 60 is the first of the clothes
    assert not area[49, WIDTH // 2]
    assert not area[200].any()  # beside the trousers


def test_a_margin_in_per_cent_is_of_the_height_of_all_clothes():
    assert Margin.parse("5%").pixels(TWO_PIECES.labels) == 8  # of 160 rows
    assert Margin.parse("12.5px").pixels(TWO_PIECES.labels) == 12
    assert Margin.parse("5%").pixels(np.zeros((9, 9), np.uint8)) == 0


@pytest.mark.parametrize("text", ["20", "0.02", "-2%", "2 %", "px", "", "1e3px", "nan%", "٢%"])
def test_a_margin_needs_its_unit(text):
    with pytest.raises(UserError, match="20px.*2%"):
        Margin.parse(text)


def test_a_photo_without_clothes_stays_as_it_is(tmp_path):
    folder = write(agnostic(["upper"], Margin(2, "%")), person(), tmp_path)
    assert not np.asarray(Image.open(folder / "agnostic-mask" / "00001_00_mask.png")).any()


def test_a_photo_longer_than_a_jpeg_can_be_is_a_user_error():
    labels = np.zeros((1, 70_000), np.uint8)
    encode = viton(["any"]).encoder(Segmentation.from_labels(labels, NAMES))
    with pytest.raises(UserError, match="70000 pixels"):
        encode("cloth-mask/{}.jpg", "any")
