"""A digest beside a large journal that was closed in order: a file that still has it is as it was left, and need not be read row by row.

    Journal.close --BLAKE2b--> journal.db-sum          Journal.open, tally: has the file this digest, and no log?

Reading a file takes a thirtieth of the time that checking its rows takes. Where the digest is missing or does not fit, all rows are checked.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.core.hashes import blake2b

LEAST: Final = 1 << 20
"""Bytes of a file that gets a digest: the rows of a smaller one are checked in milliseconds."""
_BLOCK: Final = 1 << 20
opening: Final = threading.Lock()
"""Held while a database is opened, and while its file is read here. When a process closes a file, all its locks on that file end, also those
of its connections (fcntl(2)): so a file is read only while it has no log, which every open connection gives it
(https://sqlite.org/howtocorrupt.html, 2.2)."""


def note(path: Path) -> None:
    """Write down the digest of the file at ``path``, which was closed; nothing if that is not possible."""
    with suppress(OSError):
        if path.stat().st_size >= LEAST and (found := _digest(path)):
            file = os.open(_beside(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(file, "w", encoding="ascii") as stream:
                stream.write(found)


def is_as_left(path: Path) -> bool:
    """Whether the file is, bit by bit, what it was when `note` was called, and nothing was written since."""
    try:
        if path.stat().st_size < LEAST:
            return False
        with open(os.open(_beside(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), encoding="ascii") as stream:
            noted = stream.read(2 * blake2b.MAX_DIGEST_SIZE + 1)
        return noted == _digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _beside(path: Path) -> Path:
    return path.with_name(path.name + "-sum")


def _digest(path: Path) -> str | None:
    """The digest; None while the database is open somewhere, or was not closed in order. Raises OSError."""
    with opening:
        if os.path.lexists(f"{path}-wal"):
            return None
        hasher = blake2b()
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
        return hasher.hexdigest()
