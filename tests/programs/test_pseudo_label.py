"""scripts/pseudo_label.py: what a network is sure of becomes a label table."""

import numpy as np
from PIL import Image

from data.classes import CLOTHES
from data.labels.imaterialist import COLUMNS
from data.labels.read import read_labels
from data.labels.rle import encode_rle
from scripts.pseudo_label import confident_labels, table_rows
from utils.files import write_csv
from utils.label_values import SOME_CLOTHES, UNKNOWN

PROBABILITY = np.array(  # of 5 pixels in a row: background, upper, lower, full
    [[0.9, 0.1, 0.1, 0.44, 0.05], [0.1, 0.8, 0.2, 0.31, 0.05], [0, 0.1, 0.2, 0.05, 0.05], [0, 0, 0.5, 0.2, 0.85]],
    np.float32,
)[:, None]


def test_a_network_labels_where_it_is_sure():
    labels = confident_labels(PROBABILITY, [True] * 4, 0.6, 0.8)
    assert labels.tolist() == [[0, 1, SOME_CLOTHES, UNKNOWN, 3]]


def test_tags_turn_what_it_takes_for_absent_into_what_can_be_there():
    labels = confident_labels(PROBABILITY, [True, True, False, False], 0.6, 0.8)
    assert labels.tolist() == [[0, 1, 1, UNKNOWN, SOME_CLOTHES]]
    labels = confident_labels(PROBABILITY, [True, False, False, False], 0.6, 0.8)
    assert labels.tolist() == [[0, UNKNOWN, UNKNOWN, 0, UNKNOWN]]


def test_a_label_map_survives_its_table(tmp_path):
    labels = np.zeros((6, 5), np.uint8)
    labels[0], labels[1], labels[2, :3], labels[5] = 1, 3, SOME_CLOTHES, UNKNOWN
    (tmp_path / "photos").mkdir()
    for name in ("a, b.jpg", "empty.jpg"):
        Image.new("RGB", (5, 6)).save(tmp_path / "photos" / name)
    rows = table_rows("a, b.jpg", labels, CLOTHES) + table_rows("empty.jpg", np.zeros_like(labels), CLOTHES)
    write_csv(tmp_path / "labels.csv", [COLUMNS, *rows])
    table = read_labels(str(tmp_path / "labels.csv"), str(tmp_path / "photos"), CLOTHES)
    assert not table.skipped.count
    np.testing.assert_array_equal(table.label_map(0), labels)
    assert len(table) == 2 and not table.label_map(1).any()


def test_a_known_class_wins_over_words(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    everything = encode_rle(np.ones((2, 2), bool))
    rows = [
        ("a.jpg", everything, 2, 2, "unknown"), ("a.jpg", everything, 2, 2, "clothes"), ("a.jpg", "1 2", 2, 2, "10"),
    ]  # fmt: skip
    write_csv(tmp_path / "labels.csv", [COLUMNS, *rows])
    table = read_labels(str(tmp_path / "labels.csv"), str(tmp_path), CLOTHES)
    assert table.label_map(0).tolist() == [[3, SOME_CLOTHES], [3, SOME_CLOTHES]]
