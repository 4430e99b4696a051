"""One execution at a consumer: a local backend in a thread of its own does the attempts, and what it reports goes to the broker.

    the consumer's threads --start, stop, ...--> inbox --> backend --reports--> outbox --> broker

A submitted execution may be known here for days: it starts its processes with its first attempt, and ends them when it has had nothing to do
for a while. What could not be sent waits here, and is sent again when the broker is back. If the broker has lost its memory, the ends of the
last seconds are sent once more, because the coordinator may not have read them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from manyhands.backends.protocol import Backend, Ended, Noted, Report, Started
from manyhands.backends.queue import reports
from manyhands.backends.queue.carrier import BrokerLostError, Receiver
from manyhands.backends.queue.messages import LARGEST
from manyhands.backends.queue.plain_ends import MOST, is_plain, packed_ends
from manyhands.backends.queue.run_settings import RunSettings
from manyhands.backends.registry import open_backend
from manyhands.backends.shared.hosted_backend import HostedBackend
from manyhands.core.attempt import Attempt, AttemptId, Ending

_UNREAD: Final = 128
"""Parcels of this consumer that may wait for the coordinator before large outputs have to."""
_REMEMBERED: Final = 10.0
"""Seconds that a sent end is kept."""
_MOST_REMEMBERED: Final = 1 << 23
"""Bytes of these at most."""
_AGAIN: Final = 0.2
"""Seconds after which a broker is tried again."""
_GATHER: Final = 0.01
"""Seconds between two parcels of plain ends while more is to come: each wakes the coordinator."""
_RESULT: Final = 1 << 20
"""Bytes of a result that certainly fit into a message."""
_RESTING: Final = 30.0
"""Seconds without an attempt after which a submitted execution ends its processes; longer than ends are kept."""
_PAUSE: Final = 0.01
"""Seconds until it is looked again whether large outputs may go on."""

Packing = Callable[[float], bytes]
"""Makes a message at the moment when it is sent, because it says how long ago something was."""


class HostedRun(HostedBackend):
    """See the module's first lines. ``ended`` is called, in our thread, when an attempt is over."""

    def __init__(
        self,
        name: str,
        settings: RunSettings,
        receiver: Receiver,
        ended: Callable[[], None],
        *,
        consumer: str,
        slots: int,
    ) -> None:
        super().__init__(name)
        self.settings, self._slots = settings, slots
        self._consumer, self._receiver, self._on_end = consumer, receiver, ended
        self.begun: dict[AttemptId, Started] = {}
        self.wall = 0.0
        """Seconds that an attempt takes, about."""
        self._outbox: deque[Packing | Ended] = deque()
        """What is to be said; ends of which there is little to tell as they are."""
        self._large: deque[Iterator[bytes]] = deque()
        self._sent: deque[tuple[float, int, Packing]] = deque()
        self._sent_size = 0
        self._lost: dict[AttemptId, str] = {}
        """Why attempts are lost that are being killed."""
        self._waiting = 0
        self._over: list[AttemptId] = []
        """Attempts that have ended since the last turn."""
        self._next_try = 0.0
        self._next_parcel = 0.0
        self._used = time.monotonic()
        """When there was anything to do."""
        self._conclude_within: float | None = None
        if not settings.unattended:
            self._begin()

    # -- called by the consumer ------------------------------------------------------------------------------------------

    def start(self, attempts: Sequence[Attempt]) -> None:
        """See `HostedBackend.start`."""
        self._used = time.monotonic()
        if not self.has_begun:
            self._begin()
        super().start(attempts)

    def rested(self) -> HostedRun | None:
        """A fresh object for the same execution, if this one has had nothing to do for some time, and was closed; else None."""
        long_ago = time.monotonic() - self._used > _RESTING
        if not (self.settings.unattended and self.has_begun and self.idle and long_ago) or self.failure:
            return None
        self.close()
        self.join()
        return HostedRun(
            self.name, self.settings, self._receiver, self._on_end, consumer=self._consumer, slots=self._slots
        )

    def lose(self, why: str) -> None:
        """Kill everything, and report it as lost."""
        lost = self._known([*self.held])
        self._lost.update((one.id, why) for one in lost)
        self._do(lambda backend: backend.stop(lost, kill=True))

    def conclude(self, seconds: float) -> None:
        """Close it, but report what has ended by itself until then; large outputs are sent for so many ``seconds``."""
        self._conclude_within = seconds
        self.close()

    def repeat(self) -> None:
        """The broker has lost its memory: report once more what runs, and the last ends."""
        self._do(self._repeat)

    @property
    def idle(self) -> bool:
        """Whether all is done and reported."""
        return not (self.held or self._outbox or self._large)

    # -- our thread ------------------------------------------------------------------------------------------------------

    def _opened(self, folder: Path) -> Backend:
        if self.settings.call is not None:
            return open_backend("processes", self.settings.function(self._slots, folder))
        return open_backend("commands", self.settings.commands(self._slots, folder))

    def _patience(self) -> float:
        """Seconds that may be waited for reports."""
        if self._inbox:
            return 0.0
        if self._outbox:
            return max(0.0, self._due() - time.monotonic())
        if self._large:
            return _PAUSE if self._waiting > _UNREAD else 0.0
        return 1.0

    def _last_turn(self, backend: Backend) -> None:
        if self._conclude_within is None:
            return
        for report in backend.reports(0):
            self._tell(report)
        backend.close()
        deadline = time.monotonic() + self._conclude_within
        self._next_try = 0.0  # it is set when something cannot be sent
        while (self._outbox or self._large) and time.monotonic() < deadline and not self._next_try:
            self._next_parcel = 0.0
            self._send()
            if self._waiting > _UNREAD:
                time.sleep(_PAUSE)

    def _fail(self, why: str) -> None:
        """Give back what we have, and take nothing more."""
        self.failure = why
        for one in self._known([*self.held]):
            self._tell(Ended(one, time.monotonic(), Ending(error=why), began=one.id in self.begun))
        while self._outbox and not self._closing.wait(_AGAIN):
            self._send()

    def _tell(self, report: Report) -> None:
        if isinstance(report, Ended):
            if report.attempt.id in self.held:
                self._end(report)
        elif isinstance(report, Noted):
            self._outbox.append(partial(_always, reports.noted(self._consumer, report.text)))
        elif isinstance(report, Started) and report.attempt.id in self.held:
            self.begun[report.attempt.id] = report
            self._outbox.append(partial(reports.started, self._consumer, report))

    def _end(self, report: Ended) -> None:
        if report.began:
            wall = report.ending.wall
            self.wall = wall if not self.wall else 0.9 * self.wall + 0.1 * wall
        if self._lost and (why := self._lost.pop(report.attempt.id, None)) is not None:
            report = report._replace(ending=Ending(error=why), began=True)
        if report.ending.stdout.path or report.ending.stderr.path:
            self._large.append(self._in_pieces(report))
        else:
            self._last(report)

    def _in_pieces(self, report: Ended) -> Iterator[bytes]:
        yield from reports.pieces(self._consumer, report)
        self._last(report)

    def _last(self, report: Ended) -> None:
        """Send an end: its slot is free."""
        id = report.attempt.id
        stopped = report.at >= self._stops.pop(id, math.inf)
        self._outbox.append(report if not stopped and is_plain(report) else self._packing(report, stopped))
        with self._mutex:
            self.held.pop(id, None)
            self.begun.pop(id, None)
        self._used = time.monotonic()
        self._over.append(id)

    def _packing(self, report: Ended, stopped: bool) -> Packing:
        """The message of an end that is not plain."""
        result = report.ending.result or b""
        if len(result) > _RESULT and len(reports.ended(self._consumer, report, report.at, stopped=False)) > LARGEST:
            why = f"what it returned is too large: {len(result)} bytes, and a queue carries messages of {LARGEST} at most"
            report = report._replace(ending=report.ending._replace(exit=1, result=None, error=why))
        return partial(reports.ended, self._consumer, report, stopped=stopped)

    # -- to the broker ---------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        if self._over:  # at once: who waits for room is woken by many, not by each
            over, self._over = self._over, []
            self._receiver.over(self.name, over)
            self._on_end()
        while self._large and not self._outbox and self._waiting <= _UNREAD:
            if (piece := next(self._large[0], None)) is None:
                self._large.popleft()
            else:
                self._outbox.append(partial(_always, piece))
                break
        now = time.monotonic()
        if now < self._due() or not (self._outbox or self._large):
            return
        packings = [*self._packings()]
        ready = [pack(now) for pack in packings]
        try:
            waiting = self._receiver.report(self.name, ready)
        except BrokerLostError:
            waiting = None
        if waiting is None:
            self._next_try = now + _AGAIN
            return
        self._waiting = 0 if self.settings.unattended else waiting
        if any(isinstance(one, Ended) for one in self._outbox):
            self._next_parcel = now + _GATHER
        self._outbox.clear()
        for pack, message in zip(packings, ready, strict=True):
            self._sent.append((now, len(message), pack))
            self._sent_size += len(message)
        while self._sent and (self._sent[0][0] < now - _REMEMBERED or self._sent_size > _MOST_REMEMBERED):
            self._sent_size -= self._sent.popleft()[1]

    def _due(self) -> float:
        """The moment from which on something may be sent."""
        return max(self._next_try, self._next_parcel) if self.held else self._next_try

    def _packings(self) -> Iterator[Packing]:
        """All that is to be said, in order, plain ends together."""
        plain: list[Ended] = []
        for one in self._outbox:
            if plain and (len(plain) == MOST or not isinstance(one, Ended)):
                yield partial(packed_ends, self._consumer, plain)
                plain = []
            if isinstance(one, Ended):
                plain.append(one)
            else:
                yield one
        if plain:
            yield partial(packed_ends, self._consumer, plain)

    def _repeat(self, backend: Backend) -> None:  # noqa: ARG002 - it is a verb
        self._outbox.extendleft(pack for _, _, pack in reversed(self._sent))
        self._sent.clear()
        self._sent_size = 0
        self._outbox.extend(partial(reports.started, self._consumer, one) for one in self.begun.values())


def _always(message: bytes, now: float) -> bytes:  # noqa: ARG001 - it is a `Packing`
    return message
