"""The interface of the work on each input, a command (`manyhands.work.template.Template`) or a function
(`manyhands.work.function.Call`): code above this package uses nothing else of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from manyhands.core.job import Arg, Values


class BoundWork(Protocol):
    """Work fitted to its inputs: makes the arguments and the identity of each job."""

    def key(self, values: Values) -> bytes:
        """16 bytes that identify (work, input). Raises InputError for an unsuitable input."""

    def argv(self, values: Values, number: int) -> tuple[Arg, ...]:
        """The arguments of a command; of a function, how its job is shown."""


class Work(Protocol):
    """What is done with each input."""

    @property
    def text(self) -> str:
        """The work as the user wrote it."""

    @property
    def kind(self) -> str:
        """The kind of work, in words."""

    @property
    def is_function(self) -> bool:
        """Whether it is a function, so that backends for functions are used."""

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be the same for two runs to do the same work."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the columns that it uses; none: all of them."""

    @property
    def group(self) -> int | None:
        """How many inputs a job may have; None: one, with its columns."""

    @property
    def warm(self) -> tuple[str, ...] | None:
        """If its jobs are to begin with what a Python script imports: further modules to be imported; else None."""

    @property
    def lines(self) -> bool:
        """Whether each input is a whole command."""

    @property
    def reads_code(self) -> bool:
        """Whether an input becomes a part of code, so that only some are accepted."""

    def bind(self, columns: Sequence[str] = (), *, width: int | None = None) -> BoundWork:
        """Fit it to inputs with these column names, or this number of columns. Raises TemplateError if it does not fit."""

    def check(self) -> None:
        """Raise UsageError unless it can be done here."""

    def difference(self, before: Any, place: str) -> str | None:
        """Why a run of the work ``before`` cannot be continued with this, as the end of a sentence; None if it can. ``place`` names
        the stage, if there are several."""

    def to_json(self) -> dict[str, Any]:
        """Its part of run.json."""


def another(work: Work, before: Work, place: str) -> str | None:
    """Why a run of the work ``before`` cannot be continued: only that the work differs; None if it does not."""
    return None if work.identity == before.identity else f"runs another {before.kind}{place} ({before.text})"
