"""Commands that are started together, with all their descendants: waited for, limited and stopped as one.

    start() start() ... --> wait(timeout) --each leader: pidfd, wait4--> Completed
                               | time-out, or stop() was called: TERM and CONT to every member, KILL after the grace
                               +-- members: descendants of a leader, and processes with our mark in their environment

The commands stay in the process group that they are started from, so a terminal treats them like a shell's: they may read from it, and
Ctrl-C and Ctrl-Z reach them. Separate from `manyhands.backends`, which runs thousands of jobs, none of which may use a terminal.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from types import TracebackType
from typing import Final

from manyhands.core.records import dataclass, replace
from manyhands.posix import linux
from manyhands.posix.which import find_program, reason

_MARK: Final = "MH_TREE"
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere: getrusage(2)
_KILL_EVERY: Final = 0.02
_ADOPTED_EVERY: Final = 1.0
_UNINTERRUPTIBLE: Final = 5.0
"""Seconds to wait after the first KILL; a process that does not end by then waits in the kernel (state D, ps(1))."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. ``exit`` or ``signal`` is None; both are if it could not be started, or other code took its status, and
    then ``error`` says why. ``wall``, ``user``, ``system`` in seconds, ``max_rss`` in bytes.

    ``stdout`` and ``stderr`` are what was captured; None if it went elsewhere.
    """

    argv: tuple[str, ...]
    pid: int | None = None
    exit: int | None = None
    signal: int | None = None
    error: str | None = None
    timed_out: bool = False
    started: float | None = None
    wall: float = 0.0
    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    stdout: bytes | None = None
    stderr: bytes | None = None
    missing: bool = False

    @property
    def returncode(self) -> int:
        """One number, as a shell gives it (POSIX, Shell Command Language, 2.8.2): 128+n for a signal, 124 at a time-out
        (timeout(1)), 127 when there is no such program, 126 when it cannot be started."""
        if self.timed_out:
            return 124
        if self.error is not None:
            return 127 if self.missing else 126
        return self.exit if self.exit is not None else 128 + (self.signal or 0)

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, with exit status 0."""
        return self.returncode == 0


class Leader:
    """One started command that has not been reaped."""

    def __init__(self, argv: Sequence[str], pid: int) -> None:
        self.argv, self.pid = tuple(argv), pid
        self.started, self.began = time.time(), time.monotonic()
        self.start = stat.start if (stat := linux.read_stat(pid)) else 0
        try:
            self.pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        except OSError:  # an old kernel, or no descriptor left: we poll
            self.pidfd = -1

    def collect(self) -> Completed | None:
        """How it ended; None while it runs. Its pid is free from then on."""
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # SIGCHLD is ignored, or a waitpid(-1) elsewhere in this process
            self.close()
            return self._completed(error="another part of the program took its exit status")
        if pid == 0:
            return None
        self.close()
        code = os.waitstatus_to_exitcode(status)
        end, memory = self._completed(), usage.ru_maxrss * _RSS_UNIT
        exit_, number = (code, None) if code >= 0 else (None, -code)
        return replace(end, exit=exit_, signal=number, user=usage.ru_utime, system=usage.ru_stime, max_rss=memory)

    def _completed(self, error: str | None = None) -> Completed:
        wall = time.monotonic() - self.began
        return Completed(self.argv, self.pid, error=error, started=self.started, wall=wall)

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class Tree:
    """Commands that were started together, and all that they start. Use it as a context: what still runs at its end is killed.

    ``adopts``: everything below this process belongs to it; for a program that starts nothing else, and is a child subreaper
    (prctl(2), PR_SET_CHILD_SUBREAPER), so that daemons cannot escape. Otherwise a daemon is known by its environment.
    """

    def __init__(self, *, grace: float = 5.0, adopts: bool = False) -> None:
        self.grace, self._adopts = grace, adopts
        outer = os.environ.get(_MARK)
        self._mark = f"{outer}.{token_hex(6)}" if outer else token_hex(6)
        self._leaders: dict[int, Leader] = {}
        self._done: list[Completed | None] = []
        self._places: dict[int, int] = {}
        self._strangers: set[tuple[int, int]] = set()
        self._starting = False
        self._kill_at: float | None = None
        self._first_kill: float | None = None
        self._waking = os.pipe()
        for end in self._waking:
            os.set_blocking(end, False)
        self.stopped_by: int | None = None
        """The signal that `stop` was called with."""

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- starting --------------------------------------------------------------------------------------------------------

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """``base`` (default: ours) with the mark by which members are known."""
        return {**(os.environ if base is None else base), _MARK: self._mark}

    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bool:
        """Start a command with these descriptors (None: ours); if it cannot be started, record its end and return False."""
        self._starting = True  # it may be signalled by a terminal, together with us, before we know its pid
        try:
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=self.environment(env)
            )
            process.returncode = 0  # we collect it ourselves, with its usage; Popen must not wait for it, too
            self.add(argv, process.pid)
        except (OSError, ValueError) as error:
            self._done.append(not_started(argv, error))
            return False
        finally:
            self._starting = False
        return True

    def add(self, argv: Sequence[str], pid: int) -> None:
        """Add a child that was started in another way, with `environment`."""
        self._leaders[pid] = Leader(argv, pid)
        self._places[pid] = len(self._done)
        self._done.append(None)
        if self.stopped_by is not None:  # while it was being started
            self.terminate()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> tuple[Completed, ...]:
        """How all commands ended, in the order in which they were started; what runs after ``timeout`` seconds is stopped.
        Then more may be started, unless `stop` has been called.

        Raises TimeoutError if a process does not end even when it is killed (uninterruptible sleep).
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        timed_out: set[int] = set()
        while self.step(deadline):
            self._collect_adopted()
            if deadline is not None and time.monotonic() >= deadline and not self.stopping:
                timed_out = set(self._leaders)
                self.terminate()
        late = {self._places[pid] for pid in timed_out}
        done = enumerate(one for one in self._done if one is not None)
        ends = tuple(replace(one, timed_out=True) if place in late else one for place, one in done)
        self._done, self._places = [], {}
        if self.stopped_by is None:
            self._kill_at = self._first_kill = None
        return ends

    def step(self, until: float | None, watched: Sequence[int] = (), writable: Sequence[int] = ()) -> bool:
        """Wait until a command ends, one of the ``watched`` descriptors can be read or of the ``writable`` ones written, or
        the moment ``until``; False when all is over: every command has ended, and, after a stop, everything below."""
        self._collect()
        if self.stopping:
            if not self._go_on_stopping():
                return False
            moments = [time.monotonic() + _KILL_EVERY]
        elif not self._leaders:
            return False
        else:
            moments = [] if until is None else [until]
        if any(leader.pidfd < 0 for leader in self._leaders.values()):
            moments.append(time.monotonic() + _KILL_EVERY)
        if self._adopts:
            moments.append(time.monotonic() + _ADOPTED_EVERY)
        self._poll(max(0.0, min(moments) - time.monotonic()) if moments else None, watched, writable)
        self._collect()
        return bool(self._leaders) or self.stopping

    def pause(self, seconds: float) -> bool:
        """Wait for ``seconds`` while nothing runs; return False, at once, if `stop` has been called."""
        until = time.monotonic() + seconds
        while self.stopped_by is None and time.monotonic() < until:
            self.look(until)
        return self.stopped_by is None

    def look(self, until: float | None, watched: Sequence[int] = (), writable: Sequence[int] = ()) -> None:
        """Wait until one of the descriptors can be read or written, something ends, `stop` is called, or the moment ``until``."""
        if self.stopped_by is None:
            self._poll(None if until is None else max(0.0, until - time.monotonic()), watched, writable)

    @property
    def running(self) -> bool:
        """Whether a command is being started, or has been and has not ended."""
        return self._starting or bool(self._leaders)

    @property
    def stopping(self) -> bool:
        """Whether a stop has been requested."""
        return self._kill_at is not None

    def _collect(self) -> None:
        for pid, leader in list(self._leaders.items()):
            if (ended := leader.collect()) is not None:
                del self._leaders[pid]
                self._done[self._places[pid]] = ended

    def _collect_adopted(self) -> None:
        """Reap orphans that became our children, as init does (we may be pid 1 of a container)."""
        with suppress(ChildProcessError):
            while self._adopts and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                if ended.si_pid in self._leaders:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)

    def _poll(self, seconds: float | None, watched: Sequence[int] = (), writable: Sequence[int] = ()) -> None:
        wanted = dict.fromkeys(writable, select.POLLOUT)
        for descriptor in (self._waking[0], *watched, *(one.pidfd for one in self._leaders.values() if one.pidfd >= 0)):
            wanted[descriptor] = wanted.get(descriptor, 0) | select.POLLIN  # a terminal is read and written
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        # rounded up: a moment too early would only mean another round
        poll.poll(None if seconds is None else int(seconds * 1000) + 1)
        with suppress(BlockingIOError):
            os.read(self._waking[0], 4096)

    # -- stopping --------------------------------------------------------------------------------------------------------

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End everything: TERM, and KILL after the grace; called again, KILL at once. May be called by a signal handler or
        another thread; `wait` returns when it is done."""
        if self.stopped_by is None:
            self.stopped_by = number
            self.terminate()
        else:
            self._kill_at = time.monotonic()
        self.wake()

    def terminate(self) -> None:
        """Send TERM and CONT to every member; `step` kills those that still run after the grace."""
        self._kill_at = time.monotonic() + self.grace
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to every member, each exactly or not at all."""
        for pid, start in self.members():
            _send(pid, start, number)

    def wake(self) -> None:
        """Make `step` return (may be called by a signal handler)."""
        with suppress(BlockingIOError):
            os.write(self._waking[1], b"\0")

    def members(self) -> list[tuple[int, int]]:
        """(pid, start time) of all live processes: commands, their descendants, and daemons that have left them."""
        if not os.path.isdir("/proc/self"):
            return [(pid, 0) for pid in _below(self._leaders)]
        below = {stat.pid for stat in linux.descendants([os.getpid()] if self._adopts else self._leaders)}
        return [
            (stat.pid, stat.start)
            for stat in linux.processes()
            if stat.state not in "ZX" and (stat.pid in self._leaders or stat.pid in below or self._is_marked(stat))
        ]

    def _is_marked(self, stat: linux.ProcStat) -> bool:
        """Whether it has our mark; a process that started without it cannot get it, and is checked only once."""
        if (stat.pid, stat.start) in self._strangers:
            return False
        if linux.has_tag(stat.pid, f"{_MARK}={self._mark}".encode(), prefix=True):
            return True
        self._strangers.add((stat.pid, stat.start))
        return False

    def _go_on_stopping(self) -> bool:
        """Kill what still runs after the grace; return False if nothing does."""
        living = self.members()
        if not living and not self._leaders:
            return False
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._first_kill = self._first_kill or now
            if now > self._first_kill + _UNINTERRUPTIBLE:
                raise TimeoutError(
                    f"process {(living or [(min(self._leaders), 0)])[0][0]} does not end, even when killed"
                )
            for pid, start in living:
                _send(pid, start, signal.SIGKILL)
        return True

    def close(self) -> None:
        """Kill and reap what still runs, if `wait` was left early. May be called twice."""
        if self._waking[0] < 0:
            return
        try:
            if self._leaders:
                self._kill_at = time.monotonic()
                while self.step(None):
                    pass
            if self._adopts:
                _collect_strangers()
        finally:
            for leader in self._leaders.values():
                leader.close()
            for end in self._waking:
                os.close(end)
            self._waking = (-1, -1)


def not_started(argv: Sequence[str], error: OSError | ValueError) -> Completed:
    """The end of a command that could not be started."""
    program = argv[0] if argv else "''"
    if isinstance(error, OSError) and error.errno and error.filename is not None and error.filename != program:
        return Completed(tuple(argv), error=f"cannot start {program}: {error.filename}: {os.strerror(error.errno)}")
    try:
        found: bytes | None = os.fsencode(find_program(program, os.pathsep.join(os.get_exec_path())))
    except OSError:
        found = os.fsencode(program) if "/" in program else None
    code = isinstance(error, OSError) and error.errno
    why = reason(code, os.fsencode(program), found) if code else str(error)
    return Completed(tuple(argv), error=f"cannot start {program}: {why}", missing=isinstance(error, FileNotFoundError))


def _send(pid: int, start: int, number: int) -> None:
    if start:
        linux.send_signal_exact(pid, start, number)
    else:
        with suppress(OSError):
            os.kill(pid, number)


def _below(leaders: Mapping[int, Leader]) -> set[int]:
    """For systems without /proc: the leaders, which are ours until reaped, and their descendants by psutil."""
    import psutil

    found = set(leaders)
    for pid in leaders:
        with suppress(psutil.Error):
            found |= {child.pid for child in psutil.Process(pid).children(recursive=True) if child.status() != "zombie"}
    return found


def _collect_strangers() -> None:
    """Reap orphans that became our children and have ended, each by its pid."""
    for stat in linux.processes():
        if stat.ppid == os.getpid() and stat.state == "Z":
            with suppress(ChildProcessError):
                os.waitpid(stat.pid, os.WNOHANG)
