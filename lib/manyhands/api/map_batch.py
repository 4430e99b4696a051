"""One function over a great many inputs, for what it returns: no journal, no records, as fast as processes can be fed.

    inputs --> chunks (`manyhands.engine.chunk_loop`) --> worker processes --> what was returned, in order

Separate from `manyhands.api.run_batch`, whose `run_batch` keeps a record of every job and can be resumed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, TypeVarTuple, Unpack, overload

from manyhands.backends.registry import check_backend, open_backend
from manyhands.backends.settings import FunctionSettings
from manyhands.core.arguments import check_several
from manyhands.core.errors import JobFailedError, UsageError
from manyhands.core.job import Output, T_co
from manyhands.core.limits import parse_jobs
from manyhands.core.serialization import from_bytes
from manyhands.engine.chunk_loop import AtHand, Items, Mapper
from manyhands.inputs.reader_thread import Ahead, Pulling, check_pulling
from manyhands.posix.cores import usable_cores
from manyhands.runtime.at_exit import close_at_exit
from manyhands.runtime.main_guard import refuse_in_worker
from manyhands.storage.output import Printed, check_printed, pass_on
from manyhands.work.chunks import Done, Failed
from manyhands.work.function import Call
from manyhands.work.worker_settings import Workers

Found = Generator[tuple[int, list[Any], Done], None, None]
"""(number of the first input, inputs, what came of them) of each chunk."""


if TYPE_CHECKING:
    from manyhands.api.keywords import MapKeywords

A = TypeVar("A")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


# One input is the argument, a tuple the arguments, a mapping the keyword arguments; an async function is awaited where it is called.
@overload
def map_batch(
    function: Callable[[A], Awaitable[T]],
    inputs: Iterable[A],
    *,
    return_exceptions: Literal[False] = ...,
    **more: Unpack[MapKeywords],
) -> MapResults[T]: ...
@overload
def map_batch(
    function: Callable[[A], T],
    inputs: Iterable[A],
    *,
    return_exceptions: Literal[False] = ...,
    **more: Unpack[MapKeywords],
) -> MapResults[T]: ...
@overload
def map_batch(
    function: Callable[[*Ts], Awaitable[T]],
    inputs: Iterable[tuple[*Ts]],
    *,
    return_exceptions: Literal[False] = ...,
    **more: Unpack[MapKeywords],
) -> MapResults[T]: ...
@overload
def map_batch(
    function: Callable[[*Ts], T],
    inputs: Iterable[tuple[*Ts]],
    *,
    return_exceptions: Literal[False] = ...,
    **more: Unpack[MapKeywords],
) -> MapResults[T]: ...
@overload
def map_batch(
    function: Callable[..., T],
    inputs: Iterable[Mapping[str, Any]],
    *,
    return_exceptions: Literal[False] = ...,
    **more: Unpack[MapKeywords],
) -> MapResults[T]: ...
@overload
def map_batch(
    function: Callable[[A], T], inputs: Iterable[A], *, return_exceptions: bool, **more: Unpack[MapKeywords]
) -> MapResults[T | JobFailedError]: ...
@overload
def map_batch(
    function: Callable[[*Ts], T], inputs: Iterable[tuple[*Ts]], *, return_exceptions: bool, **more: Unpack[MapKeywords]
) -> MapResults[T | JobFailedError]: ...
@overload
def map_batch(
    function: Callable[..., T],
    inputs: Iterable[Mapping[str, Any]],
    *,
    return_exceptions: bool,
    **more: Unpack[MapKeywords],
) -> MapResults[T | JobFailedError]: ...


def map_batch(
    function: Callable[..., Any],
    inputs: Iterable[Any],
    *,
    jobs: int | str = "100%",
    chunk: int | None = None,
    ordered: bool = True,
    return_exceptions: bool = False,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] = (),
    start_method: str = "forkserver",
    pull: Pulling = "thread",
    output: Printed = "pass",
) -> MapResults[Any]:
    """Yield what ``function`` returns for each input, in worker processes: `multiprocessing.Pool.imap` with lazy inputs.

        for root in map_batch(math.sqrt, range(1_000_000), jobs=4): ...

    A tuple gives the arguments, a dict the keyword arguments, anything else is the one argument. Inputs are pulled as they are
    needed, so memory does not grow with their number, and travel in chunks of ``chunk`` (by default as many as make about
    20 ms of work). An iterator is pulled in a thread of its own, or, with ``pull="caller"``, by the one that takes the results.
    ``ordered``: in the order of the inputs, else as they end. What jobs print is passed on, or with ``output`` "keep" dropped.
    Leaving early, `MapResults.close` and the end of the program end the workers.

    A job that raises, or that has killed two workers, raises `JobFailedError` when its turn comes, whose cause is what the function
    raised, if that could travel, and everything is stopped; with ``return_exceptions`` that error is yielded in its place. A job may
    be done twice if its chunk's worker dies. There are no time-outs, retries, or records: those are `run_batch`'s.

    Raises UsageError for arguments that are invalid, InputError for an input that cannot be pickled. A script calls it under
    ``if __name__ == "__main__":``.
    """
    refuse_in_worker()
    check_backend("processes", functions=True)
    check_pulling(pull)
    check_printed(output)
    check_several("inputs", inputs)
    check_several("initargs", initargs, "arguments")
    call = Call.of(function, type="object", chunked=True, initargs=tuple(initargs), live_initializer=initializer)
    if str(jobs).strip() == "auto":
        raise UsageError(
            "jobs='auto' is for run_batch, which measures every job; give a number, or a percentage of the cores"
        )
    width = parse_jobs(jobs, usable_cores())
    printed = _pass_on if output == "pass" else _let_go
    found = done_of(
        call, inputs, width, Workers(start_method=start_method, chunk=chunk), ordered=ordered, printed=printed, pull=pull
    )
    return MapResults(found, return_exceptions=return_exceptions)


class MapResults(Generic[T_co]):
    """What `map_batch` gives: an iterator of what was returned. The workers begin with the first result that is asked for.

    `close`, leaving a ``with`` block and forgetting it end them.
    """

    def __init__(self, found: Found, *, return_exceptions: bool) -> None:
        self._found = found
        # Iterated in C: a method of ours for each result would take as long as the rest. Dropped, it closes ``found``.
        self._results: Iterator[T_co] = chain.from_iterable(
            _results(found, *one, return_exceptions=return_exceptions) for one in found
        )
        close_at_exit(found)

    def __iter__(self) -> Iterator[T_co]:
        return self._results

    def __next__(self) -> T_co:
        return next(self._results)

    def __enter__(self) -> MapResults[T_co]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; there are no more results."""
        self._found.close()


def done_of(
    call: Call,
    inputs: Iterable[Any],
    jobs: int,
    workers: Workers,
    *,
    ordered: bool,
    printed: Callable[[Output, Output], None],
    columns: Sequence[str] = (),
    environment: Mapping[bytes, bytes] = os.environb,
    workdir: Path | None = None,
    nice: int = 0,
    grace: float = 5.0,
    pull: Pulling = "thread",
) -> Found:
    """Yield (number of the first input, inputs, what came of them) for each chunk, in good time; ``call`` is chunked.

    ``printed`` is given what the jobs of a chunk have printed, before that. Options as in `Plan`.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="manyhands-"))
        backend = open_backend(
            "processes",
            FunctionSettings(
                slots=jobs,
                outputs=Path(folder),
                token=os.urandom(8).hex(),
                environment=dict(environment),
                workdir=workdir or Path.cwd(),
                nice=nice,
                grace=grace,
                call=call,
                columns=tuple(columns),
                disposable=True,
                workers=Workers(start_method=workers.start_method, chunk=1),
            ),
        )
        stack.callback(backend.close)
        items = _items(inputs, pull, backend.wake, stack)
        mapper = Mapper(items, backend, jobs, chunk=workers.chunk, ordered=ordered)
        yield from mapper.chunks(printed)


def _items(inputs: Iterable[Any], pull: Pulling, wake: Callable[[], None], stack: ExitStack) -> Items:
    """The inputs, pulled where results are taken, or in a thread of their own, which ``stack`` ends."""
    if pull == "caller" or isinstance(inputs, list | tuple | range):
        return AtHand(inputs)
    ahead = Ahead(inputs, wake)
    stack.callback(ahead.close)
    return ahead


def _results(found: Found, first: int, items: list[Any], done: Done, *, return_exceptions: bool) -> Iterable[Any]:
    """What is yielded for a chunk."""
    if not done.failures:
        return done.results
    errors = {one.place: _error(first + one.place, items[one.place], one) for one in done.failures}
    if return_exceptions:
        return [errors.get(index, result) for index, result in enumerate(done.results)]
    return _until(found, done.results, errors)


def _error(number: int, given: Any, failed: Failed) -> JobFailedError:
    error = JobFailedError(number, given, failed.error, failed.traceback)
    if failed.exception:
        with suppress(Exception):  # whatever its class raises here: the text has to do
            error.__cause__ = from_bytes(failed.exception)
    return error


def _until(found: Found, results: list[Any], errors: dict[int, JobFailedError]) -> Iterator[Any]:
    """What stands before the first error, which then ends everything."""
    index = min(errors)
    yield from results[:index]
    found.close()
    raise errors[index]


def _pass_on(out: Output, err: Output) -> None:
    """What a chunk of jobs has printed, to where this program prints."""
    pass_on(out, err)
    _let_go(out, err)


def _let_go(out: Output, err: Output) -> None:
    """Nobody will ask for it."""
    for printed in (out, err):
        if printed.path:
            os.unlink(printed.path)
