"""The folder of a training run: what lies where in it, and that no run is overwritten. Needs no PyTorch."""

from collections.abc import Callable
from pathlib import Path

from utils.errors import UserError
from utils.files import write_atomically

RECORD = "training_options.yml"


def newest_record(path: Path) -> Path:
    """The options of the last part of a run: each part that was resumed has a record of its own."""
    return max(path.glob(f"{Path(RECORD).stem}_from_*.yml"), default=path / RECORD)  # by iteration, in 8 digits


class RunFolder:
    """What a run keeps: its record, the state to resume from, weights."""

    def __init__(self, path: str, resume: bool):
        """Raises UserError where the folder holds a run that is not to be resumed."""
        self.path = Path(path)
        self.latest = self.path / "latest.pth"
        self.checkpoints = self.path / "checkpoints"
        if self.latest.exists() and not resume:
            raise UserError(f"{path} holds a run already; continue it with --resume, or choose another --name")

    def record(self, save_options: Callable[[Path], None], network: object, iteration: int) -> None:
        """Keep options and network; the record of a resumed part does not replace the first one."""
        suffix = f"_from_{iteration:08d}" if iteration else ""
        save_options((self.path / RECORD).with_stem(f"{Path(RECORD).stem}{suffix}"))
        write_atomically(self.path / "networks.txt", f"{network}\n".encode())
