"""An attempt as a message, and back. What JSON cannot hold, and what is too large, never becomes one."""

from __future__ import annotations

from typing import Final

from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import LARGEST, Message, NotOursError, as_text
from manyhands.core.attempt import Attempt, Job
from manyhands.work.function import Call

_PICKLES: Final = (b"\0", b"\x80")
"""What a pickle of ours begins with; JSON text does not."""
_MAY_BE_PICKLES: Final = ("object", "value")
_CERTAIN: Final = LARGEST // 8
"""Bytes that are certainly no more than a message, whatever is escaped."""


def message_of(attempt: Attempt, call: Call | None) -> bytes:
    """An attempt of a command, or of a function."""
    told: Message = {"type": "attempt", "job": attempt.job.number, "attempt": attempt.number}
    if call is not None:
        return messages.packed(told | {"values": [as_text(one) for one in attempt.job.values]})
    argv = [as_text(one) if isinstance(one, bytes) else [*map(as_text, one)] for one in attempt.argv]
    return messages.packed(told | {"argv": argv})


def why_none(attempt: Attempt, call: Call | None) -> str | None:
    """Why an attempt cannot be sent; None if it can."""
    if call is not None and _has_pickle(attempt, call):
        return "its input is something that JSON cannot hold, and a queue carries nothing else"
    parts = attempt.job.values if call is not None else attempt.argv
    if sum(map(len, parts)) > _CERTAIN and len(message_of(attempt, call)) > LARGEST:
        return f"its input is too large: a queue carries messages of {LARGEST} bytes at most"
    return None


def attempt_of(message: Message, call: Call | None) -> Attempt:
    """An attempt as a local backend wants it. Raises NotOursError."""
    job, number = messages.attempt_id(message)
    if call is None:
        argv = messages.argv_of(message)
        if not argv:
            raise NotOursError("its argv is empty")
        return Attempt(Job(job, b"", ()), number, argv)
    values = tuple(messages.as_bytes(one) for one in messages.items(message, "values"))
    if not values:
        raise NotOursError("it has no values")
    found = Attempt(Job(job, b"", values), number, (call.text.encode(), *values))
    if _has_pickle(found, call):
        raise NotOursError("its input is a pickle")
    return found


def _has_pickle(attempt: Attempt, call: Call) -> bool:
    return call.type in _MAY_BE_PICKLES and any(bytes(value[:1]) in _PICKLES for value in attempt.job.values if value)
