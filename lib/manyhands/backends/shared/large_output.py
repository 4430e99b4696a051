"""The large output of an attempt that ran on another machine: it comes in pieces, and is kept in a file of the run, as here."""

from __future__ import annotations

import os
from contextlib import suppress

from manyhands.backends.shared.slot import INLINE, not_kept
from manyhands.core.attempt import Output


class LargeOutput:
    """An output that comes in pieces, on its way into a file of the run. If the file cannot be written, its beginning is kept."""

    def __init__(self, path: bytes) -> None:
        self._path, self._file = path, -1
        self._beginning = b""
        self.received = 0
        """Bytes that have come, kept or not."""
        self._failure: str | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._failure = not_kept(error)

    def add(self, piece: bytes) -> None:
        """The next piece; after a failure nothing more is kept."""
        self.received += len(piece)
        self._beginning = self._beginning or piece[:INLINE]
        if self._failure is None:
            try:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError as error:
                self._failure = not_kept(error)

    def finish(self, size: int, dropped: int) -> tuple[Output, str | None]:
        """(the output, durable; why it is not whole)"""
        if self._failure is None:
            try:
                os.fdatasync(self._file)
            except OSError as error:
                self._failure = not_kept(error)
        if self._failure is not None:
            self.drop()
            return Output(self._beginning, None, size, size - len(self._beginning)), self._failure
        os.close(self._file)
        return Output(b"", os.fsdecode(self._path), size, dropped), None

    def drop(self) -> None:
        """It will not be whole."""
        if self._file >= 0:
            os.close(self._file)
            with suppress(OSError):
                os.unlink(self._path)
