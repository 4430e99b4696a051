"""What coordinator and consumers need of a broker, so that one kind can be exchanged for another: they know nothing else of it.

Every method waits for the broker, and raises `BrokerLostError` if it does not answer; then it may have done its part, or not. All can
be called again: a message that arrives twice does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from manyhands.core.attempt import AttemptId
from manyhands.core.lean import NamedTuple

RECALLED: Final = "-"
"""In the place of a consumer: the coordinator itself has claimed the attempt, so that nobody does it."""


class BrokerLostError(Exception):
    """The broker does not answer, or refuses; says why."""


class GoneError(BrokerLostError):
    """The broker answers, but what was asked for is not there, or is not what it should be."""


class Arrived(NamedTuple):
    """A message, and when the broker got it, in seconds of the broker's clock."""

    data: object
    at: float


class Beat(NamedTuple):
    """What a coordinator learns when it renews its lease."""

    consumers: Mapping[str, bytes]
    """What each living consumer says of itself."""
    forgotten: bool
    """The broker knew nothing of this execution any more; it has been made anew."""
    sent: float
    at: float
    received: float
    """The broker's clock said ``at`` between two moments of our monotonic clock."""


class Whereabouts(NamedTuple):
    """Where an attempt is: claimed by ``owner``, or waiting in the broker; or neither."""

    owner: str | None
    waits: bool


class Sender(Protocol):
    """The coordinator's end, for one execution."""

    name: str
    """Of the execution, in the broker."""
    most_together: int
    """How many attempts it can let travel as one."""

    def open(self) -> None:
        """Begin, and tell the consumers that there is work."""

    def renew(self, *, again: bool) -> Beat:
        """Renew the lease; ``again``: the broker may have lost anything since, so begin anew."""

    def send(self, attempts: Sequence[tuple[AttemptId, bytes]], together: int = 1) -> None:
        """Let attempts, as rows (`attempt_messages.row_of`), wait for consumers, who may get up to ``together`` of them at once."""

    def receive(self, timeout: float) -> Sequence[Arrived]:
        """What consumers have reported, each once, unless the broker forgets; waits up to ``timeout`` seconds for the first."""

    def forget(self, readings: int) -> None:
        """Remove what the first so many calls of `receive` have given that were not forgotten yet: nobody has to read it again."""

    def interrupt(self) -> None:
        """Make a waiting `receive` return."""

    def claim(self, ids: Sequence[AttemptId]) -> Sequence[str]:
        """Claim attempts, so that nobody does them; who has each: `RECALLED`, or the consumer that was first."""

    def find(self, ids: Sequence[AttemptId]) -> Sequence[Whereabouts]:
        """Where attempts are that were sent."""

    def tell(self, consumers: Collection[str], message: bytes) -> None:
        """Have consumers do something at once."""

    def pause(self, paused: bool) -> None:
        """Note whether the execution is suspended; while it is, its lease does not end."""

    def finish(self) -> None:
        """Tell all consumers that the execution is over, and remove everything of it."""

    def close(self) -> None:
        """Close the connections."""


class LastingSender(Sender, Protocol):
    """A sender for an execution that runs without a coordinator. One process submits it, and another collects it later.

    `Sender.open` continues the execution if the broker has it. Reports stay in the broker until `Sender.finish`: each process that opens the
    execution receives all of them again.
    """

    mark: bytes
    """A message that `open` and `write_mark` put behind all reports that there are. `receive` gives it, too: then these have been received."""
    found: bool
    """Whether the execution was there when it was opened."""

    def write_mark(self) -> None:
        """Put the mark behind all that has been reported."""


class RunState(NamedTuple):
    """What a consumer finds of an execution; ``settings`` only if it was asked for."""

    incarnation: str
    paused: bool
    settings: bytes | None = None


class Claim(Enum):
    """What came of a claim: it is ours from now on, it was ours before, it is another's."""

    NEW = "new"
    OURS = "ours"
    OTHERS = "others"


class Taken(NamedTuple):
    """A message of an execution, which may be several attempts, in an entry that `Receiver.claim` removes."""

    run: str
    entry: object
    data: object


class Receiver(Protocol):
    """A consumer's end."""

    def renew(self, about: bytes, runs: Collection[str]) -> Mapping[str, RunState | None]:
        """Renew the lease, say something of ourselves; the state of these executions, None for one that is gone."""

    def runs(self) -> set[str]:
        """All executions that there are."""

    def settings(self, run: str) -> RunState | None:
        """An execution with its settings; None if it is gone."""

    def take(self, runs: Sequence[str], room: int, timeout: float) -> Sequence[Taken]:
        """Take about ``room`` attempts that wait, now ours to claim; waits up to ``timeout`` seconds for the first.

        What others would do of other executions is left to them: with none, nothing is held here that waits.
        """

    def put_back(self, taken: Sequence[Taken]) -> None:
        """Let others take what we have not claimed."""

    def claim(self, run: str, ids: Sequence[AttemptId], entries: Sequence[object] = ()) -> Sequence[Claim]:
        """Claim attempts, and remove these ``entries`` from those that wait; whose each attempt is now.

        The first entries are those of the attempts, in the same order; the others hold no attempt. An entry may hold several.
        """

    def over(self, run: str, ids: Sequence[AttemptId] | None) -> None:
        """These attempts are done here, or nobody is to do them here; None: all of the execution. Asks nothing of the broker."""

    def report(self, run: str, reports: Sequence[bytes]) -> int | None:
        """Send reports; how many parcels of ours the coordinator has still to read and to record. None: it is gone, or the broker has forgotten it; nothing was sent."""

    def listen(self, timeout: float) -> Sequence[object]:
        """What we are to do at once; waits up to ``timeout`` seconds."""

    def interrupt(self) -> None:
        """Make a waiting `listen` return."""

    def leave(self) -> None:
        """Remove everything of ourselves from the broker."""

    def close(self) -> None:
        """Close the connections."""
