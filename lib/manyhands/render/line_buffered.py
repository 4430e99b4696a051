"""Shows what commands print line by line while they run (``--line-buffer``): events on their way to another renderer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Began, Event, Finished, Summary, Warned
from manyhands.core.job import NOTHING
from manyhands.execution.growing_output import GrowingOutput
from manyhands.render.protocol import Renderer

_EVERY: Final = 0.1
"""Seconds between two looks."""


class LineBuffered:
    """A `Renderer` before another one."""

    def __init__(
        self, renderer: Renderer, growing: GrowingOutput, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._renderer, self._growing, self._clock = renderer, growing, clock
        self._looked = clock()
        self.running, self.pause, self.close = renderer.running, renderer.pause, renderer.close

    def event(self, event: Event) -> None:
        """Show what happened, and what has been printed meanwhile."""
        if isinstance(event, Began):
            self._growing.began(event)
        elif isinstance(event, Finished):
            event = self._finished(event)
        now = self._clock()
        if now - self._looked >= _EVERY and not isinstance(event, Summary):
            self._looked = now
            for more in self._growing.look():
                self._renderer.event(more)
        self._renderer.event(event)

    def _finished(self, event: Finished) -> Finished:
        """Show the rest of what it printed; returns its end without that."""
        try:
            for more in self._growing.rest(event):
                self._renderer.event(more)
        except ManyhandsError as error:  # somebody removed the file: no reason to end the run
            self._renderer.event(Warned(f"job {event.outcome.attempt.job.number}: {error}"))
        ending = event.outcome.ending._replace(stdout=NOTHING, stderr=NOTHING)
        return event._replace(outcome=event.outcome._replace(ending=ending))
