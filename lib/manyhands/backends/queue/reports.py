"""The reports of a backend as messages, and back.

    Started, Ended, Noted --messages--> broker --heard--> Started, Ended, Noted

A large output is sent in pieces before the report that the attempt has ended; that report leaves out values that are zero, false or empty. A time is sent as
``ago``, seconds before the message was sent, and the coordinator converts it to its own clock. No message holds a pickle: a result that JSON cannot hold fails its job.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from manyhands.backends.protocol import Ended, Started
from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import Message, NotOursError, packed
from manyhands.core.attempt import Attempt, AttemptId, Ending, Output
from manyhands.core.lean import NamedTuple
from manyhands.core.serialization import is_pickle, shown

TYPES: Final = ("started", "ended", "ends", "piece", "noted", "refused", "purged", "closed")
"""What a coordinator may be told."""
_ERROR: Final = 10_000
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
    """An attempt has ended. `pieces` has sent its outputs that are in files. ``stopped``: it was stopped on request."""
    one = _without_pickle(report.ending)
    told: Message = {
        "type": "ended",
        **_about(consumer, report.attempt.id),
        "ago": _ago(report.at, now),
        "pid": report.pid,
        "slot": one.slot,
        "exit": one.exit,
    }
    maybe = {
        "unbegun": not report.began,
        "died": report.died,
        "stopped": stopped,
        "signal": one.signal,
        "error": one.error and one.error[:_ERROR],
        "max_rss": one.max_rss,
        "leftovers": one.leftovers,
        "still_running": one.still_running,
        "result": None if one.result is None else messages.as_text(one.result),
        "traceback": one.traceback,
        "user": one.user,
        "system": one.system,
        "wall": one.wall,
        "stdout": _output(one.stdout),
        "stderr": _output(one.stderr),
    }
    told.update({name: value for name, value in maybe.items() if value or value == ""})
    return packed(told)


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


def closed(consumer: str) -> bytes:
    """This consumer has nothing more of an execution."""
    return packed({"type": "closed", "consumer": consumer})


def _about(consumer: str, id: AttemptId) -> Message:
    return {"consumer": consumer, "job": id[0], "attempt": id[1]}


def _ago(at: float, now: float) -> float:
    return max(0.0, now - at)


def _output(output: Output) -> Message | None:
    """An output; None if there is none."""
    if output.path is None and not output.size:
        return None
    kept = {} if output.path else messages.of_output(output.data)
    return {"pieces": output.path is not None, "size": output.size, "dropped": output.dropped, **kept}


def _without_pickle(ending: Ending) -> Ending:
    """Leave out the exception of a failed function, and make a result that JSON cannot hold a failure."""
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
    """An end as it was received. An output that is None came in pieces; ``sizes`` is (bytes, dropped) of each output."""

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
    found: dict[str, Any] = {name: read(message, name) for name, read in _MAYBE.items() if name in message}
    flags = [found.pop(name, False) for name in _FLAGS]
    ending = Ending(exit=messages.maybe_number(message, "exit"), slot=messages.number(message, "slot"), **found)
    first, second = (_output_of(message, name) for name in ("stdout", "stderr"))
    unbegun, died, stopped = flags
    return End(
        messages.seconds(message, "ago"),
        ending,
        not unbegun,
        died,
        stopped,
        messages.number(message, "pid"),
        (first[0], second[0]),
        (first[1], second[1]),
    )


def _output_of(message: Message, name: str) -> tuple[bytes | None, tuple[int, int]]:
    if name not in message:
        return b"", (0, 0)
    told = messages.part(message, name)
    data = None if messages.flag(told, "pieces") else messages.to_output(told)
    return data, (messages.number(told, "size"), messages.number(told, "dropped"))


def _result_of(message: Message, name: str) -> bytes | None:
    result = messages.long_text(message, name)
    return None if result is None else _checked(messages.as_bytes(result))


def _error_of(message: Message, name: str) -> str:
    return messages.text(message, name, _ERROR)


_FLAGS: Final = ("unbegun", "died", "stopped")
_MAYBE: Final[dict[str, Callable[[Message, str], Any]]] = {
    **dict.fromkeys((*_FLAGS, "still_running"), messages.flag),
    **dict.fromkeys(("user", "system", "wall"), messages.seconds),
    **dict.fromkeys(("max_rss", "leftovers"), messages.number),
    "signal": lambda message, name: messages.maybe_number(message, name, 1),
    "error": _error_of,
    "result": _result_of,
    "traceback": messages.long_text,
}
"""The parts of an end that may be left out, and how each is read."""


def _checked(result: bytes) -> bytes:
    """A result for the journal: JSON, and no pickle."""
    try:
        json.loads(result)
    except (ValueError, RecursionError):
        raise NotOursError("its result is no JSON") from None
    return result
