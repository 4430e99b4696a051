"""Commands on several hosts, by a site on each (`manyhands.backends.site`): the next attempt goes to a host with a free slot.

    start(attempt) --> queue --> the least busy host --frames--> its launchers
    reports()      <----------------------------------------------frames-- all hosts

If a host is lost, its attempts are lost, too: they may have done anything. It is connected again; a host that is lost again and again
without ending an attempt is set aside, and the others do its work.

If each attempt belongs to one host (``on_each``), it goes to no other: those of a host that is set aside fail. A retry of one, which
comes later, has the host connected once more, as long as that has not been in vain too often.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from manyhands.backends.protocol import Ended, Noted, Report
from manyhands.backends.settings import CommandSettings
from manyhands.backends.shared.wake_up import Alarm
from manyhands.backends.site.host import Host, HostSpec
from manyhands.backends.site.link import LinkLostError
from manyhands.backends.site.near_files import FileMoves
from manyhands.core.attempt import Attempt, AttemptId, Ending
from manyhands.core.errors import ManyhandsError, UnavailableError
from manyhands.core.records import dataclass
from manyhands.runtime.at_fork import abandon_in_child

_LOSSES: Final = 3
"""Losses of a host in a row, without an attempt that has ended there, after which it is set aside."""
_AGAIN: Final = 1.0
"""Seconds until a lost host is connected again; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings(CommandSettings):
    """For commands on other hosts: ``workdir`` and ``stdin`` are there; ``environment`` is added to that of each host."""

    hosts: tuple[HostSpec, ...]
    patience: float = 20.0
    """Seconds to wait for a host at the beginning."""
    moves: FileMoves | None = None
    """The files that are sent and fetched."""
    on_each: bool = False
    """Whether the last value of a job is the host that it belongs to."""


class Sites:
    """See the module's first lines; a `manyhands.backends.protocol.Backend`. Raises UnavailableError if no host can be used."""

    name = "ssh"
    can_stop = True
    reports_start = True
    ahead = 64

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self._hosts: list[Host] = []
        self._owners: dict[AttemptId, Host] = {}
        self._queue: dict[AttemptId, Attempt] = {}
        self._ready: deque[Report] = deque()
        self._losses: dict[str, int] = {}
        self._aside: dict[str, str] = {}
        """The hosts that were set aside, the last one last, and why."""
        self._due: dict[str, float] = {}
        """When a lost host is connected again."""
        self._places: dict[str, tuple[int, int]] = {}
        """(slots, the first of them) of each host."""
        self._alarm = Alarm()
        abandon_in_child(self)
        self._paused = self._closed = self._begun = False
        self._known = {spec.name: spec for spec in settings.hosts}
        self._width = settings.slots
        try:
            self._connect_all()
        except BaseException:
            self.close()
            raise

    # -- connecting ------------------------------------------------------------------------------------------------------

    def _connect_all(self) -> None:
        """Connect to all hosts at once, and wait for the first word of each."""
        for spec in self.settings.hosts:
            try:
                self._hosts.append(self._connected(spec))
            except OSError as error:
                raise UnavailableError(f"cannot start {error.filename}: {error.strerror}") from None
        while any(host.cores is None for host in self._hosts):
            self._wait(None)
        self._begun = True
        for host in self._hosts:
            self._configure(host)
        if not self._hosts and not self.settings.on_each:
            said = "; ".join(sorted(report.text for report in self._ready if isinstance(report, Noted)))
            raise UnavailableError(f"no host can be used: {said}")

    def _connected(self, spec: HostSpec) -> Host:
        given = self.settings
        return Host(spec, given, lease=given.lease, patience=given.patience, moves=given.moves)

    def _configure(self, host: Host) -> None:
        """Send its settings to a host that has answered."""
        slots = host.spec.slots or host.cores or 1
        self._places.setdefault(host.name, (slots, 1 + self._slots()))
        host.configure(*self._places[host.name])
        if self._paused:
            host.pause(True)

    @property
    def capacity(self) -> int:
        """The slots of all hosts that have answered; one at least, so that what belongs to the others can fail."""
        return max(self._slots(), 1)

    def _slots(self) -> int:
        return sum(slots for slots, _ in self._places.values())

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for the next free slot of any host, or of its own; `reports` gives a host all that it can take at once."""
        self._check_open()
        self._queue[attempt.id] = attempt
        if self.settings.on_each and (name := _host_of(attempt)) not in self._known:
            self._fail(name, f"{name} is not one of the hosts of this run")
        elif self.settings.on_each and name in self._aside:
            self._try_again(name, attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if no host is left."""
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        rang = self._wait(0.0)
        while not (self._ready or rang):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self._check_any_left()
            rang = self._wait(left)
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back those that wait here; those that wait at a host are requested back."""
        for host, ids in self._by_host(attempts).items():
            if waiting := [id for id in ids if id not in host.begun]:
                host.recall(waiting)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall what has not begun, and end the rest."""
        for host, ids in self._by_host(attempts).items():
            host.stop(ids, kill=kill)

    def _by_host(self, attempts: Iterable[Attempt]) -> dict[Host, list[AttemptId]]:
        """The attempts that were sent, by host; those that were not are reported as not begun."""
        found: dict[Host, list[AttemptId]] = {}
        for one in () if self._closed else attempts:
            if self._queue.pop(one.id, None) is not None:
                self._ready.append(Ended(one, time.monotonic(), began=False))
            elif (host := self._owners.get(one.id)) is not None and host.withdraw(one.id):
                del self._owners[one.id]
                self._ready.append(Ended(one, time.monotonic(), began=False))
            elif host is not None:
                found.setdefault(host, []).append(one.id)
        return found

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts; meanwhile a silent host is not lost."""
        self._paused = paused
        for host in self._hosts:
            host.pause(paused)

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`: so many on all hosts together, whichever is free."""
        self._width = width

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """End everything there, and close the connections."""
        if self._closed:
            return
        self._closed = True
        for host in self._hosts:
            host.link.quit()
        for host in self._hosts:
            host.link.hang_up()  # all of them, before any is waited for
        for host in self._hosts:
            host.forget()
        self._alarm.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ManyhandsError("this backend is closed, or belongs to the process that this one was forked from")

    def abandon(self) -> None:
        """In a forked child: close what is open, and leave the hosts to the parent."""
        if not self._closed:
            self._closed = True
            for host in self._hosts:
                host.link.abandon()
            self._alarm.abandon()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float | None) -> bool:
        """Wait for whatever comes first, and handle it; return whether `wake` was called."""
        now = time.monotonic()
        until = self._look_after(now)
        poll = select.poll()
        poll.register(self._alarm.descriptor, select.POLLIN)
        owners: dict[int, Host] = {}
        for host in self._hosts:
            for descriptor in host.link.watched():
                poll.register(descriptor, select.POLLIN)
                owners[descriptor] = host
            if host.link.has_unsent:
                poll.register(host.link.input, select.POLLOUT)
                owners[host.link.input] = host
        if any(host.moved and host.moved.has_more and host.link.has_room for host in self._hosts if host.ready):
            seconds = 0.0
        left = max(0.0, until - now) if seconds is None else max(0.0, min(seconds, until - now))
        events = poll.poll(int(left * 1000 + 0.999))
        rang = False
        for descriptor, _ in events:
            if descriptor == self._alarm.descriptor:
                self._alarm.hush()
                rang = True
        for host in {owners[descriptor] for descriptor, _ in events if descriptor in owners}:
            self._serve(host)
        for host in self._hosts:
            for report in host.pump():
                self._owners.pop(report.attempt.id, None)
                self._ready.append(report)
        self._dispatch()
        return rang

    def _serve(self, host: Host) -> None:
        host.link.flush()
        host.link.read_errors()
        try:
            for report in host.hear():
                if isinstance(report, Ended):
                    self._owners.pop(report.attempt.id, None)
                    self._losses.pop(host.name, None)
                self._ready.append(report)
        except LinkLostError as error:
            self._lost(host, str(error))

    def _look_after(self, now: float) -> float:
        """Ping, connect again; return when to do so next."""
        until = now + 60.0
        for name, due in [*self._due.items()]:
            if due <= now:
                del self._due[name]
                self._connect_again(self._known[name])
            else:
                until = min(until, due)
        for host in [*self._hosts]:
            if host.cores is not None and not host.slots and self._begun:  # it has answered again
                self._configure(host)
            if self._paused:
                continue
            try:
                until = min(until, host.look(now))
            except LinkLostError as error:
                self._lost(host, str(error))
        return until

    def _connect_again(self, spec: HostSpec) -> None:
        try:
            self._hosts.append(self._connected(spec))
        except OSError as error:  # too many processes or files, which others may end
            self._missed(spec.name, f"cannot start {error.filename}: {error.strerror}")

    def _dispatch(self) -> None:
        """Give queued attempts to the hosts that have room, one by one to the least busy. Some wait at a host only if all slots may
        be used: with fewer, the next goes to a free host."""
        if self._paused or not self._queue:
            return
        given: dict[Host, list[Attempt]] = {}
        usable = {host.name: host for host in self._hosts if host.ready}
        all_slots = self._width >= sum(host.slots for host in usable.values())
        room = {host: host.room if all_slots else host.slots - len(host.flying) for host in usable.values()}
        if not any(left > 0 for left in room.values()):
            return
        load = {host: len(host.flying) for host in usable.values()}
        for attempt in [*self._queue.values()]:
            if not all_slots and sum(load.values()) >= self._width:
                break
            if self.settings.on_each:
                own = usable.get(_host_of(attempt))
                free = [own] if own and room[own] > 0 else []
            elif not (free := [host for host in usable.values() if room[host] > 0]):
                break
            if not free:
                continue
            host = min(free, key=lambda one: load[one] / one.slots)
            given.setdefault(host, []).append(self._queue.pop(attempt.id))
            self._owners[attempt.id] = host
            room[host] -= 1
            load[host] += 1
        for host, attempts in given.items():
            host.start(attempts)

    # -- lost hosts ------------------------------------------------------------------------------------------------------

    def _lost(self, host: Host, why: str) -> None:
        """Report the attempts of a host as lost, and connect to it again, unless it is set aside."""
        self._hosts.remove(host)
        unsent = [attempt for attempt in host.flying.values() if host.moved and not host.moved.is_sent(attempt.id)]
        host.forget()
        now = time.monotonic()
        for attempt in unsent:  # it has not begun
            self._queue[host.flying.pop(attempt.id).id] = attempt
            del self._owners[attempt.id]
        for attempt in host.flying.values():
            self._owners.pop(attempt.id, None)
            self._ready.append(Ended(attempt, now, Ending(error=f"{host.name} was lost: {why}", host=host.name)))
        if self._missed(host.name, why) and host.ready:
            self._ready.append(Noted(f"{host.name} was lost: {why}; it is connected again"))

    def _missed(self, name: str, why: str) -> bool:
        """Count a loss, or a connection that has failed; return whether the host is tried again. One that has never answered is not."""
        losses = self._losses[name] = self._losses.get(name, 0) + 1
        if name in self._places and losses < _LOSSES:
            self._due[name] = time.monotonic() + _AGAIN * 2 ** (losses - 1)
            return True
        self._aside.pop(name, None)
        self._aside[name] = why
        if self.settings.on_each:
            self._fail(name, f"the host cannot be used: {why}")
        else:
            self._ready.append(Noted(f"{name} is set aside: {why}"))
        return False

    def _fail(self, name: str, why: str) -> None:
        """Have the queued attempts that belong to a host fail, with the exit status that ssh(1) has then."""
        now = time.monotonic()
        for attempt in [one for one in self._queue.values() if _host_of(one) == name]:
            del self._queue[attempt.id]
            self._ready.append(Ended(attempt, now, Ending(255, error=why, host=name)))

    def _try_again(self, name: str, attempt: Attempt) -> None:
        """Connect to a host that was set aside, for a retry, or have the attempt fail."""
        if attempt.number > 1 and self._losses.get(name, 0) < _LOSSES:
            del self._aside[name]
            self._due[name] = time.monotonic()
        else:
            self._fail(name, f"the host cannot be used: {self._aside[name]}")

    def _check_any_left(self) -> None:
        """Raise ManyhandsError if attempts wait, and no host will ever take them."""
        if self._queue and not self._hosts and not self._due:
            name, why = next(reversed(self._aside.items()))
            raise ManyhandsError(f"no host is left: {name} is set aside: {why}")


def _host_of(attempt: Attempt) -> str:
    """The host that an attempt belongs to, with ``on_each``."""
    return os.fsdecode(attempt.job.values[-1])
