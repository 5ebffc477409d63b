"""Numbers of the published network. They need no NumPy, and the options that name them are read at once."""

MEAN, STD = 0.5, 0.5  # normalisation of pixel values in 0..1, the same for R, G and B
SIZE = 768  # pixels: height and width of its input
SMALLEST_CROP = 0.03  # of the photo, in training: head and shoulders of a person who fills its height are about 0.1
