"""One call of a function, on any backend: decode the input, call, encode the result.

    values --Call.arguments--> function(*args, **kwargs) --result kind--> CallResult

All backends use this, so that a job means the same on each. A coroutine function is awaited by the backend if it has an event
loop, else in a loop of its own (asyncio.run).
"""

from __future__ import annotations

import json
import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CoroutineType
from typing import Any, ClassVar, Final, NamedTuple

from manyhands.backends.protocol import Ended
from manyhands.core import serialization
from manyhands.core.job import Attempt, Ending, Values
from manyhands.core.package_location import PACKAGE
from manyhands.core.serialization import Ours, exception_to_bytes, to_bytes, to_json
from manyhands.work.find_function import Function
from manyhands.work.function import BadInput, Call, run_coroutine
from manyhands.work.plain_function import is_coroutine_function

LONGEST: Final = 1 << 16
"""Characters of a traceback that are kept, from its end."""

_LINE: Final = 1000
_OURS: Final = (
    os.path.join(PACKAGE, "backends", ""),
    os.path.join(PACKAGE, "work", ""),
    serialization.__file__,
    os.path.join(os.path.dirname(os.__file__), "asyncio"),
)


class CallResult(NamedTuple):
    """The result of one call; fields as in `manyhands.core.job.Ending`. ``exit``: 0 returned, 1 raised, else the job's exit status."""

    exit: int
    error: str | None = None
    traceback: str | None = None
    result: bytes | None = None


_NONE: Final = CallResult(0, result=to_bytes(None))


def never(_: BaseException) -> bool:
    """For backends that raise nothing inside a job."""
    return False


class _Process:
    """Counts the forks between the first process and this one."""

    generation = 0
    in_hand: ClassVar[set[Iterator[object]]] = set()
    """The inputs that are still to be done, of each chunk. A forked child does none of them."""

    @classmethod
    def forked(cls) -> None:
        cls.generation += 1
        for inputs in cls.in_hand:
            deque(inputs, maxlen=0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.forked)


@contextmanager
def not_in_a_child(inputs: Sequence[Any]) -> Iterator[Iterator[Any]]:
    """Iterate ``inputs`` to do a job for each: where a job has forked, they are at their end, so that the child does no job of its parent's."""
    iterator = iter(inputs)
    _Process.in_hand.add(iterator)
    try:
        yield iterator
    finally:
        _Process.in_hand.discard(iterator)


def generation() -> int:
    """A number that differs in a process forked since."""
    return _Process.generation


def leave_if_forked(before: int, error: BaseException | None = None) -> None:
    """End the process if it is a child that a job forked and did not end: it must not continue its parent's work."""
    if _Process.generation == before:
        return
    status = 0 if error is None else exit_status(error)
    if error is not None and status is None:
        with suppress(BaseException):
            os.write(2, (failed(error).traceback or "").encode())
    os._exit(1 if status is None else status)


class Performer:
    """Performs the calls of one run, and catches all their exceptions but those for which ``ours`` is true.

    Raises UsageError if the function cannot be found.
    """

    def __init__(self, call: Call, columns: tuple[str, ...], outputs: Path, ours: Ours = never) -> None:
        self._call, self._columns, self._outputs, self._ours = call, columns, outputs, ours
        self.function: Function = call.function()
        self.is_async = is_coroutine_function(self.function)
        self._live = call.live is not None
        """A program waits for the results, so exceptions can be passed to it."""
        self._as_value = call.result == "value"

    def perform(self, name: bytes, values: Values) -> CallResult:
        """Call the function for one input; ``name`` is JOB.ATTEMPT. Raises only exceptions that are ours."""
        here = _Process.generation
        try:
            args, kwargs = self._call.arguments(values, self._columns)
            found = self.function(*args, **kwargs)
            if type(found) is CoroutineType:
                found = run_coroutine(found)
        except BaseException as error:  # any exception of a job is the job's result
            leave_if_forked(here, error)
            return self.raised(name, error)
        if _Process.generation != here:
            leave_if_forked(here)
        if found is None and self._as_value:
            return _NONE
        return self.encode(name, found)

    async def await_(self, name: bytes, values: Values) -> CallResult:
        """As `perform`, in a running event loop."""
        try:
            args, kwargs = self._call.arguments(values, self._columns)
            found = await self.function(*args, **kwargs)
        except BaseException as error:  # any exception of a job is the job's result
            return self.raised(name, error)
        return self.encode(name, found)

    def raised(self, name: bytes, error: BaseException) -> CallResult:
        """The result of a job that raised: ``sys.exit()`` is a success without a result, all else a failure. Raises ours again."""
        if self._ours(error):
            raise error
        if isinstance(error, BadInput):
            return CallResult(1, _text(error))
        status = exit_status(error)
        if status == 0:
            return self.encode(name, None)
        result = failed(error, 1 if status is None else status)
        if self._call.named:
            result = result._replace(error=with_kinds(result.error or "", error, self._call.named))
        return result._replace(result=exception_to_bytes(error, self._ours)) if self._live else result

    def encode(self, name: bytes, found: object) -> CallResult:
        """The returned value, in the requested form. Raises only exceptions that are ours."""
        try:
            return self._encode(name, found)
        except BaseException as error:  # a __repr__, an items() or a __reduce__ of the result may raise anything
            if self._ours(error):
                raise
            result = failed(error)
            how = "kept" if self._call.result == "repr" else "pickled"
            return result._replace(error=f"it returned {_article(found)}, which cannot be {how}: {result.error}")

    def _encode(self, name: bytes, found: object) -> CallResult:
        kind = self._call.result
        if kind == "value":
            return CallResult(0, result=to_bytes(found, self._ours))
        if kind == "none":
            return CallResult(0)
        if kind == "repr":
            return CallResult(0, result=json.dumps(str(repr(found))).encode())
        if kind == "pickle-file":
            return self._pickle(name, found)
        try:
            return CallResult(0, result=to_json(found))
        except (TypeError, ValueError, RecursionError) as error:
            what = f"{_article(found)}, which JSON cannot hold ({_text(error)})"
            return failed(error)._replace(
                traceback=None,
                error=f"it returned {what}: choose --result repr, none or pickle-file (result=... in a program; in this run with "
                "--run-id RUN --retry-failed), or return something else",
            )

    def _pickle(self, name: bytes, found: object) -> CallResult:
        path = self._outputs / f"{name.decode()}.pickle"
        data = pickle.dumps(found, protocol=5)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return CallResult(1, f"cannot keep its result in {path}: {error.strerror}")
        return CallResult(0, result=json.dumps({"pickle_file": str(path)}).encode())


def _article(found: object) -> str:
    name = type(found).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def exit_status(error: BaseException) -> int | None:
    """The exit status of a program that ``error`` ends; None unless it is a SystemExit with a number or without a code."""
    if not isinstance(error, SystemExit):
        return None
    code = error.code
    if code is None:
        return 0
    return (code & 0xFF or int(code != 0)) if isinstance(code, int) else None


def failed(error: BaseException, status: int = 1) -> CallResult:
    """An exception as it is recorded: its type and message, and its traceback, without the frames of ours above the job's.

    Its causes and notes are part of the traceback. An exception that is raised while this one is formatted is caught.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # a __str__ that raises
        text = "".join(traceback.format_tb(frames)) + _line(error) + "\n"
    return CallResult(status, _line(error), _plain(text[-LONGEST:]))


def with_kinds(text: str, error: BaseException, wanted: Collection[str]) -> str:
    """``text``, which begins with the exception's class, with those of its base classes added that are in ``wanted``."""
    own = type(error).__qualname__
    if own in wanted:
        return text
    kinds: dict[str, None] = {}
    for kind in type(error).__mro__:
        for name in (kind.__name__, kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}"):
            if name in wanted:
                kinds[name] = None
    return f"{own} ({', '.join(kinds)}){text.removeprefix(own)}" if kinds else text


def broken(attempt: Attempt, at: float, error: BaseException) -> Ended:
    """The end of an attempt that began at ``at`` and failed outside of the call itself."""
    result, now = failed(error), time.monotonic()
    return Ended(attempt, now, Ending(1, error=result.error, wall=now - at, traceback=result.traceback))


def lost_output(error: OSError | ValueError) -> CallResult:
    """A failure, because a job's output could not be stored: an incomplete output must not look complete."""
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return failed(error)._replace(error=f"what it has printed cannot be kept: {why}")


def _line(error: BaseException) -> str:
    """``ValueError: message``, in one line, with the notes that were added to it (PEP 678)."""
    said = " ".join(_text(error).split())[:_LINE]
    line = f"{type(error).__qualname__}: {said}" if said else type(error).__qualname__
    return _plain("; ".join((line, *_notes(error))))


def _notes(error: BaseException) -> list[str]:
    """The exception's notes; each note, and the attribute itself, may be of any type."""
    try:
        return [" ".join(str(note).split())[:_LINE] for note in getattr(error, "__notes__", ())]
    except BaseException:
        return []


def _text(error: BaseException) -> str:
    """Its message; a ``__str__`` may raise anything."""
    try:
        return str(error)
    except BaseException:
        return "(its message cannot be made)"


def _plain(text: str) -> str:
    """The text without lone surrogates, which neither a socket nor a journal accepts."""
    return text.encode("utf-8", "backslashreplace").decode()
