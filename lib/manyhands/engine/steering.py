"""What a run is told while it goes on, from another thread: suspend, finish, stop one job, run more or fewer at once, halt by another rule.

    another thread --ask--> Requests --obey--> these methods, in the engine's thread

A part of the engine, in a file of its own: the loop only looks at what is set here.
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.backends.protocol import Backend, is_adjustable, is_growing
from manyhands.core.limits import Halt, HaltWhen, Limits
from manyhands.core.records import replace
from manyhands.engine.autoscale import Climber
from manyhands.engine.in_flight import Flight
from manyhands.engine.outcomes import Halting
from manyhands.engine.pauses import Pauses
from manyhands.engine.recording import Recorder
from manyhands.engine.requests import Answer, Requests


class Steered:
    """The methods to be called by what was asked for; `Engine` has the attributes."""

    _backend: Backend
    _limits: Limits
    _halting: Halting
    _climber: Climber | None
    _flights: dict[int, Flight]
    _requests: Requests
    _pauses: Pauses
    _recorder: Recorder
    _clock: Callable[[], float]
    _total: int | None
    _slots: int
    """How many attempts the backend can do at once."""
    _careful: bool
    _narrowed = False
    """No attempt is queued beyond the jobs at once, because the backend would begin it."""
    _finishing = False
    """Nothing more begins, because that was asked for."""

    def ask(self, what: Callable[[], Answer]) -> Answer:
        """Have ``what`` done by the engine's thread; see `Requests.ask`. Call it from any other thread."""
        return self._requests.ask(what)

    def pause(self, paused: bool, reason: str = "") -> None:
        """Suspend all attempts for a reason, or let that one be over: they continue when none is left. Suspended time does not count
        against their limits."""
        self._pauses.set(paused, reason)

    def finish(self) -> None:
        """Begin nothing more; what runs may end by itself."""
        self._finishing = True
        self._recall_ready()

    def stop_job(self, number: int) -> bool:
        """Stop this job, which a resume does again. Returns whether it runs and can be stopped."""
        flight = self._flights.get(number)
        if flight is None or flight.recorded or not (self._backend.can_stop and flight.started):
            return False
        flight.stop_at = self._clock() if flight.stop_at is None else flight.stop_at
        self._backend.stop([flight.attempt])
        return True

    def set_jobs(self, jobs: int) -> int:
        """Run at most ``jobs`` at once from now on; returns the number, which is less if the backend cannot have more slots."""
        if jobs > self._slots and is_growing(self._backend):
            self._slots = self._backend.grow(jobs)
        jobs, self._climber = min(jobs, self._slots), None
        if is_adjustable(self._backend):
            self._backend.limit(jobs)
        else:
            self._narrowed = True
        self._limits = replace(self._limits, jobs=jobs)
        return jobs

    def set_halt(self, rule: Halt) -> None:
        """End the run early by another rule from now on; what has ended since this execution began counts for it."""
        self._limits, self._careful = replace(self._limits, halt=rule), rule.when is not HaltWhen.NEVER
        self._halting = Halting.of(rule, self._total, self._recorder.counts)

    def _recall_ready(self) -> None:
        """Take back the attempts that the backend has not begun."""
        self._backend.recall([flight.attempt for flight in self._flights.values() if not flight.started])
