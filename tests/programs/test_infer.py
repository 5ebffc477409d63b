import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import infer
from data.image_folder import result_names
from networks import predictor
from networks.predictor import Predictor, labels_at
from tests.helpers import ROOT, assert_one_line_error, run_script
from utils.devices import resolve_device
from utils.errors import UserError
from utils.files import write_atomically


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_checkpoint):
    """A mixed folder, segmented once with every output."""
    root = tmp_path_factory.mktemp("infer")
    photos, rng = root / "photos", np.random.default_rng(0)
    (photos / "sub").mkdir(parents=True)
    pixels = Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    pixels.save(photos / "a.jpg")
    pixels.save(photos / "a.png")
    pixels.save(photos / "sub" / "b.webp")
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.save(photos / "turned.jpg", exif=exif.tobytes())
    pixels.convert("CMYK").save(photos / "cmyk.jpg")
    (photos / "broken.jpg").write_text("no image")
    (photos / "notes.txt").write_text("no image either")
    (photos / ".hidden.png").write_text("hidden")
    results = photos / "results"  # inside the folder: must not be taken for photographs the next time
    command = ["infer.py", "--checkpoint_path", tiny_checkpoint, "--image_dir", photos, "--result_dir", results]
    run = run_script(
        *command, "--batchSize", 2, "--overlay", "--outputs", "mask", "binary", "cutout", "json",
        "--category", "any", "upper",
    )  # fmt: skip
    return photos, results, run, command


def test_a_broken_file_is_reported_the_rest_is_done_and_the_exit_code_tells(folder):
    photos, results, run, _ = folder
    assert run.returncode == 1
    assert "skipped" in run.stderr
    assert "broken.jpg: not an image" in run.stderr
    assert "Traceback" not in run.stderr
    assert "5 of 6 photographs" in run.stdout
    assert "device: cpu" in run.stdout
    assert {str(p.relative_to(results)) for p in results.glob("*.png")} == {
        "a.jpg.png",
        "a.png.png",
        "cmyk.png",
        "turned.png",
    }
    assert (results / "sub" / "b.png").exists()


def test_masks_are_palette_pngs_in_the_published_colours_at_the_displayed_size(folder):
    _, results, _, _ = folder
    mask = Image.open(results / "a.jpg.png")
    assert (mask.mode, mask.size) == ("P", (70, 50))
    assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert np.asarray(mask).max() <= 3
    assert Image.open(results / "turned.png").size == (50, 70)


def test_each_output_and_class_has_a_folder_of_its_own(folder):
    _, results, _, _ = folder
    labels = np.asarray(Image.open(results / "a.jpg.png"))
    one = np.asarray(Image.open(results / "mask_upper" / "a.jpg.png"))
    assert np.array_equal(one, np.where(labels == 1, 1, 0))
    binary = Image.open(results / "binary_any" / "a.jpg.png")
    assert np.array_equal(np.asarray(binary), np.where(labels > 0, 255, 0))
    upper = np.asarray(Image.open(results / "binary_upper" / "a.jpg.png"))
    assert np.array_equal(upper, np.where(labels == 1, 255, 0))
    cutout = np.asarray(Image.open(results / "cutout_any" / "a.jpg.png"))
    assert np.array_equal(cutout[..., 3], np.asarray(binary))
    assert Image.open(results / "overlay_any" / "a.jpg.jpg").size == (210, 50)
    report = json.loads((results / "json_any" / "a.jpg.json").read_text())
    assert (report["height"], report["width"]) == (50, 70)
    assert {k: v["area"] for k, v in report["classes"].items()} == {
        name: int((labels == value).sum()) for value, name in enumerate(("upper", "lower", "full"), 1)
    }


def test_json_boxes_and_run_lengths_describe_the_mask(folder):
    from data.rle import parse_rle, rasterise

    _, results, _, _ = folder
    labels = np.asarray(Image.open(results / "a.jpg.png"))
    classes = json.loads((results / "json_any" / "a.jpg.json").read_text())["classes"]
    present = [(v, c) for v, c in enumerate(classes.values(), 1) if c["present"]]
    assert present
    for value, entry in present:
        rows, columns = np.nonzero(labels == value)
        assert entry["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        mask = rasterise(parse_rle(entry["rle"], 50, 70), 50, 70, (50, 70))
        assert np.array_equal(mask, labels == value)


def test_skip_existing_keeps_results_and_without_it_replacing_is_said(folder):
    photos, results, _, command = folder
    marked = results / "cmyk.png"
    original = marked.read_bytes()
    marked.write_bytes(b"mine")
    kept = run_script(*command, "--skip_existing")
    assert "5 photograph(s) have results" in kept.stdout
    assert "kept" in kept.stdout
    assert marked.read_bytes() == b"mine"
    replaced = run_script(*command)
    assert "replaced" in replaced.stdout
    assert marked.read_bytes() == original


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image_dir", "none"], "no folder none"),
        (["--image_dir", "input_images", "--result_dir", "input_images"], "same folder"),
        (["--category", "hat"], "any, upper, lower, full"),
        (["--checkpoint_path", "none.pth"], "no checkpoint"),
        (["--image_dir", "utils"], "no photographs"),
    ],
)
def test_user_mistakes_are_one_line(flags, message, tiny_checkpoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["infer.py", "--checkpoint_path", str(tiny_checkpoint), *flags])
    with pytest.raises(UserError, match=message) as error:
        infer.main()
    assert "\n" not in str(error.value)


def test_a_program_ends_with_that_line_and_code_1():
    assert_one_line_error(run_script("infer.py", "--checkpoint_path", "none.pth"), "no checkpoint at none.pth")


def test_result_names_never_meet():
    from pathlib import Path

    photos = [Path(p) for p in ("a.jpg", "a.png", "a.jpg.png", "b.jpg", "sub/a.jpg", "C.jpg", "c.png")]
    names = result_names(photos)
    assert len({str(n).lower() for n in names.values()}) == len(photos)
    assert names[Path("b.jpg")] == Path("b")
    assert names[Path("sub/a.jpg")] == Path("sub/a")


@pytest.mark.parametrize("size", [(64, 48), (37, 91), (200, 333), (10, 7), (1, 1)])
@pytest.mark.parametrize("strip_bytes", [64_000_000, 5_000])
def test_labels_are_the_argmax_of_bilinearly_resized_logits(size, strip_bytes, monkeypatch):
    monkeypatch.setattr(predictor, "STRIP_BYTES", strip_bytes)
    logits = torch.randn(4, 48, 64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    assert (labels_at(logits, size) == expected).mean() > 0.999


def test_a_batch_gives_what_its_photographs_give_alone(tiny_checkpoint):
    rng = np.random.default_rng(1)
    photos = [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((50, 70), (90, 31), (64, 64))
    ]
    tiny = Predictor.from_checkpoint(tiny_checkpoint, resolve_device("cpu"))
    together = tiny.predict(photos)
    for photo, labels in zip(photos, together, strict=True):
        assert labels.shape == photo.size[::-1]
        assert (labels == tiny.predict([photo])[0]).mean() > 0.999


def test_flip_makes_the_prediction_of_a_mirrored_photo_the_mirrored_prediction(tiny_checkpoint):
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, flip = (Predictor.from_checkpoint(tiny_checkpoint, resolve_device("cpu"), flip=f) for f in (False, True))
    torch.testing.assert_close(flip.logits(image.flip(-1)), flip.logits(image).flip(-1), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain.logits(image.flip(-1)), plain.logits(image).flip(-1), atol=1e-4, rtol=1e-4)


def test_size_given_overrides_the_checkpoints(tiny_checkpoint):
    assert Predictor.from_checkpoint(tiny_checkpoint, resolve_device("cpu")).size == (64, 64)
    assert Predictor.from_checkpoint(tiny_checkpoint, resolve_device("cpu"), height=96, width=80).size == (96, 80)


def test_files_are_whole_or_absent(tmp_path):
    def breaks_off(file):
        file.write(b"half")
        raise OSError("disk full")

    (tmp_path / "old.png").write_bytes(b"old")
    for name in ("new.png", "old.png"):
        with pytest.raises(UserError, match="disk full"):
            write_atomically(tmp_path / name, breaks_off)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"
    write_atomically(tmp_path / "deep" / "new.png", b"whole")
    assert (tmp_path / "deep" / "new.png").read_bytes() == b"whole"
