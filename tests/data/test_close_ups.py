"""Close-ups of an evaluation: head and shoulders, found from the labels."""

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES
from data.imaterialist_table import read_table
from data.photos import EvaluationPhotos, close_up


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


def test_photographs_for_evaluation_are_whole_or_close_ups_alone(dolls):
    table = read_table(dolls.df_path, dolls.image_folder, CLOTHES)
    whole, near = EvaluationPhotos(table), EvaluationPhotos(table, close_ups=True)
    for index in range(len(table)):
        photo, label = whole[index]
        near_photo, near_label = near[index]
        assert photo.size == label.shape[::-1] == table.size(index)[::-1]
        assert np.array_equal(near_label, close_up(photo, label)[1])
        assert near_label.size < label.size and near_photo.size == near_label.shape[::-1]
