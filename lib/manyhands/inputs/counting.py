"""Counts the inputs in a thread while the run takes them, so that the total of a long list is known soon.

    a regular file, or the stored inputs of a pipe that has ended --Counter (thread)--> number --wake--> engine's thread

Separate from `reader_thread`, which reads only some way ahead: this module keeps nothing but a number. The source itself defines what
an input is (`manyhands.inputs.readers.Read.pieces`), so the number is exact. A source that cannot be read twice (a FIFO, a program's
iterator) is not counted, nor is one that cannot be read to its end: the run meets that error itself.
"""

from __future__ import annotations

import csv
import math
import stat
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from manyhands.core.errors import ManyhandsError
from manyhands.inputs.readers import Read
from manyhands.inputs.sources import Product, Source

_AT_ONCE: Final = 4096
"""Inputs between two checks whether the number is still wanted."""

Open = Callable[[Callable[[], bool]], BinaryIO | None]
"""Waits until a stream has ended, while its argument returns True, and opens the stored copy of the stream."""


class Counter:
    """Counts ``source`` in a thread; ``opened`` opens the stored copy of the stream that it reads, if it reads one.

    ``wake`` is called, from the thread, when `number` is known; ``nudge``, when ``opened`` has to stop waiting.
    """

    def __init__(
        self,
        source: Source,
        wake: Callable[[], None],
        opened: Open | None = None,
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._wake, self._opened, self._nudge = source, wake, opened, nudge
        self.number: int | None = None
        self._wanted = True
        self._thread = threading.Thread(target=self._count, name="manyhands-count", daemon=True)

    def start(self) -> None:
        """Begin, if the source can be counted."""
        if _countable(self._source, streamed=self._opened is not None):
            self._thread.start()

    def close(self) -> None:
        """Stop counting."""
        self._wanted = False
        self._nudge()
        if self._thread.is_alive():
            self._thread.join()

    def _count(self) -> None:
        try:
            stream = self._opened(lambda: self._wanted) if self._opened else None
            if self._opened is None or stream is not None:
                self.number = self._many(self._source, stream)
        except (ManyhandsError, OSError, csv.Error):  # the reader of these inputs meets and reports the same error
            return
        if self.number is not None:
            self._wake()

    def _many(self, source: Source, stream: BinaryIO | None = None) -> int | None:
        if source.total is not None:
            return source.total
        if isinstance(source, Product):
            parts = [self._many(one, stream) for one in source.sources]
            return None if None in parts else math.prod(part or 0 for part in parts)
        if not isinstance(source, Read):
            return None
        with stream or Path(source.path).open("rb") as file:
            return self._sum(source.pieces(file))

    def _sum(self, pieces: Iterator[object]) -> int | None:
        number = 0
        while found := sum(1 for _ in islice(pieces, _AT_ONCE)):
            number += found
            if not self._wanted:
                return None
        return number


def _countable(source: Source, *, streamed: bool) -> bool:
    """Whether it can be read a second time without taking inputs from the run, and its total is not known yet."""
    if source.total is not None:
        return False
    if isinstance(source, Product):
        return all(one.total is not None or _countable(one, streamed=streamed) for one in source.sources)
    return isinstance(source, Read) and (streamed or _is_regular(source.path))


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False
