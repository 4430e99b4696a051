"""A chunk of calls, for jobs so small that a message for each would cost more than the job.

Separate from `manyhands.backends.performing`, which does one job at a time and tells of each.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from manyhands.backends.performing import Performed, Performer, failed
from manyhands.call import Call, run_coroutine
from manyhands.chunks import Done, Failed, unpack
from manyhands.job import Values


class ChunkPerformer:
    """Performs chunks of one call, as `Performer` performs jobs; raises what that raises."""

    def __init__(self, call: Call, columns: tuple[str, ...], outputs: Path) -> None:
        self._call, self._columns = call, columns
        self._performer = Performer(call, columns, outputs)
        function = self._performer.function
        self._function = partial(_awaited, function) if self._performer.is_async else function

    def perform(self, name: bytes, values: Values) -> Performed:  # noqa: ARG002 - a chunk has no name
        """Call it for each input of a chunk; the result is a pickled `Done`."""
        items = unpack(values)
        one = self._way(items)
        results: list[Any] = []
        failures: list[Failed] = []
        for index, item in enumerate(items):
            try:
                results.append(one(item))
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                told = failed(error)
                failures.append(Failed(index, told.error or "", told.traceback))
                results.append(None)
        return Performed(0, result=_pickled(Done(results, failures)))

    def _way(self, items: list[Any]) -> Callable[[Any], Any]:
        """How each of these is done; the shortest way, because a job may take less time than a call."""
        if self._call.type != "object":
            return self._encoded
        if {tuple, dict}.isdisjoint(map(type, items)):
            return self._function
        return partial(_apply, self._function)

    def _encoded(self, values: Values) -> bytes | None:
        """One input as a command line gives it, and its result as that prints it."""
        args, kwargs = self._call.arguments(values, self._columns)
        found = self._performer.encode(b"", self._function(*args, **kwargs))
        if found.exit:
            raise TypeError(found.error)
        return found.result


def _apply(function: Callable[..., Any], item: Any) -> Any:
    """A tuple gives the arguments, a dict the keyword arguments, anything else is the one (as `manyhands.call.encode`)."""
    kind = type(item)
    if kind is tuple:
        return function(*item)
    return function(**item) if kind is dict else function(item)


def _awaited(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return run_coroutine(function(*args, **kwargs))


def _pickled(done: Done) -> bytes:
    """For the way back; a result that cannot travel is a failure of its job alone."""
    try:
        return pickle.dumps(done, 5)
    except Exception:  # whatever a __reduce__ may raise: find out whose
        for index, result in enumerate(done.results):
            try:
                pickle.dumps(result, 5)
            except Exception as error:
                done.results[index] = None
                what = f"it returned a {type(result).__name__}, which cannot be pickled: {error}"
                done.failures.append(Failed(index, what, None))
        return pickle.dumps(Done(done.results, sorted(done.failures)), 5)
