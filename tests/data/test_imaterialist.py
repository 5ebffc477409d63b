import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import CLOTHES, ClassTable, load_class_table, palette
from data.imaterialist_table import LabelTable, SkippedRows, read_table
from data.photos import IMaterialistDataset, label_map
from data.rle import encode_rle
from data.sampler import EndlessSampler
from data.transforms import TrainTransform
from utils.errors import UserError

HEADER = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]


def write_table(folder: Path, rows: list, header: list = HEADER, photos: tuple = ("a.jpg",)) -> tuple[str, str]:
    """A folder of grey 40 x 30 (height x width) photographs and a table; returns (df_path, image_folder)."""
    folder.mkdir(exist_ok=True, parents=True)
    for name in photos:
        Image.new("RGB", (30, 40), "grey").save(folder / name)
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(folder / "table.csv"), str(folder)


def box(top: int, left: int, bottom: int, right: int) -> str:
    mask = np.zeros((40, 30), bool)
    mask[top:bottom, left:right] = True
    return encode_rle(mask)


ALL = box(0, 0, 40, 30)


@pytest.mark.parametrize("order", [(0, 6, 10), (10, 6, 0), (6, 10, 0)])
def test_upper_wins_over_lower_over_full_whatever_the_row_order(order, tmp_path):
    boxes = {0: box(0, 0, 10, 30), 6: box(5, 0, 20, 30), 10: ALL}
    table = read_table(*write_table(tmp_path, [["a.jpg", boxes[c], 40, 30, c] for c in order]), CLOTHES)
    label = label_map(table, 0, (40, 30))
    assert label[:, 0].tolist() == [1] * 10 + [2] * 10 + [3] * 20


def test_supercategories_make_the_classes():
    expected = [1] * 6 + [2] * 3 + [3] * 4 + [0] * 33
    assert [CLOTHES.by_category[i] for i in range(46)] == expected


def test_attributes_columns_order_and_2020_ids_are_understood(tmp_path):
    header = ["AttributesIds", "Width", "ClassId", "ImageId", "EncodedPixels", "Height"]
    rows = [["1,2", 30, "10_93_101", "a.jpg", ALL, 40], ["", "30.0", "6", "b", ALL, "40.0"]]
    table = read_table(*write_table(tmp_path, rows, header, ("a.jpg", "b.jpg")), CLOTHES)
    assert not table.skipped.count
    assert [label_map(table, i, (1, 1)).item() for i in range(2)] == [3, 2]
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg"]


def test_every_kind_of_bad_row_is_counted_with_its_first_and_skipped(tmp_path):
    faults = {
        "empty cell": [["a.jpg", "", 40, 30, 0], ["a.jpg", "1 2", "", 30, 0]],
        "unknown ClassId": [["a.jpg", "1 2", 40, 30, 46], ["a.jpg", "1 2", 40, 30, "x"]],
        "Height or Width that is not a number": [["a.jpg", "1 2", "tall", 30, 0]],
        "missing photo": [["none.jpg", "1 2", 40, 30, 0], ["../table.csv", "1 2", 40, 30, 0]],
        "photo that cannot be read": [["broken.jpg", "1 2", 40, 30, 0]],
        "Height and Width that disagree with the photo": [["a.jpg", "1 2", 30, 40, 0]],
        "run-lengths that are not digits": [["a.jpg", "1 two", 40, 30, 0], ["a.jpg", "1 -2", 40, 30, 0]],
        "an odd count of run-lengths": [["a.jpg", "1 2 3", 40, 30, 0]],
        "run-lengths that leave the image": [["a.jpg", "1200 2", 40, 30, 0], ["a.jpg", "0 1", 40, 30, 33]],
    }
    rows = [["a.jpg", ALL, 40, 30, 0], *(row for bad in faults.values() for row in bad)]
    df_path, folder = write_table(tmp_path, rows)
    (tmp_path / "broken.jpg").write_text("no image")
    table = read_table(df_path, folder, CLOTHES)
    assert table.skipped.count == {kind: len(bad) for kind, bad in faults.items()}
    number = 2
    for kind, bad in faults.items():
        assert table.skipped.first[kind].startswith(f"row {number}, ")
        number += len(bad)
    assert len(table) == len(table.label) == 1


def test_a_photo_with_background_rows_alone_is_a_sample(tmp_path):
    table = read_table(*write_table(tmp_path, [["a.jpg", ALL, 40, 30, 23]]), CLOTHES)
    image, label = IMaterialistDataset(table, (32, 32))[0]
    assert image.shape == (3, 32, 32)
    assert label.dtype == torch.int64
    assert label.max() == 0


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nothing usable.*missing photo"):
        read_table(*write_table(tmp_path, [["none.jpg", ALL, 40, 30, 0]]), CLOTHES)


def test_missing_folder_table_and_columns_are_one_line(tmp_path):
    df_path, folder = write_table(tmp_path, [], HEADER[:-1])
    with pytest.raises(UserError, match="ClassId"):
        read_table(df_path, folder, CLOTHES)
    with pytest.raises(UserError, match="kaggle"):
        read_table(df_path, str(tmp_path / "none"), CLOTHES)
    with pytest.raises(UserError, match="kaggle"):
        read_table(str(tmp_path / "none.csv"), folder, CLOTHES)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(UserError) as error:
        read_table(str(tmp_path / "binary.csv"), folder, CLOTHES)
    assert "\n" not in str(error.value)


def test_the_real_set_is_read_whole(ccp_train, ccp_val):
    train = read_table(str(ccp_train.df_path), str(ccp_train.image_folder), CLOTHES)
    assert (len(train), train.skipped.count) == (783, {})
    val = read_table(str(ccp_val.df_path), str(ccp_val.image_folder), CLOTHES)
    assert (len(val), val.skipped.count) == (110, {})
    label = label_map(val, 0, val.size(0))
    assert label.shape == val.size(0)
    assert 0.02 < (label > 0).mean() < 0.8


def test_max_dataset_size_takes_the_first_photos(dolls):
    table = read_table(str(dolls.df_path), str(dolls.image_folder), CLOTHES, max_photos=3)
    assert [path.name for path in table.files] == ["doll000.jpg", "doll001.jpg", "doll002.jpg"]


# Class tables


def test_another_class_map_gives_its_names_ids_and_precedence(tmp_path):
    path = tmp_path / "map.yml"
    path.write_text("shoes: [23]\nhats: [14]\ntops: [0, 1]\ncoats: [9]\nall_else: [50]\n")
    table = load_class_table(str(path))
    assert table.names == ("background", "shoes", "hats", "tops", "coats", "all_else")
    assert [table.by_category[i] for i in (23, 14, 1, 9, 50, 6)] == [1, 2, 3, 4, 5, 0]
    (tmp_path / "map.json").write_text('{"tops": [0, 1]}')
    assert load_class_table(str(tmp_path / "map.json")) == ClassTable(("tops",), ((0, 1),))


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: 1", "a: [x]", "a: []", "a: [-1]", "background: [1]", "a: [1]\nb: [1]", "{a: [", "1: [2]"]
)
def test_bad_class_maps_are_one_line(text, tmp_path):
    (tmp_path / "map.yml").write_text(text)
    with pytest.raises(UserError, match="class map"):
        load_class_table(str(tmp_path / "map.yml"))


def test_palette_starts_with_the_published_colours_and_repeats_none():
    assert palette(4).tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len({tuple(colour) for colour in palette(255).tolist()}) == 255


# Samples


def own_colours(folder: Path) -> LabelTable:
    """Two photographs whose pixels show their own label: red upper, green lower, black background."""
    rows = [["a.png", box(3, 5, 20, 25), 40, 30, 0], ["a.png", box(20, 8, 38, 22), 40, 30, 6]]
    rows += [["b.png", box(10, 0, 30, 30), 40, 30, 0]]
    df_path, image_folder = write_table(folder, rows, photos=("a.png", "b.png"))
    table = read_table(df_path, image_folder, CLOTHES)
    for i, path in enumerate(table.files):
        Image.fromarray(palette(4)[label_map(table, i, (40, 30))] * np.uint8(1)).save(path)
    return table


def test_no_augmentation_is_plain_resizing(tmp_path):
    table = own_colours(tmp_path)
    image, label = IMaterialistDataset(table, (40, 30))[0]
    assert np.array_equal(label.numpy(), label_map(table, 0, (40, 30)))
    photo = torch.from_numpy(np.asarray(Image.open(table.files[0]))).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, (photo - 0.5) / 0.5)


def test_augmentation_keeps_photo_and_label_in_register(tmp_path):
    dataset = IMaterialistDataset(own_colours(tmp_path), (64, 64), augment="full")
    agreement = []
    for position in range(20):
        image, label = dataset[position]
        assert set(label.unique().tolist()) <= {0, 1, 2}
        bright = (image[:2] * 0.5 + 0.5) > 0.15  # red, green
        seen = torch.where(bright[0], 1, torch.where(bright[1], 2, 0))
        agreement.append((seen == label).float().mean())
    assert min(agreement) > 0.9


def test_crops_are_no_smaller_than_asked_for(tmp_path):
    table = own_colours(tmp_path)
    whole, crops = (IMaterialistDataset(table, (64, 64), augment="full", min_crop_area=a) for a in (1.0, 0.05))
    share = [(dataset[0][1].numpy() > 0).mean() for dataset in (whole, crops)]
    assert share[0] != share[1]
    expected = label_map(table, 0, (64, 64))
    for epoch in range(6):  # a crop of the whole photo is the photo, mirrored or not
        label = whole[epoch * len(table)][1].numpy()
        assert np.array_equal(label, expected) or np.array_equal(label, expected[:, ::-1])


def seen_shares(draws: int = 60, **options) -> list[float]:
    """Share of a photo that each of some samples shows, told by labels that number the fields of a 16 x 16 grid."""
    transform = TrainTransform((32, 32), 0.5, 0.5, "full", **options)
    h, w = transform.working_size((400, 300))
    field = 16 * (np.arange(h)[:, None] * 16 // h) + np.arange(w) * 16 // w
    torch.manual_seed(0)
    labels = [transform(Image.new("RGB", (300, 400)), field.astype(np.uint8))[1] for _ in range(draws)]
    return [len(label.unique()) / 256 for label in labels]


def test_close_ups_are_crops_below_the_least_area_in_the_share_asked_for():
    none, some, all_ = (seen_shares(min_crop_area=0.4, close_ups=share) for share in (0.0, 0.3, 1.0))
    assert min(none) > 0.38
    assert min(all_) < 0.1 and max(all_) < 0.55  # fields cut at the rim count as seen
    assert 0.1 < np.mean([share < 0.35 for share in some]) < 0.5


def test_photos_are_worked_on_no_larger_than_they_are():
    close = TrainTransform((64, 64), 0.5, 0.5, "full", min_crop_area=0.25, close_ups=0.5)
    assert close.working_size((4000, 3000)) == (370, 370)  # 64 / sqrt(0.03)
    assert close.working_size((100, 100)) == (100, 100)
    assert close.working_size((20, 20)) == (64, 64)
    whole = TrainTransform((64, 48), 0.5, 0.5, "none", min_crop_area=0.25, close_ups=0.5)
    assert whole.working_size((4000, 3000)) == (64, 48)


def test_augmentation_is_a_function_of_seed_and_position(tmp_path):
    table = own_colours(tmp_path)
    first, again = (IMaterialistDataset(table, (32, 32), augment="full", seed=5) for _ in range(2))
    torch.manual_seed(99)
    for position in (3, 0, 8):
        assert torch.equal(first[position][0], again[position][0])
    assert not torch.equal(first[0][0], first[2][0])  # the next epoch's draw of the same photo
    other = IMaterialistDataset(table, (32, 32), augment="full", seed=6)
    assert not torch.equal(first[0][0], other[0][0])


def test_drawing_a_sample_leaves_the_random_state_alone(tmp_path):
    dataset = IMaterialistDataset(own_colours(tmp_path), (32, 32), augment="full")
    before = torch.get_rng_state()
    dataset[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_photo_broken_beyond_its_header_does_not_stop_training(tmp_path):
    rng = np.random.default_rng(0)
    df_path, folder = write_table(tmp_path, [[f"{n}.jpg", ALL, 40, 30, 0] for n in "ab"], photos=())
    for name in "ab":
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = IMaterialistDataset(read_table(df_path, folder, CLOTHES), (32, 32))
    with pytest.warns(UserWarning, match="a.jpg.*next photo"):
        image, _ = dataset[0]
    assert torch.equal(image, dataset[1][0])


def test_large_jpegs_are_decoded_at_reduced_scale_and_stay_in_register(tmp_path):
    photo = np.zeros((800, 800, 3), np.uint8)
    photo[200:600, 300:500] = 255
    Image.fromarray(photo).save(tmp_path / "big.jpg", quality=95)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, ["big.jpg", encode_rle(photo[..., 0] > 0), 800, 800, 0]])
    from data.photo import open_photo

    assert open_photo(tmp_path / "big.jpg", min_size=(64, 64)).size == (100, 100)
    dataset = IMaterialistDataset(read_table(str(tmp_path / "t.csv"), str(tmp_path), CLOTHES), (64, 64))
    image, label = dataset[0]
    assert ((image[0] > 0) == (label == 1)).float().mean() > 0.98


# Order


def test_every_epoch_is_a_new_order_of_all_photos_and_ranks_share_it():
    photos = list(range(10))

    def take(rank, world, start, n, shuffle=True):
        stream = iter(EndlessSampler(photos, rank, world, shuffle, seed=0, start=start))
        return [next(stream) for _ in range(n)]

    stream = take(0, 1, 0, 30)
    for epoch in range(3):
        assert sorted(stream[10 * epoch : 10 * epoch + 10]) == [10 * epoch + i for i in photos]
    assert [p % 10 for p in stream[:10]] != [p % 10 for p in stream[10:20]]
    assert take(0, 1, 17, 13) == stream[17:30]
    two = take(0, 2, 0, 5) + take(1, 2, 0, 5)
    assert sorted(two) == photos
    assert take(0, 1, 0, 10, shuffle=False) == photos


def private_megabytes() -> float:
    """Memory that only this process holds."""
    text = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in text if line.startswith("Private_")) / 1024


def worker_memory(dataset, queue):
    for i in range(len(dataset)):
        dataset[i]
    queue.put(private_megabytes())


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_share_the_table(method, tmp_path):
    photos = 200
    Image.new("RGB", (1000, 1000)).save(tmp_path / "a.jpg")
    per_photo = 150_000  # runs: 240 MB in all
    starts = torch.arange(per_photo, dtype=torch.int32) * 6
    table = LabelTable(
        files=[tmp_path / "a.jpg"] * photos,
        sizes=torch.full((photos, 2), 1000, dtype=torch.int32),
        rows_of=torch.arange(photos + 1),
        label=torch.ones(photos, dtype=torch.uint8),
        runs_of=torch.arange(photos + 1) * per_photo,
        runs=torch.stack((starts, starts + 3), 1).repeat(photos, 1),
        skipped=SkippedRows(),
    )
    megabytes = table.runs.nbytes / 1e6
    assert megabytes > 200
    context = torch.multiprocessing.get_context(method)
    queue = context.Queue()
    used = []
    for samples in (table, None):
        # Against a worker with one photo's table, which has the same modules loaded.
        if samples is None:
            samples = LabelTable(
                table.files[:1], table.sizes[:1], torch.tensor([0, 1]), table.label[:1],
                torch.tensor([0, per_photo]), table.runs[:per_photo].clone(), SkippedRows(),
            )  # fmt: skip
        worker = context.Process(target=worker_memory, args=(IMaterialistDataset(samples, (32, 32)), queue))
        worker.start()
        used.append(queue.get(timeout=200))
        worker.join()
    assert used[0] - used[1] < 0.3 * megabytes
