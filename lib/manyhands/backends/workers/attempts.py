"""What is reported of the attempts that workers have: that they began, how they ended, or that they have not begun.

    notes of a worker --ends--> Started, Ended --> ready --> engine

Separate from `manyhands.backends.processes`, which decides which worker gets which attempts, and speaks with the workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.captured import ending_of, output_of
from manyhands.backends.workers import framing
from manyhands.backends.workers.handle import Handle, in_words
from manyhands.backends.workers.handle import end as end_jobs
from manyhands.core.job import NOTHING, Attempt, AttemptId, Ending
from manyhands.core.lean import make

_WELL: Final = 0, None, None
"""The first fields of an `Ending`: exit status, signal, error."""


class Attempts:
    """The attempts of all workers of a backend. ``leave`` is called with a worker that takes no more jobs."""

    def __init__(self, settings: FunctionSettings, leave: Callable[[Handle], None]) -> None:
        self._settings, self._leave = settings, leave
        self.recalled: set[AttemptId] = set()
        """Those that are to be reported as not begun, unless they begin before their worker returns them."""
        self.doomed: set[AttemptId] = set()
        """Those of them that are to be ended if they begin."""
        self.ready: list[Report] = []
        """What was not reported yet."""
        self.mean: float | None = None
        """Seconds that a job takes, about."""

    def ends(self, one: Handle, notes: list[Any]) -> None:
        """What became of a worker's jobs, note by note."""
        most, slot, held = self._settings.workers.max_jobs, one.slot.number, one.held
        for note in notes:
            if type(note) is float:
                self._started(one, note)
                continue
            if len(note) == framing.WHOLE:
                goes_on, leaving, at, measured = note
                self._ended(one, at, ending_of(measured))
            else:
                at, result = note[0], note[6]  # between them: started, wall, user, system, peak memory
                measured = _WELL + note[1:6] + (NOTHING, NOTHING, slot, 0, result, None, False, None)
                self._ended(one, at, make(Ending, measured))
                goes_on, leaving = held, False
            if goes_on:
                self._started(one, at)
            elif leaving or one.done == most:
                self._leave(one)
        self._report_start(one)

    def _started(self, one: Handle, at: float) -> None:
        """The first of the attempts that a worker has begins."""
        if not one.held:
            self._next_chunk(one)
        one.began, one.reported = at, False
        if self.recalled or self.doomed:
            attempt = one.held[0]
            self.recalled.discard(attempt.id)
            if attempt.id in self.doomed:
                self._report_start(one)
                end_jobs([one], grace=self._settings.grace)

    def _report_start(self, one: Handle) -> None:
        """Report that the first of its attempts has begun. Of those that have ended by now, only the end is reported."""
        if one.began is not None and not one.reported:
            one.reported = True
            self.ready.append(Started(one.held[0], one.began, one.slot.number, one.pid))

    def _ended(self, one: Handle, at: float, ending: Ending) -> None:
        attempt = self._let_go(one)
        one.done += 1
        mean, wall = self.mean, ending[4]
        self.mean = wall if mean is None else mean + (wall - mean) / 16
        self.ready.append(make(Ended, (attempt, at, ending, True, False, one.pid)))

    def _let_go(self, one: Handle) -> Attempt:
        attempt = one.held.popleft()
        one.began = None
        one.stopping = one.kill_at = None  # a stop of this job does not apply to the next
        if self.recalled or self.doomed:
            self.doomed.discard(attempt.id)
            self.recalled.discard(attempt.id)
        return attempt

    def take_back(self, one: Handle) -> list[Attempt]:
        """What the worker had not begun, in order; what was recalled is reported as not begun instead."""
        back, now = [], time.monotonic()
        self._next_chunk(one)
        while one.held:
            recalled = one.held[0].id in self.recalled
            attempt = self._let_go(one)
            if recalled:
                self.ready.append(Ended(attempt, now, began=False))
            else:
                back.append(attempt)
        return back

    def _next_chunk(self, one: Handle) -> None:
        one.held.extend(one.queued)
        one.queued.clear()

    def died(self, one: Handle, code: int | None, left: int) -> None:
        """Report the job that a dead worker was doing, with what it had printed; ``left`` processes were left behind."""
        at = time.monotonic()
        self._report_start(one)
        began = at if one.began is None else one.began
        stopping = one.stopping is not None
        attempt, slot = self._let_go(one), one.slot
        name = attempt.name
        out, err = (output_of(slot.salvage(stream, name, self._settings.output_cap)) for stream in (0, 1))
        number = -code if code is not None and code < 0 else None
        why = "was stopped by a signal, and killed" if one.stopped > 1 else f"died ({in_words(code)})"
        ending = Ending(
            exit=None if number else 1,
            signal=number,
            error=f"its worker process {why}",
            started=time.time() - (at - began),
            wall=at - began,
            stdout=out,
            stderr=err,
            slot=slot.number,
            leftovers=left,
        )
        self.ready.append(Ended(attempt, at, ending, died=not stopping, pid=one.pid))
