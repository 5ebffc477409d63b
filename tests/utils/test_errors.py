"""How a program ends: one line for a user's mistake, a traceback for a fault, and at once in either case."""

import subprocess
import sys
import textwrap
import time

import pytest

from tests.helpers import ROOT, assert_one_line_error

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
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("obstacle", ["", "hinder()\n"])
def test_a_users_mistake_is_one_line_and_code_1(obstacle):
    result = program(obstacle + "print('before')\nraise UserError('set --this')")
    assert_one_line_error(result, "error: set --this")
    assert (result.returncode, result.stdout) == (1, "before\n")


@pytest.mark.parametrize("call", ["open('/no/such/file')", "import os; os.mkdir('x' * 300)"])
def test_a_file_that_the_system_does_not_give_is_one_line(call):
    result = program(call)
    assert_one_line_error(result, "error: ", "/no/such/file: No such file" if "open" in call else "File name too long")


def test_a_fault_is_a_traceback_and_code_1_and_nothing_is_waited_for():
    start = time.perf_counter()
    result = program("hinder()\nraise ValueError('a fault')")
    assert time.perf_counter() - start < 30
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.rstrip().endswith("ValueError: a fault")


@pytest.mark.parametrize(("ending", "code"), [("return None", 0), ("return 0", 0), ("return 143", 143)])
def test_otherwise_the_return_value_is_the_exit_code(ending, code):
    assert program(ending).returncode == code


def test_ctrl_c_is_one_word_and_code_130():
    result = program("raise KeyboardInterrupt")
    assert (result.returncode, result.stderr.strip()) == (130, "interrupted")
