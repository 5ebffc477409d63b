"""evaluate.py: one figure for the same weights everywhere, what it writes, how it refuses."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate
from data.classes import CLOTHES
from data.labels.read import read_labels
from data.results.segmentation import Segmentation
from data.training.datasets import EvaluationPhotos
from networks.predictor import Predictor
from tests.helpers import DataSet, assert_one_line_error, make_paper_dolls, run_here, run_script, torchrun
from utils.evaluation.against_truth import validate
from utils.evaluation.metrics import ConfusionMatrix
from utils.training.interruption import Interruption

NAMES = ("background", "upper", "lower", "full")


class Oracle:
    """Stands in for a predictor: answers photo by photo with the truth."""

    def __init__(self, photos: EvaluationPhotos):
        self.answers = {photo.tobytes(): truth for _, photo, truth in photos.load(range(len(photos)))}

    def __call__(self, photo):
        return Segmentation.from_labels(self.answers[photo.tobytes()], NAMES)


PLAIN = ["--device", "cpu", "--precision", "fp32"]


def run(data: DataSet, checkpoint, *flags, start=run_here):
    """What evaluate.py says of a checkpoint on a data set."""
    inputs = ["--image_folder", data.image_folder, "--df_path", data.df_path, "--checkpoint_path", checkpoint]
    return start("evaluate.py", *PLAIN, *inputs, *flags)


@pytest.fixture(scope="module")
def figures(dolls, tiny_checkpoint, tmp_path_factory) -> dict:
    """What evaluate.py writes for the tiny checkpoint on the dolls."""
    path = tmp_path_factory.mktemp("figures") / "out.json"
    ended = run(dolls, tiny_checkpoint, "--json", path)
    assert ended.returncode == 0, ended.stderr
    return json.loads(path.read_text())


@pytest.fixture
def doll_photos(dolls) -> EvaluationPhotos:
    return EvaluationPhotos(read_labels(dolls.df_path, dolls.image_folder, CLOTHES))


def evaluation(photos: EvaluationPhotos):
    return evaluate.evaluate(Oracle(photos), photos.load(range(len(photos))), len(NAMES))


def test_validation_in_training_gives_the_figures_of_the_json(figures, doll_photos, tiny_checkpoint):
    assert figures["checkpoint"] == str(tiny_checkpoint) and not any(figures["postprocess"].values())
    assert (figures["size"], figures["close_ups"]) == ([64, 64], False)
    predictor = Predictor.load(tiny_checkpoint, device="cpu", precision="fp32")
    metrics = validate(predictor, doll_photos, torch.device("cpu"), Interruption())
    expected = {f"iou_{name}": figures["iou"][name] for name in NAMES}
    expected |= {key: figures[key] for key in ("miou", "miou_clothes", "clothes_iou")}
    assert metrics == pytest.approx(expected, abs=1e-9)


def test_masks_written_by_infer_give_the_same_figures(figures, doll_photos, dolls, tiny_checkpoint, tmp_path):
    folders = ["--image_dir", dolls.image_folder, "--result_dir", tmp_path]
    run_here("infer.py", *PLAIN, *folders, "--checkpoint_path", tiny_checkpoint)
    matrix = ConfusionMatrix(len(NAMES))
    for index, _, truth in doll_photos.load(range(len(doll_photos))):
        matrix.update(truth, np.asarray(Image.open(tmp_path / f"{doll_photos.table.files[index].stem}.png")))
    assert np.count_nonzero(matrix.counts.sum(0)) > 1, "masks of one class cannot tell programs apart"
    # The network runs in batches there, which may move the last bit of a logit.
    assert matrix.iou().tolist() == pytest.approx(list(figures["iou"].values()), abs=1e-4)
    assert matrix.pixel_accuracy() == pytest.approx(figures["pixel_accuracy"], abs=1e-4)
    assert figures["images"] == len(doll_photos)


def test_post_processed_masks_are_what_is_measured(dolls, tiny_checkpoint, tmp_path):
    plain, voted = tmp_path / "plain.json", tmp_path / "voted.json"
    for path, flags in {plain: [], voted: ["--one_garment"]}.items():
        run(dolls, tiny_checkpoint, *flags, "--json", path, "--max_dataset_size", 3)
    plain, voted = (json.loads(path.read_text()) for path in (plain, voted))
    assert voted["iou"] != plain["iou"] and voted["clothes_iou"] == plain["clothes_iou"]


def test_close_ups_and_photos_without_clothes_are_measured_and_drawn(dolls, tiny_checkpoint, tmp_path):
    near = run(dolls, tiny_checkpoint, "--close_ups", "--report_dir", tmp_path / "report")
    assert f"12 close-ups from the photographs of {dolls.df_path}" in near.stdout
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"confusion_matrix.png", "contact_sheet.png"}
    bare = run(dolls, tiny_checkpoint, "--no_clothes", "--json", tmp_path / "bare.json")
    assert f"12 photographs of {dolls.image_folder}" in bare.stdout
    figures = json.loads((tmp_path / "bare.json").read_text())
    assert figures["false_alarm"] == pytest.approx(1 - figures["pixel_accuracy"]) != 0
    assert f"{100 * figures['false_alarm']:.2f} % of the pixels of the 12 photographs without clothes" in bare.stdout


def test_a_class_that_is_not_there_is_null_in_json_and_a_dash_on_screen(doll_photos):
    doll_photos.table.class_of_row[doll_photos.table.class_of_row == 3] = 1
    result = evaluation(doll_photos)
    figures = evaluate.as_figures(result, NAMES)
    assert figures["iou"]["full"] is figures["boundary_f"]["full"] is figures["false_alarm"] is None
    assert figures["miou"] == figures["clothes_iou"] == figures["boundary_f"]["upper"] == 1
    json.dumps(figures, allow_nan=False)
    row = next(line for line in evaluate.as_text(result, NAMES).splitlines() if line.startswith("full"))
    assert row.split() == ["full", "-", "-", "-"]
    long_names = ("background", 20 * "a", 20 * "b", 20 * "c")
    heading = next(line for line in evaluate.as_text(result, long_names).splitlines() if line.startswith("truth"))
    assert heading.split()[3:] == list(long_names)


def test_contact_sheet_ranks_photographs_by_agreement(doll_photos, monkeypatch):
    result = evaluation(doll_photos)
    for index, right in {4: 0, 7: 1}.items():  # of two pixels of clothes, none and one
        result.photos[index].counts[:] = np.diag([0, right, 0, 0])
        result.photos[index].counts[0, 1] = 2 - right
    sections = {}
    monkeypatch.setattr(evaluate, "contact_sheet", lambda found, **_: sections.update(found))
    evaluate.best_and_worst(result, Oracle(doll_photos), doll_photos, NAMES)
    worst, median, best = ([tile.caption for tile in tiles] for tiles in sections.values())
    names = [doll_photos.table.files[index].name for index in (4, 7)]
    assert worst[:2] == [f"0.000  {names[0]}", f"0.500  {names[1]}"]
    assert all(caption.startswith("1.000") for caption in worst[2:] + median + best)


def test_photos_that_cannot_be_read_are_named_and_left_out_and_a_table_of_such_is_an_error(tmp_path, tiny_checkpoint):
    data = DataSet(*make_paper_dolls(tmp_path, photos=5))
    for name in ("doll003.jpg", "doll004.jpg"):
        (data.image_folder / name).write_bytes(b"")
    broken = data.image_folder / "doll001.jpg"
    broken.write_bytes(broken.read_bytes()[:-900])  # its header, with the size, stays whole
    ended = run(data, tiny_checkpoint, "--json", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["images"] == 2
    named = re.findall(r"left out: .*/(doll\d+)\.jpg: \w+", ended.stderr)
    assert sorted(named) == ["doll001", "doll003", "doll004"] and ended.returncode == 1
    for photo in data.image_folder.glob("doll00[02].jpg"):
        photo.write_bytes(photo.read_bytes()[:-900])
    none = run(data, tiny_checkpoint, "--json", tmp_path / "none.json")
    assert_one_line_error(none, "none of the 3 photographs can be decoded")
    assert not (tmp_path / "none.json").exists()


def test_a_class_map_that_is_not_the_checkpoints_is_refused(tmp_path, dolls, tiny_checkpoint):
    (tmp_path / "map.yml").write_text("{lower: [6], upper: [0], full: [9]}")
    ended = run(dolls, tiny_checkpoint, "--class_map", tmp_path / "map.yml")
    assert_one_line_error(ended, "background, upper, lower, full", "background, lower, upper, full")


def test_processes_of_torchrun_measure_together_what_one_process_measures(dolls, tiny_checkpoint, tmp_path):
    flags = {i: ["--json", tmp_path / f"{i}.json", "--report_dir", tmp_path / str(i)] for i in (1, 2)}
    alone = run(dolls, tiny_checkpoint, "--engine", "torch", *flags[1])
    together = run(dolls, tiny_checkpoint, "--engine", "torch", *flags[2], start=partial(run_script, *torchrun()))
    assert together.returncode == 0, together.stderr
    assert json.loads((tmp_path / "2.json").read_text()) == json.loads((tmp_path / "1.json").read_text())
    assert together.stdout.replace(str(tmp_path / "2"), "") == alone.stdout.replace(str(tmp_path / "1"), "")
    for name in ("confusion_matrix.png", "contact_sheet.png"):
        assert (tmp_path / "2" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
