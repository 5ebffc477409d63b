"""infer.py: what it writes, what it reports, and what it refuses before any weights are read."""

import csv
import json
import ntpath
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infer
from data.classes import CLOTHES
from data.labels.read import read_labels
from networks.engines.settings import ENGINES
from options.infer_options import InferOptions

from tests.helpers import (  # isort: skip
    DataSet, assert_one_line_error, changed_on_rank_1, exif_of, lock_folders, random_photos, run_here, run_script,
    torchrun, training_flags,
)  # fmt: skip
from utils.cache_folder import cache_folder
from utils.errors import UserError


def photo(seed: int = 0) -> Image.Image:
    return random_photos((50, 70), seed=seed)[0]


def below(folder) -> set[str]:
    """Names of all files below a folder, hidden ones included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def contents(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in below(folder)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_checkpoint):
    """A mixed folder, segmented once with every output: (photographs, results, what the run said, its command)."""
    photos = tmp_path_factory.mktemp("infer") / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "sub/b.webp"):
        photo().save(photos / name)
    photo().save(photos / "turned.jpg", exif=exif_of(6))
    photo().convert("CMYK").save(photos / "cmyk.jpg")
    for name in ("broken.jpg", "notes.TXT", "more.txt", "LICENSE", ".hidden.png"):
        (photos / name).write_text("no image")
    results = photos / "results"  # inside the folder: must not be taken for photographs the next time
    command = ["infer.py", "--checkpoint_path", tiny_checkpoint, "--image_dir", photos, "--result_dir", results]
    command += ["--device", "cpu", "--precision", "fp32"]
    run = run_here(
        *command, "--batchSize", 2, "--overlay", "--outputs", "mask", "labels", "binary", "cutout", "json",
        "--category", "any", "upper",
    )  # fmt: skip
    return photos, results, run, command


def test_a_broken_file_is_reported_the_rest_is_done_and_the_exit_code_tells(folder):
    _, results, run, _ = folder
    assert run.returncode == 1
    assert "skipped" in run.stderr and "broken.jpg: not an image" in run.stderr and "Traceback" not in run.stderr
    for words in ("5 of 6 photographs", "device: cpu", "other files, ignored: 2 .txt, 1 without a suffix\n"):
        assert words in run.stdout
    assert {path.name for path in results.glob("*.png")} == {"a.jpg.png", "a.png.png", "cmyk.png", "turned.png"}
    assert (results / "sub" / "b.png").exists()


def test_each_output_and_class_has_a_folder_of_its_own(folder):
    _, results, _, _ = folder

    def read(name: str) -> np.ndarray:
        return np.asarray(Image.open(results / name))

    labels = read("a.jpg.png")
    assert np.array_equal(read("mask_upper/a.jpg.png"), labels == 1)
    assert np.array_equal(read("labels_any/a.jpg.png"), labels)
    assert np.array_equal(read("binary_any/a.jpg.png"), np.where(labels > 0, 255, 0))
    assert np.array_equal(read("binary_upper/a.jpg.png"), np.where(labels == 1, 255, 0))
    assert np.array_equal(read("cutout_any/a.jpg.png")[..., 3] > 127, labels > 0)
    assert read("overlay_any/a.jpg.jpg").shape == (50, 210, 3)
    assert read("turned.png").shape == (70, 50)  # as it is displayed
    areas = json.loads((results / "json_any/a.jpg.json").read_text())["classes"].values()
    assert [each["area"] for each in areas] == [(labels == value).sum() for value in (1, 2, 3)]


def test_skip_existing_keeps_results_and_without_it_replacing_is_said(folder):
    _, results, _, command = folder
    marked = results / "cmyk.png"
    original = marked.read_bytes()
    marked.write_bytes(b"mine")
    missing = results / "labels_any/a.png.png"  # one of two results
    missing.unlink()
    kept = run_here(*command, "--outputs", "mask", "labels", "--skip_existing")
    assert "4 photograph(s) have results" in kept.stdout and "kept" in kept.stdout
    assert marked.read_bytes() == b"mine" and missing.exists()
    assert "replaced" in run_here(*command).stdout
    assert marked.read_bytes() == original


def test_a_single_photograph_is_segmented_alone(folder, tmp_path):
    photos, results, _, command = folder
    assert run_here(*command, "--image_dir", photos / "a.jpg", "--result_dir", tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out") == {"a.png": (results / "a.jpg.png").read_bytes()}


def test_a_preset_writes_into_the_folders_of_a_data_set_and_goes_with_a_report(tmp_path, folder):
    *_, command = folder
    (tmp_path / "cloth" / "more").mkdir(parents=True)
    photo().save(tmp_path / "cloth" / "1.jpg")
    photo(1).save(tmp_path / "cloth" / "more" / "2.jpg")
    command = [*command, "--image_dir", tmp_path / "cloth", "--result_dir", tmp_path, "--preset", "viton"]
    assert run_here(*command).returncode == 0
    assert below(tmp_path) == {"cloth/1.jpg", "cloth/more/2.jpg", "cloth-mask/1.jpg", "cloth-mask/more/2.jpg"}
    assert run_here(*command, "--skip_existing", "--report", "--category", "upper", "full").returncode == 0
    assert below(tmp_path / "upper") == below(tmp_path / "full") == {"cloth-mask/1.jpg", "cloth-mask/more/2.jpg"}
    assert below(tmp_path / "json_any") == {"1.jpg.json", "more/2.jpg.json"}
    assert set(rows_of(tmp_path)) == {"1.jpg", "more/2.jpg"}


def test_garments_whose_format_cannot_be_a_mask_are_skipped_and_the_rest_is_done(tmp_path, folder):
    *_, command = folder
    (tmp_path / "cloth").mkdir()
    for name in ("1.jpg", "2.webp"):
        photo().save(tmp_path / "cloth" / name)
    run = run_here(*command, "--image_dir", tmp_path / "cloth", "--result_dir", tmp_path, "--preset", "viton")
    assert run.returncode == 1 and "1 of 2 photographs" in run.stdout
    fault = f"skipped {tmp_path / 'cloth' / '2.webp'}: a mask with one channel cannot be .webp; save the photo as .jpg"
    assert fault in run.stderr
    assert [path.name for path in (tmp_path / "cloth-mask").iterdir()] == ["1.jpg"]


def test_one_command_makes_the_masks_of_a_whole_data_set_and_says_what_it_lacks(tmp_path, folder):
    *_, command = folder
    test, out = tmp_path / "DATA" / "test", tmp_path / "sized" / "test"
    given = {"cloth/1.png", "image/1.jpg", "openpose_img/1.png"}
    for name in given:
        (test / name).parent.mkdir(parents=True)
        photo().save(test / name)
    command = [*command, "--image_dir", test, "--preset", "viton", "--pose", "none"]
    run = run_here(*command, "--result_dir", test)
    masks = {"cloth-mask/1.png", "agnostic-mask/1_mask.png", "agnostic-v3.2/1.jpg"}
    assert below(test) == masks | given
    assert "2 of 2 photographs" in run.stdout and "test_pairs_unpaired.txt, which is missing: copy" in run.stdout
    assert "0 of 0 photographs" in run_here(*command, "--result_dir", test, "--skip_existing").stdout
    run_here(*command, "--result_dir", out, "--size", "96x128", "--fit", "crop")
    assert below(out) == masks | {"cloth/1.png", "image/1.jpg"}
    assert {Image.open(out / name).size for name in below(out)} == {(96, 128)}
    assert_one_line_error(run_here(*command, "--result_dir", test, "--size", "96x128"), "replace the photograph")


def test_what_is_missing_for_masks_on_people_is_said_once(tmp_path, folder, monkeypatch):
    photos, *_, command = folder
    monkeypatch.setattr("networks.pose.package_folder", lambda: None)
    command = [*command, "--image_dir", photos / "a.jpg", "--preset", "agnostic"]
    run = run_here(*command, "--result_dir", tmp_path / "a")
    assert run.stdout.count("mediapipe with BlazePose is not installed") == 1
    assert "mediapipe" not in run_here(*command, "--result_dir", tmp_path / "b", "--pose", "none").stdout
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(("flags", "words"), [
    ("--grow 2 --shrink 2", "--grow and --shrink"), ("--background white", "--outputs cutout"),
    ("--background nocolour --outputs cutout", "nocolour is not a colour"),
    ("--background #ffffff80 --outputs cutout", "is not a colour"), ("--crop_margin 0.1", "without --crop"),
    ("--crop --outputs json", "--crop cuts pictures"), ("--outputs probability --one_garment", "--one_garment changes"),
    ("--preset viton --overlay", "--preset has files of its own"),
    ("--preset gp-vton --agnostic_shape box", "--agnostic_shape is about masks on people; add --preset agnostic"),
    ("--preset agnostic --parse_labels lip", "add it"),
    ("--preset agnostic --parse_dir nowhere", "there is no folder nowhere"),
    ("--size 768x1024", "--size needs a --preset"), ("--preset viton --fit crop", "add one"),
    ("--preset viton --size 768", "768 is not a size"),
    ("--preset agnostic --agnostic_margin 0.02", "0.02 is not a margin"),
])  # fmt: skip
def test_options_without_effect_are_refused(flags, words):
    with pytest.raises(UserError, match=words):
        InferOptions.parse(flags.split())
    InferOptions.parse(["--outputs", "probability", "--one_garment", "--report"])  # the report is about masks


def test_a_category_or_output_that_is_named_twice_is_written_once():
    options = InferOptions.parse(["--category", "upper", "any", "upper", "--outputs", "mask", "mask", "--overlay"])
    assert (options.category, options.outputs) == (["upper", "any"], ["mask", "overlay"])


@pytest.mark.parametrize(("flags", "of_garments", "of_all"), [
    ("", True, False), ("--one_garment", True, True), ("--no-one_garment", False, False),
])  # fmt: skip
def test_photos_of_garments_show_one_unless_it_is_told_not_to(flags, of_garments, of_all):
    options = InferOptions.parse(["--preset", "viton", *flags.split()])
    assert (options.layout.one_garment, options.postprocess["one_garment"]) == (of_garments, of_all)


@pytest.mark.parametrize(("flags", "words"), [
    ("--image_dir none", "no folder or photo none"),
    *((f"--category upper {name}", f"--category {name}: this checkpoint knows any, upper, lower, full")
      for name in ("hat", "background")),
    ("--report --image_dir {f}/a.jpg", "about a folder of photographs"),
    ("--result_dir {f}/a.jpg/out", "cannot write into"),
    ("--outputs binary", "a result would replace the photograph {f}/binary_any/a.PNG"),
    ("--result_dir {f}/binary_any/../binary_any/", "same folder"),
])  # fmt: skip
def test_mistakes_are_found_before_the_weights_are_read(flags, words, tiny_checkpoint, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was built for nothing")

    monkeypatch.setattr("networks.weights.checkpoint.build_network", refuse)
    (tmp_path / "binary_any").mkdir()  # where the results of --outputs binary go
    for name in ("a.jpg", "binary_any/a.PNG"):
        photo().save(tmp_path / name)
    before = contents(tmp_path)
    command = ["infer.py", "--checkpoint_path", tiny_checkpoint, "--result_dir", tmp_path]
    command += ["--image_dir", tmp_path / "binary_any"]
    assert_one_line_error(run_here(*command, *flags.format(f=tmp_path).split()), words.format(f=tmp_path))
    assert contents(tmp_path) == before


def test_one_result_that_cannot_be_written_is_reported_and_the_others_are_done(tmp_path, folder):
    *_, command = folder
    photos, results = tmp_path / "photos", tmp_path / "out"
    longest = "x" * 251  # with .jpg and .png as long as a name may be, with .json too long
    photos.mkdir()
    for name in (longest, "blocked", "fine"):
        photo().save(photos / f"{name}.jpg")
    (results / "blocked.png").mkdir(parents=True)
    run = run_here(*command, "--image_dir", photos, "--result_dir", results, "--outputs", "mask", "json")
    assert run.returncode == 1 and "1 of 3 photographs segmented" in run.stdout and "Traceback" not in run.stderr
    faults = [line for line in run.stderr.splitlines() if line.startswith("cannot write")]
    assert [line.rsplit(": ", 1)[1] for line in faults] == ["Is a directory", "File name too long"]
    assert below(results) == {f"{longest}.png", "json_any/blocked.json", "fine.png", "json_any/fine.json"}


@pytest.fixture
def small(folder, tmp_path):
    """Three photographs and a broken one, the folder for their results, and the command."""
    *_, command = folder
    photos, results = tmp_path / "photos", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "sub/a.jpg")):
        photo(i).save(photos / name)
    (photos / "broken.jpg").write_text("no image")
    return photos, results, [*command, "--image_dir", photos, "--result_dir", results]


def rows_of(results) -> dict[str, str]:
    """Warning of each photo of a report."""
    with (results / "report.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["file"]: row["warning"] for row in csv.DictReader(file)}


def test_an_unreadable_folder_is_a_failure_and_the_rest_is_done(small, monkeypatch):
    photos, _, command = small
    (photos / "broken.jpg").unlink()
    lock_folders(monkeypatch, "sub")
    run = run_here(*command)
    assert run.returncode == 1 and f"cannot read the folder {photos / 'sub'}: Permission denied\n" in run.stderr
    assert "2 of 2 photographs segmented" in run.stdout


@pytest.mark.parametrize(("given", "expected"), [("~", ""), ("~/a b/*.jpg", "a b/*.jpg"), ("./~", None), ("~a", None)])
def test_paths_below_the_home_folder_may_be_written_with_a_tilde(given, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = InferOptions.parse([f"--image_dir={given}", f"--result_dir={given}"])
    assert options.image_dir == [options.result_dir] == [given if expected is None else str(tmp_path / expected)]


def test_on_windows_a_tilde_is_the_home_folder_before_a_backslash_too(monkeypatch):
    monkeypatch.setattr(os, "sep", "\\")
    monkeypatch.setattr(Path, "expanduser", lambda path: ntpath.expanduser(path))
    monkeypatch.setenv("USERPROFILE", r"C:\Users\me")
    options = InferOptions.parse(["--image_dir=photos", r"--result_dir=~\masks"])
    assert (options.image_dir, options.result_dir) == (["photos"], r"C:\Users\me\masks")


def test_a_photo_over_the_limit_is_told_the_option(small):
    *_, command = small
    run = run_here(*command, "--max_megapixels", 0.001)
    assert "0 megapixels are over the limit of 0.001; shrink the photo, or raise --max_megapixels\n" in run.stderr


def test_reports_of_a_run_hold_all_its_photographs_also_those_of_an_earlier_run(small):
    photos, results, command = small
    run = run_here(*command, "--report", "--coco")
    assert run.returncode == 1
    first = rows_of(results)
    assert set(first) == {"a.jpg", "b.png", "sub/a.jpg", "broken.jpg"} and first["broken.jpg"] == "failed"
    assert "nearly full" in first.values() and "nearly all of it is called clothes" in run.stderr  # it is not trained
    coco = json.loads((results / "coco.json").read_text())
    photo(3).save(photos / "broken.jpg")
    before = {path: path.stat().st_mtime_ns for path in (results / "json_any").rglob("*.json")}
    run = run_here(*command, "--report", "--coco", "--skip_existing")
    assert run.returncode == 0 and "1 of 1 photographs" in run.stdout, run.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert rows_of(results) | {"broken.jpg": "failed"} == first
    again = json.loads((results / "coco.json").read_text())
    assert {image["file_name"] for image in again["images"]} == set(first)
    assert len(again["annotations"]) > len(coco["annotations"])


def test_predictions_can_be_trained_on(small, tmp_path):
    photos, results, command = small
    run_here(*command, "--coco")
    data = DataSet(photos, results / "coco.json")
    run = run_here("train.py", *training_flags(data, tmp_path / "run", iter=1, save_freq=1, image_log_freq=1))
    assert run.returncode == 0, run.stderr
    table = read_labels(str(data.df_path), str(photos), CLOTHES)
    assert not table.skipped.count
    for i, path in enumerate(table.files):
        predicted = np.asarray(Image.open(results / path.relative_to(photos).with_suffix(".png")))
        assert (table.label_map(i) == predicted).mean() > 0.95, path  # the corners of polygons are a pixel off at most


def test_post_processing_and_crop_are_the_same_for_every_output(small):
    _, results, command = small
    run_here(
        *command, "--outputs", "mask", "binary", "cutout", "json", "--category", "any", "upper", "--one_garment",
        "--min_area", 30, "--shrink", 1, "--crop", "--crop_margin", 0, "--background", "#00ff00",
    )  # fmt: skip
    for name in ("a", "b", "sub/a"):
        labels = np.asarray(Image.open(results / f"{name}.png"))
        report = json.loads((results / f"json_any/{name}.json").read_text())
        left, top, right, bottom = report["crop"]
        assert labels.shape == (bottom - top, right - left)
        assert (report["height"], report["width"]) == (50, 70)
        areas = [entry["area"] for entry in report["classes"].values()]
        assert areas == [np.count_nonzero(labels == value) for value in (1, 2, 3)]
        assert np.array_equal(np.asarray(Image.open(results / f"binary_upper/{name}.png")) > 0, labels == 1)
        cutout = Image.open(results / f"cutout_any/{name}.png")
        assert (cutout.mode, cutout.size) == ("RGB", labels.shape[::-1])


@pytest.fixture
def whole(small) -> dict[str, bytes]:
    """What one process writes of the small folder, with reports."""
    _, results, command = small
    assert run_here(*command, "--report", "--coco").returncode == 1
    written = contents(results)
    shutil.rmtree(results)
    return written


def test_shards_together_write_what_one_run_writes(small, whole):
    _, results, command = small
    codes = [run_here(*command, "--report", "--coco", "--shard", f"{i}/3") for i in (1, 2, 3)]
    assert sorted(run.returncode for run in codes) == [0, 0, 1]
    assert "shard 2 of 3: 1 photograph(s)" in codes[1].stdout
    of_shards = {f"{name}.{i}-of-3.{end}" for i in (1, 2, 3) for name, end in (("report", "csv"), ("coco", "json"))}
    assert below(results) == (whole.keys() | of_shards) - {"report.csv", "coco.json"}
    assert "0 of 0" in run_here(*command, "--report", "--coco", "--shard", "1/3", "--skip_existing").stdout
    final = run_here(*command, "--report", "--coco", "--skip_existing")
    assert "0 of 1 photographs" in final.stdout  # the broken one is tried again
    assert {name: content for name, content in contents(results).items() if name not in of_shards} == whole


def test_a_photograph_that_another_run_finished_meanwhile_is_left_alone(small, monkeypatch):
    _, results, command = small
    run_here(*command)
    seen = Counter()

    def at_second_sight(job: infer.Job) -> bool:  # missing when the run is planned, there when the photo's turn comes
        seen[job.name] += 1
        return seen[job.name] > 1 and job.name != "broken.jpg"

    before = contents(results)
    monkeypatch.setattr(infer.Job, "is_finished", at_second_sight)
    assert infer.main(InferOptions.parse(list(map(str, [*command[1:], "--skip_existing"])))) == 1
    assert contents(results) == before and set(seen.values()) == {2}


def test_processes_of_torchrun_share_a_folder_and_wait_for_the_slower_one_after_a_broken_photo(small, whole, tmp_path):
    """Rank 0 has a.jpg and broken.jpg, rank 1 b.png and sub/a.jpg."""
    _, results, (_, *flags) = small
    script = changed_on_rank_1("infer.py", "time.sleep(3)", tmp_path)
    run = run_script(*torchrun(), script, *flags, "--outputs", "mask", "json")
    assert run.returncode != 0 and run.stderr.count("broken.jpg: not an image") == 1
    assert "shard 1 of 2: 2 photograph(s)" in run.stdout and "shard 2 of 2: 2 photograph(s)" in run.stdout
    assert contents(results) == {name: whole[name] for name in whole.keys() - {"report.csv", "coco.json"}}


LOADED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path("infer.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *({"torch", "torchvision", "onnx", "pandas", "scipy", "onnxruntime", "openvino"} & set(sys.modules)))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_imports_its_engine_and_no_other_large_package_and_adds_nothing_to_the_home_folder(engine, tmp_path):
    """OpenVINO and ONNX Runtime write an identity for their telemetry there unless they are told not to."""
    pytest.importorskip(engine)
    command = ["infer.py", "--engine", engine, "--device", "cpu", "--result_dir", tmp_path / "out"]
    command += ["--image_dir", "input_images/eileen_collins.jpg", "--outputs", "mask", "json", "cutout"]
    if engine != "torch":  # converts the weights, with PyTorch, if no run did it before
        run_here(*command)
    home, cache = tmp_path / "home", tmp_path / "home/.cache/cloth-segmentation"
    cache.parent.mkdir(parents=True)
    cache.symlink_to(cache_folder())
    before = set(home.rglob("*"))
    elsewhere = ("XDG_CACHE_HOME", "CI", "ORT_DISABLE_TELEMETRY")  # or the environment would tell them not to
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    run = run_script("-c", LOADED, *command, env=environment | {"HOME": str(home)})
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1].split() == ["loaded:", engine]
    assert set(home.rglob("*")) == before
