"""evaluate.py: one figure for the same weights everywhere, what it writes, how it refuses."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from networks.evaluation import validate
from PIL import Image
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

import evaluate
import infer
from data.classes import CLOTHES
from data.imaterialist_table import read_table
from data.photos import close_up, label_map, photo_and_label
from networks.checkpoint import load_network
from tests.helpers import SHARED, DataSet, assert_one_line_error, make_paper_dolls, run_script
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")
KEYS = {
    "iou",
    "miou",
    "miou_clothes",
    "clothes_iou",
    "boundary_f",
    "pixel_accuracy",
    "images",
    "checkpoint",
    "size",
    "close_ups",
}


class Oracle:
    """Stands in for a predictor: answers photo by photo with what a function makes of the truth."""

    def __init__(self, table, answer):
        self.answers = {
            photo_and_label(table, i)[0].tobytes(): answer(label_map(table, i, table.size(i)))
            for i in range(len(table))
        }

    def predict(self, photos):
        return [self.answers[photo.tobytes()] for photo in photos]


class Blank:
    """Stands in for a predictor: sees no clothes."""

    def predict(self, photos):
        return [np.zeros(photo.size[::-1], np.uint8) for photo in photos]


def run_main(program, monkeypatch, *arguments) -> int | None:
    monkeypatch.setattr(sys, "argv", [program.__name__, "--device", "cpu", "--precision", "fp32", *map(str, arguments)])
    return program.main()


@pytest.fixture(scope="module")
def few(tmp_path_factory, dolls) -> DataSet:
    """Six real photographs where ../shared is there, else the paper dolls."""
    source = SHARED / "data/ccp"
    if not source.exists():
        return dolls
    folder = tmp_path_factory.mktemp("few")
    (folder / "photos").mkdir()
    with (source / "val.csv").open() as file:
        header, *rows = csv.reader(file)
    chosen = list(dict.fromkeys(row[0] for row in rows))[:6]
    for name in chosen:
        shutil.copy(source / "val" / name, folder / "photos")
    with (folder / "few.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[0] in chosen)])
    return DataSet(folder / "photos", folder / "few.csv")


@pytest.fixture(scope="module")
def figures(few, tiny_checkpoint, tmp_path_factory) -> dict:
    """What evaluate.py writes for the tiny checkpoint on these photographs."""
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_main(
            evaluate, monkeypatch, "--image_folder", few.image_folder, "--df_path", few.df_path,
            "--checkpoint_path", tiny_checkpoint, "--json", folder / "out.json",
        )  # fmt: skip
    return json.loads((folder / "out.json").read_text())


@pytest.fixture
def doll_table(dolls):
    return read_table(dolls.df_path, dolls.image_folder, CLOTHES)


def test_validation_in_training_gives_the_same_figures(figures, few, tiny_checkpoint):
    network, info = load_network(tiny_checkpoint)
    table = read_table(few.df_path, few.image_folder, CLOTHES)
    metrics = validate(network, info, table, torch.device("cpu"), "fp32")
    for key in ("miou", "miou_clothes", "clothes_iou"):
        assert metrics[key] == pytest.approx(figures[key], abs=1e-9), key
    for name in NAMES:
        assert metrics[f"iou_{name}"] == pytest.approx(figures["iou"][name], abs=1e-9), name


def test_masks_written_by_infer_give_the_same_figures_in_torchmetrics(
    figures, few, tiny_checkpoint, tmp_path, monkeypatch
):
    run_main(
        infer, monkeypatch, "--image_dir", few.image_folder, "--result_dir", tmp_path,
        "--checkpoint_path", tiny_checkpoint,
    )  # fmt: skip
    table = read_table(few.df_path, few.image_folder, CLOTHES)
    masks = [np.asarray(Image.open(tmp_path / f"{path.stem}.png")) for path in table.files]
    truth = torch.from_numpy(np.concatenate([photo_and_label(table, i)[1].ravel() for i in range(len(table))])).long()
    prediction = torch.from_numpy(np.concatenate([mask.ravel() for mask in masks])).long()
    assert len(prediction.unique()) > 1, "masks of one class cannot tell programs apart"
    iou = multiclass_jaccard_index(prediction, truth, 4, average="none").tolist()
    # The network runs in batches there, which may move the last bit of a logit.
    assert iou == pytest.approx([figures["iou"][name] or 0 for name in NAMES], abs=1e-4)
    accuracy = multiclass_accuracy(prediction, truth, 4, average="micro").item()
    assert accuracy == pytest.approx(figures["pixel_accuracy"], abs=1e-4)
    assert figures["images"] == len(table)


def test_json_has_exactly_the_promised_keys(figures, tiny_checkpoint):
    assert set(figures) == KEYS
    assert tuple(figures["iou"]) == tuple(figures["boundary_f"]) == NAMES
    assert figures["checkpoint"] == str(tiny_checkpoint)
    assert figures["size"] == [64, 64]


def test_a_perfect_prediction_scores_one_everywhere(doll_table):
    result = evaluate.evaluate(Oracle(doll_table, lambda truth: truth), doll_table, NAMES)
    figures = evaluate.as_figures(result, NAMES)
    assert figures.pop("images") == len(doll_table)
    assert set(figures.pop("iou").values()) | set(figures.pop("boundary_f").values()) | set(figures.values()) == {1.0}
    assert result.split.split == 0 < result.split.seen
    assert set(result.agreement.values()) == {1.0}


def test_dresses_read_as_top_and_skirt_are_counted(doll_table):
    def split_dresses(truth):
        halves = np.where(np.arange(len(truth)) < len(truth) / 2, 1, 2).astype(np.uint8)[:, None]
        return np.where(truth == 3, halves, truth)

    result = evaluate.evaluate(Oracle(doll_table, split_dresses), doll_table, NAMES)
    dresses = sum(3 in label_map(doll_table, i, doll_table.size(i)) for i in range(len(doll_table)))
    assert (result.split.seen, result.split.split) == (dresses, dresses)
    assert f"{dresses} of {dresses} photographs (100 %)" in evaluate.as_text(result, NAMES)


def test_a_close_up_is_head_and_shoulders_cut_out_like_a_portrait():
    label = np.zeros((200, 120), np.uint8)
    label[60:160, 40:80] = 1  # clothes 100 high
    photo = Image.fromarray(np.arange(200 * 120 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 120, 3))
    near, truth = close_up(photo, label)
    assert truth.shape == (55, 44) and near.size == (44, 55)
    assert np.array_equal(truth, label[35:90, 38:82])
    assert np.array_equal(np.asarray(near), np.asarray(photo)[35:90, 38:82])


@pytest.mark.parametrize("rows, columns", [((0, 200), (0, 120)), ((199, 200), (119, 120)), ((0, 1), (0, 1))])
def test_a_close_up_ends_with_the_photo(rows, columns):
    label = np.zeros((200, 120), np.uint8)
    label[slice(*rows), slice(*columns)] = 1
    near, truth = close_up(Image.new("RGB", (120, 200)), label)
    assert near.size == truth.shape[::-1] and truth.any()


def test_a_photo_without_clothes_has_no_close_up():
    photo, label = Image.new("RGB", (120, 200)), np.zeros((200, 120), np.uint8)
    assert close_up(photo, label) == (photo, label)


def test_evaluating_close_ups_compares_these_alone(doll_table):
    pixels = {
        near: evaluate.evaluate(Blank(), doll_table, NAMES, close_ups=near).matrix.counts.sum()
        for near in (False, True)
    }
    expected = [close_up(*photo_and_label(doll_table, i))[1].size for i in range(len(doll_table))]
    assert pixels[True] == sum(expected) < pixels[False]


def test_a_class_that_is_not_there_is_null_in_json_and_a_dash_on_screen(doll_table):
    without = Oracle(doll_table, lambda truth: np.where(truth == 3, 0, truth).astype(np.uint8))
    doll_table.label[doll_table.label == 3] = 1  # no truth has it either
    result = evaluate.evaluate(without, doll_table, NAMES)
    figures = evaluate.as_figures(result, NAMES)
    assert figures["iou"]["full"] is None
    assert figures["boundary_f"]["full"] is None
    json.dumps(figures, allow_nan=False)
    row = next(line for line in evaluate.as_text(result, NAMES).splitlines() if line.startswith("full"))
    assert row.split() == ["full", "-", "-", "-"]


def test_report_dir_has_the_confusion_matrix_and_worst_median_best(
    doll_table, tmp_path, dolls, tiny_checkpoint, monkeypatch
):
    run_main(
        evaluate, monkeypatch, "--image_folder", dolls.image_folder, "--df_path", dolls.df_path,
        "--checkpoint_path", tiny_checkpoint, "--report_dir", tmp_path / "report", "--max_dataset_size", 3,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"confusion_matrix.png", "contact_sheet.png"}
    for path in (tmp_path / "report").iterdir():
        Image.open(path).load()


def test_contact_sheet_ranks_photographs_by_agreement(doll_table, monkeypatch):
    wrong = {4: 0.0, 7: 0.5}
    oracle = Oracle(doll_table, lambda truth: truth)
    result = evaluate.evaluate(oracle, doll_table, NAMES)
    result.agreement.update(wrong)
    seen = {}
    monkeypatch.setattr(evaluate, "contact_sheet", lambda sections, **_: seen.update(sections))
    evaluate.best_and_worst(result, oracle, doll_table, NAMES, close_ups=False)
    worst, median, best = ([tile.caption for tile in tiles] for tiles in seen.values())
    assert [caption.split()[1] for caption in worst[:2]] == [doll_table.files[i].name for i in wrong]
    assert all(caption.startswith("1.000") for caption in median + best)
    assert all(len(tile.panels) == 3 for tiles in seen.values() for tile in tiles)


def test_a_photo_that_breaks_when_decoded_is_left_out_and_not_counted(tmp_path, tiny_checkpoint, monkeypatch, capsys):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=3)
    broken = image_folder / "doll001.jpg"
    broken.write_bytes(broken.read_bytes()[:-900])  # its header, with the size, stays whole
    run_main(
        evaluate, monkeypatch, "--image_folder", image_folder, "--df_path", df_path,
        "--checkpoint_path", tiny_checkpoint, "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert json.loads((tmp_path / "out.json").read_text())["images"] == 2
    assert "left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("class_map", "words"),
    [
        ("{top: [0, 1]}", ["4 classes", "2 classes background, top", "--class_map"]),
        ("{lower: [6], upper: [0], full: [9]}", ["background, upper, lower, full", "background, lower, upper, full"]),
    ],
    ids=["another number", "another order"],
)
def test_a_class_map_that_is_not_the_checkpoints_is_refused(
    class_map, words, tmp_path, dolls, tiny_checkpoint, monkeypatch
):
    (tmp_path / "map.yml").write_text(class_map)
    with pytest.raises(UserError) as error:
        run_main(
            evaluate, monkeypatch, "--image_folder", dolls.image_folder, "--df_path", dolls.df_path,
            "--checkpoint_path", tiny_checkpoint, "--class_map", tmp_path / "map.yml",
        )  # fmt: skip
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_checkpoint_that_numbers_its_classes_takes_as_many_names_from_the_table():
    assert evaluate.check_classes(CLOTHES, ("0", "1", "2", "3"), "x.pth") == CLOTHES.names
    with pytest.raises(UserError, match="3 classes 0, 1, 2"):
        evaluate.check_classes(CLOTHES, ("0", "1", "2"), "x.pth")


@pytest.mark.parametrize("fault", ["--checkpoint_path", "--image_folder", "--df_path"])
def test_what_is_missing_is_named_in_the_error(fault, tmp_path, dolls, tiny_checkpoint, monkeypatch):
    paths = {"--checkpoint_path": tiny_checkpoint, "--image_folder": dolls.image_folder, "--df_path": dolls.df_path}
    paths[fault] = tmp_path / "absent"
    with pytest.raises(UserError, match="absent"):
        run_main(evaluate, monkeypatch, *(word for option in paths.items() for word in option))


def test_an_error_is_one_line_at_the_programs_edge(dolls, tmp_path):
    result = run_script(
        "evaluate.py", "--image_folder", dolls.image_folder, "--df_path", dolls.df_path,
        "--checkpoint_path", tmp_path / "absent.pth",
    )  # fmt: skip
    assert_one_line_error(result, "no checkpoint at", "absent.pth")
