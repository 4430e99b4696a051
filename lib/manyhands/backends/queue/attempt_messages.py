"""Attempts as a message, and back. What JSON cannot hold, and what is too large, never becomes one.

    attempt --row_of--> a row, which has a size --parcel--> a message of several --attempts_of--> attempts

A message is decoded, and its parts are checked, once for all rows: for each by itself that would cost more than a short job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import LARGEST, Message, NotOursError, as_text
from manyhands.core.attempt import Attempt, AttemptId, Job
from manyhands.work.function import Call

_PICKLES: Final = (b"\0", b"\x80")
"""What a pickle of ours begins with; JSON text does not."""
_PICKLED: Final = frozenset(map(as_text, _PICKLES))
_MAY_BE_PICKLES: Final = ("object", "value")
_CERTAIN: Final = LARGEST // 8
"""Bytes that are certainly no more than a message, whatever is escaped."""
_FRAME: Final = b'{"type":"attempts","rows":[%s]}'
_MOST: Final = 1 << 10
"""Rows of a message at most."""
_ENCODED: Final = json.JSONEncoder(separators=(",", ":")).encode


def row_of(attempt: Attempt, call: Call | None) -> bytes:
    """An attempt of a command, or of a function: its numbers, and its arguments or values."""
    parts = attempt.argv if call is None else attempt.job.values
    texts = [_ENCODED([*map(as_text, one)] if isinstance(one, tuple) else as_text(one)) for one in parts]
    return b"[%d,%d,[%s]]" % (attempt.job.number, attempt.number, ",".join(texts).encode())


def parcel(rows: Sequence[bytes]) -> bytes:
    """Rows as one message."""
    return _FRAME % b",".join(rows)


def why_none(attempt: Attempt, call: Call | None) -> str | None:
    """Why an attempt cannot be sent; None if it can."""
    if call is not None and call.type in _MAY_BE_PICKLES and any(one[:1] in _PICKLES for one in attempt.job.values):
        return "its input is something that JSON cannot hold, and a queue carries nothing else"
    parts = attempt.job.values if call is not None else attempt.argv
    if sum(map(len, parts)) > _CERTAIN and len(parcel([row_of(attempt, call)])) > LARGEST:
        return f"its input is too large: a queue carries messages of {LARGEST} bytes at most"
    return None


def ids_of(data: object) -> Sequence[AttemptId]:
    """Which attempts are in a message. Raises NotOursError."""
    numbers, tries, _ = _columns(messages.unpacked(data, "attempts"))
    return [*zip(numbers, tries, strict=True)]


def attempts_of(message: Message, call: Call | None) -> dict[AttemptId, Attempt]:
    """Attempts as a local backend wants them. Raises NotOursError."""
    numbers, tries, given = _columns(message)
    if {*map(type, given)} != {list} or not all(given):
        raise NotOursError("an attempt in it has no arguments")
    if max(map(len, given)) > messages.MOST_ITEMS:
        raise NotOursError(f"an attempt in it has more than {messages.MOST_ITEMS} arguments")
    if call is None:
        made = [
            Attempt(Job(job, b"", ()), number, tuple(map(_argument, parts)))
            for job, number, parts in zip(numbers, tries, given, strict=True)
        ]
    else:
        name = call.text.encode()
        made = [
            Attempt(Job(job, b"", values), number, (name, *values))
            for job, number, values in zip(numbers, tries, _values(given, call), strict=True)
        ]
    return dict(zip(zip(numbers, tries, strict=True), made, strict=True))


def _values(given: Sequence[Any], call: Call) -> Iterator[tuple[bytes, ...]]:
    """The inputs of a function: text, and no pickles."""
    flat = [*chain.from_iterable(given)]
    if {*map(type, flat)} != {str}:
        raise NotOursError("its values are not all text")
    if call.type in _MAY_BE_PICKLES and not {text[:1] for text in flat}.isdisjoint(_PICKLED):
        raise NotOursError("its input is a pickle")
    return (tuple(map(messages.as_bytes, parts)) for parts in given)


def _columns(message: Message) -> tuple[Sequence[int], Sequence[int], Sequence[Any]]:
    """The numbers of jobs and attempts, which are checked, and what they are given."""
    rows = messages.items(message, "rows", _MOST)
    if {*map(type, rows)} != {list} or {*map(len, rows)} != {3}:
        raise NotOursError("its rows have not three parts each")
    numbers, tries, given = zip(*rows, strict=True)
    messages.check_numbers(numbers, "job", 1)
    messages.check_numbers(tries, "attempt", 1)
    return numbers, tries, given


def _argument(value: object) -> bytes | tuple[bytes, ...]:
    """One argument of a command; one that is a list is joined by the number of the slot."""
    return tuple(map(messages.as_bytes, value)) if isinstance(value, list) else messages.as_bytes(value)
