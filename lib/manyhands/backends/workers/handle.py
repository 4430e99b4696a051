"""One worker process as the coordinator sees it, and how workers are made to end their jobs.

Separate from `manyhands.backends.workers.pool`, which makes workers, and from `manyhands.backends.processes`, which gives them jobs.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.shared.slot import Slot
from manyhands.backends.workers import fork_server, framing
from manyhands.backends.workers.shared_page import Entry
from manyhands.core.job import Attempt, AttemptId
from manyhands.posix import linux

_PATIENCE: Final = 2.0
"""Seconds that a process has to end after it has closed its socket."""
_BRIEFLY: Final = 0.3
_OVERDUE: Final = 1.0
"""Seconds after which a worker is killed that is no longer at the job to be ended, but has not reported its end."""


class Handle:
    """One worker process, and the attempts that it has: a chunk (``held``), of which the first one runs if ``began`` is set, and perhaps
    one that it begins after that (``queued``)."""

    def __init__(self, slot: Slot, process: Any, sock: socket.socket, entry: Entry) -> None:
        self.slot, self.process, self.sock, self.entry = slot, process, sock, entry
        self.inbox, self.outbox = framing.Inbox(sock), framing.Outbox(sock)
        self.notes = entry.reader()
        self.pid: int = process.pid
        stat = linux.read_stat(self.pid)
        self.start = stat.start if stat else 0
        self.held: deque[Attempt] = deque()
        self.queued: list[Attempt] = []
        self.began: float | None = None
        """When the first attempt began, in seconds of the monotonic clock."""
        self.reported = False
        """Whether that was reported."""
        self.look_at: float | None = None
        """When to look for notes, of which the worker does not tell at once."""
        self.ready = False
        """Whether it has prepared itself, and takes jobs."""
        self.stopping: AttemptId | None = None
        """The job that it was asked to end."""
        self.dropping = False
        """Whether it was asked to return what it has not begun."""
        self.leaving = False
        """Whether it takes no more jobs, and is about to end."""
        self.done = 0
        self.kill_at: float | None = None
        self.stopped = 0
        """How many checks in a row found it stopped by a signal that is not ours."""
        self.given_up = False
        """Whether the job that it was asked to end was over, but not reported, at the last check."""
        self.watched = True
        """Whether multiprocessing reports its end and exit status: not any more if the fork server has died."""

    @property
    def idle(self) -> bool:
        """Whether it takes a chunk."""
        return self.ready and not (self.leaving or self.dropping or self.held or self.queued)

    @property
    def takes_more(self) -> bool:
        """Whether it takes a chunk beyond that which it does."""
        return bool(self.held) and not (self.leaving or self.dropping or self.stopping or self.queued)

    @property
    def unbegun(self) -> list[Attempt]:
        """What it has, as far as we know, not begun."""
        return [*self.held, *self.queued][self.began is not None :]

    @property
    def doing(self) -> AttemptId | None:
        """The job that it is doing, as far as we know."""
        return self.held[0].id if self.held and self.began is not None else None

    def tell(self, message: Any) -> None:
        """Send a record as far as the worker reads it now; the rest waits in the outbox."""
        self.outbox.put(message)

    @property
    def alive(self) -> bool:
        """Whether the process exists and is not a zombie."""
        return linux.process_alive(self.pid, self.start)

    def status(self) -> int | None:
        """Its exit status, as multiprocessing reports it; None if it cannot be known."""
        if not self.watched:
            return None
        fork_server.wake()
        self.process.join(_PATIENCE)
        return self.process.exitcode  # type: ignore[no-any-return]  # an int, or None

    def forget(self) -> None:
        """Close what is left of a dead worker. If the fork server is gone, too, multiprocessing may never notice the death."""
        self.process.join(_BRIEFLY)
        with suppress(ValueError):
            self.process.close()
        self.slot.close()

    def signal(self, number: int) -> None:
        """Signal only this process."""
        linux.send_signal_exact(self.pid, self.start, number)


def trees(workers: Iterable[Handle]) -> Iterator[tuple[Handle, list[linux.ProcStat]]]:
    """Yield each worker with its descendants, from one scan of /proc for all of them."""
    children: dict[int, list[linux.ProcStat]] = {}
    for stat in linux.processes():
        children.setdefault(stat.ppid, []).append(stat)
    for one in workers:
        found: list[linux.ProcStat] = []
        todo = [one.pid]
        while todo:
            below = children.pop(todo.pop(), [])
            found += below
            todo += [stat.pid for stat in below]
        yield one, found


def signal_all(stats: Iterable[linux.ProcStat], *numbers: int) -> None:
    """Send these signals to these processes, if their pids have not been reused."""
    for number in numbers:
        for stat in stats:
            linux.send_signal_exact(stat.pid, stat.start, number)


def end(workers: Sequence[Handle], *, grace: float | None) -> None:
    """Send TERM to workers and what their jobs have started, and KILL after ``grace``; KILL at once if it is None.

    A worker obeys if it is still at that job. Its descendants are signalled only if it is still at that job after the scan of /proc:
    then no process that was found belongs to a later job.
    """
    now = time.monotonic()
    new = [one for one in workers if one.stopping is None and grace is not None]
    for one in workers:
        if (key := one.doing) is None:
            continue
        one.stopping = key
        one.entry.request_stop(key)
        if grace is None or one in new:
            one.kill_at = now + (grace or 0.0)
    for one, below in trees(new):
        if one.stopping and one.entry.is_doing(one.stopping):
            signal_all(below, signal.SIGTERM, signal.SIGCONT)
        one.signal(signal.SIGTERM)
        one.signal(signal.SIGCONT)
    if grace is None:
        kill_overdue(workers, now)


def kill_overdue(workers: Iterable[Handle], now: float) -> None:
    """KILL workers that did not end their job or exit in time; one that has ended the job by itself gets `_OVERDUE` to report it."""
    due = [one for one in workers if one.kill_at is not None and one.kill_at <= now]
    for one, below in trees(due) if due else ():
        if one.stopping is None or one.entry.is_doing(one.stopping) or one.given_up:
            one.kill_at = None
            one.signal(signal.SIGKILL)
            signal_all(below, signal.SIGKILL)
        else:
            one.given_up, one.kill_at = True, now + _OVERDUE


def stopped(workers: Iterable[Handle]) -> list[Handle]:
    """The workers that were found stopped twice in a row, by a signal that is not ours."""
    for one in workers:
        stat = linux.read_stat(one.pid)
        one.stopped = one.stopped + 1 if stat is not None and stat.state == "T" else 0
    return [one for one in workers if one.stopped > 1]


def in_words(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "its status is not known"
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
