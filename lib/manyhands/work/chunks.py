"""Sends many inputs at once to another process of this machine, and their results back.

    inputs --pack--> (values, a file in memory if they are large) --unpack--> inputs
    Done: results and failures --seal--> bytes --pickle.loads--> Done

Separate from the backends, because the engine packs and a worker unpacks. Arrays and other objects with buffers are sent out of band
(pickle protocol 5, PEP 574): large ones in a file in memory (memfd_create(2)), which the worker maps privately, so that its changes
are not visible elsewhere.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from manyhands.core.job import Values
from manyhands.core.serialization import pickled

LARGE: Final = 1 << 18
"""Bytes of a chunk above which it is not copied through a socket."""
_ALIGNED: Final = 64


class Packed(NamedTuple):
    """A packed chunk; the caller of `pack` closes ``file`` (-1: there is none) when the chunk is done."""

    values: Values
    file: int
    size: int


class Failed(NamedTuple):
    """A job of a chunk that did not return; ``place`` in the chunk, from 0."""

    place: int
    error: str
    traceback: str | None
    exception: bytes | None = None
    """The exception that it raised, as bytes (`manyhands.core.serialization`), if it can be pickled."""


class Done(NamedTuple):
    """The results of a chunk: what each job returned, None for those in ``failures``."""

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
    """Pack inputs to be sent. Raises what pickling them raises."""
    gathered, size = _Gatherer(), b"%d" % len(items)
    buffers: list[pickle.PickleBuffer] = []
    pickle.Pickler(gathered, 5, buffer_callback=buffers.append).dump(items)
    raw = [buffer.raw() for buffer in buffers]
    sizes = [sum(map(len, gathered.parts)), *(view.nbytes for view in raw)]
    if sum(sizes) <= LARGE or not hasattr(os, "memfd_create"):
        return Packed((b"inline", size, b"".join(gathered.parts), *map(bytes, raw)), -1, sum(sizes))
    file = os.memfd_create("chunk", os.MFD_CLOEXEC)
    with open(file, "wb", buffering=0, closefd=False) as memory:
        _write(memory, gathered.parts)
        for view in raw:
            memory.seek(_aligned(memory.tell()))
            _write(memory, [view])
    path = b"/proc/%d/fd/%d" % (os.getpid(), file)
    return Packed((b"file", size, path, *(b"%d" % one for one in sizes)), file, sum(sizes))


def unpack(values: Values) -> list[Any]:
    """The inverse of `pack`, in a worker."""
    kind, _, first, *rest = values
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


def count(values: Values) -> int:
    """The number of inputs in a chunk, also if they cannot be unpickled."""
    return int(values[1])


def seal(done: Done) -> bytes:
    """The results of a chunk, to be sent back: `pickle.loads` makes a `Done` of it.

    A result that cannot be pickled here, or unpickled there, is a failure of its job alone; so each result has its own pickle, unless
    all consist of Python's own numbers, texts and containers, for which pickling cannot fail.
    """
    plain = _PlainPickler(gathered := io.BytesIO(), 5)
    with suppress(BaseException):  # a __reduce__ may raise anything: it is handled below
        plain.dump(done.results)
        if not plain.foreign:
            return pickle.dumps(_Sealed([gathered.getvalue()], done.failures, whole=True), 5)
    parts: list[bytes] = []
    failures = list(done.failures)
    for place, result in enumerate(done.results):
        try:
            parts.append(pickled(result))
        except BaseException as error:  # a __reduce__ may raise anything
            parts.append(pickle.dumps(None))
            why = f"it returned a {type(result).__name__}, which cannot be pickled: {_said(error)}"
            failures.append(Failed(place, why, None))
    return pickle.dumps(_Sealed(parts, failures, whole=False), 5)


class _PlainPickler(pickle.Pickler):
    """Detects objects other than Python's own numbers, texts and containers."""

    foreign = False

    def reducer_override(self, _: Any) -> Any:  # is not called for those
        self.foreign = True
        return NotImplemented


class _Sealed(NamedTuple):
    """Unpickles as the `Done` that it holds."""

    parts: list[bytes]
    failures: list[Failed]
    whole: bool
    """Whether there is only one part, which holds all results."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unseal, (self.parts, self.failures, self.whole)


def _unseal(parts: list[bytes], failures: list[Failed], whole: bool) -> Done:
    if whole:
        return Done(pickle.loads(parts[0]), failures)  # noqa: S301 - our own worker made it
    results: list[Any] = []
    for place, part in enumerate(parts):
        try:
            results.append(pickle.loads(part))  # noqa: S301 - our own worker made it
        except KeyboardInterrupt:  # for the caller, who waits for the results
            raise
        except BaseException as error:  # a __setstate__ may raise anything
            results.append(None)
            failures.append(Failed(place, f"its result cannot be unpickled: {_said(error)}", None))
    return Done(results, sorted(failures, key=lambda one: one.place))


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # a __str__ that raises
        return type(error).__name__


def _write(file: Any, parts: list[Any]) -> None:
    for part in parts:
        view = memoryview(part).cast("B")
        while view:
            view = view[file.write(view) :]


def _aligned(at: int) -> int:
    return -(-at // _ALIGNED) * _ALIGNED
