"""What coordinator and consumers say to each other: JSON, of which every part is checked by hand when it arrives.

    attempts, run, control: coordinator -> consumer        started, ended, ends, piece, noted, refused, closed: consumer -> coordinator

Reports are sent in parcels: one message a line. A broker may also hold what others have written: anything that is not exactly one of these
messages raises `NotOursError`, and the reader skips it. Arguments, names and outputs are text, in which a byte that is not UTF-8 is a surrogate (PEP 383); an
output that is not text is base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

VERSION: Final = 5
"""The version of these messages; both ends must have the same."""
LARGEST: Final = 1 << 24
"""Bytes of a message at most."""
PIECE: Final = 1 << 18
"""Bytes of an output in one message."""
_PARCEL: Final = 1 << 18
"""Bytes of a parcel at most, unless a single message is larger."""
TOGETHER: Final = 64
"""Messages of a parcel at most, because its reader handles all of them at once."""
MOST_ITEMS: Final = 1 << 17
"""Arguments of a command at most; the kernel's limit is lower."""
_NAME: Final = 200
"""Characters of a name at most."""
_NUMBER: Final = 1 << 53
"""Not every reader of JSON keeps whole numbers above this exactly."""

Message = dict[str, Any]


class NotOursError(Exception):
    """What was received is not one of our messages; the text says why."""


_ENCODED: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Made once: `json.dumps` makes one for each message."""


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as bytes, on one line."""
    return _ENCODED(message).encode()


def parcels(packed: Sequence[bytes], most: int = TOGETHER) -> Iterator[Sequence[bytes]]:
    """Divide these messages, in order, into parts that may be sent as one parcel each."""
    begin = size = 0
    for at, one in enumerate(packed):
        if at > begin and (at - begin == most or size + len(one) > _PARCEL):
            yield packed[begin:at]
            begin, size = at, 0
        size += len(one) + 1
    if packed:
        yield packed[begin:]


def parcel(packed: Sequence[bytes]) -> bytes:
    """Messages as one parcel."""
    return b"\n".join(packed)


def opened(data: object) -> Sequence[object]:
    """The messages in a parcel, none of which is checked yet."""
    return data.split(b"\n") if isinstance(data, bytes) and len(data) <= LARGEST else (data,)


def unpacked(data: object, *types: str) -> Message:
    """The message in ``data``, whose type is one of ``types``. Raises NotOursError."""
    if not isinstance(data, bytes):
        raise NotOursError("it has no message")
    if len(data) > LARGEST:
        raise NotOursError(f"it has {len(data)} bytes, more than {LARGEST}")
    try:
        found = json.loads(data.decode())  # bytes would be looked at for other encodings
    except (ValueError, RecursionError) as error:
        raise NotOursError(f"it is no JSON: {error!s:.80}") from None
    if not isinstance(found, dict):
        raise NotOursError("it is no JSON object")
    if text(found, "type") not in types:
        raise NotOursError(f"its type {found['type']!r:.40} is not known here")
    return found


# -- parts of a message --------------------------------------------------------------------------------------------------


def text(message: Message, name: str, most: int = _NAME) -> str:
    """A text of at most ``most`` characters."""
    value = message.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise NotOursError(f"its {name} is no text of at most {most} characters")
    return value


def long_text(message: Message, name: str) -> str | None:
    """A text of any length, or nothing."""
    return None if message.get(name) is None else text(message, name, LARGEST)


def flag(message: Message, name: str) -> bool:
    """True or false."""
    value = message.get(name)
    if not isinstance(value, bool):
        raise NotOursError(f"its {name} is neither true nor false")
    return value


def number(message: Message, name: str, least: int = 0) -> int:
    """A whole number."""
    return _whole(message.get(name), name, least)


def _whole(value: object, name: str, least: int = 0) -> int:
    if type(value) is not int or not least <= value < _NUMBER:
        raise NotOursError(f"its {name} is no whole number from {least} on")
    return value


def maybe_number(message: Message, name: str, least: int = 0) -> int | None:
    """A whole number, or nothing."""
    return None if message.get(name) is None else number(message, name, least)


def seconds(message: Message, name: str) -> float:
    """A duration."""
    value = message.get(name)
    if type(value) not in (int, float) or not math.isfinite(cast("float", value)) or cast("float", value) < 0:
        raise NotOursError(f"its {name} is no duration")
    return float(cast("float", value))


def part(message: Message, name: str) -> Message:
    """An object."""
    value = message.get(name)
    if not isinstance(value, dict):
        raise NotOursError(f"its {name} is no object")
    return value


def items(message: Message, name: str, most: int = MOST_ITEMS) -> list[Any]:
    """A list of at most ``most``."""
    value = message.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise NotOursError(f"its {name} is no list of at most {most}")
    return value


def check_numbers(values: Sequence[Any], name: str, least: int = 0, below: int = _NUMBER) -> None:
    """Check many at once. Raises NotOursError unless there are some, and all are whole numbers from ``least`` on."""
    if {*map(type, values)} != {int} or min(values) < least or max(values) >= below:
        raise NotOursError(f"its {name} are not all whole numbers from {least} on")


def texts(message: Message, name: str) -> tuple[str, ...]:
    """A list of texts."""
    found = items(message, name)
    if not all(isinstance(one, str) for one in found):
        raise NotOursError(f"its {name} are not all text")
    return tuple(found)


def attempt_id(message: Message) -> tuple[int, int]:
    """Which attempt it is about."""
    return number(message, "job", 1), number(message, "attempt", 1)


def attempt_ids(message: Message) -> list[tuple[int, int]]:
    """Which attempts it is about."""
    found = items(message, "ids")
    if not all(isinstance(one, list) and len(one) == 2 for one in found):
        raise NotOursError("its ids are no pairs")
    return [(_whole(job, "job", 1), _whole(attempt, "attempt", 1)) for job, attempt in found]


# -- bytes ---------------------------------------------------------------------------------------------------------------


def as_text(value: bytes) -> str:
    """Any bytes as text."""
    return value.decode("utf-8", "surrogateescape")


def as_bytes(value: object) -> bytes:
    """The bytes again. Raises NotOursError for what `as_text` cannot have made."""
    try:
        return cast("str", value).encode("utf-8", "surrogateescape")
    except (UnicodeError, AttributeError):
        raise NotOursError("a text in it stands for no bytes") from None


def of_output(value: bytes) -> Message:
    """Bytes that a job printed: as text if they are UTF-8 without NUL, else as base64."""
    try:
        found = value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
    return {"base64": base64.b64encode(value).decode()} if "\0" in found else {"text": found}


def to_output(message: Message) -> bytes:
    """The inverse of `of_output`."""
    if "text" in message:
        return as_bytes(text(message, "text", LARGEST))
    try:
        return base64.b64decode(text(message, "base64", LARGEST), validate=True)
    except ValueError:
        raise NotOursError("its base64 is none") from None
