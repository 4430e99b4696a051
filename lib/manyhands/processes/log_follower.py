"""Follows the lines of a log through its rotations: renamed and replaced, truncated, or copied and truncated.

    path --opened, kept open--> [renamed earlier, still written to] ... [the file that has the name now] --new lines-->

Lines that were written just before a file is renamed are read from the file, which is still open (rename(2)). Lines that were written
just before it is truncated are read from the copy that copytruncate (logrotate(8)) has made; without a copy they are lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_LONGEST_LINE: Final = 1 << 20
"""Bytes; a longer line is split."""
_KNOWN: Final = 64
"""Bytes before our position by which a file is recognised as the same."""
_MOST: Final = 4
"""Files that formerly had the name and are still read: a program writes to a renamed log until it is told to reopen it."""
_SLACK: Final = 0.1
"""Seconds by which the clock of a file system may lag (it ticks with the kernel's timer)."""


class Log:
    """A file that grows, and is rotated now and then. Use it as a context: it keeps files open."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path = path
        self._files: list[_File] = []
        self._open(at_end=at_end)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def new_lines(self) -> Iterator[str]:
        """The lines written since the last call. A last line without a line end counts when nothing is added to it."""
        self._open(at_end=False)  # first: what was written to the old file until now is then read below
        for file in self._files:
            yield from map(_text, file.new_lines())

    def _open(self, *, at_end: bool) -> None:
        """Open the file that has the name now, if it is another one."""
        try:
            status = self._path.stat()
            if any(file.identity == (status.st_dev, status.st_ino) for file in self._files):
                return
            self._files.append(_File(self._path, at_end=at_end))
        except FileNotFoundError:
            return
        if len(self._files) > _MOST:
            self._files.pop(0).close()


class _File:
    """One file, open."""

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self._path, self._file = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._file)
        self.identity = status.st_dev, status.st_ino
        self._at = status.st_size if at_end else 0
        self._rest, self._looked = b"", time.time()
        try:
            self._before = self._known(self._file)
        except OSError:  # a folder, a FIFO
            self.close()
            raise

    def close(self) -> None:
        """Close it."""
        os.close(self._file)

    def new_lines(self) -> Iterator[bytes]:
        """See `Log.new_lines`."""
        if os.fstat(self._file).st_size < self._at or self._known(self._file) != self._before:
            yield from self._lines_of_copy()
            yield from self._unended()
            self._at = 0
        elif os.fstat(self._file).st_size == self._at:
            yield from self._unended()
        yield from self._lines_of(self._file)
        self._before, self._looked = self._known(self._file), time.time()

    def _lines_of(self, file: int) -> Iterator[bytes]:
        while block := os.pread(file, _LONGEST_LINE, self._at):
            self._at += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield from lines
            if len(self._rest) >= _LONGEST_LINE:
                yield from self._unended()

    def _lines_of_copy(self) -> Iterator[bytes]:
        """The lines after our position when the file was truncated, if a copy was made beside it just before."""
        for path in self._path.parent.glob(f"{_escaped(self._path.name)}?*"):
            with suppress(OSError):
                if path.stat().st_ctime < self._looked - _SLACK:
                    continue
                copy = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                try:
                    if os.fstat(copy).st_size >= self._at and self._known(copy) == self._before:
                        yield from self._lines_of(copy)
                        return
                finally:
                    os.close(copy)

    def _known(self, file: int) -> bytes:
        start = max(0, self._at - _KNOWN)
        return os.pread(file, self._at - start, start)

    def _unended(self) -> Iterator[bytes]:
        line, self._rest = self._rest, b""
        if line:
            yield line


def _escaped(name: str) -> str:
    """A pattern that matches exactly this name."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")
