"""Commands on several hosts, by a site on each (`manyhands.backends.site`): whoever has a free slot gets the next attempt.

    start(attempt) --> queue --> the host with most free slots --frames--> its launchers
    reports()      <----------------------------------------------frames-- all hosts

If a host is lost, its attempts are lost, too: they may have done anything. It is connected again; a host that is lost again and again
without ending an attempt is set aside, and the others do its work.
"""

from __future__ import annotations

import os
import select
import time
import weakref
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from manyhands.backends.protocol import Ended, Noted, Report
from manyhands.backends.settings import CommandSettings
from manyhands.backends.shared.wake_up import Alarm
from manyhands.backends.site.host import Host, HostSpec
from manyhands.backends.site.link import LinkLostError
from manyhands.core.attempt import Attempt, AttemptId, Ending
from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass

_LOSSES: Final = 3
"""Losses of a host in a row, without an attempt that has ended there, after which it is set aside."""
_AGAIN: Final = 1.0
"""Seconds until a lost host is connected again; doubled each time."""
_open: weakref.WeakSet[Sites] = weakref.WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings(CommandSettings):
    """For commands on other hosts: ``workdir`` and ``stdin`` are there; ``environment`` is what the hosts' own is extended by."""

    hosts: tuple[HostSpec, ...]
    lease: float = 60.0
    """Seconds of silence after which a host ends its attempts; some seconds later they are lost."""
    patience: float = 20.0
    """Seconds to wait for a host at the beginning."""


class Sites:
    """See the module's first lines; a `manyhands.backends.protocol.Backend`. Raises ManyhandsError if no host can be used."""

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
        self._due: dict[str, float] = {}
        """When a lost host is connected again."""
        self._places: dict[str, tuple[int, int]] = {}
        """(slots, the first of them) of each host."""
        self._alarm = Alarm()
        _open.add(self)
        self._paused = self._closed = False
        self._width: int | None = None
        try:
            self._connect_all()
        except BaseException:
            self.close()
            raise

    # -- connecting ------------------------------------------------------------------------------------------------------

    def _connect_all(self) -> None:
        """Connect to all hosts at once, and wait for the first word of each."""
        for spec in self.settings.hosts:
            self._connect(spec)
        deadline = time.monotonic() + self.settings.patience
        while waiting := [host for host in self._hosts if host.cores is None]:
            left = deadline - time.monotonic()
            if left <= 0:
                for host in waiting:
                    self._aside(host, f"it did not answer within {self.settings.patience:g} s")
                break
            self._wait(left)
        for host in self._hosts:
            if host.name not in self._places:
                slots = host.spec.slots or host.cores or 1
                self._places[host.name] = slots, 1 + sum(given for given, _ in self._places.values())
            self._configure(host)
        self._check_any()
        if self.settings.slots < self.capacity:
            self.limit(self.settings.slots)

    def _configure(self, host: Host) -> None:
        """Send its settings to a host that has answered, and what has been said to all meanwhile."""
        host.configure(*self._places[host.name])
        if self._width is not None:
            self._limit(host, self._width)
        if self._paused:
            host.pause(True)

    def _connect(self, spec: HostSpec) -> None:
        try:
            host = Host(spec, self.settings, self.settings.lease)
        except OSError as error:
            raise ManyhandsError(f"cannot start {error.filename}: {error.strerror}") from None
        self._hosts.append(host)

    @property
    def capacity(self) -> int:
        """The slots of all hosts that have answered."""
        return sum(slots for slots, _ in self._places.values())

    def _check_any(self) -> None:
        if not self._hosts and not self._due:
            said = "; ".join(report.text for report in self._ready if isinstance(report, Noted))
            raise ManyhandsError(f"no host can be used: {said}")

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for the next free slot of any host."""
        self._check_open()
        self._queue[attempt.id] = attempt
        self._dispatch()

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if no host is left."""
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        rang = self._wait(0.0)
        while not (self._ready or rang):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            rang = self._wait(left)
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back those that wait here; those that wait at a host are asked for."""
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
            elif (host := self._owners.get(one.id)) is not None:
                found.setdefault(host, []).append(one.id)
        return found

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts; meanwhile no silence ends them."""
        self._paused = paused
        for host in self._hosts:
            host.pause(paused)

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`: each host uses its share."""
        self._width = width
        for host in self._hosts:
            if host.slots:
                self._limit(host, width)

    def _limit(self, host: Host, width: int) -> None:
        """Of ``width`` slots, what is due to a host; all shares together are ``width``."""
        slots, first = self._places[host.name]
        whole, before = self.capacity, first - 1
        host.limit(min(slots, width * (before + slots) // whole - width * before // whole))

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
        """Wait for whatever comes first, and handle it; return whether somebody rang."""
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
        left = max(0.0, until - now) if seconds is None else max(0.0, min(seconds, until - now))
        events = poll.poll(int(left * 1000 + 0.999))
        rang = False
        for descriptor, _ in events:
            if descriptor == self._alarm.descriptor:
                self._alarm.hush()
                rang = True
        for host in {owners[descriptor] for descriptor, _ in events if descriptor in owners}:
            self._serve(host)
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
                self._connect(next(spec for spec in self.settings.hosts if spec.name == name))
            else:
                until = min(until, due)
        for host in [*self._hosts]:
            if host.cores is not None and not host.slots and host.name in self._places:  # it has answered again
                self._configure(host)
            if self._paused or host.cores is None:
                continue
            try:
                until = min(until, host.ping(now))
            except LinkLostError as error:
                self._lost(host, str(error))
        return until

    def _dispatch(self) -> None:
        """Give queued attempts to the hosts that have room, one by one to the least busy."""
        if self._paused or not self._queue:
            return
        given: dict[Host, list[Attempt]] = {}
        usable = [host for host in self._hosts if host.ready and host.width]
        room = {host: host.room for host in usable}
        load = {host: len(host.flying) for host in usable}
        while self._queue and (free := [host for host in usable if room[host] > 0]):
            host = min(free, key=lambda one: load[one] / one.width)
            id = next(iter(self._queue))
            given.setdefault(host, []).append(self._queue.pop(id))
            self._owners[id] = host
            room[host] -= 1
            load[host] += 1
        for host, attempts in given.items():
            host.start(attempts)

    # -- lost hosts ------------------------------------------------------------------------------------------------------

    def _lost(self, host: Host, why: str) -> None:
        """Report the attempts of a host as lost, and connect to it again, unless that is in vain."""
        was_ready = host.ready
        self._hosts.remove(host)
        host.forget()
        now = time.monotonic()
        for attempt in host.flying.values():
            self._owners.pop(attempt.id, None)
            self._ready.append(Ended(attempt, now, Ending(error=f"{host.name} was lost: {why}")))
        losses = self._losses[host.name] = self._losses.get(host.name, 0) + 1
        if host.name not in self._places or losses >= _LOSSES:
            self._ready.append(Noted(f"{host.name} is set aside: {why}"))
        else:
            if was_ready:
                self._ready.append(Noted(f"{host.name} was lost: {why}; it is connected again"))
            self._due[host.name] = now + _AGAIN * 2 ** (losses - 1)
        if self._places and not self._hosts and not self._due and not self._owners and not self._queue:
            return
        if self._places and not self._hosts and not self._due:
            raise ManyhandsError(f"no host is left; the last was {host.name}: {why}")

    def _aside(self, host: Host, why: str) -> None:
        self._hosts.remove(host)
        host.forget()
        self._ready.append(Noted(f"{host.name} is set aside: {why}"))


def _abandon_all() -> None:
    for one in list(_open):
        one.abandon()


os.register_at_fork(after_in_child=_abandon_all)
