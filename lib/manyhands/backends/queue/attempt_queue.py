"""Where attempts wait with Celery or RQ: one queue in their broker for each execution. What coordinators and `queue.purge` need of it.

Every method raises `BrokerLostError` if the broker does not answer, and can be called again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from manyhands.core.lean import NamedTuple

KEPT: Final = 86_400
"""Seconds after which a broker may remove what nobody has asked for: a suspended batch is kept so long."""
ATTEMPT: Final = "manyhands.attempt"
"""The name of what is to be done, as the tools of Celery show it."""
_LONGEST: Final = 200
"""Characters of what is shown of an attempt."""


class Waiting(NamedTuple):
    """An attempt in a broker: ``name``, which is unique, and ``shown`` are for Celery's and RQ's own tools."""

    name: str
    shown: str
    message: bytes


class AttemptQueue(Protocol):
    """One kind of broker."""

    def make(self, run: str) -> bool:
        """Make the queue of an execution if it is not there, else keep it for a while longer; whether it was not there."""

    def put(self, run: str, attempts: Sequence[Waiting]) -> None:
        """Let attempts wait there, in order."""

    def count(self, run: str) -> int:
        """How many wait."""

    def drain(self, run: str) -> list[bytes]:
        """Remove all that wait; their messages."""

    def remove(self, run: str) -> None:
        """Remove the queue, with all that waits."""

    def close(self) -> None:
        """Close the connection."""


def queue_name(run: str) -> str:
    """What the queue of an execution is called in the broker."""
    return f"manyhands.{run}"


def run_of(queue: str) -> str:
    """The inverse."""
    return queue.removeprefix("manyhands.")


def shortened(text: str) -> str:
    """A text that is shown, on one line and without half characters."""
    printable = "".join(one if one.isprintable() else "?" for one in text[:_LONGEST])
    return printable if len(text) <= _LONGEST else f"{printable}..."
