"""train.py on several sources from a recipe, one of them labelled by scripts/pseudo_label.py."""

import pytest
import torch
import yaml

from networks.weights.checkpoint import load_network
from options.train_options import TrainOptions
from scripts.pseudo_label import PseudoLabelOptions
from scripts.pseudo_label import main as pseudo_label
from tests.helpers import events_of, random_photos, run_here, run_script
from utils.errors import UserError
from utils.files import write_csv


@pytest.fixture(scope="module")
def recipe(dolls, tiny_checkpoint, tmp_path_factory):
    """A recipe file: labelled dolls, tagged ones with a network's labels, and two validation sets."""
    folder = tmp_path_factory.mktemp("mixed")
    names = sorted(path.name for path in dolls.image_folder.iterdir())
    write_csv(folder / "tags.csv", [("ImageId", "Tags"), *((name, "hair suit") for name in names)])
    (folder / "tag_map.yml").write_text("upper: [suit]\nlower: [suit]\n")
    tags = {"tags": str(folder / "tags.csv"), "tag_map": str(folder / "tag_map.yml")}
    options = PseudoLabelOptions(
        image_folder=str(dolls.image_folder), output=str(folder / "labels.csv"), checkpoint_path=str(tiny_checkpoint),
        device="cpu", precision="fp32", confidence=0.5, clothes_confidence=0.7, **tags,
    )  # fmt: skip
    assert not pseudo_label(options.resolve())
    here = {"image_folder": dolls.image_folder.name, "df_path": str(dolls.df_path)}
    (folder / "walls").mkdir()
    for i, photo in enumerate(random_photos((60, 80), (90, 50))):
        photo.save(folder / "walls" / f"{i}.png")
    walls = {"image_folder": str(folder / "walls"), "no_clothes": True}
    content = {
        "sources": {
            "dolls": here | {"share": 2, "portraits": 0.3, "empty_crops": 0.2},
            "tagged": here | tags | {
                "df_path": str(folder / "labels.csv"), "trust": 0.5, "teacher_trust": 0, "turns": 0.5, "pastes": 0.5,
            },
            "walls": walls | {"share": 0.5},
        },
        "validation": {"whole": here, "near": here | {"close_ups": True}, "walls": walls},
        "data_root": str(dolls.image_folder.parent),
        "model": "u2netp", "continue_train": False, "fine_width": 64, "fine_height": 64, "batchSize": 2, "nThreads": 0,
        "device": "cpu", "precision": "fp32", "augment": "full", "iou_weight": 1.0, "seed": 3,
        "teacher": str(tiny_checkpoint), "teacher_weight": 0.5,
        "print_freq": 1, "save_freq": 2, "val_freq": 4, "image_log_freq": 2,
    }  # fmt: skip
    path = folder / "recipe.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_sources_train_validate_apart_and_resume(recipe, tmp_path):
    def train(run: str, iterations: int, *more: object, start=run_here):
        flags = ["--save_dir", tmp_path / run, "--logs_dir", tmp_path / run / "logs", "--iter", iterations, *more]
        result = start("train.py", *flags)
        assert result.returncode == 0, result.stderr
        return result

    straight = train("straight", 4, "--options", recipe)
    assert "sources: dolls (57.1 % of the samples), tagged (28.6 % of the samples), walls (14.3 %" in straight.stdout
    assert "walls: 2 photographs without clothes" in straight.stdout
    events = events_of(tmp_path / "straight/logs")
    scalars = set(events.Tags()["scalars"])
    assert {"val/miou", "val/whole/miou_clothes", "val/near/clothes_iou"} <= scalars
    figures = ("miou", "whole/miou", "near/miou", "walls/miou", "walls/false_alarm")
    mean, *of_sets, false_alarm = (events.Scalars(f"val/{name}")[0].value for name in figures)
    assert mean == pytest.approx(sum(of_sets) / 3) and of_sets[2] == pytest.approx(1 - false_alarm)

    train("resumed", 2, "--options", recipe)
    train("resumed", 4, "--resume", start=run_script)  # as a new process, which has nothing but the files
    name = "checkpoints/itr_00000004_u2netp.pth"
    networks = [load_network(tmp_path / run / name)[0].state_dict() for run in ("straight", "resumed")]
    assert [key for key in networks[0] if not torch.equal(networks[0][key], networks[1][key])] == []


def test_the_command_line_beside_a_recipe(recipe, tmp_path):
    path = tmp_path / "record.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | {"resume": True}))
    with pytest.raises(UserError, match="--df_path and the sources of"):
        TrainOptions.parse(["--options", str(path), "--image_folder", "mine", "--df_path", "mine.csv"])
    with pytest.raises(UserError, match="--val_df_path and the options file's validation exclude"):
        TrainOptions.parse(["--options", str(path), "--val_image_folder", "mine", "--val_df_path", "mine.csv"])
    assert not TrainOptions.parse(["--options", str(path), "--name", "mine"]).resume  # the record's, not the new run's
