"""What connects a batch that is one stage with the others. Separate, because the batch knows nothing else of stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manyhands.engine.outcomes import Halting
from manyhands.engine.supply import Pull


class StageContext(Protocol):
    """What connects a batch that is one of several stages (`manyhands.execution.staged`) with the others."""

    number: int
    """Counted from 1; the first has inputs."""
    last: bool
    """Whether no other comes after it."""
    halting: Halting
    """The halt rule for all stages together."""

    def columns(self, found: Sequence[str] | None) -> Sequence[str]:
        """Names of the inputs' columns; the first stage passes them as ``found``, the others wait for it."""
        ...

    def coming(self) -> Pull:
        """The jobs that arrive from the stage before, new ones only."""
        ...

    def open(self) -> bool:
        """Whether there is room after this stage: while there is none, no new job begins."""
        ...
