"""Processes of one launcher say the same thing once. Needs no other module."""

import hashlib
import os
import time
from pathlib import Path

SECONDS = 1.0  # for the first one to speak: torchrun ends it when one that says nothing has ended


def first_to_say(text: str) -> bool:
    """Whether no other process that the same torchrun started on this machine has asked this of the same text.

    Where another one has, it returns after that one has had time to speak. True where no torchrun started this
    process. torchrun gives each process a folder, for the time of the run, inside one that they share.
    """
    own_file = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))  # FOLDER/attempt_N/LOCAL_RANK/error.json
    if own_file.name != "error.json":
        return True
    mark = own_file.parents[1] / f"said_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(SECONDS)
        return False
    except OSError:  # nothing that can be shared
        pass
    return True
