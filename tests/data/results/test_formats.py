"""Results are files that other programs read right."""

import io
import json
import struct

import cv2
import numpy as np
import pycocotools.mask
import pytest
import torch
from PIL import Image, ImageCms
from torchvision.io import ImageReadMode, decode_image

from data.results import formats as outputs
from data.results import segmentation as segmentation_module
from data.results.formats import OutputLayout, cutout_image, encoded, garment_box, report, warning
from data.results.segmentation import Segmentation
from utils.label_values import PALETTE

NAMES = ("background", "upper", "lower", "full")
HEIGHT, WIDTH = 41, 67  # neither is a multiple of what fits into a byte


def blocks(seed: int, most: int, *channels: int) -> np.ndarray:
    """Random blocks of 8 x 8 pixels: HEIGHT x WIDTH x channels uint8, values up to ``most``."""
    values = np.random.default_rng(seed).integers(0, most + 1, (6, 9, *channels), dtype=np.uint8)
    return values.repeat(8, 0).repeat(8, 1)[:HEIGHT, :WIDTH]


@pytest.fixture
def labels() -> np.ndarray:
    return blocks(0, 3)


@pytest.fixture
def segmentation(labels) -> Segmentation:
    """On a photo that carries a colour profile and other metadata."""
    photo = Image.fromarray(blocks(1, 255, 3))
    photo.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    photo.info["exif"] = b"Exif\x00\x00"
    return Segmentation.from_labels(labels, NAMES, photo)


@pytest.mark.parametrize(("output", "colour_type"), [("mask", 3), ("labels", 0), ("binary", 0), ("cutout", 6)])
def test_pngs_have_8_bits_a_channel(segmentation, output, colour_type):
    content = encoded(segmentation, output)
    assert struct.unpack(">IIBB", content[16:26]) == (WIDTH, HEIGHT, 8, colour_type)
    of_few_classes = encoded(Segmentation.from_labels(np.zeros((9, 9), np.uint8), NAMES), "mask")
    palette = Image.open(io.BytesIO(of_few_classes)).getpalette()
    assert (len(palette), palette[:12]) == (3 * 256, [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])


def pillow(content: bytes, mode: str | None = None) -> np.ndarray:
    image = Image.open(io.BytesIO(content))
    return np.asarray(image.convert(mode) if mode else image)


def opencv(content: bytes, flag: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def torchvision(content: bytes, mode: ImageReadMode) -> np.ndarray:
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode).numpy().transpose(1, 2, 0)


LABELS, COLOURS, BINARY = (lambda a: a), (lambda a: PALETTE[a]), (lambda a: 255 * np.uint8(a > 0))


@pytest.mark.parametrize(("output", "read", "how", "expected"), [
    ("mask", pillow, None, LABELS), ("mask", pillow, "RGB", COLOURS),
    ("mask", torchvision, ImageReadMode.UNCHANGED, LABELS), ("mask", opencv, cv2.IMREAD_UNCHANGED, COLOURS),
    ("labels", torchvision, ImageReadMode.GRAY, LABELS), ("labels", opencv, cv2.IMREAD_UNCHANGED, LABELS),
    ("labels", opencv, cv2.IMREAD_GRAYSCALE, LABELS), ("binary", torchvision, ImageReadMode.UNCHANGED, BINARY),
    ("binary", opencv, cv2.IMREAD_GRAYSCALE, BINARY),
])  # fmt: skip
def test_how_other_programs_read_the_masks(output, read, how, expected, segmentation, labels):
    values = read(encoded(segmentation, output), how).squeeze()
    assert np.array_equal(values[..., :3] if values.ndim == 3 else values, expected(labels))


def test_a_cutout_is_the_photo_transparent_but_for_the_clothes(segmentation, labels):
    expected = np.dstack((np.asarray(segmentation.photo), np.where(labels > 0, 255, 0)))
    expected[labels == 0] = 0  # nothing of the photo is left
    content = encoded(segmentation, "cutout")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
    assert np.array_equal(opencv(content, cv2.IMREAD_UNCHANGED), expected)


def test_an_overlay_is_photo_colours_over_it_and_mask_side_by_side(segmentation, labels):
    sheet = np.asarray(Image.open(io.BytesIO(encoded(segmentation, "overlay"))))
    assert sheet.shape == (HEIGHT, 3 * WIDTH, 3)
    photo, coloured, mask = (sheet[:, i * WIDTH : (i + 1) * WIDTH].astype(int) for i in range(3))
    assert abs(photo - np.asarray(segmentation.photo)).mean() < 20  # a JPEG is never exact
    assert abs(mask - PALETTE[labels]).mean() < 20
    bare = labels == 0
    assert abs(coloured - photo)[bare].mean() < 10 < abs(coloured - photo)[~bare].mean()
    wide = Segmentation.from_labels(np.zeros((9, 30_000), np.uint8), NAMES, Image.new("RGB", (30_000, 9)))
    assert Image.open(io.BytesIO(encoded(wide, "overlay"))).size == (65_500, 7)  # a JPEG cannot be wider


@pytest.mark.parametrize("output", ["mask", "labels", "binary", "cutout", "overlay"])
def test_no_result_carries_the_photos_colour_profile(segmentation, output):
    result = Image.open(io.BytesIO(encoded(segmentation, output)))
    result.load()
    assert not {"icc_profile", "exif", "srgb", "gamma"} & result.info.keys()
    assert segmentation.photo.info["icc_profile"]  # and the photo keeps its own


def test_reports_give_boxes_and_shares_of_the_mask(segmentation, labels):
    labels[labels == 3] = 0
    content = report(segmentation)
    assert (content["height"], content["width"]) == (HEIGHT, WIDTH)
    assert tuple(content["classes"]) == NAMES[1:]
    for value, entry in enumerate(content["classes"].values(), 1):
        expected = labels == value
        assert (entry["present"], entry["area"]) == (bool(expected.any()), int(expected.sum()))
        assert entry["share"] == pytest.approx(expected.mean(), abs=1e-6)
        assert np.array_equal(pycocotools.mask.decode(entry["coco_rle"]), expected)
        if expected.any():
            rows, columns = np.nonzero(expected)
            assert entry["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] and entry["polygons"]
        else:
            assert (entry["box"], entry["polygons"]) == (None, [])


def soft(height: int = 200, width: int = 300, photo: Image.Image | None = None) -> Segmentation:
    """A square garment, upper, as a network of a tenth of the size finds it: sure inside, with soft edges."""
    logits = np.full((4, height // 10, width // 10), -6, np.float32)
    logits[0] = 3
    logits[1, 5:15, 10:20], logits[0, 5:15, 10:20] = 3, -3
    return Segmentation(logits, (height, width), NAMES, photo)


def test_probabilities_are_16_bit_grey(monkeypatch):
    monkeypatch.setattr(segmentation_module, "STRIP_BYTES", 50_000)
    for category in ("any", "upper", "full"):
        content = encoded(soft().only(category), "probability")
        assert struct.unpack(">IIBB", content[16:26]) == (300, 200, 16, 0)
        expected = soft().probability(category) * 65535
        assert abs(np.asarray(Image.open(io.BytesIO(content))) - expected).max() <= 0.51
        assert abs(opencv(content, cv2.IMREAD_UNCHANGED) - expected).max() <= 0.51


@pytest.mark.parametrize("strip_bytes", [64_000_000, 50_000])
def test_a_cutout_is_soft_in_a_thin_band_and_takes_no_colour_from_behind(strip_bytes, monkeypatch):
    """A red garment before blue, photographed with a blurred edge; over white, nothing blue may be left."""
    monkeypatch.setattr(segmentation_module, "STRIP_BYTES", strip_bytes)
    monkeypatch.setattr(outputs, "FEATHER", 4 / np.hypot(200, 300))
    labels = soft().labels
    red = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 1.0)
    pixels = np.rint(np.stack((220 * red, 0 * red, 220 * (1 - red)), 2)).astype(np.uint8)
    result = soft(photo=Image.fromarray(pixels))
    cutout = np.asarray(cutout_image(result)).astype(int)
    alpha = cutout[..., 3]
    band = cv2.dilate(labels, np.ones((11, 11))) != cv2.erode(labels, np.ones((11, 11)))
    assert np.array_equal(alpha[~band], 255 * labels[~band].astype(int))
    assert ((alpha > 0) & (alpha < 255)).sum() > 100
    assert ((alpha > 127) == (labels > 0)).all()
    assert not cutout[alpha == 0].any()
    assert cutout[..., 2][alpha > 0].max() < 10 < pixels[..., 2][labels > 0].max()
    white = np.asarray(cutout_image(result, (255, 255, 255))).astype(int)
    assert white.shape == (200, 300, 3)
    assert abs(white[..., 1] - white[..., 2]).max() < 10  # red to white has as much green as blue
    assert (white[labels == 0].mean(), white[100, 150].tolist()) == (pytest.approx(255, abs=6), [220, 0, 0])


def test_edges_of_a_changed_mask_are_soft_where_they_are_now():
    result = soft(photo=Image.new("RGB", (300, 200), "red"))
    result.photo.paste("blue", (20, 0, 22, 200))
    moved = np.roll(result.labels, 60, 1)
    moved[:, 20:22] = 1
    cutout = np.asarray(cutout_image(result.with_labels(moved)))
    alpha = cutout[..., 3]
    assert (cutout[:, 20:22, :3] == [0, 0, 255]).all()  # a strap has no colours but those of its edges
    assert alpha[100, 60] == 0 and alpha[100, 240] == 255 == alpha[100, 180]
    assert ((alpha > 127) == (moved > 0)).mean() > 0.999


@pytest.mark.parametrize("name", ["mask", "labels", "binary", "probability", "cutout", "overlay"])
def test_a_crop_is_the_part_of_the_whole_picture(name):
    photo = Image.fromarray(cv2.resize(blocks(1, 255, 3), (300, 200)))
    box = (80, 30, 230, 170)
    whole = Image.open(io.BytesIO(encoded(soft(photo=photo), name)))
    part = Image.open(io.BytesIO(encoded(soft(photo=photo), name, box=box)))
    if name == "overlay":
        assert part.size == (3 * 150, 140)
    else:
        assert np.array_equal(np.asarray(part), np.asarray(whole.crop(box)))


@pytest.mark.parametrize(("categories", "size"), [
    (["upper"], (10, 10)), (["upper", "lower"], (40, 25)), (["any"], (60, 35)),
])  # fmt: skip
def test_pictures_of_a_photo_are_cropped_alike_to_the_classes_that_are_written(categories, size):
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 10:20], labels[20:30, 30:50], labels[35:] = 1, 2, 3
    encode = OutputLayout(["mask"], categories, crop_margin=0).encoder(Segmentation.from_labels(labels, NAMES), None)
    assert {Image.open(io.BytesIO(encode("mask", category))).size for category in categories} == {size}


def test_the_json_of_a_crop_counts_pixels_of_the_whole_photo_and_names_the_crop():
    whole, part = (json.loads(encoded(soft(), "json", box=box)) for box in (None, (80, 30, 230, 170)))
    assert part.pop("crop") == [80, 30, 230, 170]
    assert part == whole


def test_the_box_of_a_garment_has_its_margin_within_the_photo():
    labels = np.zeros((100, 80), np.uint8)
    assert garment_box(labels, 0.5) == (0, 0, 80, 100)
    labels[10:60, 20:40] = 3
    assert garment_box(labels, 0) == (20, 10, 40, 60)
    assert garment_box(labels, 0.3) == (5, 0, 55, 75)


def test_confidence_and_warnings(monkeypatch):
    assert report(soft())["classes"]["upper"]["confidence"] == pytest.approx(0.98, abs=0.02)
    assert report(soft())["classes"]["full"]["confidence"] is None
    assert warning(soft()) is None
    unsure = Segmentation(soft().logits / 6, (200, 300), NAMES)
    assert np.array_equal(unsure.labels, soft().labels)
    nothing, everything = (soft().with_labels(np.full((200, 300), value, np.uint8)) for value in (0, 1))
    assert [report(each)["warning"] for each in (unsure, nothing, everything)] == [
        "low confidence", "empty", "nearly full",
    ]  # fmt: skip
    known_labels = Segmentation.from_labels(soft().labels, NAMES)
    assert report(known_labels)["classes"]["upper"]["confidence"] is None and warning(known_labels) is None
    monkeypatch.setattr(segmentation_module, "CONFIDENCE_ROWS", 20)
    between = np.where((np.arange(200)[:, None] % 10 > 0) & (np.arange(300) < 100), np.uint8(2), soft().labels)
    assert warning(soft().with_labels(between)) is None  # what no row shows that is looked at does not count
