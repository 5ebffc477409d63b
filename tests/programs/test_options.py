from dataclasses import fields

import pytest
import yaml

from options.infer_options import InferOptions
from options.setup_options import SetupOptions
from options.train_options import TrainOptions
from tests.helpers import assert_one_line_error, run_script
from utils.errors import UserError


def test_published_training_defaults_stand():
    options = TrainOptions.parse([])
    published = {
        "name": "training_cloth_segm_u2net_exp1", "distributed": False, "fine_width": 768, "fine_height": 768,
        "mean": 0.5, "std": 0.5, "max_dataset_size": float("inf"), "serial_batches": False, "continue_train": True,
        "unet_checkpoint": "prev_checkpoints/cloth_segm_unet_surgery.pth", "save_freq": 1000, "print_freq": 10,
        "image_log_freq": 100, "iter": 100000, "lr": 0.0002, "clip_grad": 5, "augment": "none", "optimizer": "adam",
        "logs_dir": "logs/training_cloth_segm_u2net_exp1", "save_dir": "results/training_cloth_segm_u2net_exp1",
    }  # fmt: skip
    assert {key: getattr(options, key) for key in published} == published


def test_every_option_is_on_the_command_line_and_booleans_go_both_ways():
    options = TrainOptions.parse(
        ["--batchSize", "4", "--no-continue_train", "--serial_batches", "--lr", "1e-3", "--class_weights", "1", "2"]
    )
    assert (options.batchSize, options.continue_train, options.serial_batches) == (4, False, True)
    assert (options.lr, options.class_weights) == (1e-3, [1.0, 2.0])
    assert options.changed().startswith("batchSize=4")


@pytest.mark.parametrize("program", [TrainOptions, InferOptions, SetupOptions])
def test_help_names_every_option_with_its_default(program, capsys):
    with pytest.raises(SystemExit) as end:
        program.parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for item in fields(program):
        assert f"--{item.name}" in text
        assert item.metadata["help"].split()[0] in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batchSize", "0"],
        ["--lr", "nan"],
        ["--iter", "0"],
        ["--fine_width", "16"],
        ["--val_df_path", "x.csv"],
        ["--ema_decay", "1"],
        ["--augment", "full", "--close_ups", "1.5"],
        ["--close_ups", "0.3"],  # without --augment full
        ["--augment", "full", "--close_ups", "0.3", "--min_crop_area", "0.03"],
        ["--std", "0"],
        ["--batchSize", "1", "--fine_width", "32", "--fine_height", "32"],
    ],
)
def test_values_that_no_run_can_use_are_refused(arguments):
    with pytest.raises(UserError, match="--"):
        TrainOptions.parse(arguments)


@pytest.mark.parametrize(
    "arguments", [["--no_such_option"], ["--batchSize", "many"], ["--optimizer", "sgd"], ["--batch", "4"]]
)
def test_unknown_options_and_choices_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        TrainOptions.parse(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_resolved_options_are_saved_as_yaml(tmp_path):
    options = TrainOptions.parse(["--name", "x", "--iter", "7"])
    options.save(tmp_path / "run" / "training_options.yml")
    saved = yaml.safe_load((tmp_path / "run" / "training_options.yml").read_text())
    assert saved == vars(options)


def test_a_program_ends_with_one_line_and_code_1():
    result = run_script("train.py", "--batchSize", "0")
    assert_one_line_error(result, "--batchSize", "at least 1")
    assert result.returncode == 1


def test_smaller_sizes_come_first_and_end_at_the_size_itself():
    options = TrainOptions.parse(
        ["--fine_height", "256", "--fine_width", "192", "--iter", "100", "--smaller_first", "0.5:0.4", "0.75:0.8"]
    )
    sizes = [options.size_at(i) for i in (0, 39, 40, 79, 80, 99)]
    assert sizes == [(128, 96)] * 2 + [(192, 144)] * 2 + [(256, 192)] * 2


@pytest.mark.parametrize("given", ["0.5", "a:b", "2:0.5", "0.5:1", "0.5:0.6 0.7:0.6", "0:0.5", "0.5:nan"])
def test_sizes_that_make_no_sense_are_refused_with_an_example(given):
    with pytest.raises(UserError, match="SCALE:UNTIL"):
        TrainOptions.parse(["--smaller_first", *given.split()])
