"""Training data: what is in a table is told, and batches follow the samples that were seen."""

import io
import pickle
from itertools import islice

import pytest
import torch

from data.classes import CLOTHES
from data.training.datasets import Sample
from data.training.loader import TrainingData, load_source, load_table
from data.training.sources import Augmentation, Source
from tests.helpers import ROOT, DataSet, append_rows, make_paper_dolls
from utils.errors import UserError
from utils.training.interruption import kill_workers_at_end

SIZE = (32, 24)


def training_data(data: DataSet, close_ups: float = 0.0, **changes) -> TrainingData:
    augmentation = Augmentation("full", close_ups=close_ups)
    source = Source("photographs", str(data.image_folder), str(data.df_path), augmentation=augmentation)
    settings = {
        "classes": CLOTHES, "mean": 0.5, "std": 0.5, "seed": 3, "shuffle": True, "batch_size": 4, "workers": 0,
        "channels_last": False,
    }  # fmt: skip
    return TrainingData([load_source(source, CLOTHES)], **(settings | changes))


def batches(data: TrainingData, count: int, seen: int = 0) -> list[Sample]:
    with kill_workers_at_end():  # they would outlive the tests
        return list(islice(data.batches(SIZE, seen, torch.device("cpu")), count))


def same(one: list[Sample], other: list[Sample]) -> bool:
    return all(torch.equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True))


def test_a_table_is_told_with_what_was_skipped(tmp_path, capsys):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=3)
    append_rows(df_path, ("gone.jpg", "1 5", 40, 30, 1))
    table = load_table(str(df_path), str(image_folder), CLOTHES)
    told = capsys.readouterr().out
    assert f"{df_path}: 3 photographs, {len(table.class_of_row)} clothes masks" in told
    assert "skipped 1 row(s): missing photo (first: row" in told


def test_tags_say_what_each_photo_can_show_in_few_tensors_of_which_workers_get_an_open_file_each(dolls, tmp_path):
    tagged = "".join(f"DOLL{i:03}.jpg,coat\n" for i in range(1, 12))
    (tmp_path / "tags.csv").write_text(f"ImageId,Tags\n{tagged}")
    tags = {"tags": str(tmp_path / "tags.csv"), "tag_map": str(ROOT / "recipes/tags.yml")}
    loaded = load_source(Source("tagged", str(dolls.image_folder), str(dolls.df_path), **tags), CLOTHES)
    assert loaded.present.tolist() == [4 * [True]] + 11 * [[True, False, False, True]]
    tensors = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: object) -> int | None:
            return tensors.append(item) if isinstance(item, torch.Tensor) else None

    Pickler(io.BytesIO()).dump(loaded)
    assert len(tensors) < 12


def test_batches_have_a_batch_dimension_in_front(dolls):
    (batch,) = batches(training_data(dolls, channels_last=True), 1)
    assert [tuple(tensor.shape) for tensor in batch] == [(4, 3, *SIZE), (4, *SIZE), (4,), (4, 4), (4,)]
    assert batch.image.is_contiguous(memory_format=torch.channels_last)


def test_batches_follow_what_was_seen_over_epochs_whatever_the_number_of_workers(dolls):
    data = training_data(dolls, batch_size=5)  # of 12 photographs
    straight = batches(data, 6)
    assert same(batches(data, 3, seen=15), straight[3:])
    assert not same(batches(training_data(dolls, batch_size=5, seed=4), 6), straight)
    assert same(batches(training_data(dolls, batch_size=5, workers=2), 6), straight)


@pytest.mark.filterwarnings("ignore:.*the next photo is used")
def test_an_error_of_a_worker_is_one_line(tmp_path):
    data = training_data(DataSet(*make_paper_dolls(tmp_path, photos=2)), workers=1)
    for path in data.sources[0].table.files:
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UserError) as error:
        batches(data, 1)
    assert str(error.value) == "none of the 2 photographs can be decoded; check the data set"


def test_memory_that_is_not_pinned_is_copied_before_it_is_free_again(dolls, monkeypatch):
    copied, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *place, **how: copied.append(how) or to(self, *place, **how))
    image = next(training_data(dolls).batches(SIZE, 0, torch.device("meta"))).image
    assert image.is_meta and not any(how.get("non_blocking") for how in copied)
