"""Calls a function in worker processes of this machine: for work that computes, and the only one whose calls can be killed one by one.

    start(attempt) --a chunk of attempts--> the socket of an idle worker (`manyhands.backends.workers.worker`)
    reports()      <--a note for each------ memory that it shares with us, also after its death
                   <--"there are notes"---- its socket, after a chunk or a job that was not short

A worker belongs to one slot and has a socket and notes of its own, so if a worker dies, at whatever moment, only the job that it was
doing is affected: other workers continue, jobs that it had not begun are queued again, and a fresh worker replaces it. multiprocessing starts
the processes, by ``forkserver`` or ``spawn``, never by a fork in a process with threads. A watchdog
(`manyhands.backends.workers.watchdog`) ends them if the coordinator is killed.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Final

from manyhands.backends.protocol import Ended, Report
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.wake_up import Alarm
from manyhands.backends.workers import fork_server, framing
from manyhands.backends.workers.attempts import Attempts
from manyhands.backends.workers.handle import Handle, end, in_words, kill_overdue, signal_all, stopped, trees
from manyhands.backends.workers.pool import WorkerPool
from manyhands.backends.workers.width import Width
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Ending, Job
from manyhands.core.records import replace
from manyhands.inputs.value_file import LARGE
from manyhands.runtime.at_exit import close_at_exit
from manyhands.runtime.main_guard import refuse_unguarded

CHUNK_SECONDS: Final = 0.020
"""Seconds of work that a worker is given at once, about, if jobs are that short."""
_LARGEST_CHUNK: Final = 1024
_DOUBLED: Final = 16
"""Jobs of `CHUNK_SECONDS` from which on a worker gets a second chunk."""
_GATHER: Final = 0.005
"""Seconds after which we look for the notes of short jobs, of which no worker tells: one wake-up then handles many."""
_PATIENCE: Final = 2.0
"""Seconds that an idle worker has to exit when the batch is over."""
_LOOK: Final = 1.0
"""Seconds between two checks of workers, fork server and watchdog, each of which may have been stopped."""


class Processes:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "processes"
    can_stop = True
    reports_start = True

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._owner = os.getpid()
        self._pool = WorkerPool(settings)
        self._waiting: deque[Attempt] = deque()
        self._workers: dict[int, Handle] = {}  # by slot
        self._sockets: dict[int, Handle] = {}
        self._lives: dict[int, Handle] = {}
        self._attempts = Attempts(settings, self._leave)
        self._width = Width(settings.slots)
        self._looked = time.monotonic()
        self._paused = self._closed = self._woken = False
        self._closing = threading.Lock()
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.descriptor, select.POLLIN)
        close_at_exit(self)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """One more chunk for each worker, and enough to keep them busy during the coordinator's commits."""
        return 64 + (4 if self._doubles else 2) * self.settings.slots * self._chunk()

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for the next idle worker."""
        self._waiting.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if no worker can be started."""
        if os.getpid() != self._owner or self._closed:  # in a forked child, the workers' messages are the parent's
            return self._last_words(timeout or 0.0)
        deadline = None if timeout is None else time.monotonic() + timeout
        self._woken = False
        self._dispatch()
        while not self._attempts.ready:
            for file, event in self._poll.poll(self._milliseconds(deadline)):
                self._handle(file, event)
            now = time.monotonic()
            self._look_for_notes(now)
            kill_overdue(self._workers.values(), now)
            self._look_after(now)
            self._dispatch()
            if self._woken or (deadline is not None and now >= deadline):
                break
        ready, self._attempts.ready = self._attempts.ready, []
        return ready

    def _milliseconds(self, deadline: float | None) -> int:
        """Milliseconds until something is due."""
        due = [at for one in self._workers.values() for at in (one.kill_at, one.look_at) if at is not None]
        if self._waiting and not self._workers:
            due.append(self._width.next_try)
        if deadline is not None:
            due.append(deadline)
        due.append(self._looked + _LOOK)
        return max(0, math.ceil((min(due) - time.monotonic()) * 1000))

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what has not begun; a worker that has some of it is asked to return its chunk after its current job."""
        if os.getpid() != self._owner:  # in a forked child, the workers are the parent's
            return
        now, keys = time.monotonic(), {one.id for one in attempts}
        self._look_for_notes(math.inf)
        for attempt in [waiting for waiting in self._waiting if waiting.id in keys]:
            self._waiting.remove(attempt)
            self._attempts.ready.append(Ended(attempt, now, began=False))
        for one in self._workers.values():
            mine = keys & {attempt.id for attempt in one.unbegun}
            self._attempts.recalled |= mine
            if mine and not one.dropping:
                one.dropping = True
                one.entry.request_drop()
                self._tell(one, framing.DROP)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall what has not begun; send TERM to the rest, and KILL after the grace, or KILL at once."""
        if os.getpid() != self._owner:  # in a forked child, the workers are the parent's
            return
        self.recall(attempts)
        keys = {one.id for one in attempts}
        self._attempts.doomed |= keys & self._attempts.recalled
        end([one for one in self._workers.values() if one.doing in keys], grace=None if kill else self.settings.grace)

    def pause(self, paused: bool) -> None:
        """Send SIGSTOP or SIGCONT to everything that runs; begin nothing while ``paused``."""
        self._paused = paused
        number = signal.SIGSTOP if paused else signal.SIGCONT
        for one, below in trees(one for one in self._workers.values() if one.held or one.queued or not paused):
            one.signal(number)
            signal_all(below, number)

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`."""
        self._width.workers = width

    def grow(self, slots: int) -> int:
        """See `manyhands.backends.protocol.Growing`."""
        slots = max(self.settings.slots, min(slots, self._pool.most))
        self.settings = replace(self.settings, slots=slots)
        self._width.grow(slots)
        return slots

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """Kill what runs, let idle workers exit, end what any worker has left behind, close everything."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        workers = list(self._workers.values())
        self._workers.clear()
        if os.getpid() != self._owner:
            self._let_be(workers)
            return
        lost = [attempt for one in workers for attempt in (*one.held, *one.queued)]
        self._attempts.ready += [
            Ended(attempt, time.monotonic(), Ending(error="the program has ended")) for attempt in lost
        ]
        for one in workers:
            one.tell([])
            if one.held or one.queued or not one.ready:
                one.signal(signal.SIGKILL)
            one.sock.close()
        fork_server.wake()
        deadline = time.monotonic() + _PATIENCE
        for one in workers:
            one.process.join(max(0.0, deadline - time.monotonic()))
        if workers:
            self._pool.clear_all(workers)
        for one in workers:
            one.forget()
        self._pool.close()
        self._alarm.close()

    def _last_words(self, wait: float) -> Sequence[Report]:
        """After the end: reports of the attempts that were still running then, once."""
        ready, self._attempts.ready = self._attempts.ready, []
        time.sleep(0.0 if ready else wait)
        return ready

    def _let_be(self, workers: list[Handle]) -> None:
        """In a forked child: close our copies of what belongs to the parent."""
        for one in workers:
            one.sock.close()
        self._pool.drop()
        self._alarm.close()

    # -- workers ---------------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give chunks to idle workers, and start workers while there are more jobs than starting workers."""
        if self._paused or not self._waiting:
            return
        chunk = self._chunk()
        idle = [one for one in self._workers.values() if one.idle]
        for one in idle[: max(0, self._width.workers + len(idle) - len(self._workers))]:
            if not self._waiting:
                return
            self._give(one, min(chunk, math.ceil(len(self._waiting) / self.settings.slots)))
        if self._doubles:
            for one in self._workers.values():
                if one.takes_more and len(self._waiting) >= self.settings.slots * chunk:
                    self._give(one, chunk)
        coming = sum(not one.ready for one in self._workers.values())
        while len(self._workers) < self._width.workers and coming < len(self._waiting):
            if time.monotonic() < self._width.next_try or not self._launch():
                return
            coming += 1

    def _there(self) -> int:
        return sum(one.ready for one in self._workers.values())

    @property
    def _doubles(self) -> bool:
        """Whether a worker is given a second chunk while it does the first, so that it never waits for the coordinator, which may be
        busy for some milliseconds. Each is half as large, and there is one only if jobs are short."""
        workers = self.settings.workers
        return workers.chunk is None and workers.max_jobs is None and self._fitting() >= _DOUBLED

    def _chunk(self) -> int:
        """How many attempts a worker is given at once, if there are enough."""
        if self.settings.workers.chunk is not None:
            return self.settings.workers.chunk
        return self._fitting() // (2 if self._doubles else 1)

    def _fitting(self) -> int:
        """How many jobs take `CHUNK_SECONDS`."""
        if self._attempts.mean is None:
            return 1
        return max(1, min(_LARGEST_CHUNK, int(CHUNK_SECONDS / max(self._attempts.mean, 1e-6))))

    def _give(self, one: Handle, size: int) -> None:
        limit = self.settings.workers.max_jobs
        size = size if limit is None else min(size, limit - one.done)
        taken = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        (one.queued if one.held else one.held).extend(taken)
        one.look_at = time.monotonic() + _GATHER
        self._tell(one, [(job[0], last, job[2] if job[3] is None else self._reference(job)) for job, last, _ in taken])

    def _reference(self, job: Job) -> tuple[Any, ...]:
        """The values of a job that are stored in a file: where, if it is quicker to read them there."""
        place = job.place
        if place.size < LARGE:
            return job.values
        return str(self.settings.outputs.parent / place.name), place.offset, place.size

    def _tell(self, one: Handle, message: Any) -> None:
        one.tell(message)
        if one.outbox.waiting:
            self._poll.modify(one.sock, select.POLLIN | select.POLLOUT)

    def _launch(self) -> bool:
        """Start a worker for a slot without one; False if that fails for now. Raises ManyhandsError if no worker can be started at all."""
        slot = next(number for number in range(1, self.settings.slots + 1) if number not in self._workers)
        try:
            one = self._pool.make(slot, first=not self._workers)
        except ManyhandsError as error:
            self._attempts.ready += self._width.no_more(str(error), self._there() or len(self._workers))
            return False
        self._workers[slot] = self._sockets[one.sock.fileno()] = self._lives[one.process.sentinel] = one
        self._poll.register(one.sock, select.POLLIN)
        self._poll.register(one.process.sentinel, select.POLLIN)
        return True

    def _retire(self, one: Handle) -> None:
        """Forget a worker that is ending, and close its socket."""
        del self._workers[one.slot.number], self._sockets[one.sock.fileno()]
        self._poll.unregister(one.sock)
        if one.watched:
            self._unwatch(one)
        one.sock.close()

    def _unwatch(self, one: Handle) -> None:
        """Stop watching multiprocessing's sentinel for its end; its socket shows the end, too."""
        del self._lives[one.process.sentinel]
        self._poll.unregister(one.process.sentinel)
        one.watched = False

    def _handle(self, file: int, event: int) -> None:
        if file == self._alarm.descriptor:
            self._alarm.hush()
            self._woken = True
        elif one := self._sockets.get(file):
            if event & select.POLLOUT:
                one.outbox.flush()
                if not one.outbox.waiting:
                    self._poll.modify(one.sock, select.POLLIN)
            self._read(one)
            if one.inbox.ended:
                self._bury(one)
        elif one := self._lives.get(file):
            if one.alive:  # not the worker has died, but the fork server, which would report its end
                self._unwatch(one)
            else:
                self._bury(one)

    def _look_for_notes(self, now: float) -> None:
        """Look for the notes of workers for which it is time."""
        for one in self._workers.values():
            if one.look_at is not None and one.look_at <= now:
                self._read(one)

    def _read(self, one: Handle) -> None:
        """Take what a worker has noted and sent, in the order in which it did so."""
        now = time.monotonic()
        head = one.notes.head  # read first: what was sent before the last of these notes has arrived then
        for record in one.inbox.records():
            self._record(one, record)
        self._noted(one, head)
        # If the last note is older than that, the worker tells of the next one: it knows that it is late.
        recent = one.began is None or now < one.began + 2 * _GATHER
        one.look_at = now + _GATHER if (one.held or one.queued) and recent else None

    def _record(self, one: Handle, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == framing.READY:
            one.ready = True
            self._width.began()
        elif kind == framing.BROKEN:
            self._broken(f"a worker process cannot start: {record[1]}", scarce=record[2])
        else:
            self._noted(one, record[1])
            if kind == framing.NOTE:
                self._attempts.ends(one, [record[2]])
            elif kind == framing.DROPPED:
                one.dropping = False
                self._waiting.extendleft(reversed(self._attempts.take_back(one)))

    def _noted(self, one: Handle, until: int) -> None:
        """Take a worker's notes before a position."""
        if notes := one.notes.take(until):
            self._attempts.ends(one, notes)

    def _broken(self, why: str, *, scarce: bool) -> None:
        """A worker could not prepare itself. Raises ManyhandsError, unless only resources were ``scarce`` and other workers run."""
        if not scarce or not self._there():
            raise ManyhandsError(why)
        self._attempts.ready += self._width.no_more(why, self._there())

    def _leave(self, one: Handle) -> None:
        """Let a worker exit."""
        self._tell(one, [])
        one.leaving, one.kill_at = True, time.monotonic() + _PATIENCE

    # -- endings ---------------------------------------------------------------------------------------------------------

    def _look_after(self, now: float) -> None:
        """Check for stopped processes: a worker is killed at the second check, the fork server continued, the watchdog replaced."""
        if now - self._looked < _LOOK or self._paused:
            return
        self._looked = now
        fork_server.wake()
        self._pool.watchdog.look_after()
        for one in stopped(self._workers.values()):
            one.signal(signal.SIGKILL)

    def _bury(self, one: Handle) -> None:
        """A worker is gone: end what it left behind, report the job that it was doing, and queue its other jobs again."""
        self._read(one)
        code = one.status()
        self._retire(one)
        left = self._pool.clear(one)
        if one.held and one.entry.has_begun(one.held[0].id):
            self._attempts.died(one, code, left)
        self._waiting.extendleft(reversed(self._attempts.take_back(one)))
        one.forget()
        if not one.ready:
            refuse_unguarded(code)
            self._attempts.ready += self._width.died(in_words(code), self._there())
