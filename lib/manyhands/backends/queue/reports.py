"""The reports of a backend as messages, and back.

    Started, Ended, Noted --messages--> broker --heard--> Started, Ended, Noted

A large output goes in pieces before the report of its end. Times are told as ``ago``, in seconds before the message was sent: the
coordinator puts them on its own clock. No message holds a pickle: a result that JSON cannot hold fails its job.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from manyhands.backends.protocol import Ended, Started
from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import Message, NotOursError, packed
from manyhands.core.attempt import Attempt, AttemptId, Ending, Output
from manyhands.core.lean import NamedTuple
from manyhands.core.serialization import is_pickle, shown

_NUMBERS = ("user", "system", "wall")
_ERROR = 10_000
"""Characters of an error at most."""


def started(consumer: str, report: Started, now: float) -> bytes:
    """An attempt has begun."""
    return packed(
        {
            "type": "started",
            **_about(consumer, report.attempt.id),
            "ago": _ago(report.at, now),
            "slot": report.slot,
            "pid": report.pid,
        }
    )


def ended(consumer: str, report: Ended, now: float, *, stopped: bool) -> bytes:
    """An attempt is over; the outputs that are in files have been sent before. ``stopped``: it had been asked to end."""
    one = _without_pickle(report.ending)
    told: Message = {
        "type": "ended",
        **_about(consumer, report.attempt.id),
        "ago": _ago(report.at, now),
        "began": report.began,
        "died": report.died,
        "stopped": stopped,
        "pid": report.pid,
        "exit": one.exit,
        "signal": one.signal,
        "error": None if one.error is None else one.error[:_ERROR],
        "max_rss": one.max_rss,
        "slot": one.slot,
        "leftovers": one.leftovers,
        "still_running": one.still_running,
        "result": None if one.result is None else messages.as_text(one.result),
        "traceback": one.traceback,
        "stdout": _output(one.stdout),
        "stderr": _output(one.stderr),
    }
    return packed(told | {name: getattr(one, name) for name in _NUMBERS})


def pieces(consumer: str, report: Ended) -> Iterator[bytes]:
    """The outputs of an attempt that are in files, piece by piece; each file is removed when it has been read."""
    for stream, output in enumerate((report.ending.stdout, report.ending.stderr)):
        if output.path is None:
            continue
        with open(output.path, "rb", buffering=0) as file:
            os.unlink(output.path)
            at = 0
            while piece := file.read(messages.PIECE):
                told = {"type": "piece", **_about(consumer, report.attempt.id), "stream": stream, "offset": at}
                yield packed(told | messages.of_output(piece))
                at += len(piece)


def noted(consumer: str, text: str) -> bytes:
    """Something that the user should know."""
    return packed({"type": "noted", "consumer": consumer, "text": text[:_ERROR]})


def refused(consumer: str, why: str) -> bytes:
    """This consumer does not take the attempts of an execution."""
    return packed({"type": "refused", "consumer": consumer, "text": why[:_ERROR]})


def _about(consumer: str, id: AttemptId) -> Message:
    return {"consumer": consumer, "job": id[0], "attempt": id[1]}


def _ago(at: float, now: float) -> float:
    return max(0.0, now - at)


def _output(output: Output) -> Message:
    kept = {} if output.path else messages.of_output(output.data)
    return {"pieces": output.path is not None, "size": output.size, "dropped": output.dropped, **kept}


def _without_pickle(ending: Ending) -> Ending:
    """The exception of a failed function stays there; a result that is no JSON is a failure."""
    if ending.result is None or not is_pickle(ending.result):
        return ending
    if ending.exit != 0:
        return ending._replace(result=None)
    why = f"it returned {shown(ending.result)[1]}, which JSON cannot hold, and a queue carries nothing else"
    return ending._replace(exit=1, result=None, error=why)


# -- back again ----------------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A part of an output that comes in several."""

    stream: int
    offset: int
    data: bytes


class End(NamedTuple):
    """An end as it was told; an output that is None came in pieces, and ``sizes`` is (bytes, dropped) of each."""

    ago: float
    ending: Ending
    began: bool
    died: bool
    stopped: bool
    pid: int
    outputs: tuple[bytes | None, bytes | None]
    sizes: tuple[tuple[int, int], tuple[int, int]]


def piece_of(message: Message) -> Piece:
    """A piece. Raises NotOursError."""
    stream = messages.number(message, "stream")
    if stream > 1:
        raise NotOursError("its stream is neither 0 nor 1")
    return Piece(stream, messages.number(message, "offset"), messages.to_output(message))


def started_of(message: Message, attempt: Attempt, sent: float) -> Started:
    """A beginning, told at the moment ``sent`` of our clock. Raises NotOursError."""
    at = sent - messages.seconds(message, "ago")
    return Started(attempt, at, messages.number(message, "slot", 1), messages.number(message, "pid"))


def end_of(message: Message) -> End:
    """An end. Raises NotOursError."""
    result = messages.long_text(message, "result")
    signal = messages.maybe_number(message, "signal", 1)
    measured: dict[str, Any] = {name: messages.seconds(message, name) for name in _NUMBERS}
    ending = Ending(
        **measured,
        exit=messages.maybe_number(message, "exit"),
        signal=signal,
        error=None if message.get("error") is None else messages.text(message, "error", _ERROR),
        max_rss=messages.number(message, "max_rss"),
        slot=messages.number(message, "slot"),
        leftovers=messages.number(message, "leftovers"),
        still_running=messages.flag(message, "still_running"),
        result=None if result is None else _checked(messages.as_bytes(result)),
        traceback=messages.long_text(message, "traceback"),
    )
    told = messages.part(message, "stdout"), messages.part(message, "stderr")
    first, second = (None if messages.flag(one, "pieces") else messages.to_output(one) for one in told)
    sizes = [(messages.number(one, "size"), messages.number(one, "dropped")) for one in told]
    return End(
        messages.seconds(message, "ago"),
        ending,
        messages.flag(message, "began"),
        messages.flag(message, "died"),
        messages.flag(message, "stopped"),
        messages.number(message, "pid"),
        (first, second),
        (sizes[0], sizes[1]),
    )


def _checked(result: bytes) -> bytes:
    """A result for the journal: JSON, and no pickle."""
    try:
        json.loads(result)
    except (ValueError, RecursionError):
        raise NotOursError("its result is no JSON") from None
    return result
