"""Stops processes that are not ours: TERM first, then KILL; never a process that has reused the pid.

    chosen (pid, start) --+ their descendants --> TERM, CONT --until all are gone, or the grace is over--> KILL
                          refused: ourselves, our ancestors, pid 1, kernel threads

A process is signalled through a pidfd, which is opened and compared with its start before the first signal, so that no other process
is hit if a pid is reused (pidfd_open(2)). Only its parent knows how a process ended; we report what we sent.
"""

from __future__ import annotations

import errno
import os
import select
import signal as signals
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass
from manyhands.posix import linux
from manyhands.processes.listing import ProcessInfo, ancestors, list_processes, process_info

_LOOK_AGAIN: Final = 0.05
"""Seconds between two searches for processes that were started meanwhile."""
_UNINTERRUPTIBLE: Final = 5.0
"""Seconds after KILL; a process that does not end by then waits in the kernel (state D, ps(1))."""


OURSELVES: Final = "that is ourselves"
STARTED_US: Final = "it has started us"
"""With `OURSELVES`: why the process that asks, and those above it, are never stopped."""


class Fate(StrEnum):
    """What became of a process that was to be stopped."""

    ENDED = "ended"
    GONE = "gone"
    """It had ended before it was signalled."""
    REUSED = "reused"
    """Its pid belongs to another process now, which was not signalled."""
    REFUSED = "refused"
    DENIED = "denied"
    """Another user's: it may not be signalled."""
    ZOMBIE = "zombie"
    """It has ended, and its parent does not take its status."""
    LEFT = "left"
    """It still runs after KILL."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of one process. ``signal``: the last that was sent; ``seconds``: from the first signal to the end; ``chosen``: it
    was requested, and is not only a descendant of such a process; ``why``: the reason, if it has not ended."""

    pid: int
    name: str
    fate: Fate
    chosen: bool
    signal: int | None = None
    seconds: float | None = None
    why: str | None = None

    @property
    def gone(self) -> bool:
        """Whether the process does not run any more."""
        return self.fate in (Fate.ENDED, Fate.GONE, Fate.REUSED)


def stop_process(
    process: int | ProcessInfo, *, signal: int = signals.SIGTERM, grace: float = 5.0, descendants: bool = True
) -> tuple[Stopped, ...]:
    """Stop a process and its descendants: ``signal``, and KILL if it has not ended after ``grace`` seconds; returns what became of each.

        for one in stop_process(pid): print(one.pid, one.fate, one.why)

    One that is gone already is reported as gone. Given as `ProcessInfo`, from `list_processes`, it is stopped only if its pid has not been
    reused. This process, its ancestors, init and kernel threads are refused. ``descendants`` False: only the process itself.

    Raises UsageError for an invalid pid.
    """
    if isinstance(process, int):
        if process < 1:
            raise UsageError(f"{process} is not the pid of a process")
        info = process_info(process)
        if info is None:
            return (Stopped(process, "?", Fate.GONE, chosen=True),)
        process = info
    return stop_processes([process], signal=signal, grace=grace, descendants=descendants)


def stop_processes(
    chosen: Sequence[ProcessInfo], *, signal: int = signals.SIGTERM, grace: float = 5.0, descendants: bool = True
) -> tuple[Stopped, ...]:
    """The same for processes that `list_processes` gave. Tells what became of each, and of those below them that did not end by
    themselves meanwhile."""
    told: list[Stopped] = []
    targets: dict[int, _Target] = {}
    try:
        for info, why in with_reasons(chosen):
            if why:
                told.append(Stopped(info.pid, info.name, _refusal(info), chosen=True, why=why))
            else:
                targets[info.pid] = _Target(info.pid, info.start, info.name, chosen=True)
        hunt = _Hunt(targets, tree=descendants)
        hunt.look()
        hunt.signal(signal)
        if not hunt.wait(time.monotonic() + grace, signal):
            hunt.signal(signals.SIGKILL)
            hunt.wait(time.monotonic() + _UNINTERRUPTIBLE, signals.SIGKILL)
        met = (target for target in targets.values() if target.chosen or target.fate is not Fate.GONE)
        return (*told, *(target.told() for target in met))
    finally:
        for target in targets.values():
            target.close()


def with_reasons(chosen: Iterable[ProcessInfo]) -> list[tuple[ProcessInfo, str | None]]:
    """Each process with the reason why it must not be signalled, if there is one."""
    ourselves = os.getpid()
    above = set(ancestors(ourselves))

    def reason(info: ProcessInfo) -> str | None:
        if info.pid == 1:
            return "it is init, which everything hangs on"
        if info.pid == ourselves:
            return OURSELVES
        if info.pid in above:
            return STARTED_US
        if info.is_kernel_thread:
            return "it is a part of the kernel"
        if info.state == "Z":
            parent = process_info(info.ppid)
            return f"a zombie: its parent {info.ppid} ({parent.name if parent else '?'}) has not collected it"
        return None

    return [(info, reason(info)) for info in chosen]


def _refusal(info: ProcessInfo) -> Fate:
    return Fate.ZOMBIE if info.state == "Z" else Fate.REFUSED


class _Target:
    """One process that has to end."""

    def __init__(self, pid: int, start: int, name: str, *, chosen: bool) -> None:
        self.pid, self.start, self.name, self.chosen = pid, start, name, chosen
        self.fate: Fate | None = None
        self.why: str | None = None
        self.sent: int | None = None
        self.first = self.last = 0.0
        self.end_tick = sys.maxsize
        self.pidfd = -1
        try:
            if hasattr(os, "pidfd_open"):
                self.pidfd = os.pidfd_open(pid)
        except OSError as error:
            if error.errno == errno.ESRCH:
                self.fate = Fate.GONE
        stat = linux.read_stat(pid)
        if self.fate is None and stat and start and stat.start != start:
            self.fate, self.why = Fate.REUSED, "it is another process now"

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not count."""
        return linux.process_alive(self.pid, self.start)

    def signal(self, number: int) -> None:
        """Send a signal, if it is still the same process."""
        if self.fate is not None:
            return
        try:
            if self.pidfd >= 0:
                signals.pidfd_send_signal(self.pidfd, number)
            elif self.alive():
                os.kill(self.pid, number)
            else:
                raise ProcessLookupError
        except ProcessLookupError:
            self.end(time.monotonic())
        except PermissionError:
            self.fate, self.why = Fate.DENIED, "no permission: it belongs to another user"
        else:
            if number != signals.SIGCONT:
                self.first = self.first or time.monotonic()
                self.sent = number

    def end(self, now: float) -> None:
        """Note that it is gone."""
        self.fate, self.last = (Fate.ENDED if self.sent else Fate.GONE), now
        if hasattr(time, "CLOCK_BOOTTIME"):
            self.end_tick = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))

    def told(self) -> Stopped:
        """What became of it."""
        seconds = self.last - self.first if self.fate is Fate.ENDED else None
        why = self.why
        if self.fate is None:
            why = "it does not end, even when killed: it waits in the kernel (state D), for a disk or a network"
        return Stopped(self.pid, self.name, self.fate or Fate.LEFT, self.chosen, self.sent, seconds, why)

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class _Hunt:
    """Finds the descendants of the targets, signals all, and waits."""

    def __init__(self, targets: dict[int, _Target], *, tree: bool) -> None:
        self._targets, self._tree = targets, tree

    def look(self) -> list[_Target]:
        """Add descendants of the targets that are not among them yet."""
        if not self._tree or not self._targets:
            return []
        names = _Names()
        found = []
        for stat in _below(self._targets):
            if stat.pid not in self._targets and stat.pid != os.getpid() and stat.state not in "ZX":
                born = self._targets[stat.pid] = _Target(stat.pid, stat.start, names.of(stat.pid), chosen=False)
                found.append(born)
        return found

    def signal(self, number: int) -> None:
        """Signal all that are left; stopped ones are continued, or they could not obey."""
        for target in self._targets.values():
            target.signal(number)
        if number != signals.SIGKILL:
            for target in self._targets.values():
                target.signal(signals.SIGCONT)

    def wait(self, deadline: float, number: int) -> bool:
        """Wait until all are gone, or the deadline; processes started meanwhile get the signal, too."""
        look = time.monotonic() + _LOOK_AGAIN
        while True:
            left = [target for target in self._targets.values() if target.fate is None]
            now = time.monotonic()
            if left and now >= deadline:
                return False
            if now >= look or not left:
                for born in self.look():
                    born.signal(number)
                    left.append(born)
                look = now + _LOOK_AGAIN
            if not left:
                return True
            self._collect(left, max(0.0, min(deadline, look) - now))

    def _collect(self, left: Sequence[_Target], seconds: float) -> None:
        """Wait until one has ended, and note all that have ended."""
        poll = select.poll()
        for target in left:
            if target.pidfd >= 0:
                poll.register(target.pidfd, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(int(seconds * 1000) + 1)}
        now = time.monotonic()
        for target in left:
            if target.pidfd in ready if target.pidfd >= 0 else not target.alive():
                target.end(now)


class _Names:
    """Names of processes; all are read when the first one is needed."""

    def __init__(self) -> None:
        self._names: dict[int, str] | None = None

    def of(self, pid: int) -> str:
        """The name of a process, ``?`` if it is gone."""
        if self._names is None:
            self._names = {one.pid: one.name for one in list_processes()}
        return self._names.get(pid, "?")


def _below(targets: dict[int, _Target]) -> list[linux.ProcStat]:
    """The descendants of the targets, and the orphans that they have left."""
    if not os.path.isdir("/proc/self"):
        return _below_without_proc(targets)
    everything = {stat.pid: stat for stat in linux.processes()}
    children: dict[int, list[linux.ProcStat]] = {}
    found = {}
    for stat in everything.values():
        children.setdefault(stat.ppid, []).append(stat)
        if _was_left(stat, everything.get(stat.ppid), targets):
            found[stat.pid] = stat
    todo = [*(pid for pid, target in targets.items() if target.fate is None), *found]
    while todo:
        for stat in children.pop(todo.pop(), []):
            found[stat.pid] = stat
            todo.append(stat.pid)
    return list(found.values())


def _was_left(stat: linux.ProcStat, parent: linux.ProcStat | None, targets: dict[int, _Target]) -> bool:
    """Whether it is an orphan in a group or session that a target leads or has led, started before the target's end: afterwards
    the id may be reused by another group."""
    if stat.session == stat.pid or (parent and parent.session == stat.session):
        return False
    leader = targets.get(stat.pgid) or targets.get(stat.session)
    return leader is not None and leader.fate in (None, Fate.ENDED) and stat.start < leader.end_tick


def _below_without_proc(targets: dict[int, _Target]) -> list[linux.ProcStat]:
    import psutil

    found: list[linux.ProcStat] = []
    for pid in targets:
        with suppress(psutil.Error):
            found += [
                linux.ProcStat(child.pid, pid, 0, 0, "Z" if child.status() == "zombie" else "S", 0)
                for child in psutil.Process(pid).children(recursive=True)
            ]
    return found
