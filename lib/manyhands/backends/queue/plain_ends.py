"""Ends of attempts of which there is little to tell, many in one message: they ended well, by themselves, and printed nothing.

    Ended, Ended, ... --packed_ends--> a message of columns --ends_of--> Ended, Ended, ...

Each column is checked as a whole, because a check of each part of each end would cost more than a short job. All other ends are
messages of their own (`manyhands.backends.queue.reports`). Durations are whole nanoseconds here, which are shorter than fractions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from manyhands.backends.protocol import Ended
from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import Message, NotOursError
from manyhands.core.attempt import NOTHING, AttemptId, Ending
from manyhands.core.lean import NamedTuple
from manyhands.core.serialization import is_pickle

MOST: Final = 256
"""Ends in a message at most."""
_SMALL: Final = 1 << 9
"""Bytes of a result at most: so none of them nests deeper than JSON is read, and one cannot spoil the message of all."""
_NONE: Final = (None, None, None)
_SECOND: Final = 10**9
_LONGEST: Final = 1 << 63
"""Nanoseconds of a duration; 2**53, from which on some readers of JSON round, would be 104 days."""
_NUMBERS: Final = (("job", 1), ("attempt", 1), ("pid", 0), ("slot", 0), ("max_rss", 0))
_DURATIONS: Final = ("ago", "wall", "user", "system")


class PlainEnd(NamedTuple):
    """One of them, on the clock of the coordinator."""

    id: AttemptId
    at: float
    ending: Ending
    pid: int


def is_plain(report: Ended) -> bool:
    """Whether an end may be one of many; it was not asked for."""
    one = report.ending
    return (
        one.exit == 0
        and one.stdout is NOTHING
        and one.stderr is NOTHING
        and report.began
        and not (report.died or one.still_running or one.leftovers)
        and (one.signal, one.error, one.traceback) == _NONE
        and (one.result is None or (len(one.result) <= _SMALL and not is_pickle(one.result)))
    )


def packed_ends(consumer: str, ended: Sequence[Ended], now: float) -> bytes:
    """At most `MOST` plain ends as a message."""
    endings = [one.ending for one in ended]
    ids = [one.attempt.id for one in ended]
    return messages.packed(
        {
            "type": "ends",
            "consumer": consumer,
            "job": [job for job, _ in ids],
            "attempt": [number for _, number in ids],
            "ago": _nanoseconds([now - one.at for one in ended]),
            "pid": [one.pid for one in ended],
            "slot": [one.slot for one in endings],
            "wall": _nanoseconds([one.wall for one in endings]),
            "user": _nanoseconds([one.user for one in endings]),
            "system": _nanoseconds([one.system for one in endings]),
            "max_rss": [one.max_rss for one in endings],
            "result": [None if one.result is None else messages.as_text(one.result) for one in endings],
        }
    )


def _nanoseconds(durations: Sequence[float]) -> list[int]:
    return [int(_SECOND * one) if one > 0 else 0 for one in durations]


def ends_of(message: Message, sent: float) -> Iterator[PlainEnd]:
    """Plain ends, told at the moment ``sent`` of our monotonic clock. Raises NotOursError, before it gives any."""
    host = messages.text(message, "consumer")
    jobs, attempts, pids, slots, peaks = (_whole(message, name, least) for name, least in _NUMBERS)
    agos, walls, users, systems = (_whole(message, name, 0, _LONGEST) for name in _DURATIONS)
    results = _results(message)
    columns = (jobs, attempts, pids, slots, peaks, agos, walls, users, systems, results)
    if {*map(len, columns)} != {len(jobs)}:
        raise NotOursError("its columns are not equally long")
    return _rows(columns, host, sent)


def _rows(columns: Sequence[Sequence[Any]], host: str, sent: float) -> Iterator[PlainEnd]:
    epoch = time.time() - time.monotonic()
    for job, attempt, pid, slot, peak, ago, wall, user, system, result in zip(*columns, strict=True):
        at, took = sent - ago / _SECOND, wall / _SECOND
        times = epoch + at - took, took, user / _SECOND, system / _SECOND, peak
        fields = (0, None, None, *times, NOTHING, NOTHING, slot, 0, result, None, False, host)
        yield PlainEnd((job, attempt), at, Ending._make(fields), pid)


def _whole(message: Message, name: str, least: int, *below: int) -> Sequence[int]:
    found: list[int] = messages.items(message, name, MOST)
    messages.check_numbers(found, name, least, *below)
    return found


def _results(message: Message) -> Sequence[bytes | None]:
    """Results for the journal: JSON, and no pickles. Each text is checked once, because many are the same."""
    found = messages.items(message, "result", MOST)
    if not {*map(type, found)} <= {str, type(None)}:
        raise NotOursError("its results are not all text")
    known: dict[str | None, bytes | None] = {None: None}
    try:
        for one in {*found} - {None}:
            json.loads(one)
            known[one] = one.encode()
    except (ValueError, RecursionError):
        raise NotOursError("its result is no JSON") from None
    return [known[one] for one in found]
