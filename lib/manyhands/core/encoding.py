"""Encodes what JSON has no type for: bytes, moments, signals; the same in all our records.

Bytes that are not UTF-8 are never lost: a second key, ``..._base64``, then holds the exact bytes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from manyhands.core.terminal_escapes import HARMFUL


def json_line(record: object) -> bytes:
    """A record as one line of JSON in UTF-8. Characters that could move a cursor or hide text, and surrogates, which stand for
    bytes that are not UTF-8, are written as JSON escapes."""
    text = json.dumps(record, ensure_ascii=False)
    return HARMFUL.sub(lambda found: json.dumps(found[0])[1:-1], text).replace("\x7f", "\\u007f").encode() + b"\n"


def text_or_base64(name: str, data: bytes) -> dict[str, Any]:
    """``{name: text}``, and ``{name}_base64`` with the exact bytes if they are not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "replace"), f"{name}_base64": _base64(data)}


def _base64(data: bytes) -> str:
    import base64  # here: seldom needed

    return base64.b64encode(data).decode()


def iso(seconds: float | None) -> str | None:
    """Seconds since the epoch as local time with its offset, to the microsecond."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="microseconds")


def argv_or_base64(argv: Sequence[bytes]) -> dict[str, Any]:
    """The key ``argv``, see `list_or_base64`."""
    return list_or_base64("argv", argv)


def list_or_base64(name: str, values: Sequence[bytes]) -> dict[str, Any]:
    """As `text_or_base64`: if one of ``values`` is not UTF-8, the whole list is given in both forms."""
    try:
        return {name: [value.decode() for value in values]}
    except UnicodeDecodeError:
        exact = [_base64(value) for value in values]
        return {name: [value.decode("utf-8", "replace") for value in values], f"{name}_base64": exact}


def known_signal(number: int | None) -> str | None:
    """``SIGKILL`` for 9; None for None, and for a signal without a name (most real-time signals)."""
    try:
        return None if number is None else signal.Signals(number).name
    except ValueError:
        return None


def keep_bytes(value: bytes) -> str | dict[str, str]:
    """Bytes for a file of our own: as text, or, if they hold a NUL (a pickle), in base64, because JSON needs six characters for one."""
    return {"base64": _base64(value)} if b"\0" in value else os.fsdecode(value)


def kept_bytes(kept: str | dict[str, str]) -> bytes:
    """The inverse of `keep_bytes`."""
    if isinstance(kept, str):
        return os.fsencode(kept)
    import base64

    return base64.b64decode(kept["base64"])
