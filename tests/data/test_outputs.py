"""Results are files that other programs read right."""

import io
import struct

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torchvision.io import ImageReadMode, decode_image

from data.outputs import FORMATS, report
from data.rle import parse_rle, rasterise
from data.segmentation import Segmentation
from utils.labels import PALETTE

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


def encoded(segmentation: Segmentation, output: str) -> bytes:
    return FORMATS[output].encode(segmentation)


def opencv(content: bytes, flag: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def torchvision(content: bytes, mode: ImageReadMode) -> np.ndarray:
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode).numpy()


@pytest.mark.parametrize(("output", "colour_type"), [("mask", 3), ("labels", 0), ("binary", 0), ("cutout", 6)])
def test_pngs_have_8_bits_a_channel(segmentation, output, colour_type):
    content = encoded(segmentation, output)
    assert struct.unpack(">IIBB", content[16:26]) == (WIDTH, HEIGHT, 8, colour_type)


def test_a_photo_of_few_classes_gets_the_same_palette(labels):
    only_background = Segmentation.from_labels(np.zeros_like(labels), NAMES)
    mask = Image.open(io.BytesIO(encoded(only_background, "mask")))
    assert len(mask.getpalette()) == 3 * 256
    assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def test_pillow_reads_masks_as_labels_and_in_the_published_colours(segmentation, labels):
    mask = Image.open(io.BytesIO(encoded(segmentation, "mask")))
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), labels)
    assert np.array_equal(np.asarray(mask.convert("RGB")), PALETTE[labels])


def test_torchvision_reads_masks_as_labels(segmentation, labels):
    assert np.array_equal(torchvision(encoded(segmentation, "mask"), ImageReadMode.UNCHANGED), labels[None])


def test_opencv_and_torchvision_read_masks_in_the_published_colours(segmentation, labels):
    content = encoded(segmentation, "mask")
    assert np.array_equal(opencv(content, cv2.IMREAD_UNCHANGED)[..., :3], PALETTE[labels][..., ::-1])
    assert np.array_equal(opencv(content, cv2.IMREAD_COLOR), PALETTE[labels][..., ::-1])
    assert np.array_equal(torchvision(content, ImageReadMode.RGB), PALETTE[labels].transpose(2, 0, 1))


def test_everybody_reads_labels_as_labels(segmentation, labels):
    content = encoded(segmentation, "labels")
    image = Image.open(io.BytesIO(content))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), labels)
    assert np.array_equal(opencv(content, cv2.IMREAD_GRAYSCALE), labels)
    assert np.array_equal(opencv(content, cv2.IMREAD_UNCHANGED), labels)
    assert np.array_equal(torchvision(content, ImageReadMode.UNCHANGED), labels[None])
    assert np.array_equal(torchvision(content, ImageReadMode.GRAY), labels[None])


def test_everybody_reads_binary_masks_as_0_and_255(segmentation, labels):
    content, expected = encoded(segmentation, "binary"), np.where(labels > 0, 255, 0)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
    assert np.array_equal(opencv(content, cv2.IMREAD_GRAYSCALE), expected)
    assert np.array_equal(torchvision(content, ImageReadMode.UNCHANGED)[0], expected)


def test_a_cutout_is_the_photo_transparent_but_for_the_clothes(segmentation, labels):
    expected = np.dstack((np.asarray(segmentation.photo), np.where(labels > 0, 255, 0)))
    content = encoded(segmentation, "cutout")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
    assert np.array_equal(opencv(content, cv2.IMREAD_UNCHANGED), expected[..., [2, 1, 0, 3]])


def test_an_overlay_is_photo_colours_over_it_and_mask_side_by_side(segmentation, labels):
    sheet = np.asarray(Image.open(io.BytesIO(encoded(segmentation, "overlay"))))
    assert sheet.shape == (HEIGHT, 3 * WIDTH, 3)
    photo, coloured, mask = (sheet[:, i * WIDTH : (i + 1) * WIDTH].astype(int) for i in range(3))
    assert abs(photo - np.asarray(segmentation.photo)).mean() < 20  # a JPEG is never exact
    assert abs(mask - PALETTE[labels]).mean() < 20
    bare = labels == 0
    assert abs(coloured - photo)[bare].mean() < 10 < abs(coloured - photo)[~bare].mean()


@pytest.mark.parametrize("output", ["mask", "labels", "binary", "cutout", "overlay"])
def test_no_result_carries_the_photos_colour_profile(segmentation, output):
    result = Image.open(io.BytesIO(encoded(segmentation, output)))
    result.load()
    assert not {"icc_profile", "exif", "srgb", "gamma"} & result.info.keys()
    assert segmentation.photo.info["icc_profile"]  # and the photo keeps its own


def test_reports_give_boxes_shares_and_run_lengths_of_the_mask(segmentation, labels):
    labels[labels == 3] = 0
    content = report(segmentation)
    assert (content["height"], content["width"]) == (HEIGHT, WIDTH)
    assert tuple(content["classes"]) == NAMES[1:]
    for value, entry in enumerate(content["classes"].values(), 1):
        expected = labels == value
        assert (entry["present"], entry["area"]) == (bool(expected.any()), int(expected.sum()))
        assert entry["share"] == pytest.approx(expected.mean(), abs=1e-6)
        if expected.any():
            rows, columns = np.nonzero(expected)
            assert entry["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            size = (HEIGHT, WIDTH)
            assert np.array_equal(rasterise(parse_rle(entry["rle"], *size), *size, size), expected)
        else:
            assert (entry["box"], entry["rle"]) == (None, "")
