"""Numbers of the published network and the address of its data. Needs no NumPy: options import it."""

from pathlib import Path

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of U-2-Net's saliency network
MEAN, STD = 0.5, 0.5  # normalisation of pixel values in 0..1, the same for R, G and B
SIZE = 768  # pixels: height and width of its input
DATA_SET = "https://www.kaggle.com/c/imaterialist-fashion-2019-FGVC6/data"  # said where its files are missing
SMALLEST_CROP = 0.03  # of the photo, in training: head and shoulders of a person who fills its height are about 0.1


def where_to_get(path: str | Path) -> str:
    """The end of a message about a missing file or folder: where the data set is, if that is what is missing."""
    return f"; iMaterialist (Fashion) 2019 is at {DATA_SET}" if "imaterialist" in str(path).lower() else ""
