"""Options of train.py."""

import math
import os
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

from data.constants import MEAN, SIZE, SMALLEST_CROP, STD
from data.training.sources import Augmentation, Source, ValidationSet, read_sources, read_validation_sets
from networks.weights.info import MAX_SIDE
from options.base_options import WEIGHT_FILES, NetworkOptions, TableOptions, in_repository, option, read_options_file
from options.setup_options import START_WEIGHTS
from utils.errors import UserError
from utils.training.run_folder import newest_record
from utils.training.schedules import image_size, learning_rate


@dataclass
class TrainOptions(TableOptions, NetworkOptions):
    """Train U2NET on clothes in iMaterialist (Fashion) format."""

    name: str = option("training_cloth_segm_u2net_exp1", "experiment name", group="output")

    sources: dict | None = option(
        None, "several sources in place of image_folder and df_path, see docs/train.md", group="data", on_resume=False
    )
    validation: dict | None = option(
        None, "several sets in place of val_image_folder and val_df_path, see docs/train.md", on_resume=True
    )
    data_root: str | None = option(
        None, "where the paths of an options file's sources and validation start", metavar="FOLDER", on_resume=True
    )
    val_image_folder: str | None = option(
        None, "folder of the validation photographs", metavar="FOLDER", on_resume=True
    )
    val_df_path: str | None = option(None, "labels of the validation photographs", metavar="FILE", on_resume=True)
    fine_width: int = option(SIZE, "input width of the network", at_least=32, at_most=MAX_SIDE)
    fine_height: int = option(SIZE, "input height of the network", at_least=32, at_most=MAX_SIDE)
    smaller_first: list[str] | None = option(
        None,
        "sizes to begin with, SCALE:UNTIL, as shares of the size above and of the iterations: 0.5:0.4 0.75:0.8 trains "
        "at half the size for the first 40 %%, then at three quarters, and from 80 %% on at the size itself",
        metavar="SCALE:UNTIL",
    )
    mean: float = option(MEAN, "subtracted from pixel values in 0..1")
    std: float = option(STD, "pixel values are divided by it", at_least=1e-6)
    augment: str = option(
        "none",
        "none: the published recipe; full: random crop, flip, colour jitter, black and white, frame",
        ("none", "full"),
    )
    min_crop_area: float = option(0.35, "smallest random crop, as a share of the photo", at_least=0.01, at_most=1)
    close_ups: float = option(
        0.0,
        f"share of the samples that are small crops: {SMALLEST_CROP:g} of the photo's area to min_crop_area",
        at_least=0,
        at_most=1,
    )
    batchSize: int = option(2, "photographs in each batch, on each process", at_least=1)
    nThreads: int = option(
        2, "loader processes of each process; 0 loads in the training process", at_least=0, on_resume=True
    )
    max_dataset_size: float = option(math.inf, "use at most this many photographs of each source", at_least=1)
    serial_batches: bool = option(False, "take the photographs in the table's order")

    model: str = option("u2net", "network", tuple(START_WEIGHTS), group="network and start")
    continue_train: bool = option(True, "start from unet_checkpoint; --no-continue_train starts from scratch")
    unet_checkpoint: str | None = option(
        None,
        f"weights to start from: {WEIGHT_FILES}; default: those that setup_model_weights.py writes for the model",
        metavar="FILE",
        on_resume=True,
    )
    resume: bool = option(
        False,
        "continue the run in save_dir with its own options, from its last saved state; start it where there is none",
        on_resume=True,
    )
    seed: int = option(0, "random seed: of initialisation, order and augmentation", at_least=0, at_most=1_000_000_000)

    # The defaults are the published recipe.
    iter: int = option(100_000, "iterations", group="optimisation", at_least=1, on_resume=True)
    lr: float = option(0.0002, "learning rate (peak, with a schedule)", at_least=0)
    optimizer: str = option("adam", "optimiser", ("adam", "adamw"))
    weight_decay: float = option(0.0, "weight decay of the optimiser", at_least=0)
    schedule: str = option("constant", "learning rate schedule after the warm-up", ("constant", "cosine", "poly"))
    warmup_iter: int = option(0, "iterations of linear warm-up", at_least=0)
    clip_grad: float = option(5.0, "largest gradient norm; 0: no limit", at_least=0)
    accumulate: int = option(1, "batches whose gradients make one step", at_least=1)
    ema_decay: float = option(
        0.0, "moving average of the weights, saved and validated in their place; 0: off", at_least=0, below=1
    )
    class_weights: list[float] | None = option(
        None, "loss weight of each class; default 1 for background, 1.5 for clothes", at_least=0
    )
    fused_weight: float = option(1.5, "loss weight of the fused map d0", at_least=0)
    side_weight: float = option(1.0, "loss weight of each side map d1..d6", at_least=0)
    iou_weight: float = option(0.0, "weight of the soft IoU loss in the loss of each map", at_least=0)
    teacher: str | None = option(
        None,
        "weights of another network, whose predictions are learned too (distillation)",
        metavar="FILE",
        on_resume=True,
    )
    teacher_weight: float = option(1.0, "weight of the teacher's predictions in the loss of each map", at_least=0)
    max_bad_steps: int = option(10, "non-finite steps in a row that end the run", at_least=1, on_resume=True)

    distributed: bool = option(
        False, "refuse to run without a launcher such as torchrun", group="machine", on_resume=True
    )
    channels_last: bool = option(
        False, "channels-last memory format: faster on CPUs with bf16, meant for GPUs too", on_resume=True
    )
    compile: bool = option(False, "torch.compile the network: meant for GPUs", on_resume=True)

    logs_dir: str | None = option(
        None, "TensorBoard logs; default: logs/NAME", metavar="FOLDER", group="output", on_resume=True
    )
    save_dir: str | None = option(
        None, "checkpoints and options; default: results/NAME", metavar="FOLDER", on_resume=True
    )
    save_freq: int = option(1000, "iterations between checkpoints", at_least=1, on_resume=True)
    print_freq: int = option(10, "iterations between logged losses", at_least=1, on_resume=True)
    image_log_freq: int = option(100, "iterations between logged pictures", at_least=1, on_resume=True)
    val_freq: int = option(1000, "iterations between validations", at_least=1, on_resume=True)

    @classmethod
    def parse(cls, arguments: list[str] | None = None) -> "TrainOptions":
        """Options of file and command line, which wins; of a resumed run, those of its record. Raises UserError."""
        parser = cls._parser()
        text = "YAML file of options, such as a recipe or a run's record (docs/train.md); the command line wins over it"
        parser.add_argument("--options", metavar="FILE", help=text)
        text = "given by old launchers; LOCAL_RANK wins over it"
        parser.add_argument("--local-rank", "--local_rank", type=int, metavar="N", help=text)
        given = vars(parser.parse_args(arguments))
        path, local_rank = given.pop("options"), given.pop("local_rank")
        if local_rank is not None:
            os.environ.setdefault("LOCAL_RANK", str(local_rank))
        values = read_options_file(cls, path) if path else {}
        if values.get("sources") and (twice := {"image_folder", "df_path"} & given.keys()):
            raise UserError(f"--{min(twice)} and the sources of {path} exclude each other; name the photographs there")
        if "name" in given:  # a new run with the options of another one, whose folders are its own
            values = {name: value for name, value in values.items() if name not in ("save_dir", "logs_dir", "resume")}
        values |= given
        if values.get("resume"):
            values = cls._resumed(values)
        return cls(**values).resolve()

    @classmethod
    def _resumed(cls, values: dict[str, object]) -> dict[str, object]:
        """``values`` with the options of the run that they resume, or of a new one where there is none.

        Raises UserError where they contradict the run.
        """
        run_dir = Path(values.get("save_dir") or f"results/{values.get('name', cls.name)}")
        if not (run_dir / "latest.pth").exists():
            if os.environ.get("RANK", "0") == "0":
                print(f"there is no run to resume in {run_dir}; a new one starts")
            return values | {"resume": False}
        record = read_options_file(cls, str(newest_record(run_dir)))
        for item in fields(cls):
            name, bound = item.name, not item.metadata["on_resume"] and item.name != "name"
            if bound and name in values and name in record and values[name] != record[name]:
                if isinstance(values[name], dict):  # not on the command line
                    raise UserError(
                        f"the {name} in --options are not those of the run in {run_dir}; continue it without them, "
                        "or start a new run with another --name"
                    )
                raise UserError(
                    f"--{name} {values[name]} contradicts the run in {run_dir}, which has {record[name]}; "
                    f"leave --{name} out, or start a new run with another --name"
                )
        return record | values | {"save_dir": str(run_dir)}  # it may have been moved

    @property
    def augmentation(self) -> Augmentation:
        """How samples are varied, where a source does not say otherwise."""
        return Augmentation(self.augment, self.min_crop_area, self.close_ups)

    def training_sources(self) -> list[Source]:
        """What to train on. Raises UserError."""
        if self.sources is None:
            return [Source("photographs", self.image_folder, self.df_path, augmentation=self.augmentation)]
        sources = read_sources(self.sources, self.augmentation, self.data_root)
        return [replace(each, tag_map=each.tag_map and in_repository(each.tag_map)) for each in sources]

    def validation_sets(self) -> list[ValidationSet]:
        """What to measure the network on; may be empty. Raises UserError."""
        if self.validation is not None:
            return read_validation_sets(self.validation, self.data_root)
        return [ValidationSet("", self.val_image_folder, self.val_df_path)] if self.val_df_path else []

    @property
    def start_weights(self) -> str | None:
        """The weights that a new run starts from; None from scratch, and where a run is resumed."""
        return self.unet_checkpoint if self.continue_train and not self.resume else None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that the network sees in the end."""
        return self.fine_height, self.fine_width

    @property
    def size_stages(self) -> list[tuple[float, float]]:
        """(scale, until) of each SCALE:UNTIL of smaller_first. Raises UserError."""
        given = self.smaller_first or []
        try:
            pairs = [tuple(map(float, text.split(":"))) for text in given]
            ends = [0.0, *(until for _, until in pairs), 1.0]
            valid = all(0 < scale < 1 for scale, _ in pairs) and all(a < b for a, b in pairwise(ends))
        except ValueError:
            valid = False
        if not valid:
            raise UserError(
                f"--smaller_first {' '.join(given)}: give SCALE:UNTIL, both between 0 and 1, the UNTILs rising, "
                "for example 0.5:0.4 0.75:0.8"
            )
        return pairs

    def learning_rate(self, iteration: int) -> float:
        """Of the step after ``iteration`` others."""
        return learning_rate(iteration, self.iter, self.lr, self.schedule, self.warmup_iter)

    def image_size(self, iteration: int) -> tuple[int, int]:
        """(height, width) of the images of the step after ``iteration`` others."""
        return image_size(iteration, self.iter, self.size, self.size_stages)

    def change_of_schedule(self, record: Path, iteration: int) -> str | None:
        """What another ``iter`` than the record's makes of learning rate and image size, after ``iteration`` steps.

        Both follow the share of the steps that is done. None where it is the same ``iter``. Raises UserError.
        """
        before = replace(self, iter=read_options_file(type(self), str(record)).get("iter", self.iter))
        if before.iter == self.iter:
            return None

        def at_that_step(options: TrainOptions) -> str:
            height, width = options.image_size(iteration)
            return f"learning rate {options.learning_rate(min(iteration, options.iter)):.3g}, images {width}x{height}"

        return (
            f"--iter {self.iter} instead of {before.iter}: from iteration {iteration} on, {at_that_step(self)}; "
            f"before, {at_that_step(before)}"
        )

    def loss_weights(self, classes: int) -> list[float]:
        """Loss weight of each class: as given, or as published 1 for background, 1.5 for clothes. Raises UserError."""
        weights = self.class_weights or [1.0] + [1.5] * (classes - 1)
        if len(weights) != classes or max(weights) == 0 or not all(map(math.isfinite, weights)):
            raise UserError(f"--class_weights needs {classes} numbers, finite and not all zero; got {weights}")
        return weights

    def resolve(self) -> "TrainOptions":
        super().resolve()
        self.unet_checkpoint = in_repository(self.unet_checkpoint or START_WEIGHTS[self.model])
        self.teacher = self.teacher and in_repository(self.teacher)
        self.logs_dir = self.logs_dir or f"logs/{self.name}"
        self.save_dir = self.save_dir or f"results/{self.name}"
        if (self.val_image_folder is None) != (self.val_df_path is None):
            raise UserError("validation needs both --val_image_folder and --val_df_path")
        if self.data_root and not (self.sources or self.validation):
            raise UserError("--data_root is where the sources and validation of an options file start; there are none")
        if self.validation is not None and self.val_df_path:
            raise UserError("--val_df_path and the options file's validation exclude each other")
        self.augmentation.check("--")
        self.training_sources(), self.validation_sets()
        least = min([1.0, *(scale for scale, _ in self.size_stages)])
        cells = [math.ceil(max(32, round(least * side)) / 32) for side in self.size]
        if self.batchSize * math.prod(cells) == 1:
            raise UserError("one 32x32 photo leaves batch norm a single value; raise --batchSize or the size")
        return self
