"""Calls a function for a chunk of inputs: for jobs so short that a message for each would cost more than the job.

Separate from `manyhands.backends.shared.call_function`, which does one job at a time and reports each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import length_hint
from pathlib import Path
from typing import Any

from manyhands.backends.shared.call_function import (
    CallResult,
    Performer,
    failed,
    generation,
    leave_if_forked,
    never,
    not_in_a_child,
)
from manyhands.core.job import Values
from manyhands.core.serialization import Ours
from manyhands.work.chunks import Done, Failed, count, seal, unpack
from manyhands.work.function import Call, run_coroutine


class _NotKept(Exception):
    """A result that cannot be encoded in the requested form."""

    def __init__(self, done: CallResult) -> None:
        super().__init__()
        self.done = done


class ChunkPerformer:
    """Performs chunks of one call, as `Performer` performs jobs; raises the same exceptions."""

    def __init__(self, call: Call, columns: tuple[str, ...], outputs: Path, ours: Ours = never) -> None:
        self._call, self._columns, self._ours = call, columns, ours
        self._performer = Performer(call, columns, outputs, ours)
        function = self._performer.function
        self._function = partial(_awaited, function) if self._performer.is_async else function

    def perform(self, name: bytes, values: Values) -> CallResult:
        """Call the function for each input of a chunk; the result is a sealed `Done`, or a failure if the chunk cannot be unpickled."""
        try:
            items = unpack(values)
        except BaseException as error:  # a __setstate__ may raise anything
            if self._ours(error):
                raise
            done = failed(error)
            done = done._replace(error=f"its input cannot be unpickled: {done.error}")
            return CallResult(0, result=seal(Done([None], [_failure(0, done)]))) if count(values) == 1 else done
        return CallResult(0, result=seal(self._done(name, items)))

    def _done(self, name: bytes, items: list[Any]) -> Done:
        one, encoded, here = self._way(items), self._call.type != "object", generation()
        results: list[Any] = []
        failures: list[Failed] = []
        with not_in_a_child(items) as left:
            while True:
                try:
                    for item in left:  # not a `map`, which a StopIteration of a job would end
                        results.append(one(item))  # noqa: PERF401
                    break
                except BaseException as error:  # any exception of a job is the job's result
                    leave_if_forked(here, error)
                    if len(results) == len(items) - length_hint(left):  # it came between two jobs: each has its result
                        raise
                    done = error.done if isinstance(error, _NotKept) else self._performer.raised(name, error)
                    results.append(done.result if encoded else None)
                    if done.exit:
                        failures.append(_failure(len(results) - 1, done))
            leave_if_forked(here)
        return Done(results, failures)

    def _way(self, items: list[Any]) -> Callable[[Any], Any]:
        """The function to call for each item: the cheapest one, because a job may take less time than another call."""
        if self._call.type != "object":
            return self._encoded
        if {tuple, dict}.isdisjoint(map(type, items)):
            return self._function
        return partial(_apply, self._function)

    def _encoded(self, values: Values) -> bytes | None:
        """Call the function for an input from a command line, and encode the result for output."""
        args, kwargs = self._call.arguments(values, self._columns)
        found = self._performer.encode(b"", self._function(*args, **kwargs))
        if found.exit:
            raise _NotKept(found)
        return found.result


def _apply(function: Callable[..., Any], item: Any) -> Any:
    """A tuple gives the arguments, a dict the keyword arguments, anything else is the only argument (as `manyhands.work.function.encode`)."""
    kind = type(item)
    if kind is tuple:
        return function(*item)
    return function(**item) if kind is dict else function(item)


def _awaited(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return run_coroutine(function(*args, **kwargs))


def _failure(index: int, done: CallResult) -> Failed:
    return Failed(index, done.error or "", done.traceback, done.result)
