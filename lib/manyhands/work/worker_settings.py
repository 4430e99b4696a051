"""How worker processes are kept. Separate from `plan`, because a worker, and who only maps, need nothing else of it."""

from __future__ import annotations

from typing import Final, get_args

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.core.records import dataclass
from manyhands.options.choices import StartMethod

START_METHODS: Final = get_args(StartMethod)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How the processes that call functions are kept."""

    start_method: str = "forkserver"
    chunk: int | None = None
    """Jobs that are handed to a worker at once; None: as many as make about 20 ms of work."""
    max_jobs: int | None = None
    """Jobs after which a worker is replaced by a fresh one."""

    def __post_init__(self) -> None:
        if self.start_method not in START_METHODS:
            why = ": a fork beside threads can hang for ever" if self.start_method == "fork" else ""
            raise UsageError(
                f"{given_as('--start-method', repr(self.start_method))}{why}; choose one of {', '.join(START_METHODS)}"
            )
        for name, number in (("--chunk", self.chunk), ("--max-jobs-per-worker", self.max_jobs)):
            if number is not None and number < 1:
                raise UsageError(f"{given_as(name, number)}: at least one is needed")
