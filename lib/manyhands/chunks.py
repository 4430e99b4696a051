"""How many inputs travel at once to a process of this machine, and what came of them comes back.

    inputs --pack--> (values, a file in memory if they are large) --unpack--> inputs        Done: results and failures

Separate from the backends, because the engine packs and a worker unpacks. Arrays and other objects with
buffers travel out of band (pickle protocol 5, PEP 574): large ones lie in a file in memory (memfd_create(2)), which the worker
maps, privately, so that nobody sees what it changes.
"""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from manyhands.job import Values

LARGE: Final = 1 << 18
"""Bytes of a chunk above which it is not copied through a socket."""
_ALIGNED: Final = 64


class Packed(NamedTuple):
    """A chunk on its way; whoever packed it closes ``file`` (-1: there is none) when the chunk is done."""

    values: Values
    file: int
    size: int


class Failed(NamedTuple):
    """A job of a chunk that did not return; ``place`` in the chunk, from 0."""

    place: int
    error: str
    traceback: str | None


class Done(NamedTuple):
    """What came of a chunk: what each job returned, None for those in ``failures``."""

    results: list[Any]
    failures: list[Failed]


class _Gatherer:
    """A file for a pickler, which writes large objects without copying them."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def write(self, data: Any) -> int:
        self.parts.append(data)
        return len(data)


def pack(items: Sequence[Any]) -> Packed:
    """Make inputs ready to travel. Raises whatever their pickling raises."""
    gathered = _Gatherer()
    buffers: list[pickle.PickleBuffer] = []
    pickle.Pickler(gathered, 5, buffer_callback=buffers.append).dump(items)
    raw = [buffer.raw() for buffer in buffers]
    sizes = [sum(map(len, gathered.parts)), *(view.nbytes for view in raw)]
    if sum(sizes) <= LARGE or not hasattr(os, "memfd_create"):
        return Packed((b"inline", b"".join(gathered.parts), *map(bytes, raw)), -1, sum(sizes))
    file = os.memfd_create("chunk", os.MFD_CLOEXEC)
    with open(file, "wb", buffering=0, closefd=False) as memory:
        _write(memory, gathered.parts)
        for view in raw:
            memory.seek(_aligned(memory.tell()))
            _write(memory, [view])
    path = b"/proc/%d/fd/%d" % (os.getpid(), file)
    return Packed((b"file", path, *(b"%d" % size for size in sizes)), file, sum(sizes))


def unpack(values: Values) -> list[Any]:
    """The inverse of `pack`, in a worker."""
    kind, first, *rest = values
    if kind == b"inline":
        return pickle.loads(first, buffers=map(bytearray, rest))  # type: ignore[no-any-return]  # noqa: S301 - from our own parent
    with open(first, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
    sizes = [int(size) for size in rest]
    buffers, at = [], sizes[0]
    for size in sizes[1:]:
        at = _aligned(at)
        buffers.append(view[at : at + size])
        at += size
    return pickle.loads(view[: sizes[0]], buffers=buffers)  # type: ignore[no-any-return]  # noqa: S301 - from our own parent


def _write(file: Any, parts: list[Any]) -> None:
    for part in parts:
        view = memoryview(part).cast("B")
        while view:
            view = view[file.write(view) :]


def _aligned(at: int) -> int:
    return -(-at // _ALIGNED) * _ALIGNED
