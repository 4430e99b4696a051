"""What ``batch.list`` does: which runs there are, all of them or those that are asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from json import dumps

from manyhands.core.encoding import iso
from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_duration
from manyhands.options.runs import ListOptions
from manyhands.render.runs import RunLine, list_lines, summarise
from manyhands.storage.runs import Run, Store


def list_runs(found: Store, wanted: ListOptions, *, width: int) -> None:
    """Print the runs that are ``wanted``, the newest first, and on stderr which cannot be read. Raises UsageError."""
    if wanted.limit is not None and wanted.limit < 1:
        raise UsageError(f"--limit {wanted.limit}: expected a number of runs, 1 or more")
    damaged: list[str] = []
    chosen = islice(_chosen(found.all(damaged), wanted), wanted.limit)
    for name in damaged:
        sys.stderr.write(f"manyhands: the run {name} cannot be read: {found.typed('batch.show', name)} says why\n")
    if wanted.json:
        for run, line in chosen:
            record = asdict(line) | {"schema": "manyhands.run/1", "created": iso(line.created), "size": run.size}
            sys.stdout.write(dumps(record) + "\n")
        return
    listed = list(chosen)
    if not listed:
        sys.stderr.write(
            "no such runs\n" if {"limit", "status", "since", "name"} & {*wanted.given()} else "there are no runs yet\n"
        )
        return
    lines, sizes = [line for _, line in listed], [run.size for run, _ in listed]
    for text in list_lines(lines, width, found.shorts(), sizes, time.time()):
        sys.stdout.write(text + "\n")


def _chosen(found: Sequence[Run], wanted: ListOptions) -> Iterator[tuple[Run, RunLine]]:
    since = _moment(wanted.since, time.time()) if wanted.since else None
    for run in found:
        if since is not None and run.created < since:
            return
        if wanted.name and not fnmatchcase(run.id, wanted.name):
            continue
        line = summarise(run)
        if wanted.status in (None, line.state) or (wanted.status == "failed" and line.failed):
            yield run, line


def _moment(text: str, now: float) -> float:
    """Seconds since the epoch, from a date, a date and a time, or a duration before ``now``. Raises UsageError."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return now - parse_duration(text, "--since")
    except UsageError:
        raise UsageError(
            f"--since {text!r}: expected how long ago (2d, 12h), or a date (2026-11-20, '2026-11-20 22:30')"
        ) from None
