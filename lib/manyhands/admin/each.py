"""One function for many targets at once, on the engine: its limits, its display, its records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from manyhands.api.results import Results
from manyhands.api.run_batch import run_batch
from manyhands.core.errors import InputError

A = TypeVar("A")
T = TypeVar("T")


def each(function: Callable[[A], T], targets: Iterable[A], *, jobs: int | str, backend: str = "threads") -> Results[T]:
    """The outcome of ``function`` for each target, in their order, with a display on a terminal; nothing is kept of the run.

    ``backend``: "threads" for what waits for the network or for other programs, "processes" for what computes.
    """
    shown = sys.stderr.isatty()
    return run_batch(
        function, targets, jobs=jobs, backend=backend, ordered=True, journal=False, output="keep", progress=shown
    )


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
