"""The outputs of attempts as they come from consumers: small ones in the report of the end, large ones in pieces before it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.backends.queue.reports import End, Piece
from manyhands.backends.shared.large_output import LargeOutput
from manyhands.core.attempt import NOTHING, AttemptId, Output

_SUFFIX: Final = ("out", "err")
_NONE: Final = ((0, 0), (0, 0))


class Outputs:
    """The large outputs that are on their way into files of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[AttemptId, int], LargeOutput] = {}

    def add(self, id: AttemptId, piece: Piece) -> None:
        """The next piece; one that has come already is left out."""
        key = id, piece.stream
        if key not in self._files:
            self._files[key] = LargeOutput(self._path(id, piece.stream))
        if piece.offset == self._files[key].received:
            self._files[key].add(piece.data)

    def _path(self, id: AttemptId, stream: int) -> bytes:
        return os.fsencode(self._folder / f"{id[0]}.{id[1]}.{_SUFFIX[stream]}")

    def remove(self, id: AttemptId) -> None:
        """Remove what an earlier coordinator has got of an attempt: it comes once more, from its beginning."""
        for stream in (0, 1):
            with suppress(FileNotFoundError):
                os.unlink(self._path(id, stream))

    def whole(self, id: AttemptId, end: End) -> tuple[Output, Output, str | None]:
        """(stdout, stderr, why one of them is not whole) of an attempt that has ended."""
        if end.sizes == _NONE and end.outputs == (b"", b""):  # of most short jobs
            return NOTHING, NOTHING, None
        (stdout, first), (stderr, second) = (self._one(id, stream, end) for stream in (0, 1))
        return stdout, stderr, first or second

    def _one(self, id: AttemptId, stream: int, end: End) -> tuple[Output, str | None]:
        size, dropped = end.sizes[stream]
        data = end.outputs[stream]
        if data is not None:
            return Output(data, None, size, dropped), None
        file = self._files.pop((id, stream), None)
        if file is None:
            return Output(b"", None, size, size), "its output was lost on the way"
        missing = size - dropped - file.received
        output, why = file.finish(size, dropped + max(0, missing))
        return output, why or (f"{missing} bytes of its output were lost on the way" if missing > 0 else None)

    def forget(self, id: AttemptId) -> None:
        """Remove what has come of an attempt that is lost."""
        if not self._files:
            return
        for stream in (0, 1):
            if (file := self._files.pop((id, stream), None)) is not None:
                file.drop()

    def drop(self) -> None:
        """Remove all that is not whole."""
        for file in self._files.values():
            file.drop()
        self._files.clear()
