"""python -m data.audit names planted faults and duplicates."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data.audit.duplicates import Fingerprints, Pair
from scripts.audit_data import AuditOptions, duplicates_as_text, main, sizes_as_text
from tests.helpers import append_rows, flags_of, make_paper_dolls, run_here, scene, write_scenes
from utils.evaluation.metrics import ConfusionMatrix


@pytest.fixture
def audit(capsys):
    """Runs the program with these options and returns what it prints."""

    def run(**options) -> str:
        main(AuditOptions.parse(flags_of(options)))
        return capsys.readouterr().out

    return run


def test_help_names_the_command_that_was_typed():
    assert run_here("-m", "data.audit", "--help").stdout.startswith("usage: python -m data.audit [options]")


def test_planted_faults_are_found(tmp_path, audit):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=4)
    (image_folder / "sub").mkdir()
    shutil.copy(image_folder / "doll000.jpg", image_folder / "sub/nobody.jpg")
    broken = image_folder / "doll001.jpg"
    broken.write_bytes(broken.read_bytes()[:-900])  # it breaks when it is decoded
    append_rows(df_path, ("sub/gone.jpg", "1 1", 10, 10, 0), ("doll002.jpg", "1 1 5", "", 9, 99))
    output = audit(image_folder=image_folder, df_path=df_path, report_dir=tmp_path / "report")
    for words in (
        "of which 2 cannot be used", "skipped 1 row(s): missing photo",
        f"any row: 1 ({image_folder / 'sub/nobody.jpg'})",
        f"without file: 1 ({image_folder / 'sub/gone.jpg'})", f"broken: {broken}: broken image",
    ):  # fmt: skip
        assert words in output
    assert (tmp_path / "report" / "labels.png").is_file()


def test_sizes_are_width_x_height():
    assert "most often: 20x30 (2)" in sizes_as_text(np.array([(30, 20), (30, 20)]))


def test_duplicates_across_two_tables_are_named_with_how_far_their_labels_agree(tmp_path, audit):
    train = write_scenes(tmp_path / "train", {f"t{i}.png": scene(i) for i in range(4)})
    val = write_scenes(tmp_path / "val", {"v.jpg": scene(2, 240, 160), "w.png": scene(9)}, shirt=0.9)
    of_val = {"against_image_folder": val[0], "against_df_path": val[1]}
    output = audit(image_folder=train[0], df_path=train[1], **of_val, report_dir=tmp_path / "report")
    assert "0 identical pair(s), 1 near-duplicate pair(s); 1 across the two tables" in output
    assert f"in both tables, labels agree by 1.00: {train[0] / 't2.png'} {val[0] / 'v.jpg'}" in output
    assert "against each other, pooled: mean IoU of the clothes 1.000, clothes against rest 1.000" in output
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"labels.png", "duplicates.png"}


def test_labels_of_duplicates_are_compared_pooled_over_the_pairs():
    pairs = [Pair(0, 1, 0.99), Pair(2, 3, 0.99)]
    same, other, bare = (ConfusionMatrix(3) for _ in range(3))
    same.update(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 1]))
    other.update(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 0]))
    bare.update(np.zeros(4, int), np.zeros(4, int))
    files, nothing_broken = [Path(name) for name in "abcd"], Fingerprints([], np.empty(0), {})
    text = duplicates_as_text(pairs, [same, other], nothing_broken, files, 4)
    # Upper: 3 of 4 pixels in either, the other class: 1 of 3; clothes: 5 of 6.
    assert "pooled: mean IoU of the clothes 0.542, clothes against rest 0.833" in text
    text = duplicates_as_text(pairs[:1], [bare], nothing_broken, files[:2], 2)
    assert "no clothes" in text and "pooled" not in text
