"""What the fall-back without launchers promises beside what all backends for commands do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import LIB, wait_for, with_tag
from manyhands.backends.shared.heartbeat import Pulse

pytestmark = pytest.mark.usefixtures("nothing_left")

PROGRAM = """
import errno, os, subprocess, sys, time
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from backends.launchers.test_launcher import settings
from backends.test_command_backends import Bench
from manyhands.backends.protocol import Ended, Noted
from manyhands.backends.command_threads import CommandThreads
def bench(**more): return Bench(CommandThreads(settings(Path(sys.argv[3]), **more)))
"""

# a shell does not do it: it needs the signal itself
IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


def program(folder: Path, lines: str, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", PROGRAM + lines, str(LIB), str(Path(__file__).parents[1]), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def said(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=60)
    assert err == ""
    return out.splitlines()


def test_a_job_that_ended_while_we_were_suspended_has_ended_then(tmp_path: Path) -> None:
    """Its end is put at the last moment at which we were there: a time-out that is noticed later does not count."""
    lines = (
        "one = bench()\nattempt = one.sh('while [ ! -e go ]; do sleep 0.1; done; touch done')\nbegan = one.start_of(attempt).at\n"
        "time.sleep(0.5)\nprint('up', flush=True)\nasked = time.monotonic() + 1\n"
        "while time.monotonic() < asked: time.sleep(0.01)\n"
        "one.backend.stop([attempt])\nend = one.end_of(attempt)\n"
        "print(end.ending.exit, end.at < asked, end.ending.wall < 3)\none.backend.close()\n"
    )
    process = program(tmp_path, lines)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    wait_for(lambda: (tmp_path / "done").exists())
    time.sleep(4)  # there is no event to wait for: that time passes is what is tried
    process.send_signal(signal.SIGCONT)
    assert said(process) == ["0 True True"]


def test_with_sigchld_ignored_statuses_are_still_true(tmp_path: Path) -> None:
    """Also where the backend is made in a thread, which cannot set signals in Python; afterwards it is ignored as before."""
    lines = (
        "import threading\n"
        "def run():\n one = bench()\n print([one.end_of(one.sh(f'exit {n}')).ending.exit for n in (0, 3)])\n one.backend.close()\n"
        "thread = threading.Thread(target=run)\nthread.start()\nthread.join()\n"
        "pid = os.posix_spawn('/bin/true', ['true'], {})\n"
        "try: print(os.waitpid(pid, 0))\nexcept ChildProcessError: print('ignored')\n"
    )
    assert said(program(tmp_path, lines, sys.executable, "-c", IGNORING)) == ["[0, 3]", "ignored"]


@pytest.mark.parametrize("code", ["EAGAIN", "EMFILE", "ENOMEM"])
def test_what_is_short_makes_attempts_wait(tmp_path: Path, code: str) -> None:
    """No more than two processes can be had: all jobs are done, each once, with one warning."""
    lines = (
        "real = subprocess.Popen\nalive = []\n"
        "class Few(real):\n"
        " def __init__(self, *args, **options):\n"
        "  alive[:] = [pid for pid in alive if os.path.exists(f'/proc/{pid}')]\n"
        f"  if len(alive) >= 2: raise OSError(errno.{code}, 'no room')\n"
        "  super().__init__(*args, **options)\n  alive.append(self.pid)\n"
        "subprocess.Popen = Few\none = bench(slots=8)\n"
        "ends = [one.end_of(attempt).ending.exit for attempt in [one.sh('echo x >> ledger; sleep 0.05') for _ in range(20)]]\n"
        "print(ends.count(0), sum(isinstance(r, Noted) for r in one.reports))\none.backend.close()\n"
    )
    assert said(program(tmp_path, lines)) == ["20 1"]
    assert len((tmp_path / "ledger").read_text().split()) == 20


def test_what_waits_for_room_can_be_taken_back(tmp_path: Path) -> None:
    """An attempt that a thread has taken, and that waits, does not begin after it was stopped."""
    lines = (
        "real = subprocess.Popen\n"
        "def full(*args, **options): raise OSError(errno.EAGAIN, 'no room')\n"
        "subprocess.Popen = full\none = bench()\n"
        "attempts = [one.sh('touch begun') for _ in range(4)]\n"
        "one.until(lambda: any(isinstance(r, Noted) for r in one.reports))\n"
        "one.backend.stop(attempts)\nsubprocess.Popen = real\n"
        "print([one.end_of(attempt).began for attempt in attempts])\n"
        "print(one.run('true').ending.exit, os.path.exists('begun'))\none.backend.close()\n"
    )
    assert said(program(tmp_path, lines)) == ["[False, False, False, False]", "0 False"]


def test_few_descriptors(tmp_path: Path) -> None:
    """Forty threads and thirty descriptors: all jobs are done."""
    lines = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))\none = bench(slots=40)\n"
        "print([one.end_of(attempt).ending.exit for attempt in [one.sh('sleep 0.05') for _ in range(80)]].count(0))\none.backend.close()\n"
    )
    assert said(program(tmp_path, lines)) == ["80"]


def test_a_moment_is_now_unless_we_were_held_up() -> None:
    """In ordinary times a pulse changes nothing, nor after something that we did ourselves."""
    pulse = Pulse()
    pulse.beat()
    before = time.monotonic()
    assert before <= pulse.moment(0.0, caused=False) <= time.monotonic()
    assert before <= pulse.moment(0.0, caused=True)
    pulse.close()


def test_nothing_of_a_stopped_job_is_left(tmp_path: Path) -> None:
    """Also when its leader has ended before we look."""
    token = f"MH_TAG=launch{os.getpid()}"
    process = program(tmp_path, "one = bench()\none.end_of(one.sh('sleep 60 & exit 0'))\none.backend.close()\n")
    assert said(process) == []
    assert with_tag(token) == []
