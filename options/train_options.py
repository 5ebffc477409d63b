"""Options of train.py."""

import math
from dataclasses import dataclass

from data.transforms import CLOSE_UP_AREA
from options.base_options import NetworkOptions, option
from utils.errors import UserError


@dataclass
class TrainOptions(NetworkOptions):
    """Train U2NET on clothes in iMaterialist (Fashion) format."""

    name: str = option("training_cloth_segm_u2net_exp1", "experiment name")

    # Data
    image_folder: str = option("../imaterialist/train/", "folder of the photographs")
    df_path: str = option("../imaterialist/train.csv", "label table (CSV)")
    val_image_folder: str | None = option(None, "folder of the validation photographs")
    val_df_path: str | None = option(None, "label table of the validation photographs")
    class_map: str | None = option(None, "YAML or JSON file, class name -> category ids; default: upper, lower, full")
    fine_width: int = option(192 * 4, "width the network sees", at_least=32)
    fine_height: int = option(192 * 4, "height the network sees", at_least=32)
    smaller_first: list[str] | None = option(
        None,
        "sizes to begin with, SCALE:UNTIL, as shares of the size above and of the iterations: 0.5:0.4 0.75:0.8 trains "
        "at half the size for the first 40 %%, then at three quarters, and from 80 %% on at the size itself",
    )
    mean: float = option(0.5, "subtracted from pixel values in 0..1")
    std: float = option(0.5, "pixel values are divided by it", at_least=1e-6)
    augment: str = option(
        "none", "none: the published recipe; full: random crop, flip, colour jitter", ("none", "full")
    )
    min_crop_area: float = option(0.35, "share of the photo that a random crop has at least", at_least=0.01)
    close_ups: float = option(
        0.0,
        f"share of the samples that are close-ups: crops of {CLOSE_UP_AREA:g} of the photo's area to min_crop_area",
        at_least=0,
    )
    batchSize: int = option(2, "photographs a step, on each process", at_least=1)
    nThreads: int = option(2, "loader processes of each process; 0 loads in the training process", at_least=0)
    max_dataset_size: float = option(math.inf, "use at most so many photographs", at_least=1)
    serial_batches: bool = option(False, "take the photographs in the table's order")

    # Network and start
    model: str = option("u2net", "network", ("u2net", "u2netp"))
    continue_train: bool = option(True, "start from unet_checkpoint; --no-continue_train starts from scratch")
    unet_checkpoint: str = option(
        "prev_checkpoints/cloth_segm_unet_surgery.pth", "weights to start from: .pth of any published form, or .onnx"
    )
    resume: bool = option(
        False, "go on with the run in save_dir: weights, optimiser, EMA, iteration, sampler, random state"
    )
    seed: int = option(0, "of initialisation, order and augmentation", at_least=0)

    # Optimisation; the defaults are the published recipe
    iter: int = option(100_000, "iterations", at_least=1)
    lr: float = option(0.0002, "learning rate (peak, with a schedule)", at_least=0)
    optimizer: str = option("adam", "optimiser", ("adam", "adamw"))
    weight_decay: float = option(0.0, "of the optimiser", at_least=0)
    schedule: str = option("constant", "of the learning rate after warm-up", ("constant", "cosine", "poly"))
    warmup_iter: int = option(0, "iterations of linear warm-up", at_least=0)
    clip_grad: float = option(5.0, "largest gradient norm", at_least=0)
    accumulate: int = option(1, "batches whose gradients make one step", at_least=1)
    ema_decay: float = option(
        0.0, "moving average of the weights, saved and validated in their place; 0: off", at_least=0
    )
    class_weights: list[float] | None = option(
        None, "loss weight of each class; default 1 for background, 1.5 for clothes"
    )
    fused_weight: float = option(1.5, "loss weight of the fused map d0", at_least=0)
    side_weight: float = option(1.0, "loss weight of each side map d1..d6", at_least=0)
    iou_weight: float = option(0.0, "weight of the soft IoU loss beside the cross-entropy, in each map", at_least=0)
    max_bad_steps: int = option(10, "non-finite steps in a row that end the run", at_least=1)

    # Machine
    distributed: bool = option(False, "assert that a launcher started this process; the launcher's environment decides")
    channels_last: bool = option(False, "channels-last memory format, the faster one on GPUs")
    compile: bool = option(False, "torch.compile the network")

    # Output
    logs_dir: str | None = option(None, "TensorBoard logs; default logs/<name>")
    save_dir: str | None = option(None, "checkpoints and options; default results/<name>")
    save_freq: int = option(1000, "iterations between checkpoints", at_least=1)
    print_freq: int = option(10, "iterations between logged losses", at_least=1)
    image_log_freq: int = option(100, "iterations between logged pictures", at_least=1)
    val_freq: int = option(1000, "iterations between validations", at_least=1)

    def size_at(self, iteration: int) -> tuple[int, int]:
        """(height, width) of the step after ``iteration``."""
        for scale, until in _scales(self.smaller_first):
            if iteration < until * self.iter:
                return max(32, round(scale * self.fine_height)), max(32, round(scale * self.fine_width))
        return self.fine_height, self.fine_width

    def check(self) -> None:
        super().check()
        _scales(self.smaller_first)
        self.logs_dir = self.logs_dir or f"logs/{self.name}"
        self.save_dir = self.save_dir or f"results/{self.name}"
        if (self.val_image_folder is None) != (self.val_df_path is None):
            raise UserError("validation needs both --val_image_folder and --val_df_path")
        if self.min_crop_area > 1:
            raise UserError(f"--min_crop_area {self.min_crop_area} must be at most 1")
        if self.close_ups > 1:
            raise UserError(f"--close_ups {self.close_ups} must be at most 1")
        if self.close_ups and self.augment == "none":
            raise UserError("--close_ups needs --augment full")
        if self.close_ups and self.min_crop_area <= CLOSE_UP_AREA:
            raise UserError(f"with --close_ups, --min_crop_area {self.min_crop_area} must be over {CLOSE_UP_AREA:g}")
        if self.ema_decay >= 1:
            raise UserError(f"--ema_decay {self.ema_decay} must be below 1")
        height, width = self.size_at(0)
        if self.batchSize * math.ceil(height / 32) * math.ceil(width / 32) == 1:
            raise UserError("one 32x32 photo leaves batch norm a single value; raise --batchSize or the size")


def _scales(given: list[str] | None) -> list[tuple[float, float]]:
    """SCALE:UNTIL texts as numbers. Raises UserError."""
    try:
        pairs = [tuple(map(float, text.split(":"))) for text in given or ()]
        ends = [0.0, *(until for _, until in pairs), 1.0]
        valid = all(0 < scale < 1 for scale, _ in pairs) and all(a < b for a, b in zip(ends, ends[1:], strict=False))
    except ValueError:
        valid = False
    if not valid:
        raise UserError(
            f"--smaller_first {' '.join(given)}: give SCALE:UNTIL, both between 0 and 1, the UNTILs rising, "
            "for example 0.5:0.4 0.75:0.8"
        )
    return pairs
