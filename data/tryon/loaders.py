"""What the loaders of virtual try-on programs read: the table in docs/tryon.md, and what infer.py says is missing."""

from dataclasses import dataclass

NAMES = {"name": "NAME.jpg", "stem": "NAME"}  # as the page shows them


@dataclass(frozen=True)
class Read:
    """A mask that a loader reads: its path (as in Kind.files), and from which value of 0 to 255 a pixel is white.

    cut: None where the values are used as they are.
    """

    path: str
    cut: float | None


@dataclass(frozen=True)
class Loader:
    """One program with one data set.

    garment: its mask, white on the garment. paint: the mask of a person, white where it paints. Each is None where it
    reads no file, and then the note says what it does. greyed: the photo with that area in grey. size: of photos and
    masks. missing: file beside or below the folder of the photos -> what to do where it is not there. others: further
    files that it wants from other programs.
    """

    project: str
    preset: str
    source: str
    size: str
    garment: Read | None = None
    paint: Read | None = None
    greyed: str | None = None
    note: str = ""
    others: str = ""
    missing: tuple[tuple[str, str], ...] = ()


CLOTH_MASK, AGNOSTIC_MASK = "cloth-mask/{name}", "agnostic-mask/{stem}_mask.png"
GREYED = "agnostic-v3.2/{stem}.jpg"
DRESSCODE_GARMENT, DRESSCODE_AGNOSTIC = "masks/{stem}.png", "agnostic_masks/{stem}.png"
GP_VTON_MASK = "cloth_mask-bytedance/{stem}.png"
EXACT = "768x1024"
LOADERS = (
    Loader(
        "VITON-HD", "viton", "shadow2496/VITON-HD, `datasets.py` (02afa4b)", "3:4, best 768x1024",
        garment=Read(CLOTH_MASK, 128), note="draws the mask of the person",
        others="`openpose-img/`, `openpose-json/`, `image-parse/`",
    ),
    Loader(
        "HR-VITON", "viton", "sangyun884/HR-VITON, `cp_dataset.py` (2715bdd)", "3:4, best 768x1024",
        garment=Read(CLOTH_MASK, 128), note="draws the mask of the person",
        others="`openpose_img/`, `openpose_json/`, `image-parse-v3/`, `image-parse-agnostic-v3.2/`, `image-densepose/`",
    ),
    Loader(
        "StableVITON", "viton", "rlawjdghek/StableVITON, `dataset.py` (50a741c)", EXACT,
        garment=Read(CLOTH_MASK, 128), paint=Read(AGNOSTIC_MASK, 128), greyed=GREYED,
        note="a garment's mask with fewer than 122,880 white pixels counts as all white", others="`image-densepose/`",
    ),
    Loader(
        "IDM-VTON", "viton", "yisol/IDM-VTON, `inference.py` (e9fa5bb), `train_xl.py` (1b39608)", EXACT,
        paint=Read(AGNOSTIC_MASK, 127.5), note="fills the area itself", others="`image-densepose/` (768x1024)",
        missing=(("vitonhd_test_tagged.json", "a file with {} will do, and every caption is \"shirts\""),),
    ),
    Loader(
        "CatVTON", "viton", "Zheng-Chong/CatVTON, `inference.py` (3b79536)", "any",
        paint=Read(AGNOSTIC_MASK, 127.5), note="fills the area itself",
        missing=(("../test_pairs_unpaired.txt", "copy test_pairs.txt to that name"),),
    ),
    Loader(
        "LaDI-VTON", "viton", "miccunifi/ladi-vton (b127ad9)", "any", note="draws the mask of the person",
        others="`image-parse-v3/`, `openpose_json/`, captions",
    ),
    Loader(
        "DCI-VTON", "viton", "bcmi/DCI-VTON-Virtual-Try-On (5baa6d1)", "any",
        garment=Read(CLOTH_MASK, 128), note="draws the mask of the person; stops at an empty mask of a garment",
        others="`image-parse-v3/`, `image-parse-agnostic-v3.2/`, `openpose_json/`, `cloth-warp/`, `cloth-warp-mask/`",
    ),
    Loader(
        "GP-VTON", "gp-vton", "xiezhy6/GP-VTON (cb41ee9)", "384x512 or 768x1024",
        garment=Read(GP_VTON_MASK, None), note="draws the mask of the person",
        others="`parse-bytedance/`, `cloth_parse-bytedance/`, pairs with three columns",
    ),
    Loader(
        "CatVTON, DressCode", "dresscode", "Zheng-Chong/CatVTON, `inference.py` (3b79536)", "any",
        paint=Read(DRESSCODE_AGNOSTIC, 127.5), note="fills the area itself",
        others="`test_pairs_paired.txt` or `test_pairs_unpaired.txt` in all three folders",
    ),
    Loader(
        "LaDI-VTON, DressCode", "dresscode", "miccunifi/ladi-vton (b127ad9)", "that of the garment's photo",
        garment=Read(DRESSCODE_GARMENT, None), note="draws the mask of the person", others="`label_maps/`, pairs",
    ),
    Loader(
        "DCI-VTON, DressCode", "dresscode", "bcmi/DCI-VTON-Virtual-Try-On (5baa6d1)", "any",
        garment=Read(DRESSCODE_GARMENT, 127.5), note="draws the mask of the person",
        others="`label_maps/`, `warped_cloth/`, `warped_mask/`",
    ),
    Loader(
        "OOTDiffusion", "agnostic", "levihsu/OOTDiffusion, `run/run_ootd.py` (aaa8bd7)", EXACT,
        paint=Read(AGNOSTIC_MASK, 127), greyed=GREYED,
        note="no files: its arguments `mask` (mode L) and `image_vton`, see below",
    ),
    Loader(
        "Leffa", "agnostic", "franciszzj/Leffa (7848bed)", "any", paint=Read(AGNOSTIC_MASK, 127.5),
        note="no file: `mask` of LeffaTransform; fills the area itself",
    ),
    Loader(
        "FitDiT", "agnostic", "BoyuanJiang/FitDiT (6848063)", "any, padded with black", paint=Read(AGNOSTIC_MASK, None),
        note="no file: `mask` of the pipeline; fills the area itself",
    ),
)  # fmt: skip


def page_table() -> str:
    """LOADERS as docs/tryon.md has them."""
    heads = ["program", "preset", "garment", "to paint", "greyed photo", "cut at", "size", "remarks", "also needs"]
    heads.append("source")

    def file(path: str | None) -> str:
        return f"`{path.format(**NAMES)}`" if path else "-"

    def row(loader: Loader) -> list[str]:
        reads = [read for read in (loader.garment, loader.paint) if read]
        cut = ", ".join(dict.fromkeys("not" if read.cut is None else f"{read.cut:g}" for read in reads)) or "-"
        others = [f"`{name}`: {what}" for name, what in loader.missing] + ([loader.others] if loader.others else [])
        return [
            loader.project, loader.preset, file(loader.garment and loader.garment.path),
            file(loader.paint and loader.paint.path), file(loader.greyed), cut, loader.size, loader.note or "-",
            "; ".join(others) or "-", loader.source,
        ]  # fmt: skip

    lines = [heads, ["---"] * len(heads), *map(row, LOADERS)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
