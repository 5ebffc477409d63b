"""Options of setup_model_weights.py."""

from dataclasses import dataclass

from options.base_options import CLASS_MAP_HELP, BaseOptions, option

# What the program writes for each network, and train.py starts from
START_WEIGHTS = {
    "u2net": "prev_checkpoints/cloth_segm_unet_surgery.pth",
    "u2netp": "prev_checkpoints/cloth_segm_u2netp_surgery.pth",
}


@dataclass
class SetupOptions(BaseOptions):
    """Fit published saliency weights with a clothes head, to start training from."""

    model: str = option("u2net", "network", tuple(START_WEIGHTS))
    weights: str | None = option(None, ".pth or .onnx of that network; default: U-2-Net's, downloaded", metavar="FILE")
    class_map: str | None = option(None, CLASS_MAP_HELP, metavar="FILE")
    save_dir: str = option("prev_checkpoints", "folder of the download and of the result", metavar="FOLDER")
    seed: int = option(0, "random seed of the new head", at_least=0)
