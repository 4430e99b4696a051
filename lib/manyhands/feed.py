"""Inputs from a stream that may be slow, endless or cut off, without ever making the engine wait.

    stream --Spool (thread)--> RUN/inputs.part --Follower--> source --Feed (thread)--> engine

A pipe can be read only once, so what comes from it is copied to the run's folder as fast as it comes, and read from there:
a killed run can be resumed with everything that had arrived. When the stream has ended, the file is renamed to `inputs`.
Separate from `inputs`, which knows formats and nothing of threads.
"""

from __future__ import annotations

import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.job import Values

_CHUNK: Final = 256  # inputs that are handed over at once; fewer when the stream pauses
_CHUNKS: Final = 8  # how many chunks may wait for the engine
_BLOCK: Final = 1 << 16
_PATIENCE: Final = 0.2  # seconds after which a waiting reader looks whether it was cancelled (from a signal handler)


class Spool:
    """Copies a stream to ``folder/inputs.part`` in a thread, until it ends or `close` is called."""

    def __init__(self, stream: int, folder: Path) -> None:
        self.path, self._final = folder / "inputs.part", folder / "inputs"
        for earlier in (self.path, self._final):
            earlier.unlink(missing_ok=True)
        self._stream = stream
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._ended = self._cancelled = False
        self._error: OSError | None = None
        self._news = threading.Condition()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name="manyhands-spool", daemon=True)
        self._thread.start()

    @property
    def complete(self) -> bool:
        """Whether the whole stream has been copied."""
        return self._ended and self._error is None and self._final.exists()

    def follow(self, before_waiting: Callable[[], None]) -> io.BufferedReader:
        """A new reader from the beginning, which waits where the stream has not gone on yet."""
        return io.BufferedReader(_Follower(self, before_waiting), _BLOCK)

    def read(self, offset: int, buffer: memoryview, before_waiting: Callable[[], None]) -> int:
        """Fill ``buffer`` from ``offset``; waits until something is there; 0 at the end. Raises the stream's OSError."""
        with self._news:
            if offset >= self._size and not self._ended:
                before_waiting()
            while offset >= self._size and not self._ended:
                self._news.wait(_PATIENCE)
                if self._cancelled:
                    return 0
            if offset >= self._size:
                if self._error:
                    raise self._error
                return 0
        return os.preadv(self._file, [buffer], offset)

    def cancel(self) -> None:
        """Let a waiting reader find the end soon. Safe in a signal handler: it takes no lock."""
        self._cancelled = True

    def close(self) -> None:
        """Stop copying; readers find the end."""
        if self._stopper >= 0:
            os.close(self._stopper)
            self._stopper = -1
            self._thread.join()
            os.close(self._stop)
            os.close(self._file)

    def _copy(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._stream, select.POLLIN)
            poll.register(self._stop, select.POLLIN)
            while not any(file == self._stop for file, _ in poll.poll()):
                block = os.read(self._stream, _BLOCK)
                if not block:
                    os.rename(self.path, self._final)
                    break
                _write_all(self._file, block)
                with self._news:
                    self._size += len(block)
                    self._news.notify_all()
        except OSError as error:
            self._error = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()


class _Follower(io.RawIOBase):
    def __init__(self, spool: Spool, before_waiting: Callable[[], None]) -> None:
        self._spool, self._before_waiting, self._offset = spool, before_waiting, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed wants any WriteableBuffer
        size = self._spool.read(self._offset, memoryview(buffer), self._before_waiting)
        self._offset += size
        return size


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


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def spooled(folder: Path) -> tuple[Path, bool]:
    """(the file that holds what came from a stream, whether it is complete), of a run that is taken up again.

    The caller holds the run's lock. An input that was cut in the middle is taken off, so that it is not mistaken for a whole.
    """
    part, final = folder / "inputs.part", folder / "inputs"
    if final.exists():
        return final, True
    part.touch(mode=0o600)
    with part.open("r+b") as file:
        keep = size = file.seek(0, os.SEEK_END)
        while keep:
            start = max(0, keep - _BLOCK)
            file.seek(start)
            block = file.read(keep - start)
            end = max(block.rfind(b"\n"), block.rfind(b"\0"))
            if end >= 0:
                keep = start + end + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)
    return part, False
