"""Stopping strangers: each exactly or not at all, with a clear line for whatever can go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import LIB, wait_for, with_tag
from manyhands.core.errors import UsageError
from manyhands.posix import linux
from manyhands.processes import stop
from manyhands.processes.listing import ProcessInfo, process_info
from manyhands.processes.stop import Fate, Stopped, stop_process, stop_processes, with_reasons
from manyhands.render.stopped_processes import stopped_line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a shell script in a session of its own; what is left of it at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []
    tag = f"t{os.getpid()}-{time.monotonic_ns()}"

    def run(script: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "MH_TEST": tag}
        process = subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        if "exec sleep" in script:
            wait_for(lambda: info_of(process.pid).name == "sleep")
        return process

    yield run
    for one in with_tag(f"MH_TEST={tag}"):
        linux.send_signal_exact(one.pid, one.start, signal.SIGKILL)
    for process in started:
        process.wait()
        assert process.stdout
        process.stdout.close()


def info_of(pid: int) -> ProcessInfo:
    found = process_info(pid)
    assert found
    return found


def by_pid(told: tuple[Stopped, ...]) -> dict[int, Stopped]:
    return {one.pid: one for one in told}


@pytest.mark.usefixtures("nothing_left")
def test_a_polite_process_ends_of_term(start: Start) -> None:
    """And it says by what, and after how long; the parent sees -SIGTERM (scenario B3)."""
    process = start("echo ready; exec sleep 60")
    (told,) = stop_process(process.pid, grace=30)
    assert (told.fate, told.signal, told.chosen, told.gone) == (Fate.ENDED, signal.SIGTERM, True, True)
    assert told.seconds is not None
    assert process.wait() == -signal.SIGTERM
    assert stopped_line(told).startswith(f"{process.pid} sleep: ended ")
    assert stopped_line(told).endswith(" after SIGTERM")


def test_one_that_ignores_term_is_killed_after_the_grace(start: Start) -> None:
    """Row 22, for strangers."""
    process = start("trap '' TERM; echo ready; while :; do sleep 1; done")
    told = by_pid(stop_process(process.pid, grace=0.3))[process.pid]
    assert (told.fate, told.signal) == (Fate.ENDED, signal.SIGKILL)
    assert told.seconds is not None
    assert told.seconds >= 0.3
    assert process.wait() == -signal.SIGKILL


def test_a_stopped_process_is_told_to_go_on(start: Start) -> None:
    """Otherwise TERM would wait for its CONT."""
    process = start("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: info_of(process.pid).state == "T")
    told = by_pid(stop_process(process.pid, grace=30))[process.pid]
    assert (told.fate, told.signal) == (Fate.ENDED, signal.SIGTERM)
    assert process.wait() == 5


def test_another_signal_first(start: Start) -> None:
    """What was asked for is sent instead of TERM."""
    process = start("trap 'exit 6' HUP; echo ready; while :; do sleep 0.05; done")
    told = by_pid(stop_process(process.pid, grace=30, signal=signal.SIGHUP))[process.pid]
    assert (told.fate, told.signal) == (Fate.ENDED, signal.SIGHUP)
    assert process.wait() == 6


def test_a_zombie_cannot_be_stopped(start: Start) -> None:
    """It says who should collect it."""
    process = start("echo ready")
    wait_for(lambda: info_of(process.pid).state == "Z")
    (told,) = stop_process(process.pid)
    assert (told.fate, told.gone) == (Fate.ZOMBIE, False)
    assert stopped_line(told) == (
        f"{process.pid} sh: cannot be stopped: a zombie: its parent {os.getpid()} "
        f"({info_of(os.getpid()).name}) has not collected it"
    )


def test_one_that_is_gone_already(start: Start) -> None:
    """Is no failure, between choosing and signalling, too."""
    process = start("echo ready; exec sleep 60")
    chosen = info_of(process.pid)
    process.kill()
    process.wait()
    assert [one.fate for one in (*stop_processes([chosen]), *stop_process(process.pid))] == [Fate.GONE, Fate.GONE]
    assert stopped_line(stop_processes([chosen])[0]) == f"{process.pid} sleep: had ended before it was signalled"


def test_a_pid_that_is_used_again_is_let_alone(start: Start) -> None:
    """An innocent is never killed: the number is the same, the start is not."""
    process = start("echo ready; exec sleep 60")
    earlier = replace(info_of(process.pid), start=info_of(process.pid).start - 1)
    (told,) = stop_processes([earlier])
    assert (told.fate, told.gone) == (Fate.REUSED, True)
    assert stopped_line(told) == f"{process.pid} sleep: was skipped: it is another process now"
    assert stop_process(earlier)[0].fate is Fate.REUSED
    assert process.poll() is None


def test_without_a_pidfd_the_start_is_compared(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old kernels, other systems: the same fates."""
    monkeypatch.delattr(os, "pidfd_open")
    process, other = start("echo ready; exec sleep 60"), start("echo ready; exec sleep 60")
    earlier = replace(info_of(other.pid), start=info_of(other.pid).start - 1)
    told = by_pid(stop_processes([info_of(process.pid), earlier], grace=30))
    assert (told[process.pid].fate, told[process.pid].signal) == (Fate.ENDED, signal.SIGTERM)
    assert told[other.pid].fate is Fate.REUSED
    assert other.poll() is None


def test_ourselves_and_what_has_started_us_are_refused() -> None:
    """And pid 1, and the kernel's threads."""
    us = info_of(os.getpid())
    parent = info_of(os.getppid())
    kernel_thread = replace(us, pid=2**22 - 1, ppid=2, argv=(), name="kworker/0:0")
    reasons = [why for _, why in with_reasons([us, parent, replace(us, pid=1), kernel_thread])]
    assert reasons[0] == "that is ourselves"
    assert reasons[1] in ("it has started us", "it is init, which everything hangs on")
    assert reasons[2:] == ["it is init, which everything hangs on", "it is a part of the kernel"]
    told = stop_processes([us, replace(us, pid=1), kernel_thread])
    assert {one.fate for one in told} == {Fate.REFUSED}
    assert stopped_line(told[0]) == f"{os.getpid()} {us.name}: is not stopped: that is ourselves"
    with pytest.raises(UsageError, match="not the pid of a process"):
        stop_process(0)


def test_everything_below_goes_too(start: Start) -> None:
    """Children, grandchildren in sessions of their own, and one whose parent has ended."""
    process = start("sleep 61 & setsid sh -c 'sleep 62 & sleep 63' & (sleep 64 &) ; sleep 0.2; echo ready; sleep 60")
    wait_for(lambda: len(named("sleep", process.pid)) == 5)
    everything = named("sleep", process.pid)
    told = by_pid(stop_process(process.pid, grace=30))
    assert set(everything) <= set(told)
    assert {one.fate for one in told.values()} == {Fate.ENDED}
    assert [told[pid].chosen for pid in everything] == [False] * 5
    assert not any(linux.process_alive(pid, begin) for pid, begin in everything.items())


def named(name: str, session: int) -> dict[int, int]:
    """The start by pid of what is so named and carries the mark of who leads the session."""
    tag = Path(f"/proc/{session}/environ").read_bytes().split(b"MH_TEST=")[1].split(b"\0")[0].decode()
    return {one.pid: one.start for one in with_tag(f"MH_TEST={tag}") if info_of(one.pid).name == name}


def test_only_the_one_without_its_tree(start: Start) -> None:
    """What is below it lives on."""
    process = start("sleep 60 & echo ready; wait")
    wait_for(lambda: named("sleep", process.pid))
    (child,) = named("sleep", process.pid)
    (told,) = stop_process(process.pid, descendants=False, grace=30)
    assert told.fate is Fate.ENDED
    assert info_of(child).state == "S"


def test_who_is_born_meanwhile_is_found(start: Start) -> None:
    """A process that answers TERM by starting others before it ends."""
    process = start("trap 'sleep 65 & setsid sleep 66 & wait; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    tag = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"MH_TEST=")[1].split(b"\0")[0].decode()
    told = stop_process(process.pid, grace=30)
    assert {one.fate for one in told} == {Fate.ENDED}
    assert with_tag(f"MH_TEST={tag}") == []


def test_what_does_not_end_even_when_killed_is_left(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninterruptible sleep, which cannot be made here: KILL is withheld instead."""
    process = start("trap '' TERM; echo ready; while :; do sleep 1; done")
    send = signal.pidfd_send_signal
    with monkeypatch.context() as patched:
        patched.setattr(
            signal, "pidfd_send_signal", lambda fd, number: None if number == signal.SIGKILL else send(fd, number)
        )
        patched.setattr(stop, "_UNINTERRUPTIBLE", 0.2)
        told = by_pid(stop_process(process.pid, grace=0.1, descendants=False))[process.pid]
    assert (told.fate, told.gone) == (Fate.LEFT, False)
    assert "is left: it does not end, even when killed" in stopped_line(told)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_no_permission(start: Start) -> None:
    """Another user's process is left, it is told so, and the exit status is 1."""
    process = start("echo ready; exec sleep 60")
    script = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(LIB)!r})
        import psutil
        from manyhands.handlers.proc import stop
        from manyhands.options.proc import StopOptions
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        sys.exit(stop(StopOptions(pids=["{process.pid}"])))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"{process.pid} sleep: is left: no permission: it belongs to another user\n"
    assert process.poll() is None


@pytest.mark.slow
def test_five_hundred_at_once(start: Start) -> None:
    """A wide and a deep tree are gone, all of them told."""
    process = start(
        'for i in $(seq 480); do sleep 60 & done; sh -c \'sh -c "sh -c \\"sleep 60; :\\"; :"; :\' & echo ready; wait'
    )
    wait_for(lambda: len(named("sleep", process.pid)) == 481, 30)
    told = stop_process(process.pid, grace=30)
    assert len(told) == 485
    assert {one.fate for one in told} == {Fate.ENDED}
