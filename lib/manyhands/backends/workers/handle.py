"""One worker process, as the coordinator sees it, and how workers are asked to end what they do.

Separate from `manyhands.backends.workers.pool`, which makes them, and from `manyhands.backends.processes`, which gives them work.
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
from manyhands.backends.workers.signal_page import Place
from manyhands.core.job import Attempt, AttemptId
from manyhands.posix import linux

_PATIENCE: Final = 2.0
"""Seconds that a process has to end when it has closed its socket."""
_BRIEFLY: Final = 0.3
_OVERDUE: Final = 1.0
"""Seconds after which a worker is killed that neither does what it was to end nor says that it has ended."""


class Handle:
    """One worker process, and the attempts that it holds: the first of them runs, if it has ``began``."""

    def __init__(self, slot: Slot, process: Any, sock: socket.socket, place: Place) -> None:
        self.slot, self.process, self.sock, self.place = slot, process, sock, place
        self.inbox, self.outbox = framing.Inbox(sock), framing.Outbox(sock)
        self.pid: int = process.pid
        stat = linux.read_stat(self.pid)
        self.start = stat.start if stat else 0
        self.held: deque[Attempt] = deque()
        self.began: float | None = None
        """When the first of them began, in seconds of the monotonic clock."""
        self.ready = False
        """It has prepared itself, and takes jobs."""
        self.asked: AttemptId | None = None
        """The job that it was asked to end."""
        self.dropping = False
        """It was asked to hand back what it has not begun."""
        self.leaving = False
        """It takes no more jobs, and is about to end."""
        self.done = 0
        self.kill_at: float | None = None
        self.stopped = 0
        """How often in a row it was found stopped by a signal that is not ours."""
        self.given_up = False
        """It did not answer when the job that it was to end was over."""
        self.watched = True
        """multiprocessing tells when it has ended, and with what status; not any more if its fork server has died."""

    @property
    def idle(self) -> bool:
        """Whether it takes a chunk."""
        return self.ready and not self.leaving and not self.held and not self.dropping

    @property
    def doing(self) -> AttemptId | None:
        """The job that it does, as far as we know."""
        return self.held[0].id if self.held and self.began is not None else None

    def tell(self, message: Any) -> None:
        """Send a record, as far as the worker takes it now; the rest waits in the outbox."""
        self.outbox.put(message)

    @property
    def alive(self) -> bool:
        """Whether the process is there and no zombie."""
        return linux.process_alive(self.pid, self.start)

    def status(self) -> int | None:
        """How it has ended, as multiprocessing tells; None if that cannot be known."""
        if not self.watched:
            return None
        fork_server.wake()
        self.process.join(_PATIENCE)
        return self.process.exitcode  # type: ignore[no-any-return]  # an int, or None

    def forget(self) -> None:
        """Close what is left of it when it is gone; multiprocessing may never learn that, if the fork server is gone, too."""
        self.process.join(_BRIEFLY)
        with suppress(ValueError):
            self.process.close()
        self.slot.close()

    def signal(self, number: int) -> None:
        """Signal it alone."""
        linux.send_signal_exact(self.pid, self.start, number)


def trees(hands: Iterable[Handle]) -> Iterator[tuple[Handle, list[linux.ProcStat]]]:
    """Each with everything below it, from one look at /proc for all of them."""
    children: dict[int, list[linux.ProcStat]] = {}
    for stat in linux.processes():
        children.setdefault(stat.ppid, []).append(stat)
    for one in hands:
        found: list[linux.ProcStat] = []
        todo = [one.pid]
        while todo:
            below = children.pop(todo.pop(), [])
            found += below
            todo += [stat.pid for stat in below]
        yield one, found


def signal_all(stats: Iterable[linux.ProcStat], *numbers: int) -> None:
    """Signal these processes, if they are still the same."""
    for number in numbers:
        for stat in stats:
            linux.send_signal_exact(stat.pid, stat.start, number)


def end(hands: Sequence[Handle], *, grace: float | None) -> None:
    """Ask workers to end what they do, and what that has started, KILL after ``grace``; at once if it is None.

    A worker obeys if it is still at that job. What it has started is signalled only if it is so after the look at /proc, one for all
    of them: then nothing that was seen belongs to a later job.
    """
    now = time.monotonic()
    new = [one for one in hands if one.asked is None and grace is not None]
    for one in hands:
        if (key := one.doing) is None:
            continue
        one.asked = key
        one.place.mean(key)
        if grace is None or one in new:
            one.kill_at = now + (grace or 0.0)
    for one, below in trees(new):
        if one.asked and one.place.does(one.asked):
            signal_all(below, signal.SIGTERM, signal.SIGCONT)
        one.signal(signal.SIGTERM)
        one.signal(signal.SIGCONT)
    if grace is None:
        kill_overdue(hands, now)


def kill_overdue(hands: Iterable[Handle], now: float) -> None:
    """KILL what was asked to end, or to leave, and did not; a worker that has ended that job by itself says so soon."""
    due = [one for one in hands if one.kill_at is not None and one.kill_at <= now]
    for one, below in trees(due) if due else ():
        if one.asked is None or one.place.does(one.asked) or one.given_up:
            one.kill_at = None
            one.signal(signal.SIGKILL)
            signal_all(below, signal.SIGKILL)
        else:
            one.given_up, one.kill_at = True, now + _OVERDUE


def stopped(hands: Iterable[Handle]) -> list[Handle]:
    """Those that were found stopped twice in a row, by a signal that is not ours."""
    for one in hands:
        stat = linux.read_stat(one.pid)
        one.stopped = one.stopped + 1 if stat is not None and stat.state == "T" else 0
    return [one for one in hands if one.stopped > 1]


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
