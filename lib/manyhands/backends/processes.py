"""A function called in worker processes of this machine: the backend for work that computes, and the only one that can be killed.

    start(attempt) --a chunk of attempts--> the socket of an idle worker (`manyhands.backends.worker`)
    reports()      <--a record for each---- its socket, or its death

A worker belongs to one slot and talks over a socket of its own, so that the death of one, at whatever moment, costs the job
that it was doing and nothing else: the others keep theirs, what it had not begun is laid ready again, and a fresh worker takes
its place. Processes are made by multiprocessing, by ``forkserver`` or ``spawn``, never by a fork beside threads. A warden
(`manyhands.warden`) ends them if the coordinator is killed.
"""

from __future__ import annotations

import math
import select
import signal
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Final

from manyhands.backend import Ended, Report, Started
from manyhands.backends import framing
from manyhands.backends.alarm import Alarm
from manyhands.backends.hands import Hand, Hands
from manyhands.backends.outputs import output_of
from manyhands.backends.settings import FunctionSettings
from manyhands.errors import ManyhandsError
from manyhands.job import Attempt

CHUNK_SECONDS: Final = 0.020
"""About so much work is handed to a worker at once, if jobs are that small."""
_LARGEST_CHUNK: Final = 1024
_GATHER: Final = 0.002
"""Seconds to let records gather while the workers have plenty to do: one wake-up then serves several."""
_MOST_FAILED_STARTS: Final = 3
_PATIENCE: Final = 2.0
"""Seconds that an idle worker has to leave when the batch is over."""
Key = tuple[int, int]


class Processes:
    """A `manyhands.backend.Backend`; see the module's first lines."""

    name = "processes"
    can_stop = True
    reports_start = True

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._maker = Hands(settings)
        self._waiting: deque[Attempt] = deque()
        self._hands: dict[int, Hand] = {}  # by slot
        self._sockets: dict[int, Hand] = {}
        self._lives: dict[int, Hand] = {}
        self._recalled: set[Key] = set()
        self._doomed: set[Key] = set()
        self._ready: list[Report] = []
        self._failed_starts = self._in_hands = 0
        self._mean: float | None = None
        self._paused = self._closed = False
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.descriptor, select.POLLIN)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """A round of chunks, and enough to bridge the coordinator's commits."""
        return 64 + 2 * self.settings.slots * self._chunk()

    def start(self, attempt: Attempt) -> None:
        """Lay the attempt ready for the next idle worker."""
        self._waiting.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits for it up to ``timeout`` seconds. Raises ManyhandsError if no worker can be started."""
        self._dispatch()
        if not self._ready:
            due = [one.kill_at for one in self._hands.values() if one.kill_at is not None]
            if due:
                first = max(0.0, min(due) - time.monotonic())
                timeout = first if timeout is None else min(timeout, first)
            found = self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))
            if found and self._in_hands > 4 * self.settings.slots:
                time.sleep(_GATHER)
                found = self._poll.poll(0)
            for file, _ in found:
                self._handle(file)
            self._kill_overdue()
            self._dispatch()
        ready, self._ready = self._ready, []
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back what has not begun; a worker that has some of it is asked to hand back its chunk after what it does."""
        now, keys = time.monotonic(), {_key(one) for one in attempts}
        for attempt in [waiting for waiting in self._waiting if _key(waiting) in keys]:
            self._waiting.remove(attempt)
            self._ready.append(Ended(attempt, now, began=False))
        for one in self._hands.values():
            unbegun = list(one.held)[one.began is not None :]
            mine = keys & {_key(attempt) for attempt in unbegun}
            self._recalled |= mine
            if mine and not one.dropping:
                one.dropping = True
                one.tell(framing.DROP)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall what has not begun; TERM the rest, after the grace KILL, or KILL at once."""
        self.recall(attempts)
        keys = {_key(one) for one in attempts}
        self._doomed |= keys & self._recalled
        for one in self._hands.values():
            if one.held and one.began is not None and _key(one.held[0]) in keys:
                self._end(one, kill=kill)

    def pause(self, paused: bool) -> None:
        """SIGSTOP or SIGCONT to everything that runs; begin nothing while ``paused``."""
        self._paused = paused
        for one in self._hands.values():
            if one.held:
                one.signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """Kill what runs, let the idle workers leave, end what any of them has left behind, close everything."""
        if self._closed:
            return
        self._closed = True
        hands = list(self._hands.values())
        for one in hands:
            one.tell([])
            if one.held or not one.ready:
                one.signal(signal.SIGKILL)
            one.sock.close()
        deadline = time.monotonic() + _PATIENCE
        for one in hands:
            one.process.join(max(0.0, deadline - time.monotonic()))
        if hands:
            self._maker.clear_all(hands)
        for one in hands:
            one.process.join()
            one.process.close()
            one.slot.close()
        self._maker.close()
        self._alarm.close()

    # -- workers ---------------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Hand chunks to idle workers, and start workers while there are more jobs than those."""
        if self._paused or not self._waiting:
            return
        chunk = self._chunk()
        idle = [one for one in self._hands.values() if one.ready and not one.held and not one.dropping]
        for one in idle:
            if not self._waiting:
                return
            self._hand(one, min(chunk, math.ceil(len(self._waiting) / self.settings.slots)))
        coming = sum(not one.ready for one in self._hands.values())
        while len(self._hands) < self.settings.slots and coming < len(self._waiting):
            self._launch()
            coming += 1

    def _chunk(self) -> int:
        fixed = self.settings.workers.chunk
        if fixed is not None:
            return fixed
        if self._mean is None:
            return 1
        return max(1, min(_LARGEST_CHUNK, int(CHUNK_SECONDS / max(self._mean, 1e-6))))

    def _hand(self, one: Hand, size: int) -> None:
        limit = self.settings.workers.max_jobs
        size = size if limit is None else min(size, limit - one.done)
        taken = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        one.held.extend(taken)
        self._in_hands += len(taken)
        one.tell([(*_key(attempt), attempt.job.values) for attempt in taken])

    def _launch(self) -> None:
        """Start a worker for a slot that has none."""
        slot = next(number for number in range(1, self.settings.slots + 1) if number not in self._hands)
        one = self._maker.make(slot)
        self._hands[slot] = self._sockets[one.sock.fileno()] = self._lives[one.process.sentinel] = one
        self._poll.register(one.sock, select.POLLIN)
        self._poll.register(one.process.sentinel, select.POLLIN)

    def _retire(self, one: Hand) -> None:
        """Forget a worker whose end is near; whatever it has begun or been given is no longer there."""
        del self._hands[one.slot.number], self._sockets[one.sock.fileno()], self._lives[one.process.sentinel]
        self._poll.unregister(one.sock)
        self._poll.unregister(one.process.sentinel)
        one.sock.close()

    def _handle(self, file: int) -> None:
        if file == self._alarm.descriptor:
            self._alarm.hush()
        elif one := self._sockets.get(file):
            for record in one.inbox.records():
                self._record(one, record)
            if one.inbox.ended:
                self._bury(one)
        elif one := self._lives.get(file):
            self._bury(one)

    def _record(self, one: Hand, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == framing.ENDED:
            self._ended(one, record)
        elif kind == framing.STARTED:
            self._started(one, record[1])
        elif kind == framing.READY:
            one.ready, self._failed_starts = True, 0
        elif kind == framing.BROKEN:
            raise ManyhandsError(f"a worker process cannot begin: {record[1]}")
        else:
            one.dropping = False
            self._take_back(one)

    def _started(self, one: Hand, at: float) -> None:
        one.began = at
        attempt = one.held[0]
        self._ready.append(Started(attempt, at, one.slot.number, one.pid))
        if self._recalled or self._doomed:
            self._recalled.discard(_key(attempt))
            if _key(attempt) in self._doomed:
                self._end(one)

    def _ended(self, one: Hand, record: tuple[Any, ...]) -> None:
        (
            _,
            goes_on,
            at,
            code,
            number,
            error,
            began,
            started,
            wall,
            user,
            system,
            rss,
            out,
            err,
            slot,
            left,
            result,
            told,
        ) = record
        attempt = self._let_go(one)
        one.done += 1
        self._mean = wall if self._mean is None else self._mean + (wall - self._mean) / 16
        self._ready.append(Ended(
            attempt, at, code, number, error, began, started, wall, user, system, rss, output_of(out), output_of(err), slot, left,
            result, told,
        ))  # fmt: skip
        if goes_on:
            self._started(one, at)
        elif one.done == self.settings.workers.max_jobs:
            one.tell([])
            one.ready = False

    def _let_go(self, one: Hand) -> Attempt:
        attempt = one.held.popleft()
        one.began = None
        self._in_hands -= 1
        if self._recalled or self._doomed:
            self._doomed.discard(_key(attempt))
            self._recalled.discard(_key(attempt))
        return attempt

    def _take_back(self, one: Hand) -> None:
        """What it had not begun is laid ready again, in its order, or given back if it was recalled."""
        back, now = [], time.monotonic()
        while one.held:
            recalled = _key(one.held[0]) in self._recalled
            attempt = self._let_go(one)
            if recalled:
                self._ready.append(Ended(attempt, now, began=False))
            else:
                back.append(attempt)
        self._waiting.extendleft(reversed(back))

    # -- endings ---------------------------------------------------------------------------------------------------------

    def _end(self, one: Hand, *, kill: bool = False) -> None:
        if kill:
            one.asked = True
            one.signal(signal.SIGKILL)
        elif not one.asked:
            one.asked = True
            one.kill_at = time.monotonic() + self.settings.grace
            one.signal(signal.SIGTERM, signal.SIGCONT)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for one in self._hands.values():
            if one.kill_at is not None and one.kill_at <= now:
                one.kill_at = None
                one.signal(signal.SIGKILL)

    def _bury(self, one: Hand) -> None:
        """A worker is gone: end what it left behind, tell of the job that it was doing, lay the others ready again."""
        for record in one.inbox.records():
            self._record(one, record)
        one.process.join(_PATIENCE)
        code = one.process.exitcode
        self._retire(one)
        left = self._maker.clear(one)
        if not one.ready and not one.done:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise ManyhandsError(f"worker processes die before they begin (the last with {_status(code)}): giving up")
        if one.held and one.began is not None:
            self._died(one, code, left)
        self._take_back(one)
        one.process.close()
        one.slot.close()

    def _died(self, one: Hand, code: int | None, left: int) -> None:
        """Report the job that a dead worker was doing, with what it had printed."""
        at, began = time.monotonic(), one.began or 0.0
        attempt, slot = self._let_go(one), one.slot
        name = b"%d.%d" % _key(attempt)
        out, err = (output_of(slot.salvage(stream, name, self.settings.output_cap)) for stream in (0, 1))
        number = -code if code is not None and code < 0 else None
        self._ready.append(Ended(
            attempt, at, None if number else 1, number, f"its worker process died ({_status(code)})", True,
            time.time() - (at - began), at - began, 0.0, 0.0, 0, out, err, slot.number, left, died=not one.asked,
        ))  # fmt: skip


def _key(attempt: Attempt) -> Key:
    return attempt.job.number, attempt.number


def _status(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "its status is not known"
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
