"""What a renderer is: something that is shown events, one after another, and lets go of the terminal when told."""

from __future__ import annotations

from typing import Protocol

from manyhands.events import Event


class Renderer(Protocol):
    """Shows a run. BrokenPipeError goes to the caller."""

    def event(self, event: Event) -> None:
        """Show what happened."""

    def running(self) -> list[str]:
        """One line for each running job, for SIGUSR1."""
        ...

    def pause(self, paused: bool) -> None:
        """Give the terminal back before SIGTSTP stops us; take it again afterwards."""

    def close(self) -> None:
        """Write what is held back and give the terminal back. May be called twice."""
