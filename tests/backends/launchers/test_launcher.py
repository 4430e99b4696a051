"""What only launchers promise: nothing outlives a killed coordinator, daemons are found, a dead launcher costs its own jobs."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.test_command_backends import Bench
from conftest import LIB, wait_for, with_tag
from manyhands.backends.commands import Commands
from manyhands.backends.launchers import launcher_process
from manyhands.backends.launchers.job_processes import Running
from manyhands.backends.launchers.launcher import Launcher
from manyhands.backends.protocol import Ended
from manyhands.backends.settings import CommandSettings

pytestmark = [
    pytest.mark.skipif(not (hasattr(os, "pidfd_open") and hasattr(select, "epoll")), reason="launchers need Linux"),
    pytest.mark.usefixtures("nothing_left"),
]
DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print("daemon", flush=True)
time.sleep(60)
"""


def settings(folder: Path, **more: object) -> CommandSettings:
    given: dict[str, object] = {
        "slots": 2,
        "outputs": folder,
        "token": f"launch{os.getpid()}",
        "environment": dict(os.environb),
        "workdir": folder,
        "grace": 0.3,
        "launchers": 2,
        **more,
    }
    return CommandSettings(**given)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A backend with two launchers of one slot each."""
    one = Bench(Commands(settings(tmp_path)))
    yield one
    one.backend.close()


def tag(attempt: object = "") -> str:
    return f"MH_TAG=launch{os.getpid()}.{attempt}"


def test_a_daemon_of_a_finished_job_is_found_and_ended(bench: Bench) -> None:
    """A double fork and a session of its own do not hide it; it is reported."""
    end = bench.run(sys.executable, "-S", "-c", DAEMON)
    assert end.ending.exit == 0
    assert end.ending.leftovers >= 1
    assert with_tag(tag("1.1")) == []


def test_a_daemon_of_a_timed_out_job_is_found_and_ended(bench: Bench) -> None:
    """The same while the job itself goes on."""
    attempt = bench.start(sys.executable, "-S", "-c", DAEMON.replace("os._exit(0)", "time.sleep(60)", 1))
    bench.start_of(attempt)
    wait_for(lambda: len(with_tag(tag("1.1"))) >= 2)
    time.sleep(0.2)
    bench.backend.stop([attempt])
    bench.end_of(attempt)
    assert with_tag(tag("1.1")) == []


def test_a_launcher_that_has_begun_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that works waited for any longer than it takes to leave."""
    boot = launcher_process._BOOT
    monkeypatch.setattr(launcher_process, "_LEAVING", float("inf"))
    slow = f"import sys, time; time.sleep(0 if sys.argv[2] == '0' else 600); {boot}"
    monkeypatch.setattr(launcher_process, "_BOOT", slow)
    bench = Bench(Commands(settings(tmp_path)))
    assert bench.run("echo", "done").ending.exit == 0
    working, importing = bench.backend._launchers.values()  # type: ignore[attr-defined]
    bench.backend.close()
    assert (working.process.returncode, importing.process.returncode) == (0, -signal.SIGKILL)


def test_daemons_may_be_allowed(tmp_path: Path) -> None:
    """With allow_daemons what a job leaves behind lives on, and a later job's output is not mixed with its."""
    bench = Bench(Commands(settings(tmp_path, allow_daemons=True, slots=1)))
    end = bench.run(
        sys.executable,
        "-S",
        "-c",
        DAEMON.replace("time.sleep(60)", "time.sleep(0.5); print('late', flush=True); time.sleep(60)"),
    )
    assert end.ending.leftovers == 0
    later = bench.end_of(bench.sh("sleep 0.8; echo mine"))
    assert later.ending.stdout.data == b"mine\n"
    alive = with_tag(tag("1.1"))
    assert len(alive) == 1
    bench.backend.close()
    assert [one.pid for one in with_tag(tag("1.1"))] == [alive[0].pid]
    os.kill(alive[0].pid, signal.SIGKILL)


def test_a_killed_launcher_costs_only_what_it_was_running(bench: Bench, tmp_path: Path) -> None:
    """Its job is dead and reported as lost, what lay ready is done by the others, and another takes its place."""
    slow = bench.sh("trap '' TERM; sleep 60 & sleep 60")
    slot = bench.start_of(slow).slot
    others = [bench.sh("echo fine") for _ in range(30)]
    assert isinstance(bench.backend, Commands)
    victim = bench.backend._launchers[slot - 1].pid
    os.kill(victim, signal.SIGKILL)
    end = bench.end_of(slow)
    assert (end.ending.exit, end.ending.signal, end.began) == (None, None, True)
    assert "launcher died" in (end.ending.error or "")
    assert with_tag(tag("1.1")) == []
    assert all(bench.end_of(one).ending.stdout.data == b"fine\n" for one in others)
    meet = "cd {}; touch {}; until [ -e {} ]; do sleep 0.05; done"  # two that can only end together
    both = [bench.sh(meet.format(tmp_path, *names)) for names in (("a", "b"), ("b", "a"))]
    assert {bench.end_of(one).ending.slot for one in both} == {1, 2}


def test_launchers_that_are_killed_again_and_again_lose_nothing(bench: Bench) -> None:
    """Every attempt gets exactly one end, whatever happens to the launchers."""
    attempts = [bench.sh("sleep 0.01") for _ in range(200)]
    assert isinstance(bench.backend, Commands)
    for _ in range(8):
        bench.reports += bench.backend.reports(0.05)
        os.kill(next(iter(bench.backend._launchers.values())).pid, signal.SIGKILL)
        bench.reports += bench.backend.reports(0.05)
    for attempt in attempts:
        bench.end_of(attempt)
    assert sum(isinstance(one, Ended) for one in bench.reports) == len(attempts)


COORDINATOR = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
from backends.launchers.test_launcher import settings
from backends.test_command_backends import Bench
from manyhands.backends.commands import Commands
from manyhands.backends.launchers import launcher_process
from manyhands.backends.launchers.job_processes import Running
from manyhands.backends.launchers.launcher import Launcher
import dataclasses
bench = Bench(Commands(dataclasses.replace(settings(Path(sys.argv[3])), token=sys.argv[4])))
attempts = [bench.sh("trap '' TERM INT HUP; setsid sleep 60 & sleep 60 & sleep 60") for _ in range(4)]
for attempt in attempts[:2]:
    bench.start_of(attempt)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("group", [False, True])
def test_nothing_outlives_a_coordinator_that_is_killed(tmp_path: Path, group: bool) -> None:
    """kill -9 of the coordinator, or of its whole process group: at once nothing of it is alive."""
    token = f"gone{os.getpid()}{group}"
    process = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, str(LIB), str(Path(__file__).parents[2]), str(tmp_path), token],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    wait_for(lambda: len(with_tag(f"MH_TAG={token}.1.1")) >= 4)
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    wait_for(lambda: not with_tag(f"MH_TAG={token}.1.1") and not with_tag(f"MH_TAG={token}.2.1"))
    process.wait()
    process.stdout.close()


def test_with_sigchld_ignored_statuses_are_still_true(tmp_path: Path) -> None:
    """Whoever starts us with SIGCHLD ignored does not make us lose statuses."""
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\nfrom backends.launchers.test_launcher import settings\nfrom backends.test_command_backends import Bench\n"
        "from manyhands.backends.commands import Commands\n"
        "bench = Bench(Commands(settings(Path(sys.argv[3]))))\n"
        "print([bench.end_of(bench.sh(f'exit {n}')).ending.exit for n in (0, 3)])\nbench.backend.close()\n"
    )
    command = [sys.executable, "-c", script, str(LIB), str(Path(__file__).parents[2]), str(tmp_path)]
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    out = subprocess.run([sys.executable, "-c", ignoring, *command], capture_output=True, check=True, timeout=30)
    assert out.stdout == b"[0, 3]\n"


def test_an_end_is_not_seen_again_while_a_child_that_is_made_has_the_descriptor() -> None:
    """For a moment, it has a copy of all that are open; the next attempt may get the same number meanwhile."""
    launcher = Launcher.__new__(Launcher)
    launcher.poll, launcher.watched = select.epoll(), {}
    with subprocess.Popen(["true"]) as process:
        one = Running(1, b"1.1", process.pid, None, 0.0, 0.0)  # type: ignore[arg-type]  # it is only watched
        launcher.watch(one)
        assert launcher.poll.poll(20) == [(one.file, select.EPOLLIN)]
        copy = os.dup(one.file)
        launcher.unwatch(one)
        assert launcher.poll.poll(0) == []
    os.close(copy)
    launcher.poll.close()
