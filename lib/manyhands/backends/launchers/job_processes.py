"""The processes of a launcher's attempts: which process belongs to which attempt, and how they are ended, many at once.

    leaders:   started by the launcher, one per attempt; not reaped until all of the attempt has ended, so that the pid stays theirs
    strangers: left behind by jobs; the kernel made the launcher, as their subreaper, their parent

Every method handles all attempts that are due in one pass, with one scan of /proc, and waits for nothing: with hundreds of attempts,
a scan for each would take longer than the attempts themselves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping

from manyhands.backends.shared.slot import Slot
from manyhands.core.lean import Any, Final, signal, suppress
from manyhands.posix import linux

PATIENCE: Final = 1.0
"""Seconds to wait for the death of processes that an attempt left behind: only uninterruptible sleep takes more than some ms."""
_LAST_PATIENCE: Final = 3.0
"""The same for all processes, before the launcher exits."""
_NOTHING: Final[frozenset[Any]] = frozenset()


class Running:
    """One attempt that runs. ``ended``: when its leader ended; ``signalled``: the signal that we have sent; ``tree``: the descendants
    of the leader then; ``gone``: processes that had to be killed after the leader had ended by itself."""

    __slots__ = ("at", "ended", "file", "gone", "id", "name", "pid", "signalled", "slot", "started", "tree")

    def __init__(self, id: int, name: bytes, pid: int, slot: Slot, at: float, started: float) -> None:
        self.id, self.name, self.pid, self.slot, self.at, self.started = id, name, pid, slot, at, started
        self.file = -1
        self.ended: float | None = None
        self.signalled = 0
        self.tree: frozenset[tuple[int, int]] = _NOTHING
        self.gone: frozenset[int] = _NOTHING


class JobProcesses:
    """See the module's first lines. Made in the main thread of the launcher."""

    def __init__(self, token: bytes, spared: Collection[int] = (), *, allow_daemons: bool) -> None:
        """``spared``: children of the launcher that have nothing to do with jobs."""
        linux.become_subreaper()
        self._spared = spared
        self._children = linux.ChildrenFile.open()
        self._prefix, self._allow_daemons = token + b".", allow_daemons
        self.leaders: dict[int, Running] = {}
        self._names: dict[bytes, Running] = {}
        self._owners: dict[int, bytes] = {}
        """The name of the attempt that a stranger belongs to. Strangers are our children, so their pids are not reused before we reap them."""

    def add(self, running: Running) -> None:
        """An attempt has begun."""
        self.leaders[running.pid] = running
        self._names[running.name] = running

    def remove(self, running: Running) -> None:
        """Forget an attempt whose leader is about to be reaped."""
        del self.leaders[running.pid]
        del self._names[running.name]

    def strangers(self) -> set[int]:
        """Children that are not leaders, zombies included; none if the kernel cannot list them (CONFIG_PROC_CHILDREN)."""
        return self._children.read().difference(self.leaders, self._spared) if self._children else set()

    def may_have_left(self) -> bool:
        """Whether ended attempts may have left processes behind: always True if the kernel cannot list them."""
        return self._children is None or bool(self.strangers())

    def reap(self) -> int:
        """Reap the strangers that have ended, each by its pid: waitpid(-1) would steal the status of a leader."""
        return sum(self._reaped(pid) for pid in self.strangers())

    def _reaped(self, pid: int) -> bool:
        try:
            if not os.waitpid(pid, os.WNOHANG)[0]:
                return False
        except ChildProcessError:
            return False
        self._owners.pop(pid, None)
        return True

    def _owner(self, pid: int) -> bytes | None:
        """The name of the attempt that has left ``pid`` behind, by its session or its environment."""
        if (known := self._owners.get(pid)) is not None:
            return known
        try:
            leader = self.leaders.get(os.getsid(pid))
        except OSError:
            return None
        tag = None if leader else linux.tag_of(pid)
        name = leader.name if leader else tag[len(self._prefix) :] if tag and tag.startswith(self._prefix) else None
        if name is not None:
            self._owners[pid] = name
        return name

    # -- signalled -------------------------------------------------------------------------------------------------------

    def end(self, requested: Mapping[Running, int]) -> None:
        """Send signals to the whole trees of attempts: TERM and CONT (a stopped process would not see TERM alone), or KILL."""
        look, left = linux.Look(), self._left_by_name()
        for running, number in requested.items():
            running.signalled = number
            roots = left.get(running.name, [])
            below = look.below([running.pid, *roots]) + [look.found[pid] for pid in roots if pid in look.found]
            running.tree |= {(found.pid, found.start) for found in below}
            for one in (number,) if number == signal.SIGKILL else (number, signal.SIGCONT):
                linux.signal_group(running.pid, one)
                for found in below:
                    if found.pgid != running.pid:
                        linux.send_signal_exact(found.pid, found.start, one)

    def _left_by_name(self) -> dict[bytes, list[int]]:
        left: dict[bytes, list[int]] = {}
        for pid in self.strangers():
            if (name := self._owner(pid)) is not None:
                left.setdefault(name, []).append(pid)
        return left

    # -- ended -----------------------------------------------------------------------------------------------------------

    def sweep(self, over: Collection[Running]) -> set[Running]:
        """Kill what the attempts in ``over``, whose leaders have ended, left behind; return those with a process still alive.

        A process belongs to an attempt by its session, by the tag in its environment, or because it was a descendant of the leader
        when the attempt was signalled. If nothing else runs here, any process that is left belongs to it.
        """
        if self._children is None and not self._allow_daemons:
            for running in over:
                linux.signal_group(running.pid, signal.SIGKILL)
        self.reap()
        due = {pid: owner for pid in self.strangers() if (owner := self._claim(pid, over)) is not None}
        if not due and not any(running.tree for running in over):
            return set()
        look, waiting = linux.Look(), set(due.values())
        for pid, owner in due.items():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            killed = _kill_exactly(look.below([pid]))
            if not owner.signalled and not ((stat := look.found.get(pid)) and stat.state == "Z"):
                owner.gone |= {pid, *killed}
        for running in over:
            if _kill_exactly([look.found[pid] for pid, start in running.tree if self._lives(look, pid, start)]):
                waiting.add(running)
        return waiting

    def _claim(self, pid: int, over: Collection[Running]) -> Running | None:
        """The attempt in ``over`` that this stranger must be killed for; None: it may live, or its attempt no longer waits for it."""
        name = self._owner(pid)
        running = self._names.get(name) if name is not None else None
        if running is not None:
            return running if running in over and (running.signalled or not self._allow_daemons) else None
        if self._allow_daemons:
            return None
        if name is not None:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            return None
        return next(iter(over)) if len(over) == len(self.leaders) else None

    def _lives(self, look: linux.Look, pid: int, start: int) -> bool:
        stat = look.found.get(pid)
        return stat is not None and stat.start == start and stat.state not in "ZX" and pid not in self.leaders

    # -- everything ------------------------------------------------------------------------------------------------------

    def kill_leaders(self) -> None:
        """Send KILL to the groups of all leaders: this needs no descriptor and hardly any memory."""
        for pid in self.leaders:
            linux.signal_group(pid, signal.SIGKILL)

    def end_everything(self) -> None:
        """Kill all processes, except allowed daemons, until they are gone. Leaders are not reaped."""
        deadline = time.monotonic() + _LAST_PATIENCE
        step = self._kill_living if self._allow_daemons or self._children is None else self._kill_strangers
        while (step() or self._leaders_live()) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _leaders_live(self) -> bool:
        return not all(map(linux.has_ended, self.leaders))

    def _kill_strangers(self) -> bool:
        """Kill and reap all strangers; their children, and those of ended leaders, become ours. Return whether there were any."""
        self.kill_leaders()  # again: one may have been about to fork
        strangers = self.strangers()
        for pid in strangers:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.reap()
        return bool(strangers)

    def _kill_living(self) -> bool:
        """Kill all our descendants, except allowed daemons. Return whether there were any."""
        look = linux.Look()
        if self._allow_daemons:
            left = self._left_by_name()
            roots = [*self.leaders, *(pid for name in self._names for pid in left.get(name, ()))]
            living = [look.found[pid] for pid in roots if pid in look.found] + look.below(roots)
        else:
            living = look.below([os.getpid()])
        found = _kill_exactly(living)
        self.reap()
        return bool(found)


def _kill_exactly(found: Collection[linux.ProcStat]) -> list[int]:
    """Kill processes, which need not be our children; return the pids of those that were alive."""
    return [
        one.pid for one in found if one.state not in "ZX" and linux.send_signal_exact(one.pid, one.start, signal.SIGKILL)
    ]
