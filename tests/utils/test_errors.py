"""How a program ends: one line for a user's mistake, a traceback for a fault, at once, and said once per launch."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.helpers import ROOT, run_script
from utils.errors import first_to_say, format_error

# Each of these would keep Python from ending: a thread that is waited for, and a function that is called at exit.
OBSTACLES = """
import atexit, threading, time
from utils.errors import UserError, run_program

def hinder():
    threading.Thread(target=time.sleep, args=(600,)).start()
    atexit.register(time.sleep, 600)
"""


def program(body: str) -> subprocess.CompletedProcess:
    """Run a program whose main has this body."""
    code = OBSTACLES + "\ndef main():\n" + textwrap.indent(body, "    ") + "\nrun_program(main)"
    return run_script("-c", code, timeout=60)


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("return None", 0, ""), ("return 143", 143, ""), ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("hinder()\nraise UserError('set --this')", 1, "error: set --this\n"),
        ("open('/no/such/file')", 1, "error: /no/such/file: No such file or directory\n"),
    ],
)  # fmt: skip
def test_the_return_value_is_the_exit_code_and_a_users_mistake_is_one_line(ending, code, said):
    result = program("print('before')\n" + ending)
    assert (result.returncode, result.stdout, result.stderr) == (code, "before\n", said)


def test_a_fault_is_a_traceback_and_code_1_and_nothing_is_waited_for():
    result = program("hinder()\nraise ValueError('a fault')")  # waiting would take longer than its time
    assert result.returncode == 1
    assert "Traceback" in result.stderr and result.stderr.rstrip().endswith("ValueError: a fault")


@pytest.mark.parametrize(
    "where", ["import options, {}", "from utils.errors import run_program; run_program(__import__, '{}')"]
)
def test_a_package_that_is_not_installed_is_one_line_and_a_module_of_one_that_is_a_fault(where):
    missing, own = (run_script("-c", where.format(name)) for name in ("no_such_package", "data.no_such_module"))
    assert missing.returncode == own.returncode == 1
    assert re.fullmatch("error: no_such_package is not installed; run: pip install .*\n", missing.stderr)
    assert "Traceback" in own.stderr


@pytest.mark.parametrize("use", ["import options; {}()", "from utils.errors import run_program; run_program({})"])
def test_without_a_place_for_temporary_files_one_line_says_what_to_set(use):
    """PyTorch and gradio ask for one when they are imported."""
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc']; "
    result = run_script("-c", nowhere + use.format("tempfile.mkdtemp"))
    assert result.returncode == 1
    assert re.fullmatch("error: No usable temporary directory .*; set TMPDIR to a folder .*\n", result.stderr)


@pytest.mark.parametrize("name", ["PIL.no_such_module", "_lzma"])
def test_what_pip_would_not_mend_is_a_fault(name):
    error = ModuleNotFoundError(f"No module named '{name}'", name=name)
    assert format_error(error) == f"ModuleNotFoundError: No module named '{name}'\n"


PRINTS = """
import sys
from options.base_options import BaseOptions
from utils.errors import UserError, run_program

def main():
    for stream in (sys.stdout, sys.stderr):
        for _ in range(10000):
            print("a line of text", file=stream)
    with open("result", "x") as file:
        print("complete", file=file)
    if sys.argv[1:]:
        raise UserError("at last")

if __name__ == "__main__":
    BaseOptions.parse = classmethod(lambda cls: None)
    BaseOptions.from_command_line()
    run_program(main)
"""


@pytest.mark.parametrize(
    "console", ["", ">&-", "<&- >&- 2>&-", "| true", "2>&1 | head -n 1", ">/dev/full", "2>/dev/full"]
)
@pytest.mark.parametrize("fails", [False, True])
def test_results_are_complete_whatever_becomes_of_the_console(console, fails, tmp_path):
    command = f"set -o pipefail; '{sys.executable}' -c '{PRINTS}' {'fail' if fails else ''} {console}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == fails
    assert (tmp_path / "result").read_text() == "complete\n"
    said = {*result.stdout.split("\n"), *result.stderr.split("\n")} - {"a line of text", ""}
    assert said <= {"error: at last", "n"}, said
    assert not fails or "2>" in console or "error: at last" in said


WAITS = """
import time
from options.base_options import BaseOptions
from utils.errors import run_program

def wait():
    print("ready", flush=True)
    time.sleep(60)

BaseOptions.parse = classmethod(lambda cls: None)
BaseOptions.from_command_line()
{importing}
run_program(lambda: {running})
"""


@pytest.mark.parametrize(("importing", "running"), [("wait()", "None"), ("", "wait()")])
def test_ctrl_c_shows_no_traceback_whatever_the_program_is_doing(importing, running):
    command = [sys.executable, "-c", WAITS.format(importing=importing, running=running)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert said in ("", "interrupted\n")


def test_the_first_rank_says_it_and_the_others_what_is_different(tmp_path, monkeypatch):
    def said(local_rank: int, text: str, attempt: int = 0) -> bool:
        folder = tmp_path / f"attempt_{attempt}" / str(local_rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))
        return first_to_say(text)

    texts = [(1, "error: a"), (0, "error: a"), (2, "error: b"), (3, "error: \udcff"), (4, "error: b")]
    assert [said(*each) for each in texts] == [True, False, True, True, False]
    assert said(0, "error: a", attempt=1)  # torchrun has restarted them


@pytest.mark.parametrize("value", [None, "", "/dev/null", "/no/such/folder/error.json", "/proc/1/x/error.json"])
def test_without_a_folder_to_share_everybody_says_it(value, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    if value is not None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", value)
    assert first_to_say("error: a") and first_to_say("error: a")
