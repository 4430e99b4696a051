"""One function for many targets at once, on the engine: its limits, its display, its records."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, overload

from manyhands.api.results import Results
from manyhands.api.run_batch import run_batch
from manyhands.core.errors import InputError
from manyhands.core.serialization import from_bytes
from manyhands.storage.runs import Store, default_state_dir

A = TypeVar("A")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@overload
def each(function: Callable[[A], T], targets: Iterable[A], *, jobs: int | str, backend: str = ...) -> Results[T]: ...
@overload
def each(
    function: Callable[[*Ts], T], targets: Iterable[tuple[*Ts]], *, jobs: int | str, backend: str = ...
) -> Results[T]: ...


def each(function: Callable[..., T], targets: Iterable[Any], *, jobs: int | str, backend: str = "threads") -> Results[T]:
    """The outcome of ``function`` for each target, in their order, with a display on a terminal; nothing is kept of the run.

    A target that is a tuple gives the arguments. ``backend``: "threads" for what waits for the network or for other programs,
    "processes" for what computes.
    """
    shown = sys.stderr.isatty()
    return run_batch(
        function, targets, jobs=jobs, backend=backend, ordered=True, journal=False, output="keep", progress=shown
    )


def each_kept(
    function: Callable[..., T], targets: Iterable[Any], *, jobs: int | str, backend: str = "threads", run_id: str
) -> Iterator[T]:
    """What ``function`` has returned for all targets of a run that is kept under the name ``run_id``, those of earlier executions first:
    what is there already is not done again. The targets are plain values, which say all that is done. Raises JobFailedError."""
    # not in the folder that this was started in: the run can be continued from any
    results = run_batch(
        function,
        targets,
        jobs=jobs,
        backend=backend,
        output="keep",
        progress=sys.stderr.isatty(),
        run_id=run_id,
        retry_failed=True,
        workdir="/",
    )
    for outcome in results:
        outcome.check()
    with closing(_store().find(run_id).journal()) as journal:
        for record in journal.passed():
            if record.outcome is not None and record.outcome.result is not None:
                yield from_bytes(record.outcome.result)


def forget(run_id: str) -> None:
    """Remove the run: what it has read says nothing about the next time."""
    store = _store()
    if run := store.get(run_id):
        store.remove(run)


def _store() -> Store:
    return Store(default_state_dir(os.environ))


def targets_of(given: Iterable[str], file: str | None) -> list[str]:
    """Targets from the command line and from a file: one a line, ``#`` begins a comment; ``-`` is standard input.

    Each counts once. Raises InputError for a file that cannot be read.
    """
    lines: list[str] = []
    if file == "-":
        lines = sys.stdin.read().splitlines()
    elif file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    listed = (line.partition("#")[0].strip() for line in lines)
    return list(dict.fromkeys([*given, *(line for line in listed if line)]))
