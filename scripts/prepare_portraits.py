"""Make the recipe's table of portraits: python scripts/prepare_portraits.py (see --help).

The photographs are official portraits, heads and shoulders, one person each, such as those of
https://github.com/unitedstates/images (public domain). They have no labels. This script writes

    portraits.csv       a label table in iMaterialist's layout
    portraits_val.csv   the same of the photographs that --validation names

A pixel is labelled where two methods agree. One is a trained network. The other is a rule: what a
saliency network finds, below the chin, without the colours of the face's skin (`clothes_by_rule`). Where they do not
agree, a pixel is `unknown`; a photo on which they hardly agree is left out. All clothes are upper body: a portrait
does not show more. Better weights give more labels, so run it again with the weights that were trained on the result.

Faces are found by the cascade of local binary patterns that comes with scikit-image: it needs no further file, and
portraits are what it is good at.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import PredictorOptions, option


@dataclass
class PreparePortraitsOptions(PredictorOptions):
    """Turn portraits without labels into tables of the training recipe."""

    portraits: str = option(help="folder of portraits, such as congress/450x550 of the clone", metavar="FOLDER")
    output_dir: str = option(
        help="folder of the tables, new or empty; the photographs stay where they are", metavar="FOLDER"
    )
    saliency: str = option("prev_checkpoints/u2netp.onnx", "saliency weights of U2NETP: .onnx or .pth", metavar="FILE")
    validation: str | None = option(None, "table whose photographs are kept for validation", metavar="FILE")
    batchSize: int = option(4, "photographs through the networks at once", at_least=1)


if __name__ == "__main__":
    options = PreparePortraitsOptions.from_command_line()  # before the imports that take seconds

from collections import Counter

import cv2
import numpy as np
from PIL import Image

from data.photos.folder import find_photos
from networks.predictor import Predictor
from scripts.unlabelled import (
    UNREADABLE,
    SaliencyNetwork,
    label_rows,
    listed,
    named_photos,
    salience,
    segmented,
    write_tables,
)
from utils.errors import UserError, run_program
from utils.files import whole_folder
from utils.freed_memory import keep_freed_memory

JACKET = "4"  # the category of all clothes
SALIENCY_SIZE = 320  # pixels: height and width that the saliency network sees
SALIENT = 0.5  # probability from which a pixel belongs to the person
FACE_SIDE = 160  # pixels: the photo's width when a face is looked for
FACE_SIZES = (40, 130)  # pixels of that width: the side of a face
CHIN = 1.05  # heights of the face's box from its top to the chin
SKIN = 3.0  # standard deviations of the face's colours, up to which a pixel is skin
LEAST_AGREEMENT = 0.5  # IoU of network and rule; photographs with less are left out

Box = tuple[int, int, int, int]  # left, top, width, height


def main(options: PreparePortraitsOptions) -> int:
    keep_freed_memory()
    folder = Path(options.portraits)
    photos = [photo.as_posix() for photo in find_photos(folder)]
    find_face = face_finder()
    kept = named_photos("--validation", options.validation, photos)
    with whole_folder(options.output_dir) as output:
        saliency, predictor = SaliencyNetwork(options, SALIENCY_SIZE), Predictor.load(**options.predictor)
        print(f"networks: {saliency.name}; {predictor.name}; {len(photos)} photographs")
        tables, left_out = {"portraits": [], "portraits_val": []}, Counter()
        for photo, result in segmented(predictor, folder, photos, options.batchSize, left_out, keep_photos=True):
            face = find_face(result.photo)
            if not face:
                left_out["no face found"] += 1
                continue
            rule = clothes_by_rule(np.asarray(result.photo), salience(saliency(result.photo)) > SALIENT, face)
            network = result.labels > 0
            clothes, unknown = rule & network, rule ^ network
            if clothes.sum() < LEAST_AGREEMENT * (clothes | unknown).sum():
                left_out["network and rule do not agree"] += 1
                continue
            rows = label_rows(photo, {JACKET: clothes, "unknown": unknown})
            tables["portraits_val" if photo in kept else "portraits"] += rows
        write_tables(output, tables, folder, left_out)
    count, count_kept = (len({row[0] for row in rows}) for rows in tables.values())
    print(f"wrote {options.output_dir}: {count} photographs to train on, {count_kept} for validation")
    print(f"left out: {listed(left_out) or 'none'}")
    return 1 if left_out[UNREADABLE] else 0


def face_finder():
    """A function from a photo (RGB) to the box of its largest face, or None. Raises UserError."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError:
        raise UserError("scikit-image finds the faces, and it is not installed: pip install scikit-image") from None
    cascade = Cascade(lbp_frontal_face_cascade_filename())
    least, most = ((side, side) for side in FACE_SIZES)

    def find(photo: Image.Image) -> Box | None:
        scale = photo.width / FACE_SIDE
        small = np.asarray(photo.resize((FACE_SIDE, max(1, round(photo.height / scale))), Image.Resampling.BILINEAR))
        faces = cascade.detect_multi_scale(small, scale_factor=1.15, step_ratio=1.3, min_size=least, max_size=most)
        if not faces:
            return None
        face = max(faces, key=lambda face: face["width"])
        return tuple(round(scale * face[side]) for side in ("c", "r", "width", "height"))

    return find


def clothes_by_rule(pixels: np.ndarray, person: np.ndarray, face: Box) -> np.ndarray:
    """The clothes of a portrait: the person below the chin, without what has the colours of the face's skin.

    pixels: H x W x 3 uint8, RGB. person: H x W bool. The skin's colours are a normal distribution, that of the middle
    of the face, in YCrCb without Y: a neck in some shadow is skin too.
    """
    left, top, width, height = face
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32)
    middle = colours[top + height // 4 : top + 3 * height // 4, left + width // 4 : left + 3 * width // 4]
    centre, spread = middle.mean((0, 1)), np.cov(middle.reshape(-1, 2).T) + np.eye(2)
    difference = colours - centre
    skin = (difference @ np.linalg.inv(spread) * difference).sum(2) < SKIN**2
    below_chin = np.arange(len(pixels))[:, None] >= top + CHIN * height
    return person & below_chin & ~skin


if __name__ == "__main__":
    run_program(main, options)
