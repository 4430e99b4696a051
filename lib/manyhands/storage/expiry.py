"""Removes old runs that are no longer needed: those without a name, all of whose jobs succeeded, after a long time.

Separate from the store, which removes only given runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.hints import given_as
from manyhands.core.job import Status
from manyhands.core.limits import parse_duration
from manyhands.storage.runs import Run, Store
from manyhands.storage.stage_journals import Journals

_FOREVER: Final = "forever"
_DAY: Final = 86400.0


def parse_keep(text: str | float) -> float | None:
    """Seconds; None: for ever. Raises UsageError."""
    return None if str(text).strip() == _FOREVER else parse_duration(text, "--keep")


def expire(store: Store, keep: float | None, now: float) -> str | None:
    """Remove the runs that were last written to more than ``keep`` seconds before ``now``, have no name, and are complete with all
    jobs ok. Returns a message if there were any. Checks once a day at most.

    Raises nothing: a run that cannot be read or removed is kept.
    """
    if keep is None or not _due(store, now):
        return None
    gone = 0
    for run in _old(store, now - keep):
        with suppress(ManyhandsError, OSError):
            if not run.named and _went_well(run):
                store.remove(run)
                gone += 1
    if not gone:
        return None
    runs = "1 run without a name that ended" if gone == 1 else f"{gone:,} runs without a name that ended"
    return f"removed {runs} well more than {keep / _DAY:.3g} days ago ({given_as('--keep', _FOREVER)} keeps them)"


def _due(store: Store, now: float) -> bool:
    """Whether the last check was a day ago; if so, record that today's check is done."""
    stamp = store.state / "expired"
    if not _is_ours(store.state):
        return False
    try:
        if store.state.is_symlink():  # not trusted (`Store.create`): nothing is written there
            return False
        if stamp.lstat().st_mtime > now - _DAY:
            return False
    except OSError:
        pass
    try:
        os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.utime(stamp, (now, now))
    except OSError:  # the state folder is read-only, or does not exist yet
        return False
    return True


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, not a link to one, that only we can write to; for any other `Store.create` reports the reason."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _old(store: Store, before: float) -> Iterator[Run]:
    """Old runs, found by the time of the journal file, so that only old ones are read."""
    try:
        names = os.listdir(store.root)
    except OSError:
        return
    for name in names:
        with suppress(ManyhandsError, OSError):
            if (store.root / name / "journal.db").lstat().st_mtime < before and (run := store.get(name)):
                yield run


def _went_well(run: Run) -> bool:
    """Whether the last execution was complete, and every job is ok."""
    with closing(Journals.open(run)) as journals:
        tally = journals.tally()
    with closing(run.journal()) as journal:
        executions = journal.executions()
    total = run.record.get("total")
    done = tally.counts.get(Status.OK, 0)
    return (
        bool(executions)
        and executions[-1][2]
        and not tally.left
        and set(tally.counts) <= {Status.OK}
        and total in (None, done)
    )
