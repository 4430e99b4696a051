"""One call of a function, wherever it happens: decode the input, call, tell what came of it.

    values --Call.arguments--> function(*args, **kwargs) --result kind--> Performed

The same for every backend, so that a job means the same on each. A coroutine function is awaited: by the backend if it has a
loop, else in a loop of its own (asyncio.run).
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import traceback
from pathlib import Path
from typing import Any, Final, NamedTuple

from manyhands import call as calls
from manyhands.call import UNFIT, Call, Function, run_coroutine
from manyhands.job import Values

LONGEST: Final = 1 << 16
"""Characters of a traceback that are kept, from its end."""

_OURS: Final = (os.path.dirname(__file__), calls.__file__, os.path.join(os.path.dirname(os.__file__), "asyncio"))


class Performed(NamedTuple):
    """What came of one call; fields as in `manyhands.backend.Ended`. ``exit``: 0 returned, 1 raised, `UNFIT`."""

    exit: int
    error: str | None = None
    traceback: str | None = None
    result: bytes | None = None


class Performer:
    """Performs the calls of one run. Raises UsageError when the function cannot be had, and whatever its initializer raises."""

    def __init__(self, call: Call, columns: tuple[str, ...], outputs: Path) -> None:
        self._call, self._columns, self._outputs = call, columns, outputs
        self.function: Function = call.function()
        self.is_async = inspect.iscoroutinefunction(self.function)

    def perform(self, name: bytes, values: Values) -> Performed:
        """Call it for one input; ``name`` is JOB.ATTEMPT. Only a BaseException that is meant for the thread gets through."""
        try:
            args, kwargs = self._call.arguments(values, self._columns)
        except Exception as error:
            return Performed(1, str(error))
        try:
            found = self.function(*args, **kwargs)
            if inspect.iscoroutine(found):
                found = run_coroutine(found)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            return failed(error)
        return self.encode(name, found)

    async def await_(self, name: bytes, values: Values) -> Performed:
        """The same in a loop that runs. Raises CancelledError."""
        try:
            args, kwargs = self._call.arguments(values, self._columns)
        except Exception as error:
            return Performed(1, str(error))
        try:
            found = await self.function(*args, **kwargs)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            return failed(error)
        return self.encode(name, found)

    def encode(self, name: bytes, found: object) -> Performed:
        """What was returned, in the form that was asked for."""
        kind = self._call.result
        if kind == "none":
            return Performed(0)
        if kind == "repr":
            return Performed(0, result=json.dumps(repr(found)).encode())
        if kind == "pickle-file":
            return self._pickle(name, found)
        try:
            text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            what = f"{type(found).__name__}, which JSON cannot hold ({error})"
            return Performed(
                UNFIT, f"it returned a {what}: ask for --result repr, none or pickle-file, or return something else"
            )
        try:
            return Performed(0, result=text.encode())
        except UnicodeEncodeError:  # a lone surrogate: JSON has an escape for it
            return Performed(0, result=json.dumps(found).encode())

    def _pickle(self, name: bytes, found: object) -> Performed:
        path = self._outputs / f"{name.decode()}.pickle"
        try:
            data = pickle.dumps(found, protocol=5)
        except Exception as error:  # whatever a __reduce__ may raise
            return Performed(UNFIT, f"it returned a {type(found).__name__}, which cannot be pickled: {_said(error)}")
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return Performed(1, f"cannot keep its result in {path}: {error.strerror}")
        return Performed(0, result=json.dumps({"pickle_file": str(path)}).encode())


def failed(error: BaseException) -> Performed:
    """An exception as it is kept: its type and message, and where it came from, without the frames of ours above it."""
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith(_OURS):
        place = place.tb_next
    try:
        told = "".join(traceback.format_exception(type(error), error, place))
    except Exception:  # a __str__ that raises
        told = "".join(traceback.format_tb(place))
    return Performed(1, _said(error), told[-LONGEST:])


def _said(error: BaseException) -> str:
    """``ValueError: what it says``, in one line."""
    try:
        said: Any = str(error)
    except Exception:
        said = "(its message cannot be made)"
    name = type(error).__qualname__
    return f"{name}: {' '.join(said.split())[:1000]}" if said else name
