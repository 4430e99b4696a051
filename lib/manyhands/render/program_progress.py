"""The progress of a batch that a program runs, where its user sees it: on stderr, while the program waits for the next outcome.

Separate from `manyhands.handlers.run_console`, which has the terminal to itself; a program prints between two outcomes.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, Final, TextIO, cast

from manyhands.core.events import Event, Finished, Tick
from manyhands.core.job import NOTHING
from manyhands.render import choose

TICK: Final = 0.25
"""Seconds after which the display moves although nothing has happened."""


class Shown:
    """A display for a program, which passes on, or keeps, what jobs print and return."""

    def __init__(self) -> None:
        self._renderer = choose(
            json=False, quiet=False, tag=False, stdout=io.BytesIO(), stderr=_with_bytes(sys.stderr), environ=os.environ
        )

    def events(self, events: Iterable[Event]) -> None:
        """Show what happened; nothing: that time goes by."""
        for event in events or [Tick(time.monotonic(), 0)]:
            self._renderer.event(_without_output(event))

    def step_aside(self) -> None:
        """The program may print now: the display comes back with the next event."""
        self._renderer.close()

    def close(self) -> None:
        """It is over."""
        self._renderer.close()


def _without_output(event: Event) -> Event:
    if not isinstance(event, Finished):
        return event
    return event._replace(
        outcome=event.outcome._replace(ending=event.outcome.ending._replace(stdout=NOTHING, stderr=NOTHING, result=None))
    )


def _with_bytes(stream: Any) -> TextIO:
    """A notebook's stream has no bytes below it; nothing is written to them here, but they are looked for."""
    if stream is None:
        return io.TextIOWrapper(io.BytesIO())
    return cast("TextIO", stream if hasattr(stream, "buffer") else _Text(stream))


class _Text:
    """A stream of text, with bytes that go nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.buffer = stream, io.BytesIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
