"""What a batch that is a stage of a line has around it. Separate, because the batch knows nothing else of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manyhands.engine.loop import Pull
from manyhands.engine.outcomes import Halting


class StageContext(Protocol):
    """What a batch that is a stage of a line (`manyhands.execution.staged`) has around it."""

    number: int
    """Counted from 1; the first has inputs."""
    halting: Halting
    """The rule that ends the whole line."""

    def columns(self, found: Sequence[str] | None) -> Sequence[str]:
        """Names of the inputs' columns; the first stage has ``found`` them, the others wait for it."""
        ...

    def coming(self) -> Pull:
        """What comes from the stage before, new jobs only."""
        ...

    def open(self) -> bool:
        """Whether there is room after this stage: while there is none, nothing more begins."""
        ...
