"""The plain records that all parts of the program exchange: a job, an attempt at it, how that ended, and what it means.

They have no behaviour, and import only plain data, so that the engine, every backend, the journal and the renderers can
share them without knowing each other. Those of `manyhands.core.attempt`, which also travel to other machines, are here, too.
"""

from __future__ import annotations

import os
import signal as signals
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, cast

from manyhands.core.attempt import NO_ENDING, NOTHING, Arg, Attempt, AttemptId, Ending, Job, Output, Values
from manyhands.core.errors import JobFailedError, JobTimeoutError, ManyhandsError
from manyhands.core.serialization import is_pickle, shown

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # for its default, which Python has from 3.13 on

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

__all__ = [
    "NOTHING",
    "NO_ENDING",
    "Arg",
    "Attempt",
    "AttemptId",
    "Ending",
    "Job",
    "Outcome",
    "Output",
    "Status",
    "Values",
    "why_not_ok",
]


class Status(StrEnum):
    """How an attempt, or a job, ended. ``LOST`` means that we do not know, and say so."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Outcome(NamedTuple, Generic[T_co]):
    """How an attempt ended, and what that means. What was measured can be read here, too: `Ending` says what it is.

    ``Outcome[int]`` is one whose ``value`` is an int, ``Outcome[None]`` that of a command.
    """

    attempt: Attempt
    status: Status
    ending: Ending = NO_ENDING
    final: bool = True
    """False when another attempt of the same job follows."""

    @property
    def ok(self) -> bool:
        """Whether the job succeeded."""
        return self.status is Status.OK

    @property
    def number(self) -> int:
        """The position of the job's input in the run, from 1."""
        return self.attempt.job.number

    @property
    def input(self) -> Any:
        """The input of the job: for an outcome of `run_batch` the very object, else its text, or a tuple of its columns."""
        texts = tuple(os.fsdecode(value) for value in self.attempt.job.values)
        return texts[0] if len(texts) == 1 else texts

    @property
    def value(self) -> T_co:
        """What a function returned; None for a command. Raises `JobFailedError` unless it is ok, from the exception of the function.

        Of an outcome that was read from a run's folder, a pickle is not read: ManyhandsError.
        """
        self.check()
        return cast("T_co", self._returned())

    def check(self) -> None:
        """Raise `JobFailedError` unless it is ok, from what the function raised, if that could travel."""
        if self.status is not Status.OK:
            raise self.failure() from self._raised()

    @property
    def exception(self) -> BaseException | None:
        """What the function raised, if that could travel, else a `JobFailedError` that says why it is not ok; None if it is."""
        return None if self.status is Status.OK else self._raised() or self.failure()

    def failure(self) -> JobFailedError:
        """The reason why it is not ok, as an exception without a cause."""
        kind = JobTimeoutError if self.status is Status.TIMEOUT else JobFailedError
        return kind(self.number, self.input, why_not_ok(self), self.traceback or _last_words(self.stderr))

    @property
    def exit(self) -> int | None:
        """See `Ending`."""
        return self.ending.exit

    @property
    def signal(self) -> int | None:
        """See `Ending`."""
        return self.ending.signal

    @property
    def error(self) -> str | None:
        """See `Ending`."""
        return self.ending.error

    @property
    def started(self) -> float | None:
        """See `Ending`."""
        return self.ending.started

    @property
    def wall(self) -> float:
        """See `Ending`."""
        return self.ending.wall

    @property
    def user(self) -> float:
        """See `Ending`."""
        return self.ending.user

    @property
    def system(self) -> float:
        """See `Ending`."""
        return self.ending.system

    @property
    def max_rss(self) -> int:
        """See `Ending`."""
        return self.ending.max_rss

    @property
    def stdout(self) -> Output:
        """See `Ending`."""
        return self.ending.stdout

    @property
    def stderr(self) -> Output:
        """See `Ending`."""
        return self.ending.stderr

    @property
    def slot(self) -> int:
        """See `Ending`."""
        return self.ending.slot

    @property
    def leftovers(self) -> int:
        """See `Ending`."""
        return self.ending.leftovers

    @property
    def result(self) -> bytes | None:
        """See `Ending`."""
        return self.ending.result

    @property
    def traceback(self) -> str | None:
        """See `Ending`."""
        return self.ending.traceback

    @property
    def still_running(self) -> bool:
        """See `Ending`."""
        return self.ending.still_running

    @property
    def host(self) -> str | None:
        """See `Ending`."""
        return self.ending.host

    def _returned(self) -> Any:
        if self.result is not None and is_pickle(self.result):
            raise ManyhandsError(
                f"job {self.number} returned {shown(self.result)[1]}, a pickle, which is only read in the program that has run it"
            )
        return shown(self.result)[0]

    def _raised(self) -> BaseException | None:
        """The exception itself: only in the program whose run it is (`manyhands.core.live_outcome`)."""
        return None


_TAIL: Final = 2000


def _last_words(stderr: Output) -> str | None:
    """The end of a command's stderr, if it is in memory."""
    return stderr.data[-_TAIL:].decode("utf-8", "replace") or None


def why_not_ok(outcome: Outcome) -> str:
    """How it ended, in words."""
    if outcome.status is Status.TIMEOUT:
        return f"timed out after {outcome.wall:.3g} s"
    if outcome.status in (Status.CANCELLED, Status.SKIPPED):
        return f"{outcome.status}: {outcome.error}" if outcome.error else str(outcome.status)
    if outcome.error:
        return outcome.error
    if outcome.signal is not None:
        return f"was ended by {_signal_name(outcome.signal)}"
    return str(outcome.status) if outcome.exit is None else f"exit status {outcome.exit}"


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
