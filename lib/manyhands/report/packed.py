"""Data of a page, compressed: lines of JSON that a browser inflates by itself, and that end where there is no more room."""

from __future__ import annotations

import base64
import zlib
from json import dumps
from typing import Final

_FLUSH: Final = 1 << 16


class Packed:
    """At most about ``most`` bytes when compressed, and ``plain`` characters when not."""

    def __init__(self, most: int, plain: int) -> None:
        self._most, self._room = most, plain
        self._zip = zlib.compressobj(6, wbits=31)
        self._parts: list[bytes] = []
        self._size = self._waiting = 0
        self.count = self.left_out = 0

    def add(self, item: object) -> None:
        """Add one item, if there is room; else, and from then on, count it."""
        if self.left_out:
            self.left_out += 1
            return
        line = dumps(item, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
        self._room -= len(line)
        if self._room < 0 or self._size >= self._most:
            self.left_out += 1
            return
        self._take(self._zip.compress(line))
        self._waiting += len(line)
        if self._waiting >= _FLUSH:
            self._take(self._zip.flush(zlib.Z_SYNC_FLUSH))
            self._waiting = 0
        self.count += 1

    def _take(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def base64(self) -> str:
        """All of it, as gzip in base64; it can only be called once."""
        self._take(self._zip.flush())
        return base64.b64encode(b"".join(self._parts)).decode()
