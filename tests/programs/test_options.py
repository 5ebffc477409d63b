"""Options: the command line, options files, and the record that a resumed run takes its options from."""

import dataclasses
import os
import sys
from dataclasses import fields

import pytest

from options.base_options import check_value, option
from options.evaluate_options import EvaluateOptions
from options.infer_options import InferOptions
from options.setup_options import SetupOptions
from options.train_options import TrainOptions
from scripts.audit_data import AuditOptions
from tests.helpers import ROOT, run_script
from utils.errors import UserError

# What a run of an earlier version recorded: 8e8a5ad, before options files could be read.
OLD_RECORD = """{name: old, distributed: false, image_folder: dolls, df_path: dolls.csv, class_map: null,
fine_width: 64, fine_height: 64, smaller_first: ['0.5:0.75'], mean: 0.5, std: 0.5, max_dataset_size: .inf,
class_weights: null, clip_grad: 5.0, precision: fp32, iter: 8, resume: false, save_dir: results/old, logs_dir: logs/old}
"""


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """results/exp of a run that was interrupted: its record, and a state to resume from."""
    monkeypatch.chdir(tmp_path)
    options = TrainOptions.parse(["--name", "exp", "--lr", "0.01", "--iter", "50", "--class_weights", "1", "2"])
    options.save(tmp_path / "results/exp/training_options.yml")
    (tmp_path / "results/exp/latest.pth").touch()
    return tmp_path / "results/exp"


def parse_file(path, content: str, *flags: str) -> TrainOptions:
    path.write_text(content)
    return TrainOptions.parse(["--options", str(path), *flags])


def test_published_training_defaults_stand():
    options = TrainOptions.parse([])
    published = {
        "name": "training_cloth_segm_u2net_exp1", "distributed": False, "fine_width": 768, "fine_height": 768,
        "mean": 0.5, "std": 0.5, "max_dataset_size": float("inf"), "serial_batches": False, "continue_train": True,
        "unet_checkpoint": "prev_checkpoints/cloth_segm_unet_surgery.pth", "save_freq": 1000, "print_freq": 10,
        "image_log_freq": 100, "iter": 100000, "lr": 0.0002, "clip_grad": 5, "augment": "none", "optimizer": "adam",
        "schedule": "constant", "logs_dir": "logs/training_cloth_segm_u2net_exp1",
        "save_dir": "results/training_cloth_segm_u2net_exp1",
    }  # fmt: skip
    assert {key: getattr(options, key) for key in published} == published


@pytest.mark.parametrize("program", [TrainOptions, InferOptions, SetupOptions])
def test_help_names_every_option_with_its_default(program, capsys):
    with pytest.raises(SystemExit) as end:
        program.parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for item in fields(program):
        if item.name not in ("sources", "validation"):  # mappings, in options files alone
            assert f"--{item.name}" in text
    assert not any(words in text for words in ("(default: False)", str(ROOT), " STR", " INT"))


@pytest.mark.parametrize(("limits", "value", "words"), [
    ({"at_least": 1}, 0, "--x 0 is too small, it must be at least 1"),
    ({"at_most": 4}, 4.5, "--x 4.5 is too large, it must be at most 4"),
    ({"below": 1}, 1.0, "--x 1.0 is too large, it must be below 1"), ({}, float("nan"), "--x is not a number"),
    ({}, -float("inf"), "--x -inf must be finite"), ({"at_least": 0}, [1.0, -1.0], "--x -1.0 is too small"),
    ({}, "", "--x is empty"), ({}, ["a", " "], "--x is empty"),
])  # fmt: skip
def test_values_out_of_their_limits_are_refused(limits, value, words):
    (item,) = fields(dataclasses.make_dataclass("Limited", [("x", float, option(2.0, **limits))]))
    with pytest.raises(UserError, match=words):
        check_value(item, value)
    check_value(item, limits.get("at_least", limits.get("at_most")))  # a limit itself, and no value, may be given


@pytest.mark.parametrize("arguments", [
    "--data_root /data", "--val_df_path x.csv", "--close_ups 0.3", "--class_weights 1 -1",
    "--augment full --close_ups 0.3 --min_crop_area 0.03", "--batchSize 1 --fine_width 32 --fine_height 32",
    *(f"--smaller_first {sizes}" for sizes in ["0.5", "a:b", "2:0.5", "0.5:1", "0.5:nan", "0.5:0.6 0.7:0.6"]),
])  # fmt: skip
def test_values_that_no_run_can_use_are_refused(arguments):
    with pytest.raises(UserError, match="SCALE:UNTIL" if "smaller_first" in arguments else "--"):
        TrainOptions.parse(arguments.split())


def test_a_usage_error_and_a_missing_package_are_said_by_the_first_of_several_processes(tmp_path, monkeypatch, capsys):
    (tmp_path / "attempt_0/0").mkdir(parents=True)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "attempt_0/0/error.json"))
    monkeypatch.setattr("utils.errors.TIME_TO_SPEAK", 0)
    for _ in range(2):
        with pytest.raises(SystemExit):
            TrainOptions.parse(["--schedule=x"])
        sys.excepthook(ModuleNotFoundError, ModuleNotFoundError(name="cv2"), None)
    said = capsys.readouterr().err
    assert said.count("error: argument --schedule") == said.count("error: cv2 is not installed") == 1


@pytest.mark.parametrize("option", ["--df_path", "--class_map"])
def test_figures_do_not_replace_what_is_read(option, tmp_path):
    (tmp_path / "a.JSON").touch()
    flags = [option, str(tmp_path / "a.JSON"), "--json", str(tmp_path / "x/../a.JSON")]
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="--json .* would replace a file that is read"):
        EvaluateOptions.parse(flags)


@pytest.mark.parametrize(("parse", "report_dir"), [
    (EvaluateOptions.parse, "photos/../photos"), (AuditOptions.parse, "photos/report"),
    (lambda flags: EvaluateOptions.parse([*flags, "--no_clothes"]), "photos/report"),
    (lambda flags: AuditOptions.parse(["--against_image_folder", *flags[1:], "--against_df_path=b"]), "photos/report"),
])  # fmt: skip
def test_pictures_of_a_report_do_not_lie_among_the_photos(parse, report_dir):
    with pytest.raises(UserError, match="--report_dir .* lies among the photos"):
        parse(["--image_folder", "photos", "--df_path", "a.csv", "--report_dir", report_dir])
    parse(["--image_folder", "photos", "--df_path", "a.csv", "--report_dir", "photographs"])
    EvaluateOptions.parse(["--image_folder", "photos", "--report_dir", "photos/report"])  # a table names its photos


def test_threads_wait_without_a_loop():
    """PyTorch reads the variable when it is imported, which is after the options."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys; from options.infer_options import InferOptions; InferOptions.from_command_line();"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    result = run_script("-c", code, env=environment)
    assert result.stdout.split() == ["passive", "False"], result.stderr


def test_defaults_of_the_repository_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("options.base_options.ROOT", tmp_path / "repository")
    name = "prev_checkpoints/cloth_segm_unet_surgery.pth"
    (tmp_path / "repository/input_images").mkdir(parents=True)
    assert InferOptions.parse([]).image_dir == [str(tmp_path / "repository/input_images")]
    for folder, found in (("repository", str(tmp_path / "repository" / name)), ("", name)):  # first: where one works
        (tmp_path / folder / name).parent.mkdir(parents=True)
        (tmp_path / folder / name).touch()
        assert TrainOptions.parse([]).unet_checkpoint == TrainOptions.parse(["--teacher", name]).teacher == found


def test_old_launchers_rank_is_taken_where_the_environment_has_none(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    TrainOptions.parse(["--local-rank=1"])
    assert os.environ["LOCAL_RANK"] == "3"
    monkeypatch.delenv("LOCAL_RANK")
    TrainOptions.parse(["--local_rank=1"])
    assert os.environ["LOCAL_RANK"] == "1"


def test_loss_weights_default_to_the_published_ones():
    assert TrainOptions().loss_weights(4) == [1, 1.5, 1.5, 1.5]
    assert TrainOptions(class_weights=[0.0, 2.0]).loss_weights(2) == [0, 2]
    for bad in ([1.0], [0.0, 0.0], [float("nan"), 1.0]):
        with pytest.raises(UserError, match="--class_weights"):
            TrainOptions(class_weights=bad).loss_weights(2)


# Options files


def test_an_options_file_gives_what_the_command_line_would(tmp_path):
    content = (
        "batchSize: 4\nlr: 1e-3\nmax_dataset_size: .inf\nclass_weights: [1, 2]\nval_df_path: null\naugment: full\n"
    )
    flags = ["--batchSize", "4", "--lr", "1e-3", "--class_weights", "1", "2", "--augment", "full"]
    assert parse_file(tmp_path / "o.yml", content) == TrainOptions.parse(flags)
    windows = "\ufeff" + content.replace("\n", "\r\n")
    assert parse_file(tmp_path / "o.yml", windows) == parse_file(tmp_path / "o.yml", content)
    options = parse_file(tmp_path / "o.yml", content, "--batchSize", "8", "--augment", "none")  # it wins
    assert (options.batchSize, options.augment, options.lr) == (8, "none", 1e-3)


@pytest.mark.parametrize(("content", "words"), [
    ("no_such: 1", "unknown option no_such"), ("batchSize: true", "--batchSize: invalid int value: 'True'"),
    ("batchSize: null", "invalid int value"), ("name: 2024", "in quotes"), ("name: [a]", "in quotes"),
    ("continue_train: 'yes'", "true or false"),
    ("class_weights: []", "--class_weights: expected at least one argument"),
    ("sources: 5", "sources is 5; it must be a mapping"), ("lr: 1\nlr: 2", "line 2: lr stands twice"),
])  # fmt: skip
def test_mistakes_in_an_options_file_are_one_line_that_names_it(content, words, tmp_path):
    with pytest.raises(UserError) as caught:
        parse_file(tmp_path / "recipe.yml", content)
    assert words in str(caught.value) and "recipe.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "- batchSize",
        "a: [",
        "a: !!python/name:os.system x",
        *map("a: !!{} ''".format, ["bool", "int", "timestamp"]),
    ],
)
def test_what_is_no_options_file_is_named(content, tmp_path):
    with pytest.raises(UserError, match="recipe.yml (must map option names|is not valid YAML)"):
        parse_file(tmp_path / "recipe.yml", content)
    with pytest.raises(UserError, match="cannot read the options file "):
        TrainOptions.parse(["--options", str(tmp_path)])


# Resumed runs


def test_a_resumed_run_takes_its_options_from_its_folder_and_a_new_one_may_take_its_record(run_dir):
    options = TrainOptions.parse(["--name", "exp", "--resume", "--lr", "1e-2"])  # the same may be said again
    assert (options.lr, options.iter, options.class_weights, options.resume) == (0.01, 50, [1, 2], True)
    new = TrainOptions.parse(["--options", str(run_dir / "training_options.yml"), "--name", "new"])
    assert (new.lr, new.class_weights, new.save_dir, new.logs_dir) == (0.01, [1, 2], "results/new", "logs/new")


@pytest.mark.parametrize(("flags", "words"), [
    ("--lr 0.02", "--lr 0.02 contradicts the run in results/exp, which has 0.01"),
    ("--class_weights 1 3", "--class_weights"), ("--no-continue_train", "--continue_train False contradicts"),
    ("--options other.yml", "the sources in --options are not those of the run in results/exp"),
])  # fmt: skip
def test_contradictions_are_refused_by_name(flags, words, run_dir, tmp_path):
    (tmp_path / "other.yml").write_text("sources: {mine: {image_folder: photos, df_path: labels.csv}}")
    with pytest.raises(UserError) as caught:
        TrainOptions.parse(["--name", "exp", "--resume", *flags.split()])
    assert words in str(caught.value)


def test_a_moved_run_is_resumed_where_it_is(run_dir, tmp_path):
    run_dir.rename(tmp_path / "elsewhere")
    options = TrainOptions.parse(["--resume", "--save_dir", str(tmp_path / "elsewhere")])
    assert (options.save_dir, options.lr) == (str(tmp_path / "elsewhere"), 0.01)
    (tmp_path / "results/copy").parent.mkdir(exist_ok=True)
    (tmp_path / "elsewhere").rename(tmp_path / "results/copy")
    assert TrainOptions.parse(["--resume", "--name", "copy"]).save_dir == "results/copy"


def test_what_belongs_to_the_machine_or_the_end_may_change_and_the_last_part_says_how_it_goes_on(run_dir):
    flags = "--name exp --resume --iter 90 --device cpu --image_folder moved --nThreads 7"
    options = TrainOptions.parse(flags.split())
    changed = (options.iter, options.device, options.image_folder, options.nThreads, options.lr)
    assert changed == (90, "cpu", "moved", 7, 0.01)
    options.save(run_dir / "training_options_from_00000010.yml")
    assert TrainOptions.parse(["--name", "exp", "--resume"]).iter == 90


def test_a_run_that_is_not_there_is_begun_and_the_first_process_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for rank, said in (("0", "there is no run to resume in results/new; a new one starts\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        options = TrainOptions.parse(["--resume", "--name", "new", "--lr", "0.1"])
        assert (options.resume, options.lr, options.save_dir) == (False, 0.1, "results/new")
        assert capsys.readouterr().out == said


@pytest.mark.parametrize(("flags", "iterations", "expected"), [
    ("", 100, None),
    ("--schedule poly --smaller_first 0.5:0.5", 200,
     "--iter 200 instead of 100: from iteration 60 on, learning rate 0.145, images 32x32; "
     "before, learning rate 0.0877, images 64x32"),
    ("--schedule poly", 50, "learning rate 0, images 64x32; before, learning rate 0.0877, images 64x32"),
])  # fmt: skip
def test_what_another_number_of_iterations_changes_is_said(flags, iterations, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--lr", "0.2", "--fine_width", "64", "--fine_height", "32", *flags.split()]
    TrainOptions.parse([*common, "--iter", "100"]).save(tmp_path / "record.yml")
    said = TrainOptions.parse([*common, "--iter", str(iterations)]).change_of_schedule(tmp_path / "record.yml", 60)
    assert said is None if expected is None else expected in said


def test_records_of_earlier_versions_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/old").mkdir(parents=True)
    (tmp_path / "results/old/latest.pth").touch()
    (tmp_path / "results/old/training_options.yml").write_text(OLD_RECORD)
    options = TrainOptions.parse(["--name", "old", "--resume", "--seed", "1"])  # which they did not record
    assert (options.iter, options.size_stages, options.max_dataset_size) == (8, [(0.5, 0.75)], float("inf"))
