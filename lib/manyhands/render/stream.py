"""One of our two streams, as the jobs' output leaves through it: whole, byte-exact to files and pipes, harmless on a terminal.

    small outputs --gathered--> one write per 64 KiB or 50 ms        large ones, in files --sendfile--> the descriptor

Separate, because every way of showing a run ends here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from manyhands.core.job import Job, Output
from manyhands.core.safe_text import Harmless, one_line
from manyhands.storage import output

_ENOUGH: Final = 1 << 16
_PATIENCE: Final = 0.05
_LONGEST_TAG: Final = 200  # columns, on a terminal; elsewhere a tag is the exact input


class Stream:
    """Gathers what it is given. ``tag``: every line of a job begins with its input and a TAB, as GNU parallel's --tag."""

    def __init__(self, stream: BinaryIO, *, tag: bool, clock: Callable[[], float]) -> None:
        self._stream, self._tag, self._clock = stream, tag, clock
        self._descriptor = _descriptor(stream)
        self._terminal = stream.isatty()
        self._raw = not tag and not self._terminal
        self._held: list[bytes] = []
        self._size = 0
        self._since = 0.0

    def show(self, printed: Output, job: Job) -> None:
        """All that one job printed to this stream. Raises ManyhandsError if the file that holds it is gone."""
        if self._raw and printed.path is None:
            self.write(printed.data)
        elif self._raw and self._descriptor is not None:
            self.flush()
            output.copy(printed, self._descriptor)
        else:
            for chunk in dressed(printed, job, tag=self._tag, terminal=self._terminal):
                self.write(chunk)

    def write(self, data: bytes) -> None:
        """Hold ``data``, or write it out with what is held, if it is enough. Raises BrokenPipeError."""
        if not self._held:
            self._since = self._clock()
        self._held.append(data)
        self._size += len(data)
        if self._size >= _ENOUGH:
            self.flush()

    def flush_if_due(self, now: float) -> None:
        """Write out what has been held for 50 ms."""
        if self._held and now - self._since >= _PATIENCE:
            self.flush()

    def flush(self) -> None:
        """Write out what is held. What could not be written is not tried again. Raises BrokenPipeError."""
        if not self._held:
            return
        held, self._held, self._size = b"".join(self._held), [], 0
        if self._descriptor is None:
            self._stream.write(held)
            self._stream.flush()
        else:
            self._stream.flush()  # what others may have left in its buffer comes first
            output.write(self._descriptor, held)


def _descriptor(stream: BinaryIO) -> int | None:
    """What lies under ``stream``; None for one that is not a file (BytesIO, a test's capture)."""
    try:
        return stream.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def dressed(printed: Output, job: Job, *, tag: bool, terminal: bool) -> Iterator[bytes]:
    """A job's output in pieces: harmless for a terminal, tagged if asked for. Pieces never tear a character of a terminal."""
    chunks = printed.chunks()
    if terminal:
        chunks = _harmless(chunks)
    if not tag:
        return chunks
    name = b" ".join(job.values)
    return _tagged(chunks, (one_line(name, _LONGEST_TAG).encode() if terminal else name) + b"\t")


def _harmless(chunks: Iterator[bytes]) -> Iterator[bytes]:
    safe = Harmless(colours=True)
    for chunk in chunks:
        yield safe.feed(chunk).encode()
    yield safe.feed(b"", final=True).encode()


def _tagged(chunks: Iterator[bytes], tag: bytes) -> Iterator[bytes]:
    """Every line with ``tag`` before it; a last line without newline stays without."""
    begins = True
    for chunk in chunks:
        if not chunk:
            continue
        text = (tag if begins else b"") + chunk.replace(b"\n", b"\n" + tag)
        begins = chunk.endswith(b"\n")
        yield text[: -len(tag)] if begins else text
