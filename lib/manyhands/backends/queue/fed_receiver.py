"""A consumer's end with Celery or RQ: attempts come from their broker, by a `Feeder`; everything else is in Redis as with Streams.

The broker gets back, or forgets, a message only when its attempt is over or another's. Very short attempts are the exception: the broker
has no part in them any more when they are claimed, because else the way there and back would take longer than they do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from manyhands.backends.queue.carrier import Claim, GoneError, Taken
from manyhands.backends.queue.feeder import Feeder
from manyhands.backends.queue.keys import Keys
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.core.attempt import AttemptId
from manyhands.work.broker_url import BrokerUrl

_SHORT: Final = 0.1
"""Seconds; an attempt that usually takes less is short."""
_AHEAD: Final = 64
"""Attempts that are fetched beyond the slots, if they are short."""


class FedReceiver(RedisReceiver):
    """The end of the consumer ``name``; it owns the feeder."""

    def __init__(self, url: BrokerUrl, name: str, lease: float, names: Keys, feeder: Feeder) -> None:
        super().__init__(url, name, lease, names)
        self._feeder = feeder
        self._mutex = threading.Lock()
        self._held: dict[tuple[str, AttemptId], tuple[object, float]] = {}
        """By attempt that we do: its entry (None: the broker has forgotten it), and since when we have it."""
        self._open: dict[str, list[object]] = {}
        """Taken, and not yet claimed, by execution."""
        self._usual = 1.0
        """Seconds that an attempt takes here, about."""

    def take(self, runs: Sequence[str], room: int, timeout: float) -> Sequence[Taken]:
        """See `carrier.Receiver`."""
        self._feeder.look_ahead(_AHEAD if self._usual < _SHORT else 0)
        found = self._feeder.take(runs, room, timeout)
        with self._mutex:
            for one in found:
                self._open.setdefault(one.run, []).append(one.entry)
        return found

    def put_back(self, taken: Sequence[Taken]) -> None:
        """See `carrier.Receiver`."""
        for one in taken:
            self._no_longer_open(one.run, [one.entry])
        self._feeder.settle("back", [one.entry for one in taken])

    def _no_longer_open(self, run: str, entries: Sequence[object]) -> None:
        with self._mutex:
            for one in entries:
                with suppress(KeyError, ValueError):
                    self._open[run].remove(one)

    def claim(self, run: str, ids: Sequence[AttemptId], entries: Sequence[object] = ()) -> Sequence[Claim]:
        """See `carrier.Receiver`."""
        try:
            claims = super().claim(run, ids)
        except GoneError:
            self._no_longer_open(run, entries)
            self._feeder.settle("done", entries)
            raise
        self._no_longer_open(run, entries)
        done = [*entries[len(ids) :]]
        with self._mutex:
            now, short = time.monotonic(), self._usual < _SHORT
            for id, claim, entry in zip(ids, claims, entries, strict=False):  # entries may be none
                if claim is Claim.NEW:
                    self._held[run, id] = entry, now
                elif claim is Claim.OURS and (run, id) in self._held:  # a copy stands for it while it runs
                    before, since = self._held[run, id]
                    self._held[run, id] = entry, since
                    done.append(before)
                else:
                    done.append(entry)
                if short and claim is not Claim.OTHERS:
                    done.append(entry)
                    self._forget_entry(run, id)
        self._feeder.settle("done", done)
        return claims

    def _forget_entry(self, run: str, id: AttemptId) -> None:
        """The broker has no part any more in what we do."""
        if (run, id) in self._held:
            self._held[run, id] = None, self._held[run, id][1]

    def over(self, run: str, ids: Sequence[AttemptId] | None) -> None:
        """See `carrier.Receiver`."""
        super().over(run, ids)
        done: list[object] = []
        now = time.monotonic()
        with self._mutex:
            if ids is None:
                done = self._open.pop(run, [])
                gone = [one for one in self._held if one[0] == run]
            else:
                gone = [(run, id) for id in ids if (run, id) in self._held]
            for one in gone:
                entry, since = self._held.pop(one)
                self._usual += 0.2 * (now - since - self._usual)
                done.append(entry)
        self._feeder.settle("done", done)
        if ids is None:
            self._feeder.forget(run)

    def leave(self) -> None:
        """See `carrier.Receiver`."""
        self._feeder.close()
        super().leave()

    def close(self) -> None:
        """See `carrier.Receiver`."""
        self._feeder.close()
        super().close()
