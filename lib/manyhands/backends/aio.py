"""An async function awaited in one event loop, in a thread of its own: for hundreds of jobs that wait for a network.

Stopping is cooperative: the task is cancelled, and whoever swallows that, or blocks the loop, is told as `still_running` when
the grace is over, and keeps its slot until it ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from manyhands.backend import Ended, Report, Started
from manyhands.backends.mailbox import Mailbox
from manyhands.backends.performing import Performed, Performer
from manyhands.backends.printing import CURRENT, Printing, Switched
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.slot import WIDE, Slot
from manyhands.backends.slot_threads import MAY_BE_DAEMONS
from manyhands.errors import ManyhandsError, UsageError
from manyhands.job import Attempt

_AT_ONCE: Final = 0.2
"""Seconds that a task has to go when it is to be killed."""
Key = tuple[int, int]


class Aio:
    """A `manyhands.backend.Backend`; see the module's first lines."""

    name = "asyncio"
    can_stop = True
    reports_start = True
    ahead = 64

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._performer = Performer(settings.call, settings.columns, settings.outputs)
        if not self._performer.is_async:
            raise UsageError(
                f"--backend asyncio awaits async functions, and {settings.call.text} is none: choose threads or processes"
            )
        self._mailbox = Mailbox()
        self._waiting: deque[Attempt] = deque()
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._running: dict[Key, tuple[Attempt, float, Slot]] = {}
        self._give_up: dict[Key, float] = {}
        self._free = [
            Slot(n, bytes(settings.outputs), memory=settings.slots > WIDE) for n in range(settings.slots, 0, -1)
        ]
        self._mutex = threading.Lock()
        self._paused = self._closed = False
        self._broken: ManyhandsError | None = None
        self._switched = Switched()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name="manyhands-asyncio", daemon=MAY_BE_DAEMONS)
        self._thread.start()

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Make a task of it."""
        with self._mutex:
            self._waiting.append(attempt)
        self._call(self._begin)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Everything that has happened; waits for the first. Raises ManyhandsError when the initializer failed."""
        if self._give_up:
            first = max(0.0, min(self._give_up.values()) - time.monotonic())
            timeout = first if timeout is None else min(timeout, first)
        found = list(self._mailbox.take(timeout))
        if self._broken:
            raise self._broken
        now = time.monotonic()
        for key in [key for key, due in self._give_up.items() if due <= now]:
            del self._give_up[key]
            with self._mutex:
                left = self._running.pop(key, None)
            if left:
                attempt, at, slot = left
                found.append(
                    Ended(
                        attempt,
                        now,
                        error="it would not be cancelled",
                        wall=now - at,
                        slot=slot.number,
                        still_running=True,
                    )
                )
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back what has not become a task."""
        with self._mutex:
            for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
                self._waiting.remove(attempt)
                self._mailbox.put(Ended(attempt, time.monotonic(), began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Cancel tasks."""
        self.recall(attempts)
        due = time.monotonic() + (_AT_ONCE if kill else self.settings.grace)
        for attempt in attempts:
            key = (attempt.job.number, attempt.number)
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
        """Cancel everything and end the loop; if a task blocks it, it ends with the process at the latest."""
        if self._closed:
            return
        self._call(self._closing.set)
        self._closed = True
        self._thread.join(_AT_ONCE if self._running else 2.0)
        self._switched.close()
        if not self._thread.is_alive():
            for slot in self._free:
                slot.close()

    # -- in the loop -----------------------------------------------------------------------------------------------------

    def _call(self, function: object, *args: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except ManyhandsError as error:
                self._broken = error
                self._mailbox.wake()

    async def _serve(self) -> None:
        prepared: list[object] = []
        self.settings.call.prepare(prepared.append)
        for coroutine in prepared:
            await coroutine  # type: ignore[misc]  # it is one
        self._ready = True
        self._begin()
        await self._closing.wait()

    _ready = False

    def _begin(self) -> None:
        while self._ready and not self._paused:
            with self._mutex:
                if not self._waiting or not self._free:
                    return
                attempt, slot = self._waiting.popleft(), self._free.pop()
                key = (attempt.job.number, attempt.number)
                self._running[key] = (attempt, time.monotonic(), slot)
            self._tasks[key] = self._loop.create_task(self._run(key, attempt, slot))

    def _cancel(self, key: Key) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    async def _run(self, key: Key, attempt: Attempt, slot: Slot) -> None:
        name = b"%d.%d" % key
        printing = Printing(slot)
        CURRENT.set(printing)
        at, started = self._running[key][1], time.time()
        self._mailbox.put(Started(attempt, at, slot.number))
        try:
            done = await self._performer.await_(name, attempt.job.values)
            if self._tasks[key].cancelling():  # it has swallowed what was to end it
                done = Performed(1, "CancelledError")
        except asyncio.CancelledError:
            done = Performed(1, "CancelledError")
        now = time.monotonic()
        out, err = printing.collect(name, self.settings.output_cap)
        del self._tasks[key]
        with self._mutex:
            told = self._running.pop(key, None) is None
            self._free.append(slot)
        if not told:
            self._mailbox.put(Ended(
                attempt, now, done.exit, None, done.error, True, started, now - at, stdout=out, stderr=err, slot=slot.number,
                result=done.result, traceback=done.traceback,
            ))  # fmt: skip
        self._begin()
