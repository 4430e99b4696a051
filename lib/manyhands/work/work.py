"""What is done with each input, whether it is a command (`manyhands.work.template.Template`) or a function
(`manyhands.work.function.Call`): all that is known of it above this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from manyhands.core.job import Arg, Values


class BoundWork(Protocol):
    """Work that fits its inputs: it makes the arguments and the identity of each job."""

    def key(self, values: Values) -> bytes:
        """16 bytes that identify (work, input). Raises InputError for an input that it cannot be done with."""

    def argv(self, values: Values, number: int) -> tuple[Arg, ...]:
        """The arguments of a command; of a function, how its job is shown."""


class Work(Protocol):
    """What is done with each input."""

    @property
    def text(self) -> str:
        """As it was written."""

    @property
    def kind(self) -> str:
        """What it is, in words."""

    @property
    def is_function(self) -> bool:
        """Whether it is a function, so that backends for functions do it."""

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
    def lines(self) -> bool:
        """Whether each input is a whole command."""

    def bind(self, columns: Sequence[str] = (), *, width: int | None = None) -> BoundWork:
        """Fit it to inputs with these column names, or this number of columns. Raises TemplateError for what does not fit."""

    def check(self) -> None:
        """Raise UsageError unless it can be done here."""

    def difference(self, before: Any, place: str) -> str | None:
        """Why a run that does the work ``before`` cannot go on with this, as the end of a sentence; None if it can. ``place`` says which
        stage it is, if there are several."""

    def to_json(self) -> dict[str, Any]:
        """Its part of run.json."""


def another(work: Work, before: Work, place: str) -> str | None:
    """Why a run cannot go on, where there is nothing more to say of it than that the work is another."""
    return None if work.identity == before.identity else f"runs another {before.kind}{place} ({before.text})"
