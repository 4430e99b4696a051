"""Inputs from a stream that may be slow, endless or cut off, without ever making the engine wait.

    stream --Spool (`manyhands.spool`)--> RUN/inputs.part --> source --Feed (thread)--> engine

Separate from `inputs`, which knows formats and nothing of threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from manyhands.job import Values

_CHUNK: Final = 256  # inputs that are handed over at once; fewer when the stream pauses
_CHUNKS: Final = 8  # how many chunks may wait for the engine


class Feed:
    """Iterates a source in a thread; gives what is there, None when nothing is there just now.

    ``wake`` is called (from the thread) when something has come after a None. The source's exceptions are raised here.
    """

    def __init__(self, source: Iterable[Values], wake: Callable[[], None]) -> None:
        self._source, self._wake = source, wake
        self._chunks: deque[list[Values]] = deque()
        self._room = threading.Semaphore(_CHUNKS)
        self._now: Iterator[Values] = iter(())
        self._gathered: list[Values] = []
        self._error: Exception | None = None
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._read, name="manyhands-feed", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def flush(self) -> None:
        """Hand over what has been gathered (called by the reading thread before it waits)."""
        if self._gathered:
            self._room.acquire()
            self._chunks.append(self._gathered)
            self._gathered = []
            if not self._closed:
                self._wake()

    def __iter__(self) -> Iterator[Values | None]:
        while True:
            yield from self._now
            ended = self._ended  # looked at first: what was appended before it was set is then seen below
            if self._chunks:
                self._now = iter(self._chunks.popleft())
                self._room.release()
            elif ended:
                if self._error:
                    raise self._error
                return
            else:
                yield None

    def close(self) -> None:
        """Let the thread end; the stream that it reads must have been closed."""
        self._closed = True
        self._room.release(_CHUNKS)  # only the reading thread can be waiting for room, and after this it stops
        if self._thread.is_alive():
            self._thread.join()

    def _read(self) -> None:
        try:
            for values in self._source:
                self._gathered.append(values)
                if len(self._gathered) >= _CHUNK:
                    self.flush()
                if self._closed:
                    return
            self.flush()
        except Exception as error:  # whatever it is, it belongs to whoever pulls the inputs
            with suppress(RuntimeError):
                self.flush()
            self._error = error
        finally:
            self._ended = True
            if not self._closed:
                self._wake()
