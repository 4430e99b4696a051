"""What the engine asks of a way of doing attempts: a few verbs and honest flags, no policy.

    engine --start/stop/pause--> backend --Started/Ended--> engine

A backend never decides: it does not retry, does not time, does not journal. It says what it can do (``can_stop``,
``reports_start``, ``ahead``) and reports what happened. Every backend passes the same tests (tests/backends/test_command_backends.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from manyhands.core.job import NO_ENDING, Attempt, Ending

POISON: Final = 2
"""A job that has killed so many of its workers (`Ended.died`) is not tried again, whatever ``retries`` says."""


class Started(NamedTuple):
    """An attempt has begun. ``at`` is in seconds of the monotonic clock, which processes of one machine share."""

    attempt: Attempt
    at: float
    slot: int
    pid: int = 0


class Ended(NamedTuple):
    """An attempt is over, as far as the backend knows, at the monotonic moment ``at``.

    An ending without exit status and signal has no status: then ``began`` tells whether it ran at all, and its error why.
    """

    attempt: Attempt
    at: float
    ending: Ending = NO_ENDING
    began: bool = True
    died: bool = False
    """What did the work died of it (a worker process), without being asked to."""


class Noted(NamedTuple):
    """Something that the user should know; no attempt's business. ``asked``: it was asked for, as what ``auto`` has chosen."""

    text: str
    asked: bool = False


class Suspended(NamedTuple):
    """This process was stopped for so many ``seconds`` until the monotonic moment ``at``, and its jobs with it."""

    at: float
    seconds: float


Report = Started | Ended | Noted | Suspended


class Backend(Protocol):
    """A way of doing attempts. Only the engine's thread calls it, except for `wake`."""

    name: str

    @property
    def can_stop(self) -> bool:
        """Whether `stop` really ends the work."""

    reports_start: bool
    """Whether `Started` comes when the work truly begins (else the engine takes the moment of `start`)."""

    @property
    def ahead(self) -> int:
        """How many attempts beyond its slots it wants in hand, so that a free slot never waits for the engine."""

    def start(self, attempt: Attempt) -> None:
        """Take an attempt; never waits for the work. The engine keeps at most slots + ``ahead`` of them here."""

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Wait up to ``timeout`` seconds (None: for ever) for something to happen; the only place where the engine waits."""

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back those of ``attempts`` that have not begun, as ``Ended(began=False)``; none of them begins any more."""

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End attempts: TERM, grace, KILL (``kill``: KILL at once), for the whole tree; recall those that have not begun.
        Every end is reported like any other; asking again is harmless. Only called if ``can_stop``."""

    def pause(self, paused: bool) -> None:
        """Hold (True) or continue (False) all attempts, and begin none while held. Nothing to do where it cannot be done."""

    def wake(self) -> None:
        """Make a waiting `reports` return soon. May be called from a signal handler or another thread."""

    def close(self) -> None:
        """Leave nothing running and nothing open. May be called twice."""


@runtime_checkable
class Adjustable(Protocol):
    """A backend of which fewer slots can be used than it has."""

    def limit(self, width: int) -> None:
        """Let ``width`` attempts at most run at once from now on; more that run already end by themselves."""
