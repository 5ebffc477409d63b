"""Numbers that several rooms share, most of them the published network's. Needs no NumPy: options import it."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of U-2-Net's saliency network
MEAN, STD = 0.5, 0.5  # normalisation of pixel values in 0..1, the same for R, G and B
SIZE = 768  # pixels: height and width of its input
SMALLEST_CROP = 0.03  # of the photo, in training: head and shoulders of a person who fills its height are about 0.1
