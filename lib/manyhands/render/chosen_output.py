"""Shows a run without what some of its jobs printed and returned (``--output``): events on their way to another renderer."""

from __future__ import annotations

from manyhands.core.events import Event, Finished
from manyhands.core.job import NOTHING, Status
from manyhands.options.choices import Shown
from manyhands.render.protocol import Renderer

_WELL = frozenset({Status.OK, Status.SKIPPED})


class ChosenOutput:
    """A `Renderer` before another one. ``shown``: the output of failures, or of no job."""

    def __init__(self, renderer: Renderer, shown: Shown) -> None:
        self._renderer, self._failures = renderer, shown == "failures"
        self.running, self.pause, self.close = renderer.running, renderer.pause, renderer.close

    def event(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, Finished) and not (self._failures and event.outcome.status not in _WELL):
            ending = event.outcome.ending._replace(stdout=NOTHING, stderr=NOTHING, result=None)
            event = event._replace(outcome=event.outcome._replace(ending=ending))
        self._renderer.event(event)
