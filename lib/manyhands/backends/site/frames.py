"""The frames of a site: what the two ends say to each other, over byte streams that may cut anywhere.

    length of the rest (4 bytes)  kind (1)  length of the head (4)  head (JSON, UTF-8)  body (bytes)

The head is JSON, because the two ends have different versions of Python and do not trust each other with more; arguments
and names are text in which bytes that are no UTF-8 are surrogates (PEP 383), so that any bytes survive. The body is output, as it was printed.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, NamedTuple

VERSION: Final = 2
"""Of these frames; both ends must have the same. They do: the near end brings the far end there."""

# near -> far
CONFIG: Final = 1
"""The settings, see `far_end.Settings`; once, before anything else."""
START: Final = 2
"""{attempts: [[job, attempt, [argument, ...]], ...]}; an argument that is a list is joined by the number of the slot. With files
there is a fourth: the paths to fetch."""
STOP: Final = 3
"""{ids: [[job, attempt], ...], kill: bool}"""
RECALL: Final = 4
"""{ids: [[job, attempt], ...]}"""
PAUSE: Final = 5
"""{paused: bool}"""
PING: Final = 6
"""{number: N}; the far end lives as long as it hears from us."""
QUIT: Final = 7
FILE_BEGIN: Final = 8
"""{id: [job, attempt], path}: a file of an attempt follows, before the START of that; its files come one after another."""
FILE_PIECE: Final = 9
"""{id}; the body is the next piece."""
FILE_END: Final = 10
"""{id, mode, time, size, sum}: see `moved_files.Outgoing.trailer`."""
FILE_DROP: Final = 11
"""{id}: the attempt will not begin."""
FILES: Final = frozenset({FILE_BEGIN, FILE_PIECE, FILE_END, FILE_DROP})

# far -> near
HELLO: Final = 20
"""{version, python, cores, at}; ``at``, here and below, is the far end's monotonic clock."""
READY: Final = 21
"""The settings are applied."""
REFUSED: Final = 22
"""{why}; the far end exits."""
REPORTS: Final = 23
"""{reports: [...]}, see `far_end`; the body holds the outputs that they tell of, one after another."""
PIECE: Final = 24
"""{id: [job, attempt], stream: 0 or 1}; the body is the next piece of an output that is too large for a report."""
PONG: Final = 25
"""{number, at}"""
FETCH_BEGIN: Final = 26
"""{id, file: which of those that were asked for, from 0}; it and the next two come before the report of the attempt's end."""
FETCH_PIECE: Final = 27
"""{id}; the body is the next piece."""
FETCH_END: Final = 28
"""As FILE_END."""
FETCHES: Final = frozenset({FETCH_BEGIN, FETCH_PIECE, FETCH_END})

_ENCODED: Final = json.JSONEncoder(separators=(",", ":")).encode
"""Made once: `json.dumps` makes one for each frame."""
_HEADER: Final = struct.Struct(">IBI")
LARGEST: Final = 1 << 28
"""Bytes of a frame at most: a longer one is no frame of ours."""


class Frame(NamedTuple):
    """One message."""

    kind: int
    head: dict[str, Any]
    body: bytes = b""


class BrokenFrameError(Exception):
    """What was received is no frame."""


def packed(kind: int, head: dict[str, Any] | None = None, body: bytes = b"") -> bytes:
    """A frame as bytes."""
    text = _ENCODED(head or {}).encode()
    return _HEADER.pack(5 + len(text) + len(body), kind, len(text)) + text + body


class Unpacker:
    """Puts the pieces of a stream together again."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, piece: bytes) -> list[Frame]:
        """The frames that ``piece`` completes. Raises BrokenFrameError."""
        received, found, at = self._received, [], 0
        received += piece
        while len(received) - at >= _HEADER.size:
            rest, kind, head = _HEADER.unpack_from(received, at)
            if rest > LARGEST or head + 5 > rest:
                raise BrokenFrameError("a frame has an impossible length")
            begins, ends = at + _HEADER.size, at + 4 + rest
            if len(received) < ends:
                break
            body = bytes(received[begins + head : ends])
            found.append(Frame(kind, _parsed(bytes(received[begins : begins + head])), body))
            at = ends
        del received[:at]
        return found


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text.decode())  # bytes would be looked at for other encodings
    except (ValueError, RecursionError) as error:
        raise BrokenFrameError(f"the head of a frame is no JSON: {error}") from None
    if not isinstance(head, dict):
        raise BrokenFrameError("the head of a frame is no object")
    return head


def as_text(value: bytes) -> str:
    """Bytes for a head; any survive."""
    return value.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The bytes again. Raises UnicodeError for text that `as_text` cannot have made."""
    return text.encode("utf-8", "surrogateescape")
