"""How good agnostic masks are on labelled photos: python -m benchmarks.agnostic --image_folder DIR --df_path TABLE

Needs the pose network of requirements-tryon.txt: the waist, hands, face and bare limbs that masks are measured on are
where its joints are, and the masks use the same joints.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from data.classes import check_classes, load_class_table
from data.labels.read import read_labels
from data.results.segmentation import Segmentation
from data.training.datasets import EvaluationPhotos
from data.tryon.agnostic import REPLACED, SHAPES, Margin, agnostic_mask, elsewhere
from data.tryon.body import ARMS, BARE_ARM, BARE_LEG, HANDS, LEGS, body_of_joints, draw_tube, torso_length
from networks.pose import PoseNetwork
from networks.predictor import Predictor
from options.base_options import PredictorOptions, TableOptions, option
from utils.errors import UserError, run_program

COLUMNS = {
    "old": "old garment left visible: mean of the photos",
    "over": "photos on which more than 10 % of it is",
    "strict": "as old, with every full-body garment replaced, also one that covers the other half of the body alone",
    "kept": "clothes that stay, masked",
    "hands": "hands masked (without sleeves and pockets)",
    "face": "face masked",
    "arms": "bare arms masked, up to the wrist",
    "legs": "bare legs masked",
    "mask": "share of the photo that is masked",
    "leak": "share of the mask that is old garment",
}
LEAST = 0.002  # share of the photo from which clothes are counted; body parts a tenth of it
HAND, FACE = 0.06, 0.1  # half widths of what counts as hand and face, as shares of the torso


@dataclass
class AgnosticOptions(TableOptions, PredictorOptions):
    """How good agnostic masks are on labelled photos."""

    agnostic_margin: list[str] = option(("2%",), "margins to measure, one or several", metavar="MARGIN")
    every: int = option(1, "take every N-th photo", at_least=1)
    pose: bool = option(True, "give the masks the joints")
    true_labels: bool = option(False, "make the masks from the labels instead of the network's")


def main(options: AgnosticOptions) -> None:
    margins = {text: Margin.parse(text) for text in options.agnostic_margin}
    classes = load_class_table(options.class_map)
    predictor, find_joints = Predictor.load(**options.predictor), PoseNetwork.load()
    check_classes(classes, predictor.class_names, options.checkpoint_path)
    if missing := [name for name in REPLACED if name not in classes.names]:
        raise UserError(f"masks are measured for {', '.join(REPLACED)}; the checkpoint has no {', '.join(missing)}")
    table = read_labels(options.df_path, options.image_folder, classes)
    shares = defaultdict(lambda: defaultdict(list))
    indices, found = range(0, len(table), options.every), 0
    for _, photo, labels in tqdm(EvaluationPhotos(table).load(indices), total=len(indices), unit="photo", leave=False):
        if (joints := find_joints(photo)) is None:
            continue
        found += 1
        result = Segmentation.from_labels(labels, predictor.class_names) if options.true_labels else predictor(photo)
        known = joints if options.pose else None
        for category, areas in measured_areas(labels, predictor.class_names, joints):
            for shape in SHAPES:
                for text, margin in margins.items():
                    mask = agnostic_mask(result, category, shape, margin, known)
                    for column, share in measure(mask, areas):
                        shares[category, shape, text][column].append(share)
    print(f"{found} photos with people, in per cent\n")
    print(*(f"{column:<7}{meaning}" for column, meaning in COLUMNS.items()), sep="\n")
    print(f"\n{'':<18}" + "".join(f"{column:>8}" for column in COLUMNS))
    for way, by_column in shares.items():
        by_column["over"] = [share > 0.1 for share in by_column["old"]]
        means = (f"{100 * np.mean(by_column[column]):.1f}" if by_column[column] else "-" for column in COLUMNS)
        print(f"{' '.join(way):<18}" + "".join(f"{mean:>8}" for mean in means))


def measured_areas(
    labels: np.ndarray, names: tuple[str, ...], joints: np.ndarray
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(category, H x W bool by column) from labels, H x W uint8, and joints."""
    bare = labels == 0
    body, torso = body_of_joints(joints, bare), torso_length(joints)

    def parts(lines: tuple, half_width: float) -> np.ndarray:
        area = np.zeros(labels.shape, np.uint8)
        for line in lines:
            for start, end in pairwise(line):
                draw_tube(area, joints[start, :2], joints[end, :2], half_width * torso)
        return (area > 0) & bare

    hands = parts([(wrist, knuckle) for wrist, *knuckles in HANDS for knuckle in knuckles], HAND)
    face, arms, legs = parts([(2, 9), (5, 10)], FACE), parts(ARMS, BARE_ARM) & ~hands, parts(LEGS, BARE_LEG)
    for category, classes in REPLACED.items():
        strict = old = np.isin(labels, [names.index(name) for name in classes])
        if category in body.halves:
            full, own = (labels == names.index(name) for name in ("full", category))
            old = strict & ~elsewhere(full, own, body.halves[category])
        areas = {"old": old, "strict": strict, "kept": ~bare & ~old}
        yield category, areas | {"hands": hands, "face": face, "arms": arms, "legs": legs}


def measure(mask: np.ndarray, areas: dict[str, np.ndarray]) -> Iterator[tuple[str, float]]:
    """(column, share in 0..1) of what the photo has enough of."""
    for column, area in areas.items():
        if area.mean() > (LEAST if column in ("old", "strict", "kept") else LEAST / 10):
            masked = mask[area].mean()
            yield column, 1 - masked if column in ("old", "strict") else masked
    yield "mask", mask.mean()
    if mask.any():
        yield "leak", areas["old"][mask].mean()


if __name__ == "__main__":
    run_program(main, AgnosticOptions.from_command_line())
