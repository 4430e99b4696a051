"""The backend of a queue: it gives attempts to a broker, and consumers report what became of them.

    start(attempt) --> waiting --at most as many as may run--> courier --> broker --> a consumer
    reports()      <----------------- Started, Ended <-- reader <-------- broker <--

The broker is not trusted to remember: an attempt that no consumer has claimed, and that does not wait there, is sent
again. If a consumer gives no sign of life for the time of its lease, its attempts are lost; later reports of them are ignored.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final

from manyhands.backends.protocol import Ended, Noted, Report
from manyhands.backends.queue import messages, reports
from manyhands.backends.queue.attempt_messages import row_of, why_none
from manyhands.backends.queue.carrier import RECALLED, Arrived, Beat, Sender, Whereabouts
from manyhands.backends.queue.courier import Beaten, Courier, Done, Down, Event, Heard
from manyhands.backends.queue.messages import Message, NotOursError, packed
from manyhands.backends.queue.outputs import Outputs
from manyhands.backends.queue.parcel_sizes import ParcelSizes
from manyhands.backends.queue.plain_ends import PlainEnd, ends_of
from manyhands.backends.queue.reports import End
from manyhands.backends.queue.seen_consumers import SeenConsumers
from manyhands.backends.queue.sent_attempt import Sent
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.backends.site.clock import FarClock
from manyhands.core.attempt import Attempt, AttemptId, Ending
from manyhands.core.errors import ManyhandsError
from manyhands.runtime.at_fork import abandon_in_child

LONELY: Final = 2.0
"""Seconds without a consumer after which the user is told."""
SETTLING: Final = 4
"""How often consumers can renew their leases at a broker that lost its memory, before attempts are sent again."""
_SUSPENDING: Final = 2.0
"""Seconds to wait until the broker has taken the order to suspend everything."""
_PAGE: Final = 500
"""Attempts that are looked for at once."""
_UNHEARD: Final = 10
"""A broker that has not answered for so many leases ends the batch,"""
_LEAST_UNHEARD: Final = 30.0
"""or for so many seconds, if that is longer."""


class Queued:
    """The `manyhands.backends.protocol.Backend` that the module's first lines describe."""

    can_stop = True
    reports_start = True
    ahead = 64
    _leaves = False
    """Whether what is in the broker stays there at the end."""

    def __init__(self, name: str, settings: CommandSettings | FunctionSettings, sender: Sender) -> None:
        self.name, self.settings, self._sender = name, settings, sender
        self._call = settings.call if isinstance(settings, FunctionSettings) else None
        self._place = settings.broker.url if settings.broker else name
        self._period = min(1.0, settings.lease / 4)
        self._waiting: dict[AttemptId, Attempt] = {}
        self._sent: dict[AttemptId, Sent] = {}
        self._ready: list[Report] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._clock = FarClock()
        self._outputs = Outputs(settings.outputs)
        self._consumers = SeenConsumers(settings.lease)
        self._width = settings.slots
        self._sizes = ParcelSizes(sender.most_together)
        self._paused = self._closed = self._told_lonely = False
        self._opened = time.monotonic()
        self._down_since: float | None = None
        self._audit_at: float | None = None
        self._next_audit = self._opened + settings.lease
        abandon_in_child(self)
        sender.open()
        self._courier = Courier(sender, self._events.put, self._period)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for the next consumer with a free slot."""
        self._check_open()
        if (why := why_none(attempt, self._call)) is not None:
            self._ready.append(Ended(attempt, time.monotonic(), Ending(error=why), began=False))
        else:
            self._waiting[attempt.id] = attempt

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What began and ended since then; waits up to ``timeout`` seconds. Raises ManyhandsError if the broker is away for long."""
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        rang = self._drain()
        while True:
            self._dispatch()
            until = self._look_after(time.monotonic())
            self._courier.returned(ends=any(isinstance(one, Ended) for one in self._ready))
            left = None if deadline is None else deadline - time.monotonic()
            if self._ready or rang or (left is not None and left <= 0):
                break
            rang = self._wait(until if left is None else min(left, until))
        ready, self._ready = self._ready, []
        return ready

    def settled(self) -> None:
        """See `manyhands.backends.protocol.Settling`."""
        self._courier.settled()

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back the attempts that no consumer has claimed, and ask consumers for claimed ones that have not begun."""
        self._take_back([one for one in attempts if (sent := self._sent.get(one.id)) is None or not sent.begun], "recall")

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall the attempts that have not begun, and end the others; if the broker does not answer, they are lost."""
        for one in attempts:
            if (sent := self._sent.get(one.id)) is not None:
                sent.stopped = sent.stopped or time.monotonic()
        self._take_back(attempts, "stop", kill=kill)
        if kill and self._down_since is not None:
            self._lose_stopped()

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts. While they are suspended, consumers do not end them because we are silent."""
        self._check_open()
        self._paused = paused
        done = threading.Event()  # waited for: this process, with the thread that sends the order, may be stopped next
        order = packed({"type": "pause", "run": self._sender.name, "paused": paused})
        self._courier.do(partial(self._suspend, paused, [*self._consumers.known], order, done))
        done.wait(_SUSPENDING if self._down_since is None else 0.0)

    def _suspend(self, paused: bool, consumers: Sequence[str], order: bytes, done: threading.Event) -> None:
        self._sender.pause(paused)
        self._sender.tell(consumers, order)
        done.set()

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`."""
        self._width = width

    def wake(self) -> None:
        """Make `reports` return."""
        self._events.put(None)

    def close(self) -> None:
        """Have consumers end everything, and remove all that is ours from the broker."""
        if self._closed:
            return
        self._closed = True
        self._courier.close(leave=self._leaves)
        self._sender.close()
        self._outputs.drop()

    def abandon(self) -> None:
        """In a forked child: leave all to the parent."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ManyhandsError("this backend is closed, or belongs to the process that this one was forked from")

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def _drain(self) -> bool:
        """Handle all events that have arrived; return whether `wake` was called."""
        rang = False
        while not self._events.empty():
            rang = self._handle(self._events.get()) or rang
        return rang

    def _wait(self, seconds: float) -> bool:
        try:
            first = self._events.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        return self._handle(first) | self._drain()

    def _handle(self, event: Event | None) -> bool:
        if event is None:
            return True
        if isinstance(event, Heard):
            for one in event.arrived:
                self._hear(one)
            self._courier.taken()
        elif isinstance(event, Done):
            event.then(event.found)
        elif isinstance(event, Beaten):
            self._beaten(event.beat)
        elif isinstance(event, Down) and self._down_since is None:
            self._down_since = time.monotonic()
            self._ready.append(Noted(f"the broker {self._place} does not answer: {event.why}; waiting for it"))
        return False

    def _look_after(self, now: float) -> float:
        """Do what is due; return the seconds until the next look."""
        if self._down_since is not None:
            self._look_at_outage(now - self._down_since)
        elif not self._paused:
            self._look_for_lost(now)
        if self._audit_at is not None and now >= self._audit_at:
            self._audit_at = None
            self._audit([*self._sent])
        if now >= self._next_audit:
            self._next_audit = now + self.settings.lease
            self._audit([id for id, one in self._sent.items() if not one.begun and one.at < now - self.settings.lease])
        if not self._told_lonely and now - self._opened > LONELY and self._is_lonely():
            self._told_lonely = True
            self._ready.append(Noted(f"no consumer at {self._place} takes the jobs yet: they wait for one (queue.work)"))
        return min(self._period, max(0.0, self._sizes.held_until - now))

    def _is_lonely(self) -> bool:
        return bool(self._sent) and self._consumers.are_none

    def _look_at_outage(self, seconds: float) -> None:
        if seconds > LONELY:
            self._lose_stopped()
        if seconds > max(_UNHEARD * self.settings.lease, _LEAST_UNHEARD):
            raise ManyhandsError(f"the broker {self._place} has not answered for {seconds:.0f} s")

    # -- attempts on their way -------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now, room = time.monotonic(), max(0, self._width - len(self._sent))
        room = self._sizes.room(room, len(self._waiting), len(self._sent), self._consumers.count, now)
        if self._paused or not self._waiting:
            return
        batch: list[tuple[AttemptId, bytes]] = []
        for id in [*self._waiting][:room]:
            attempt = self._waiting.pop(id)
            self._sent[id] = Sent(attempt, now)
            batch.append((id, row_of(attempt, self._call)))
        if batch:
            self._courier.do(partial(self._sender.send, batch, self._sizes.together(len(batch), self._consumers.count)))

    def _again(self, ids: Iterable[AttemptId]) -> None:
        """Send attempts again."""
        batch = []
        for id in ids:
            if (sent := self._sent.get(id)) is not None:
                sent.at, sent.owner, sent.begun = time.monotonic(), None, False
                batch.append((id, row_of(sent.attempt, self._call)))
        if batch:
            self._courier.do(partial(self._sender.send, batch))

    def _take_back(self, attempts: Iterable[Attempt], verb: str, *, kill: bool = False) -> None:
        unclaimed: list[AttemptId] = []
        claimed: dict[str, list[AttemptId]] = {}
        for one in () if self._closed else attempts:
            if self._waiting.pop(one.id, None) is not None:
                self._ready.append(Ended(one, time.monotonic(), began=False))
            elif (sent := self._sent.get(one.id)) is not None and sent.owner is None:
                unclaimed.append(one.id)
            elif sent is not None and sent.owner is not None:
                claimed.setdefault(sent.owner, []).append(one.id)
        for owner, ids in claimed.items():
            self._order(owner, verb, ids, kill=kill)
        if unclaimed:
            then = partial(self._taken_back, unclaimed, verb, kill=kill)
            self._courier.do(partial(self._sender.claim, unclaimed), then)

    def _taken_back(self, ids: Sequence[AttemptId], verb: str, owners: Sequence[str], *, kill: bool) -> None:
        """Handle the answer about attempts that seemed unclaimed: each was taken back, or has an owner by now."""
        for id, owner in zip(ids, owners, strict=True):
            if (sent := self._sent.get(id)) is None:
                continue
            if owner == RECALLED:
                self._end(id, Ended(sent.attempt, time.monotonic(), began=False))
            else:
                sent.owner = owner
                self._order(owner, verb, [id], kill=kill)

    def _order(self, owner: str, verb: str, ids: Sequence[AttemptId], *, kill: bool) -> None:
        order = packed({"type": verb, "run": self._sender.name, "ids": [*ids], "kill": kill})
        self._courier.do(partial(self._sender.tell, [owner], order))

    # -- consumers -------------------------------------------------------------------------------------------------------

    def _beaten(self, beat: Beat) -> None:
        if beat.forgotten:
            self._clock = FarClock()
            self._audit_at = time.monotonic() + SETTLING * self._period
            if self._down_since is None:
                self._ready.append(Noted(f"the broker {self._place} has lost its memory: what is not done is sent again"))
        if self._down_since is not None:
            self._down_since = None
            self._ready.append(Noted(f"the broker {self._place} answers again"))
            self._consumers.forgive()
        self._clock.answered(beat.sent, beat.received, beat.at)
        self._consumers.are(beat.consumers)

    def _look_for_lost(self, now: float) -> None:
        """Report attempts as lost whose consumers give no sign of life: the broker forgets those whose lease is over."""
        owners = {one.owner for one in self._sent.values() if one.owner is not None}
        for name in self._consumers.lost(owners, now):
            ids = [id for id, one in self._sent.items() if one.owner == name]
            self._lost(ids, f"consumer {name} was lost: it gave no sign of life")

    def _lost(self, ids: Iterable[AttemptId], why: str) -> None:
        now = time.monotonic()
        for id in ids:
            sent = self._sent[id]
            self._end(id, Ended(sent.attempt, now, Ending(error=why, host=sent.owner)))

    def _lose_stopped(self) -> None:
        """Report as lost what was to be stopped: consumers cannot be told, and stop when our lease is over."""
        ids = [id for id, one in self._sent.items() if one.stopped]
        self._lost(ids, "the job could not be stopped yet, because the broker does not answer")

    def _audit(self, ids: Sequence[AttemptId]) -> None:
        """Ask the broker where the attempts are of which nothing was heard."""
        for at in range(0, len(ids), _PAGE):
            page = ids[at : at + _PAGE]
            self._courier.do(partial(self._sender.find, page), partial(self._audited, page, time.monotonic()))

    def _audited(self, ids: Sequence[AttemptId], asked: float, found: Sequence[Whereabouts]) -> None:
        again = []
        for id, place in zip(ids, found, strict=True):
            sent = self._sent.get(id)
            if sent is None or sent.at > asked:
                continue
            if place.owner == RECALLED:
                self._end(id, Ended(sent.attempt, asked, began=False))
            elif place.owner is not None:
                sent.owner = place.owner
            elif sent.begun:
                why = f"consumer {sent.owner} no longer has the job; the report of its end was lost by the broker"
                self._lost([id], why)
            elif not place.waits:
                again.append(id)
        self._again(again)

    # -- what consumers report -------------------------------------------------------------------------------------------

    def _hear(self, arrived: Arrived) -> None:
        if arrived.data == b"{}":  # the sender put it there, not a consumer
            return
        try:
            self._understood(messages.unpacked(arrived.data, *reports.TYPES), self._clock.here(arrived.at))
        except NotOursError as error:
            self._ready.append(Noted(f"set aside: a report at {self._place}: {error}"))

    def _understood(self, message: Message, sent_at: float) -> None:
        kind = message["type"]
        now = time.monotonic()
        sent_at = min(sent_at, now)
        if kind == "ends":
            self._ended_plainly(ends_of(message, sent_at))
        elif kind == "noted":
            self._ready.append(Noted(messages.text(message, "text", messages.LARGEST)))
        elif kind == "refused":
            consumer, why = messages.text(message, "consumer"), messages.text(message, "text", 10_000)
            self._consumers.refuses(consumer)
            self._ready.append(Noted(f"consumer {consumer} does not take this run: {why}"))
        elif kind == "purged":
            for id in messages.attempt_ids(message):
                if id in self._sent and not self._sent[id].begun:
                    self._end(id, Ended(self._sent[id].attempt, now, began=False))
        elif kind != "closed" and (sent := self._sent.get(messages.attempt_id(message))) is not None:
            self._about(sent, message, sent_at)

    def _about(self, sent: Sent, message: Message, sent_at: float) -> None:
        """Handle a report about an attempt that has not ended yet."""
        id, owner = sent.attempt.id, messages.text(message, "consumer")
        if message["type"] == "piece":
            self._outputs.add(id, reports.piece_of(message))
        elif message["type"] == "started":
            report = reports.started_of(message, sent.attempt, sent_at)._replace(host=owner)
            if not sent.begun:
                self._ready.append(report)
                self._sizes.began(time.monotonic())
            sent.begun, sent.owner = True, owner
        else:
            sent.owner = owner
            self._ended(id, sent, reports.end_of(message), sent_at)

    def _ended_plainly(self, ends: Iterable[PlainEnd]) -> None:
        walls = []
        for id, at, ending, pid in ends:
            if (sent := self._sent.get(id)) is not None:
                walls.append(ending.wall)
                self._end(id, Ended._make((sent.attempt, at, ending, True, False, pid)))
        if walls:
            self._sizes.took(sum(walls) / len(walls), len(walls))

    def _ended(self, id: AttemptId, sent: Sent, end: End, sent_at: float) -> None:
        if end.began:
            self._sizes.took(end.ending.wall)
        stdout, stderr, failure = self._outputs.whole(id, end)
        if failure:
            self._ready.append(Noted(f"job {id[0]}: {failure}"))
        self._end(id, sent.end(end, sent_at, stdout, stderr, failure))

    def _end(self, id: AttemptId, report: Ended) -> None:
        """Report the end of an attempt; only the first one counts."""
        del self._sent[id]
        self._outputs.forget(id)
        self._ready.append(report)
