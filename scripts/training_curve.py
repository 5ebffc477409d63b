"""Curve and table of a training run from its TensorBoard logs: python scripts/training_curve.py --logs_dir logs/NAME

The table has a row for each logged iteration, the picture loss, learning rate and validation.
"""

import argparse
import io
import sys
from pathlib import Path

import matplotlib
import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.errors import UserError, run_program
from utils.files import write_atomically

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

VALIDATION = ("iou_upper", "iou_lower", "iou_full", "miou_clothes", "clothes_iou")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs_dir", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="PNG to write")
    parser.add_argument("--table", type=Path, help="CSV to write")
    options = parser.parse_args()
    scalars = read(options.logs_dir)
    if options.table:
        write_atomically(options.table, scalars.to_csv(float_format="%.5g").encode())
    if options.picture:
        write_atomically(options.picture, draw(scalars))
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


def draw(scalars: pd.DataFrame) -> bytes:
    """PNG: loss and learning rate at the left, validation at the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    loss = scalars["total_loss"].dropna()
    left.plot(loss, color="lightsteelblue", linewidth=0.8)
    left.plot(loss.rolling(20, min_periods=1).mean(), color="tab:blue", label="loss, mean of 20 logged")
    left.set(xlabel="iteration", ylabel="loss", ylim=(0, loss.quantile(0.99)))
    rate = left.twinx()
    rate.plot(scalars["lr"].dropna(), color="tab:orange")
    rate.set(ylabel="learning rate (orange)", ylim=(0, None))
    left.legend(loc="upper right")
    for name in VALIDATION:
        if f"val/{name}" in scalars:
            right.plot(scalars[f"val/{name}"].dropna(), marker="o", label=name)
    right.set(xlabel="iteration", ylabel="IoU on the validation photographs", ylim=(0, 1))
    right.grid(alpha=0.3)
    right.legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


if __name__ == "__main__":
    run_program(main)
