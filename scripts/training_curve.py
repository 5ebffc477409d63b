"""Curve and table of a training run from its TensorBoard logs: python scripts/training_curve.py --logs_dir logs/NAME

The table has a row for each logged iteration, the picture loss, learning rate and validation.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import BaseOptions, option
from utils.errors import UserError, run_program
from utils.files import say_replaced, write_atomically


@dataclass
class CurveOptions(BaseOptions):
    """Curve and table of a training run from its TensorBoard logs."""

    logs_dir: str = option(help="folder of the run's logs")
    picture: str | None = option(None, "PNG to write")
    table: str | None = option(None, "CSV to write")


if __name__ == "__main__":
    options = CurveOptions.from_command_line()  # before the imports that take seconds

from functools import partial
from typing import BinaryIO

import matplotlib
import numpy as np
import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def main(options: CurveOptions) -> None:
    scalars = read(Path(options.logs_dir))
    if options.table and options.table == options.picture:
        raise UserError("--table and --picture are the same file; give two")
    say_replaced([Path(path) for path in (options.picture, options.table) if path])
    if options.table:
        write_atomically(Path(options.table), scalars.to_csv(float_format="%.5g").encode())
    if options.picture:
        write_atomically(Path(options.picture), partial(draw, scalars))
    print(f"{len(scalars)} logged iterations, the last {scalars.index[-1]}")


def read(logs_dir: Path) -> pd.DataFrame:
    """Every scalar by iteration (rows) and name (columns). Raises UserError where there are none."""
    if not logs_dir.is_dir():
        raise UserError(f"there is no folder {logs_dir}; give the --logs_dir of a training")
    events = EventAccumulator(str(logs_dir), size_guidance={"scalars": 0})  # 0: keep all
    events.Reload()
    columns = {
        tag: pd.Series({event.step: event.value for event in events.Scalars(tag)}) for tag in events.Tags()["scalars"]
    }
    if not {"total_loss", "lr"} <= columns.keys():
        raise UserError(f"no losses of a training in {logs_dir}; give the --logs_dir of one that has logged some")
    return pd.DataFrame(columns).rename_axis("iteration")


def drawn_figures(scalars: pd.DataFrame) -> list[str]:
    """Of one validation set the IoU of each class of clothes and those of all; of several the mean of each."""
    figures = [name.removeprefix("val/") for name in scalars if name.startswith("val/")]
    if any("/" in figure for figure in figures):
        return [figure for figure in figures if figure.endswith("/miou_clothes")]
    return [figure for figure in figures if "iou" in figure and figure not in ("iou_background", "miou")]


def draw(scalars: pd.DataFrame, file: BinaryIO) -> None:
    """Write a PNG: loss and learning rate at the left, validation at the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    loss = scalars["total_loss"].replace(np.inf, np.nan).dropna()
    if loss.empty:
        raise UserError("no loss of this run is a number, so there is no curve to draw")
    left.plot(loss, color="lightsteelblue", linewidth=0.8)
    left.plot(loss.rolling(20, min_periods=1).mean(), color="tab:blue", label="loss, mean of 20 logged")
    left.set(xlabel="iteration", ylabel="loss", ylim=(0, loss.quantile(0.99)))
    rate = left.twinx()
    rate.plot(scalars["lr"].dropna(), color="tab:orange")
    rate.set(ylabel="learning rate (orange)", ylim=(0, None))
    left.legend(loc="upper right")
    validation = drawn_figures(scalars)
    for name in validation:
        right.plot(scalars[f"val/{name}"].dropna(), marker="o", label=name)
    right.set(xlabel="iteration", ylabel="IoU on the validation photographs", ylim=(0, 1))
    right.grid(alpha=0.3)
    if validation:
        right.legend(loc="lower right")
    figure.savefig(file, format="png", dpi=100)


if __name__ == "__main__":
    run_program(main, options)
