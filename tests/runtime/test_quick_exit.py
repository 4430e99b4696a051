"""The end of the program: all that Python would do for anybody, in its order, and nothing for the memory alone."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli

BEGIN = """
import atexit, sys, threading, time
from manyhands.runtime import quick_exit

class Freed:
    def __del__(self):
        print("freed", flush=True)

kept = Freed()
"""


def ended(script: str, environment: dict[str, str], *flags: str, **options: object) -> tuple[int, str, str]:
    """(status, stdout, stderr) of a program."""
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        [sys.executable, *flags, "-c", BEGIN + script],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    return done.returncode, done.stdout, done.stderr


def test_what_a_program_asks_for_at_its_end_is_done(environment: dict[str, str]) -> None:
    """Threads are waited for, then functions of atexit called, the last one first; what is buffered is written; nothing is freed."""
    script = """
def last():
    time.sleep(0.05)
    print("thread")
atexit.register(print, "first registered")
atexit.register(print, "second registered")
threading.Thread(target=last).start()
print("buffered")
quick_exit.leave(3)
"""
    expected = "buffered\nthread\nsecond registered\nfirst registered\n"
    assert ended(script, environment) == (3, expected, "")


@pytest.mark.parametrize(("status", "number"), [("None", 0), ("0", 0), ("True", 1), ("130", 130)])
def test_the_status_is_that_of_sys_exit(status: str, number: int, environment: dict[str, str]) -> None:
    """None is success."""
    assert ended(f"quick_exit.leave({status})", environment) == (number, "", "")


@pytest.mark.parametrize(
    ("flags", "script"),
    [
        ([], "quick_exit.keep_usual_exit(); quick_exit.leave(4); sys.exit(4)"),
        ([], "sys.settrace(lambda *_: None); quick_exit.leave(4); sys.settrace(None); sys.exit(4)"),
        ([], "sys.setprofile(lambda *_: None); quick_exit.leave(4); sys.setprofile(None); sys.exit(4)"),
    ],
)
def test_the_usual_end_is_taken_where_it_matters(flags: list[str], script: str, environment: dict[str, str]) -> None:
    """With a user's code in the process, a debugger or a profiler."""
    assert ended(script, environment, *flags) == (4, "freed\n", "")


def test_a_text_as_status_is_for_python(environment: dict[str, str]) -> None:
    """It prints it."""
    assert ended("quick_exit.leave('text'); sys.exit('text')", environment) == (1, "freed\n", "text\n")


def test_output_that_cannot_be_written_is_told_as_ever(environment: dict[str, str]) -> None:
    """By Python, with its status."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + "del kept; print('x'); quick_exit.leave(0)"],
            env=environment | {"PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


def test_garbage_is_looked_for_seldom() -> None:
    """But it is."""
    from manyhands.runtime.quick_exit import collect_seldom

    before = gc.get_threshold()
    try:
        collect_seldom()
        assert before[0] < gc.get_threshold()[0] < 100_000
        assert gc.get_threshold()[1:] == before[1:]
    finally:
        gc.set_threshold(*before)


def test_a_batch_of_commands_ends_quickly(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """And yet what others have registered is called."""
    (tmp_path / "sitecustomize.py").write_text(
        BEGIN.replace("from manyhands.runtime import quick_exit\n", "") + "atexit.register(print, 'called')"
    )
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    done = cli("batch", "false", "--quiet", "--", "1", cold=True)
    assert (done.returncode, done.stdout) == (1, "called\n")


def test_files_of_a_users_function_are_written(cli: Cli, tmp_path: Path) -> None:
    """Even if it never closes them: it may count on that Python does."""
    (tmp_path / "mine.py").write_text("file = open('kept.txt', 'w')\ndef add(x):\n    file.write(x)\n")
    done = cli("batch.call", "mine:add", "--backend", "serial", "--", "a", "b")
    assert (done.returncode, (tmp_path / "kept.txt").read_text()) == (0, "ab"), done.stderr
