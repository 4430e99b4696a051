"""What the engine needs of a way of doing attempts: a few verbs and honest flags, no policy.

    engine --start/stop/pause--> backend --Started/Ended--> engine

A backend never decides: it has no retries, no time limits and no journal. It says what it can do (``can_stop``,
``reports_start``, ``ahead``) and reports what happened. Every backend passes the same tests (tests/backends/test_command_backends.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Union

from manyhands.core.attempt import NO_ENDING, Attempt, Ending
from manyhands.core.lean import NamedTuple

if TYPE_CHECKING:
    from typing import TypeGuard

POISON: Final = 2
"""A job that has killed this many workers (`Ended.died`) is not retried, whatever ``retries`` says."""


class Started(NamedTuple):
    """An attempt has begun. ``at`` is in seconds of the monotonic clock, which all processes of a machine share."""

    attempt: Attempt
    at: float
    slot: int
    pid: int = 0
    host: str | None = None
    """The other host that it runs on, as it was named."""


class Ended(NamedTuple):
    """An attempt is over, as far as the backend knows, at the monotonic moment ``at``.

    If the ending has neither exit status nor signal, ``began`` says whether the attempt ran at all, and the error says why.
    """

    attempt: Attempt
    at: float
    ending: Ending = NO_ENDING
    began: bool = True
    died: bool = False
    """The worker process died during the attempt, without being asked to end."""
    pid: int = 0
    """The process that did it, if its beginning was not reported apart."""


class Noted(NamedTuple):
    """Something that the user should know, not about one attempt. ``requested``: the user wanted to know it, as with the choice of ``auto``."""

    text: str
    requested: bool = False


class Suspended(NamedTuple):
    """This process and its jobs were stopped for ``seconds``, until the monotonic moment ``at``."""

    at: float
    seconds: float


Report = Union[Started, Ended, Noted, Suspended]


class Backend(Protocol):
    """A way of doing attempts. Only the engine's thread calls it, except for `wake`."""

    name: str

    @property
    def can_stop(self) -> bool:
        """Whether `stop` really ends the work."""

    reports_start: bool
    """Whether `Started` is reported when the work really begins (else the engine uses the moment of `start`). It may be left out for
    an attempt that has ended by then: its `Ended` says when it began."""

    @property
    def ahead(self) -> int:
        """How many attempts it wants queued beyond its slots, so that a free slot never waits for the engine."""

    def start(self, attempt: Attempt) -> None:
        """Accept an attempt, without waiting for the work. The engine gives at most slots + ``ahead`` of them at a time."""

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Wait up to ``timeout`` seconds (None: for ever) for reports. The engine waits nowhere else."""

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report those of ``attempts`` that have not begun as ``Ended(began=False)``; they will not begin."""

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End attempts: TERM, grace, KILL (``kill``: KILL at once), for the whole tree; recall those that have not begun.
        Every end is reported as usual; repeated calls are harmless. Only called if ``can_stop``."""

    def pause(self, paused: bool) -> None:
        """Suspend (True) or continue (False) all attempts, and begin none while suspended. A backend that cannot suspend does nothing."""

    def wake(self) -> None:
        """Make a waiting `reports` return soon. May be called from a signal handler or another thread."""

    def close(self) -> None:
        """Leave nothing running and nothing open. May be called twice."""


class Elsewhere(Protocol):
    """A backend on other machines, which knows only when it is open how many slots these have."""

    @property
    def capacity(self) -> int:
        """The slots that there are."""


class Adjustable(Protocol):
    """A backend that can use fewer slots than it has."""

    def limit(self, width: int) -> None:
        """From now on run at most ``width`` attempts at once; running attempts are not ended for that."""


class Growing(Protocol):
    """A backend that can get more slots while it works."""

    def grow(self, slots: int) -> int:
        """Have ``slots`` slots, which is more than there are now; returns how many there are then."""


class Lasting(Protocol):
    """A backend for attempts that run elsewhere, also while it is not open. It is opened to collect them: most attempts that it is given have
    begun before, and some have ended. Give it all of them at once: it ignores reports of attempts that it was not given."""

    def hold(self, held: bool) -> None:
        """Stop reporting, or report again. Reports are kept elsewhere meanwhile."""

    def collected(self) -> None:
        """Tell it that every end is recorded: then `close` removes what is kept elsewhere. Without this call, `close` leaves all of it for
        the next backend."""


class Settling(Protocol):
    """A backend whose reports are kept elsewhere, for a resume, until they are in the journal."""

    def settled(self) -> None:
        """Tell it that all ends which `Backend.reports` has given so far are durable."""


# What of these a backend is. With `typing.runtime_checkable`, isinstance would tell; but from Python 3.12 on it imports `inspect` for that, which
# takes 11 ms.


def is_elsewhere(backend: object) -> TypeGuard[Elsewhere]:
    """Whether a backend is `Elsewhere`."""
    return hasattr(type(backend), "capacity")


def is_adjustable(backend: object) -> TypeGuard[Adjustable]:
    """Whether a backend is `Adjustable`."""
    return hasattr(type(backend), "limit")


def is_growing(backend: object) -> TypeGuard[Growing]:
    """Whether a backend is `Growing`."""
    return hasattr(type(backend), "grow")


def is_lasting(backend: object) -> TypeGuard[Lasting]:
    """Whether a backend is `Lasting`."""
    return hasattr(type(backend), "collected")


def is_settling(backend: object) -> TypeGuard[Settling]:
    """Whether a backend is `Settling`."""
    return hasattr(type(backend), "settled")
