"""A warm start of the program is as a cold one to everybody but the clock: a test may take either."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warm import Warm

SEES = """
import json, os, signal, sys, threading
print(json.dumps([
    sys.argv, sys.orig_argv, sys.path, __name__, __file__, os.getcwd(), dict(os.environ), os.getpgrp(), os.getsid(0),
    sorted(os.listdir("/proc/self/fd"))[:-1], threading.active_count(), str(signal.getsignal(signal.SIGINT)),
    str(signal.getsignal(signal.SIGTERM)), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    [one for one in sys.modules if one.startswith(("manyhands.cli", "manyhands.__", "invoke.main", "tasks", "warm"))],
    [[s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.isatty(), s.name, s.mode] for s in (sys.stdin, sys.stdout, sys.stderr)],
    sys.stdin.read(), sys.stdout is sys.__stdout__,
]))
"""
Start = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks in /proc")


@pytest.fixture
def script(tmp_path: Path, environment: dict[str, str], warm_plain: Warm) -> Callable[[str, Start], Any]:
    """Runs a script with an argument, an input and a variable by a way to start it."""
    (tmp_path / "elsewhere").mkdir()

    def run(text: str, start: Start) -> Any:
        (tmp_path / "own.py").write_text(text)
        return start(
            [sys.executable, str(tmp_path / "own.py"), "a b", "--é"],
            cwd=tmp_path / "elsewhere",
            env={**environment, "LOOK": "é"},
            input="some\ninput",
            timeout=30,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_script_sees_the_same(script: Callable[[str, Start], Any], warm_plain: Warm) -> None:
    """Arguments, folder, environment, descriptors and streams, handlers of signals; and nothing of whoever ran before."""
    first, second = script(SEES, warm_plain.run), script(SEES, warm_plain.run)
    cold = script(SEES, subprocess.run)
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout) == json.loads(cold.stdout)
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit(7)",
        "raise SystemExit('so long')",
        "1 / 0",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os._exit(4)",
        "import atexit; atexit.register(print, 'last'); print('first')",
        "import sys; sys.stdout.write('no newline')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('waited for'))).start()",
        "import signal, os; os.kill(os.getpid(), signal.SIGINT)",
    ],
)
def test_it_ends_the_same(text: str, script: Callable[[str, Start], Any], warm_plain: Warm) -> None:
    """By itself, by an exception, by a signal; what is done at the end of Python is done."""
    warm, cold = script(text, warm_plain.run), script(text, subprocess.run)
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout)
    assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_a_time_limit_ends_it(script: Callable[[str, Start], Any], warm_plain: Warm, tmp_path: Path) -> None:
    """As `subprocess.run` does."""
    with pytest.raises(subprocess.TimeoutExpired):
        script("import time; time.sleep(60)", lambda *args, **more: warm_plain.run(*args, **{**more, "timeout": 0.2}))


@pytest.mark.parametrize(
    "words", [["--version"], ["batch", "printf %s"], ["nope"], ["batch.show"], ["tour.coroutine-sum"]]
)
def test_the_program_says_the_same(words: list[str], warm: Warm, environment: dict[str, str], tmp_path: Path) -> None:
    """`python -m manyhands`, whatever was run before; times aside."""
    command = [sys.executable, "-m", "manyhands", *words]
    options: dict[str, Any] = {
        "cwd": tmp_path,
        "env": environment,
        "capture_output": True,
        "text": True,
        "check": False,
        "timeout": 60,
    }
    said = []
    for start in (warm.run, warm.run, subprocess.run):
        done = start(command, input="a\nb\n", **options)
        said.append(
            (done.returncode, [" ".join(line.split()[-3:]) for line in done.stdout.splitlines()], done.stderr[:15])
        )
    assert said[0] == said[1] == said[2]


WHERE = """
import os, sys
def look(x): return [list(dict.fromkeys(sys.path)), sys.argv, getattr(sys.modules["__main__"].__spec__, "name", None), os.getcwd(), x]
"""


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_a_function_sees_the_same(backend: str, warm: Warm, environment: dict[str, str], tmp_path: Path) -> None:
    """In the program and in a worker of it: where modules are looked for, how the program was called."""
    (tmp_path / "mine.py").write_text(WHERE)
    command = [sys.executable, "-m", "manyhands", "batch.call", "mine:look", "--backend", backend, "--", "1"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    assert warm.run(command, **options).stdout == subprocess.run(command, **options).stdout


def test_what_it_cannot_give_is_given_by_a_start_of_python(
    warm: Warm, environment: dict[str, str], tmp_path: Path
) -> None:
    """A function before the start, variables that Python reads at its start, tasks that look at processes."""
    command = [sys.executable, "-m", "manyhands", "proc.limits"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limited = warm.run(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (333, hard)), **options)
    assert "333" in limited.stdout
    assert "333" not in warm.run(command, **options).stdout
    noisy = {**options, "env": {**environment, "PYTHONVERBOSE": "1"}}
    assert "import 'manyhands'" in warm.run([sys.executable, "-m", "manyhands", "--version"], **noisy).stderr
