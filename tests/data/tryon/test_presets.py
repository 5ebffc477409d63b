"""Files of the presets are what each try-on program's loader reads: the table in docs/tryon.md says what that is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.photos.open import PhotoError
from data.results.segmentation import Segmentation
from data.tryon.agnostic import Margin
from data.tryon.presets import PRESETS, Fit, ParseMaps, Preset
from tests.helpers import ROOT
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")
UPPER, LOWER = 1, 2
HEIGHT, WIDTH = 256, 192


def person() -> Segmentation:
    """A top above trousers, on a photo of coloured noise that is darker than grey."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[60:120, 60:130] = UPPER
    labels[120:220, 60:130] = LOWER
    photo = np.random.default_rng(0).integers(0, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Segmentation.from_labels(labels, NAMES, Image.fromarray(photo))


def make(preset: str, folder: Path, *photos: str, categories: tuple[str, ...] = ("upper",), **settings) -> Preset:
    """A preset of a folder with these photos."""
    for photo in photos:
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        (folder / photo).touch()
    settings = {"shape": "garment", "margin": Margin(0, "px"), "one_garment": False, **settings}
    return Preset(PRESETS[preset], [folder], list(categories), **settings)


def write(preset: Preset, result_dir: Path, name: str, result: Segmentation | None = None) -> dict[str, Path]:
    """The files of a photo by their paths below ``result_dir``, as infer.py writes them."""
    encode, written = preset.encoder(result or person(), Path(name)), {}
    for key, path in preset.paths(result_dir, Path(name)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(*key))
        written[path.relative_to(result_dir).as_posix()] = path
    return written


LINES = (ROOT / "docs/tryon.md").read_text(encoding="utf-8").splitlines()
HEADER, _, *ROWS = ([cell.strip() for cell in line.split("|")] for line in LINES if line.count("|") == 11)
LOADERS = [dict(zip(HEADER, row, strict=True)) for row in ROWS]  # cells by the names of their columns
PHOTOS = {  # of each preset: a garment and a person
    "viton": ("cloth/a.jpg", "image/a.jpg"),
    "agnostic": (None, "image/a.jpg"),
    "dresscode": ("upper_body/images/a_1.jpg", "upper_body/images/a_0.jpg"),
    "gp-vton": ("cloth/a.jpg", None),
}


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader["program"])
def test_a_loader_finds_its_files_and_reads_the_right_pixels(tmp_path, loader):
    photos = PHOTOS[loader["preset"]]
    preset = make(loader["preset"], tmp_path, *filter(None, photos))
    clothes = person().labels
    for column, photo, white in (("garment", photos[0], clothes > 0), ("to paint", photos[1], clothes == UPPER)):
        if loader[column] == "-":
            continue
        if loader["preset"] == "gp-vton":  # a run without people: the category counts
            white = clothes == UPPER
        files = write(preset, tmp_path, photo)
        path = Path(photo)
        expected = path.parents[1] / loader[column].strip("`").replace("NAME", path.stem)
        image = Image.open(files[expected.as_posix()])
        values = np.asarray(image)
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
        assert np.array_equal(values >= (254 if loader["cut at"] == "not" else float(loader["cut at"])), white)
        assert np.isin(values, (0, 1, 254, 255)).all()  # a JPEG is 1 off
        if loader["greyed photo"] != "-" and column == "to paint":
            grey = np.asarray(Image.open(files[loader["greyed photo"].strip("`").replace("NAME", "a")])).astype(int)
            assert grey.shape == (HEIGHT, WIDTH, 3)
            assert abs(grey[70:110, 70:120] - 128).max() < 8  # Pillow's "gray"
            assert grey[clothes != UPPER].mean() < 60


@pytest.mark.parametrize(("preset", "photos", "expected"), [  # what is written for the last of the photos
    # A mask has its photo's own name and suffix.
    *(("viton", name, f"cloth-mask/{name}") for name in ("a.jpg", "d.png", "b.JPG", "c.jpeg", "sub/e.f.tif")),
    # A whole data set: garments and people in one run, everything else left alone.
    ("viton", "image/p.jpg cloth/a.jpg", "cloth-mask/a.jpg"),
    ("viton", "cloth/a.jpg image/p.jpg", "agnostic-mask/p_mask.png agnostic-v3.2/p.jpg"),
    ("viton", "cloth/a.jpg openpose_img/a.jpg", None),
    ("viton", "test/cloth/a.jpg train/image/p.jpg", "train/agnostic-mask/p_mask.png train/agnostic-v3.2/p.jpg"),
    ("agnostic", "p.webp", "agnostic-mask/p_mask.png agnostic-v3.2/p.jpg"),
    ("dresscode", "dresses/images/7_1.jpg", "dresses/masks/7_1.png"),
    ("dresscode", "dresses/images/7_0.jpg", "dresses/agnostic_masks/7_0.png"),
    ("dresscode", "images/7_0.jpg", "agnostic_masks/7_0.png"), ("dresscode", "7_1.jpg", "masks/7_1.png"),
    ("dresscode", "images/7_0.jpg images/7_2.jpg", None), ("gp-vton", "a.jpg", "cloth_mask-bytedance/a.png"),
])  # fmt: skip
def test_where_the_files_of_a_photo_go(tmp_path, preset, photos, expected):
    photos = list(map(Path, photos.split()))
    layout = make(preset, tmp_path, *map(str, photos))
    assert (photos[-1] in layout.names(photos)) == (expected is not None)
    assert layout.has_folders == any(kind.folder in photos[0].parts for kind in PRESETS[preset])
    if expected:
        assert list(write(layout, tmp_path / "results", str(photos[-1]))) == expected.split()
        if photos[0].parent.name == "cloth":  # folders may be given one by one
            sources = [tmp_path / photo.parent for photo in photos]
            assert (
                list(write(replace(layout, sources=sources), tmp_path / "again", str(photos[-1]))) == expected.split()
            )


@pytest.mark.parametrize("source", ["image", "image/p.jpg"])
def test_the_folder_of_people_itself_is_of_people(tmp_path, source):
    layout = make("viton", tmp_path, "image/p.jpg", fit=Fit((64, 48)))
    layout = replace(layout, sources=[tmp_path / source])
    (name,) = layout.names([Path("p.jpg")])
    files = [path.relative_to(tmp_path).as_posix() for path in layout.paths(tmp_path, name).values()]
    assert files == ["agnostic-mask/p_mask.png", "agnostic-v3.2/p.jpg", "image/p.jpg"]


@pytest.mark.parametrize(("preset", "photos", "message"), [
    ("agnostic", "a.jpg a.png", "a.jpg and a.png would have results of one name"),
    ("agnostic", "image/a.jpg image/A.jpg", "of one name"), ("gp-vton", "cloth/a.jpg cloth/a.png", "of one name"),
    ("dresscode", "a.jpg", "names that end in _1 or _0"),
])  # fmt: skip
def test_photos_that_a_preset_cannot_take(tmp_path, preset, photos, message):
    photos = list(map(Path, photos.split()))
    with pytest.raises(UserError, match=message):
        make(preset, tmp_path, *map(str, photos)).names(photos)
    two = [Path("a.jpg"), Path("a.png")]
    assert len(make("viton", tmp_path / "2", "a.jpg", "a.png").names(two)) == 2  # the suffix tells them


@pytest.mark.parametrize(("folder", "photo", "category", "expected"), [
    ("dresses", "upper_body/images/1_0.jpg", "any", "upper"), (".", "lower_body/images/1_0.jpg", "any", "lower"),
    (".", "dresses/images/1_0.jpg", "any", "full"), ("dresses", "images/1_0.jpg", "any", "full"),
    ("dresses", "images/1_1.jpg", "any", "any"),  # a garment is masked whatever its class
    (".", "images/1_0.jpg", "lower", "lower"),
])  # fmt: skip
def test_dresscode_says_by_its_folders_what_is_put_on(tmp_path, folder, photo, category, expected):
    preset = make("dresscode", tmp_path / folder, photo, categories=(category,))
    assert [category for _, category in preset.paths(tmp_path, Path(photo))] == [expected]
    other = make("viton", tmp_path / "dresses", "cloth/1.jpg")  # a folder of this name elsewhere says nothing
    assert [category for _, category in other.paths(tmp_path, Path("cloth/1.jpg"))] == ["upper"]


def test_several_categories_have_a_data_set_each(tmp_path):
    preset = make("viton", tmp_path, "a.jpg", categories=("upper", "lower"))
    for category, value in (("upper", UPPER), ("lower", LOWER)):
        path = write(preset, tmp_path, "a.jpg")[f"{category}/cloth-mask/a.jpg"]
        assert np.array_equal(np.asarray(Image.open(path)) >= 128, person().labels == value)


def test_a_photo_of_a_garment_shows_one_and_a_photo_of_a_person_does_not(tmp_path):
    settings = {"one_garment": True, "categories": ("lower",)}
    alone = make("viton", tmp_path / "a", "a.jpg", **settings)
    preset = make("viton", tmp_path / "b", "image/a.jpg", **settings)
    garment = Image.open(write(alone, tmp_path, "a.jpg")["cloth-mask/a.jpg"])
    assert np.array_equal(np.asarray(garment) >= 128, person().labels > 0)  # most of it is lower
    area = Image.open(write(preset, tmp_path / "b", "image/a.jpg")["agnostic-mask/a_mask.png"])
    assert np.array_equal(np.asarray(area) > 0, person().labels == LOWER)


@pytest.mark.parametrize(("crop", "corner"), [(False, (255, 255, 255)), (True, (200, 0, 0))])
def test_photos_and_masks_are_brought_to_one_size(tmp_path, crop, corner):
    fit = Fit.parse("100x200", crop)
    preset = make("viton", tmp_path, "cloth/a.png", fit=fit)
    photo = preset.fit(Image.new("RGB", (300, 200), (200, 0, 0)))
    assert preset.needs_photo and photo.size == (100, 200)
    assert photo.getpixel((0, 0)) == corner
    assert photo.getpixel((50, 100)) == (200, 0, 0)
    labels = np.zeros((200, 100), np.uint8)
    labels[80:120] = UPPER
    files = write(preset, tmp_path / "out", "cloth/a.png", Segmentation.from_labels(labels, NAMES, photo))
    assert np.array_equal(np.asarray(Image.open(files["cloth/a.png"])), np.asarray(photo))
    assert Image.open(files["cloth-mask/a.png"]).size == (100, 200)


@pytest.mark.parametrize("text", ["768", "768x", "x1024", "0x9", "768*1024", "768x1024px", "-1x5", "99999x9", "٣x٤"])
def test_a_size_is_width_and_height(text):
    with pytest.raises(UserError, match="768x1024"):
        Fit.parse(text)


def test_a_parse_map_takes_the_place_of_the_networks_labels(tmp_path):
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[30:60, 80:110] = 11  # face
    values[50:130, 50:140] = 4  # upper-clothes
    values[130:220, 50:140] = 6  # pants
    values[60:120, 40:50] = 14  # left-arm
    Image.fromarray(values).save(tmp_path / "a.png")
    preset = make("agnostic", tmp_path, "image/a.jpg", parse_maps=ParseMaps(tmp_path, "atr"), shape="hull")
    area = np.asarray(Image.open(write(preset, tmp_path, "image/a.jpg")["agnostic-mask/a_mask.png"])) > 0
    assert area[np.isin(values, (4, 14))].all()
    assert not area[values == 11].any()
    assert not area[140:, 60:130].any()  # trousers stay but for the overlap


@pytest.mark.parametrize(("content", "labels", "message"), [
    (np.zeros((1, 5000), np.uint8), "atr", "the parse map .*a.png: 5000x1 is too narrow"),
    (None, "atr", "no parse map .*a.png: .*no such file"), (b"no picture", "atr", "is not a PNG"),
    (np.zeros((9, 9), np.uint8), "atr", "another size than its photo"),
    (np.full((HEIGHT, WIDTH, 3), (9, 8, 7), np.uint8), "atr", r"\(9, 8, 7\) at x 0, y 0"),
    (np.full((HEIGHT, WIDTH), 18, np.uint8), "atr", "value 18, which atr has not; see --parse_labels"),
    (np.full((HEIGHT, WIDTH), 20, np.uint8), "lip", "value 20, which lip has not"),
])  # fmt: skip
def test_parse_maps_that_do_not_fit(tmp_path, content, labels, message):
    fit = Fit.parse("768x1024") if "narrow" in message else None
    if isinstance(content, bytes):
        (tmp_path / "a.png").write_bytes(content)
    elif content is not None:
        Image.fromarray(content).save(tmp_path / "a.png")
    with pytest.raises(PhotoError, match=message):
        ParseMaps(tmp_path, labels).read(Path("a.jpg"), fit, (HEIGHT, WIDTH))


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000)])
def test_a_photo_too_narrow_for_a_size_is_that_photos_fault(size):
    assert Fit.parse("768x1024", crop=True)(Image.new("RGB", size)).size == (768, 1024)
    with pytest.raises(PhotoError, match="is too narrow for --size; crop it"):
        Fit.parse("768x1024")(Image.new("RGB", size))


def test_a_photo_that_its_format_cannot_hold_is_that_photos_fault(tmp_path):
    encode = make("viton", tmp_path, "a.jpg").encoder(
        Segmentation.from_labels(np.zeros((1, 70_000), np.uint8), NAMES), Path("a.jpg")
    )
    with pytest.raises(PhotoError, match="70000 pixels"):
        encode("cloth-mask/{name}", "any")
    with pytest.raises(PhotoError, match="cannot be .webp"):
        make("agnostic", tmp_path, fit=Fit((8, 8))).encoder(person(), Path("a.webp"))
