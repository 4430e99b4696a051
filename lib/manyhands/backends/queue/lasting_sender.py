"""The sender of an execution in Redis that runs without a coordinator. A submission uses it first, and later a collector.

    submission --> attempts --consumers--> reports --read from the beginning--> collector
                                              '------ and again, if that was killed: `finish` removes them

Separate from the sender of a batch, whose execution ends with its lease.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.queue import keys
from manyhands.backends.queue.attempt_messages import ids_of
from manyhands.backends.queue.carrier import Beat, GoneError
from manyhands.backends.queue.messages import NotOursError, packed
from manyhands.backends.queue.redis_connection import number_of, our_errors
from manyhands.backends.queue.redis_sender import LISTED, RedisSender
from manyhands.core.attempt import AttemptId

_READ: Final = 500
"""Entries that are read at once."""
MARK: Final = b'{"mark":'
"""What every mark begins with."""


def fresh_mark() -> bytes:
    """A mark that nobody has written yet."""
    return packed({"mark": secrets.token_hex(8)})


class LastingSender(RedisSender):
    """One execution, kept for ``keep`` seconds after anybody was here; see `carrier.LastingSender`."""

    _trims = False

    def __init__(self, *redis: Any, keep: float) -> None:
        super().__init__(*redis)
        self._keep_for = keep
        self.mark = fresh_mark()
        self.found = False

    def _enter(self) -> None:
        if self._origin(self.name) != self._token.encode() or not self._has_group():
            self._begin()
            return
        self.found = True
        self._read_entries()
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(
                self._keys.run(self.name), "paused", 0
            )  # a collector may have been killed while it held all suspended
            pipe.xadd(self._keys.reports(self.name), {keys.FIELD: self.mark})
            self._keep(pipe)
            pipe.execute()

    def _has_group(self) -> bool:
        try:
            with our_errors():
                return bool(self._redis.xinfo_groups(self._keys.attempts(self.name)))
        except GoneError:
            return False

    def _read_entries(self) -> None:
        """Find out which attempts wait: no consumer has been given them."""
        key, found = self._keys.attempts(self.name), dict[AttemptId, tuple[int, ...]]()
        start: bytes = b"(" + self._redis.xinfo_groups(key)[0]["last-delivered-id"]
        while page := self._redis.xrange(key, min=start, max="+", count=_READ):
            for entry, fields in page:
                with suppress(NotOursError):  # the consumer that gets it says so
                    found.update(dict.fromkeys(ids_of(fields.get(keys.FIELD)), number_of(entry)))
            start = b"(" + page[-1][0]
        with self._mutex:
            self._entries.clear()
            self._entries.update(found)

    def _keep(self, pipe: Any) -> None:
        for key in self._keys.all_of(self.name):
            pipe.pexpire(key, int(self._keep_for * 1000))
        pipe.sadd(self._keys.runs, self.name)
        pipe.expire(self._keys.runs, LISTED)

    def renew(self, *, again: bool) -> Beat:
        """See `carrier.Sender`. A broker that comes back has all, or an older state, or nothing: it is begun anew only if it is gone,
        because claims say what was done while nobody was here."""
        beat = super().renew(again=False)
        if again and not beat.forgotten:
            with our_errors():
                self._read_entries()
        return beat._replace(forgotten=beat.forgotten or again)

    def write_mark(self) -> None:
        """See `carrier.LastingSender`."""
        with our_errors():
            self._redis.xadd(self._keys.reports(self.name), {keys.FIELD: self.mark}, nomkstream=True)
