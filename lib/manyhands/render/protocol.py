"""What a renderer is: something that is shown events, one after another, and lets go of the terminal when told."""

from __future__ import annotations

from typing import Protocol

from manyhands.core.events import Event


class Renderer(Protocol):
    """Shows a run. Called by one thread, with the events in order; after `close` no more."""

    def event(self, event: Event) -> None:
        """Show what happened. Raises BrokenPipeError when the reader of our output has ended."""

    def running(self) -> list[str]:
        """How far the run is, then one line for each running job with its age, the oldest first, for SIGUSR1.

        The terminal is the caller's, to print them, until the next event.
        """
        ...

    def pause(self, paused: bool) -> None:
        """Give the terminal back before SIGTSTP stops us (True); take it again afterwards (False)."""

    def close(self) -> None:
        """Write what is held back and give the terminal back, whatever happened. May be called twice."""
