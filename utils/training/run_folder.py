"""The folder of a training run: what lies where in it, and that it belongs to one run. Needs no PyTorch."""

import errno
import os
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.files import make_folder, write_atomically

if TYPE_CHECKING:  # it imports PyTorch
    from utils.training.state import TrainingState

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

FAR = 1 << 30  # bytes: behind what is in a lock file
RECORD = "training_options.yml"
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # of another process's lock
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def newest_record(path: Path) -> Path:
    """The options of the last part of a run: each part that was resumed has a record of its own."""
    return max(records_of_parts(path), default=path / RECORD)  # by iteration, in 8 digits


def records_of_parts(path: Path) -> Iterator[Path]:
    return path.glob(f"{Path(RECORD).stem}_from_*.yml")


def has_events(logs_dir: str | Path) -> bool:
    """Whether TensorBoard would find a run there."""
    return any(Path(logs_dir).glob("events*"))


class RunFolder:
    """What a run keeps: its record, the state to resume from, weights."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.latest = self.path / "latest.pth"
        self.checkpoints = self.path / "checkpoints"

    def claim(self, resume: bool) -> None:
        """Keep other processes out until this object or the process ends, and refuse to begin where a run was saved.

        Raises UserError, before anything of a run is written.
        """
        path = self.path / "run.lock"
        try:
            make_folder(self.path)
            # Closed, and so unlocked, by whatever ends the process.
            self._lock = file = open(path, "a+b", buffering=0)  # noqa: PTH123, SIM115
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        try:
            lock(file.fileno())
        except OSError as error:
            if error.errno in NO_LOCKS:
                warnings.warn(f"{self.path} is on a file system without locks: start no other run there", stacklevel=2)
            elif error.errno in TAKEN:
                file.seek(0)
                owner = file.read(200).decode(errors="replace").strip() or "another process"
                raise UserError(f"{owner} is training in {self.path}; wait for it, or choose another --name") from None
            else:
                raise UserError(f"cannot lock {path}: {error.strerror}") from None
        with suppress(OSError):  # on a full disk, which what is written next will say
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
        if self.latest.exists() and not resume:
            raise UserError(f"{self.path} holds a run already; continue it with --resume, or choose another --name")

    def own_logs(self, logs_dir: str) -> str:
        """The folder for the logs: another one where it holds those of a run of another folder."""
        if newest_record(self.path).exists() or not has_events(logs_dir):
            return logs_dir
        return next(other for number in count(2) if not has_events(other := f"{Path(logs_dir)}_{number}"))

    def record(self, save_options: Callable[[Path], None], network: object, iteration: int) -> None:
        """Keep options and network; the record of a resumed part does not replace the first one.

        Records of later parts go: their state is not there any more, and they would be taken for the newest.
        """
        suffix = f"_from_{iteration:08d}" if iteration else ""
        self._save_options = save_options
        self._record = (self.path / RECORD).with_stem(f"{Path(RECORD).stem}{suffix}")
        save_options(self._record)
        for later in [path for path in records_of_parts(self.path) if path > self._record]:
            later.unlink()
        write_atomically(self.path / "networks.txt", f"{network}\n".encode())

    def save(self, state: "TrainingState") -> None:
        """Save the state to resume from, after ``record``. It replaces the one before."""
        if not self._record.exists():  # somebody removed or moved the folder, and it is of no use without the options
            self._save_options(self._record)
        state.save(self.latest)


def lock(file: int) -> None:
    """Lock a file for this process, not for those that it forks. Raises OSError where another process has it."""
    if fcntl:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(file, FAR, os.SEEK_SET)  # it locks from here on, and nobody else may read what is locked
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
