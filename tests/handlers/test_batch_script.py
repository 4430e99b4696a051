"""``batch.script``, ``batch --warm`` and ``run_batch(warm=True)``, from the command line to the jobs."""

from __future__ import annotations

import csv
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import Cli, Said, wait_for, with_tag
from manyhands import UsageError, run_batch

pytestmark = pytest.mark.skipif(
    not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"
)
SOURCE = """
import json, os, sys
with open(f"/proc/{os.getppid()}/cmdline") as file:
    warm = "has imported what" in file.read()
print(json.dumps([sys.argv, warm, sys.flags.optimize]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a script, a module, and a program with a first line."""
    (tmp_path / "process.py").write_text(SOURCE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "tool.py").write_text(SOURCE)
    (tmp_path / "program").write_text(f"#!/usr/bin/env -S {sys.executable} -O\n{SOURCE}")
    (tmp_path / "program").chmod(0o755)
    return tmp_path


PYTHON = ("--python", sys.executable)


@pytest.mark.parametrize(
    ("command", "argv", "optimize"),
    [
        (("batch.script", "process.py", *PYTHON), ["process.py", "a.x"], 0),
        (("batch.script", "process.py --fast {.}", *PYTHON), ["process.py", "--fast", "a"], 0),
        (("batch.script", "process.py", "--python", f"{sys.executable} -OO"), ["process.py", "a.x"], 2),
        (("batch.script", "package.tool", "-m", *PYTHON), ["package/tool.py", "a.x"], 0),
        (("batch.script", "program"), ["program", "a.x"], 1),
        (("batch", "./program {}", "--warm"), ["./program", "a.x"], 1),
        (("batch", f"{sys.executable} process.py {{}}", "--warm", "--preload", "csv,json"), ["process.py", "a.x"], 0),
        (("batch", "true {}", "--then", f"{sys.executable} process.py {{}}", "--warm"), ["process.py", "a.x"], 0),
    ],
)
def test_what_is_typed_is_run_warm(
    command: tuple[str, ...], argv: list[str], optimize: int, folder: Path, cli: Cli
) -> None:
    """A script with its arguments, a module, or a program whose first line names a Python."""
    done = cli(*command, "--run-id", "r", "--", "a.x")
    assert done.returncode == 0, done.stderr
    given, warm, optimized = json.loads(done.stdout)
    given[0] = given[0].removeprefix(f"{folder}/")
    assert (given, warm, optimized) == (argv, True, optimize)


def test_a_run_that_is_tried_again_is_warm_again(folder: Path, cli: Cli) -> None:
    """It is kept with the run."""
    (folder / "process.py").write_text(f"{SOURCE}sys.exit(3)\n")
    assert cli("batch.script", "process.py", *PYTHON, "--run-id", "r", "--", "a").returncode == 1
    done = cli("batch.retry", "r")
    assert json.loads(done.stdout) == [["process.py", "a"], True, 0]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("batch.script", "no-such.py"), "batch.script: cannot read the script 'no-such.py': No such file or directory"),
        (
            ("batch.script", "process.py", "--python", "ruby"),
            "--warm: cannot run 'ruby process.py' warm: it begins neither",
        ),
        (
            ("batch", "gzip {}", "--warm"),
            "--warm: cannot run 'gzip {}' warm: it begins neither with python nor with a script",
        ),
        (("batch", "python3 process.py {}", "--preload", "json"), "--preload has no effect without --warm"),
        (("batch.script", "process.py", "--preload", "a b"), "--preload a b: expected names of modules"),
        (
            ("batch", "python3 process.py {}", "--warm", "--shell"),
            "--warm and --shell: the shell starts Python by itself",
        ),
    ],
)
def test_what_cannot_be_warm_is_refused(
    command: tuple[str, ...], why: str, folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything runs, with the reason."""
    monkeypatch.chdir(folder)
    status, text = said(*command, "--", "a")
    assert status == 2
    assert f"manyhands: {why}" in text


def test_a_program_can_ask_for_it(folder: Path) -> None:
    """With the same words."""
    with run_batch(f"{sys.executable} process.py {{}}", ["a", "b"], warm=True, preload="csv", workdir=folder) as batch:
        printed = [json.loads(one.stdout.read()) for one in batch]
    assert sorted(printed) == [[["process.py", "a"], True, 0], [["process.py", "b"], True, 0]]
    with pytest.raises(UsageError, match="preload has no effect without warm"):
        run_batch("python3 process.py {}", ["a"], preload="csv")
    with pytest.raises(UsageError, match="warm=True: only for commands, and this is a function"):
        run_batch(len, ["a"], warm=True)
    with pytest.raises(UsageError, match=r"warm=True: cannot run 'gzip \{\}' warm"):
        run_batch("gzip {}", ["a"], warm=True)


def _launchers(coordinator: int, tag: str) -> set[int]:
    return {one.pid for one in with_tag(tag) if one.ppid == coordinator}


def _zygotes(coordinator: int, tag: str) -> set[int]:
    """Children of launchers, but not jobs whose zygote has died."""
    launchers, found = _launchers(coordinator, tag), set()
    for one in with_tag(tag):
        with suppress(OSError):
            line = Path(f"/proc/{one.pid}/cmdline").read_text()
            found |= {one.pid} if one.ppid in launchers and "has imported what" in line else set()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("what", ["manyhands", "zygotes", "launchers"])
def test_a_run_in_which_much_is_killed_is_complete_at_last(
    what: str, folder: Path, cli: Cli, environment: dict[str, str]
) -> None:
    """Each job has one end, what was recorded is not done again, and nothing is left alive after a kill."""
    (folder / "process.py").write_text(
        "import os, sys, time\n"
        "file = os.open('ledger', os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "time.sleep(0.01)\n"
        "os.write(file, b'%s\\n' % os.fsencode(sys.argv[1]))\n"
    )
    inputs = [str(number) for number in range(200)]
    tag = f"MH_OF_THIS={folder}"
    command = [
        sys.executable,
        "-m",
        "manyhands",
        "batch.script",
        "process.py",
        *PYTHON,
        "--run-id",
        "r",
        "-j4",
        "--quiet",
    ]
    process = subprocess.Popen(
        [*command, "--", *inputs],
        cwd=folder,
        env={**environment, "MH_OF_THIS": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    wait_for((folder / "ledger").exists)
    if what == "manyhands":
        time.sleep(random.uniform(0, 0.3))
        process.kill()
    for _ in range(3):
        time.sleep(0.2)
        for pid in _launchers(process.pid, tag) if what == "launchers" else _zygotes(process.pid, tag):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not with_tag(tag))
    done = cli("batch.resume", "r", "--quiet")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(cli("batch.export", "r", "--format", "csv").stdout.splitlines()))
    assert Counter(row["status"] for row in rows) == {"ok": 200}
    done_more_than_once = [n for n in Counter((folder / "ledger").read_text().split()).values() if n > 1]
    # at each of three kills, two zygotes may have taken an end that they have not yet told
    assert len(done_more_than_once) <= {"manyhands": 4, "zygotes": 6}.get(what, 200)
