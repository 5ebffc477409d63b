"""Numbers of the published network and the address of its data. Needs no NumPy: options import it."""

MEAN, STD = 0.5, 0.5  # normalisation of pixel values in 0..1, the same for R, G and B
SIZE = 768  # pixels: height and width of its input
DATA_SET = "https://www.kaggle.com/c/imaterialist-fashion-2019-FGVC6/data"  # iMaterialist (Fashion) 2019
SMALLEST_CROP = 0.03  # of the photo, in training: head and shoulders of a person who fills its height are about 0.1
