"""Awaits an async function in one event loop, in a thread of its own: for hundreds of jobs that wait for a network.

Stopping is cooperative: the task is cancelled. A task that suppresses cancellation, or blocks the loop, is reported as `still_running`
when the grace is over, and keeps its slot until it ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Final

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.call_function import CallResult, Performer, broken, failed, generation
from manyhands.backends.shared.job_printing import CURRENT, Printing, Switched
from manyhands.backends.shared.mailbox import Mailbox
from manyhands.backends.shared.slot import WIDE, Slot
from manyhands.backends.shared.slot_threads import MAY_BE_DAEMONS
from manyhands.backends.shared.standard_streams import Streams
from manyhands.backends.shared.suspension import GONE_ON, Suspension
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.hints import given_as
from manyhands.core.job import Attempt, AttemptId, Ending

_AT_ONCE: Final = 0.2
"""Seconds that a task has to end when it is killed."""


class Aio:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "asyncio"
    can_stop = True
    reports_start = True
    ahead = 64

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._performer = Performer(settings.call, settings.columns, settings.outputs, self._ours)
        if not self._performer.is_async:
            raise UsageError(
                f"{given_as('--backend', 'asyncio')} awaits async functions, and {settings.call.text} is not one: choose threads or processes"
            )
        self._mailbox = Mailbox()
        self._waiting: deque[Attempt] = deque()
        self._tasks: dict[AttemptId, asyncio.Task[CallResult]] = {}
        self._cancelled: set[asyncio.Task[CallResult]] = set()
        """Tasks that we have cancelled: only in these a CancelledError is ours."""
        self._running: dict[AttemptId, tuple[Attempt, float, Slot]] = {}
        self._give_up: dict[AttemptId, float] = {}
        self._free = [
            Slot(n, bytes(settings.outputs), memory=settings.slots > WIDE) for n in range(settings.slots, 0, -1)
        ]
        self._mutex = threading.Lock()
        self._paused = self._closed = False
        self._broken: ManyhandsError | None = None
        self._switched = Switched()
        self._loop = asyncio.new_event_loop()
        self._suspension = Suspension(timed=settings.timed)
        self._streams, self._here = Streams(), generation()
        self._thread = threading.Thread(target=self._main, name="manyhands-asyncio", daemon=MAY_BE_DAEMONS)
        self._thread.start()

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt, and make a task of it in the loop."""
        with self._mutex:
            self._waiting.append(attempt)
        self._call(self._begin)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """All reports so far; waits for the first one. Raises ManyhandsError if the initializer failed."""
        if self._give_up:
            first = max(0.0, min(self._give_up.values()) - time.monotonic())
            timeout = first if timeout is None else min(timeout, first)
        found = list(self._mailbox.take(timeout))
        if spells := self._suspension.news():
            found = [*spells, *(found or self._mailbox.take(GONE_ON))]
        if self._broken:
            raise self._broken
        now = time.monotonic()
        for key in [key for key, due in self._give_up.items() if due <= now]:
            del self._give_up[key]
            with self._mutex:
                left = self._running.pop(key, None)
            if left:
                attempt, at, slot = left
                ending = Ending(
                    error="it did not end when cancelled", wall=now - at, slot=slot.number, still_running=True
                )
                found.append(Ended(attempt, now, ending))
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what has not become a task."""
        with self._mutex:
            for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
                self._waiting.remove(attempt)
                self._mailbox.put(Ended(attempt, time.monotonic(), began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Cancel tasks."""
        self.recall(attempts)
        due = time.monotonic() + (_AT_ONCE if kill else self.settings.grace)
        for attempt in attempts:
            key = attempt.id
            if key in self._running:
                self._give_up[key] = min(due, self._give_up.get(key, due))
                self._call(self._cancel, key)

    def pause(self, paused: bool) -> None:
        """Begin nothing while ``paused``."""
        self._paused = paused
        self._call(self._begin)

    def wake(self) -> None:
        """Make a waiting `reports` return."""
        self._mailbox.wake()

    def close(self) -> None:
        """Cancel everything and end the loop; a loop that a task blocks ends with the process at the latest."""
        if self._closed:
            return
        self._closed = True
        self._call(self._loop.stop)
        self._thread.join(_AT_ONCE if self._running else 2.0)
        self._suspension.close()
        self._switched.close()
        self._streams.close()
        if not self._thread.is_alive() and generation() == self._here:  # in a forked child they are the parent's
            for slot in self._free:
                slot.close()

    # -- in the loop -----------------------------------------------------------------------------------------------------

    def _call(self, function: object, *args: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]

    def _main(self) -> None:
        """Run the loop. A job may stop it, or raise through it from a task of its own: it is run again until we are closed."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._prepare())
            except BaseException as error:  # an initializer may raise anything
                self._broken = (
                    error
                    if isinstance(error, ManyhandsError)
                    else ManyhandsError(f"the initializer failed: {failed(error).error}")
                )
                self._mailbox.wake()
                return
            self._ready = True
            self._loop.call_soon(self._begin)
            while not self._closed and not self._loop.is_closed():
                with suppress(BaseException):  # of a task that a job has made: the job gets it where it awaits that task
                    self._loop.run_forever()

    async def _prepare(self) -> None:
        prepared: list[object] = []
        with self._switched.aside():
            self.settings.call.prepare(prepared.append)
            for coroutine in prepared:
                await coroutine  # type: ignore[misc]  # it is one

    _ready = False

    def _begin(self) -> None:
        while self._ready and not self._paused:
            with self._mutex:
                if not self._waiting or not self._free:
                    return
                attempt, slot = self._waiting.popleft(), self._free.pop()
                key, at = attempt.id, time.monotonic()
                self._running[key] = (attempt, at, slot)
            self._mailbox.put(Started(attempt, at, slot.number))
            self._streams.hold()
            printing, context = Printing(slot), copy_context()
            context.run(CURRENT.set, printing)
            started = time.time()
            task = self._loop.create_task(self._performer.await_(b"%d.%d" % key, attempt.job.values), context=context)
            self._tasks[key] = task
            # not at the end of the coroutine: a task that is cancelled before its first step executes no line of it
            task.add_done_callback(partial(self._ended, attempt, (at, started), slot, printing))

    def _cancel(self, key: AttemptId) -> None:
        if task := self._tasks.get(key):
            self._cancelled.add(task)
            task.cancel()

    def _ours(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError) and asyncio.current_task() in self._cancelled

    def _ended(
        self, attempt: Attempt, began: tuple[float, float], slot: Slot, printing: Printing, task: asyncio.Task[CallResult]
    ) -> None:
        key = attempt.id
        self._streams.release()
        del self._tasks[key]
        try:
            end = self._end_of(attempt, began, slot, printing, self._came_of(task))
        except BaseException as error:  # an error outside of the call
            end = broken(attempt, began[0], error)
        with self._mutex:
            given_up = self._running.pop(key, None) is None
            self._free.append(slot)
        if not given_up:
            self._mailbox.put(end)
        self._begin()

    def _end_of(
        self, attempt: Attempt, began: tuple[float, float], slot: Slot, printing: Printing, done: CallResult
    ) -> Ended:
        at, started = began
        now = time.monotonic() - self._suspension.since(at)
        printed = printing.collect(attempt.name, self.settings.output_cap)
        return Ended(attempt, now, printed.ending(done, started, now - at, slot.number))

    def _came_of(self, task: asyncio.Task[CallResult]) -> CallResult:
        """The result of a task; if we cancelled it, it has failed, even if it returned."""
        ours = task in self._cancelled
        self._cancelled.discard(task)
        try:
            done = task.result()
        except BaseException as error:  # cancelled, by us or by other code, or an error outside of the call
            done = failed(error)
        return CallResult(1, "CancelledError") if ours else done
