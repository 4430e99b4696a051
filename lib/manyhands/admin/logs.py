"""Old logs compressed, and older ones removed, by rule.

folders --find, decide--> Due: an OldLog, and its row --agreed?--> deal_with (old_log.py), in processes, with a journal --> rows
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from manyhands.admin.old_log import Action, InUseError, LeftError, OldLog, deal_with_text
from manyhands.admin.open_files import Writers, unwritten, writers
from manyhands.admin.report import counted, report
from manyhands.api.run_batch import run_batch
from manyhands.core.errors import InputError, JobFailedError, UsageError
from manyhands.core.job import Outcome
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass, replace
from manyhands.handlers.confirm import agreed
from manyhands.inputs.sources import Args
from manyhands.options.admin import LogsOptions
from manyhands.render.table import table
from manyhands.render.words import duration, size

_COMPRESSED: Final = re.compile(r"\.(?:gz|bz2|xz|zst|lz4|Z)$")
_ROTATED: Final = re.compile(r"(?:\.\d{1,4}|[-.]\d{4}-?\d\d-?\d\d(?:[-T_.]?\d\d:?\d\d(?::?\d\d)?)?|-\d{10}|\.old)$")
"""What logrotate(8) and others append: ``.1``, ``-20260131``, ``.2026-01-31``, ``-20260131-2359``, seconds, ``.old``."""

_UNDONE: Final = {InUseError: Level.OK, LeftError: Level.WARNING}
_DONE: Final = {Action.COMPRESS: "compressed", Action.REMOVE: "removed"}


@dataclass(frozen=True, slots=True)
class Rules:
    """Which names are logs, and the seconds without a write after which something is done; None: never."""

    patterns: Sequence[str]
    compress_after: float
    remove_after: float | None

    def matches(self, name: str) -> bool:
        """Also the name of what was rotated, or compressed."""
        bare = _COMPRESSED.sub("", name)
        return any(fnmatchcase(one, pattern) for one in (name, bare, _ROTATED.sub("", bare)) for pattern in self.patterns)

    def action(self, name: str, status: os.stat_result, age: float) -> Action | None:
        """What is to be done with it."""
        if self.remove_after is not None and age >= self.remove_after:
            return Action.REMOVE
        if age >= self.compress_after and status.st_size and not _COMPRESSED.search(name):
            return Action.COMPRESS
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A log for which something is to be done. ``done``: it was; ``bytes_left``: how large it is now; ``age_seconds``: since it was
    last written to; ``problem``: why nothing is done."""

    file: str
    action: Action
    done: bool = False
    bytes: int
    bytes_left: int
    age_seconds: int
    problem: str | None = None
    level: Level = Level.OK


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done, and how it is shown."""

    log: OldLog
    row: LogRow


@dataclass(slots=True)
class Passed:
    """How many names were logs; how many files of other users and folders that may not be read were passed by."""

    matched: int = 0
    others: int = 0
    closed: int = 0


def logs(options: LogsOptions) -> int:
    """Show what is to be done, and do it if that is wanted."""
    if not options.folders:
        raise UsageError("no folder is given: admin.logs FOLDER ...")
    rules, passed = _rules(options), Passed()
    due = [one for folder in options.folders for one in _due(folder, rules, passed, time.time())]
    if not passed.matched:
        raise InputError(f"no file in {', '.join(options.folders)} matches {' or '.join(rules.patterns)}")
    seen = writers({(one.log.device, one.log.inode) for one in due})
    due = [one if one.row.problem else Due(one.log, _in_use(one, seen)) for one in due]
    free = [one for one in due if one.row.problem is None]
    doing = bool(free) and _is_wanted([one.row for one in free], options)
    rows = [one.row for one in due if one.row.problem is not None]
    rows += _carried_out(free, options) if doing else [one.row for one in free]
    return report(
        rows,
        schema="log",
        summary=_summary(rows, doing) + _passed_by(passed, seen if due else None),
        header=("action", "size", "age", "file"),
        cells=_cells,
        right=("size", "age"),
        json=options.json,
    )


def _rules(options: LogsOptions) -> Rules:
    compress = parse_duration(options.compress_after, "--compress-after")
    remove = None if options.remove_after is None else parse_duration(options.remove_after, "--remove-after")
    return Rules(options.match or ("*.log",), compress, remove)


def _due(folder: str, rules: Rules, passed: Passed, now: float) -> Iterator[Due]:
    """What is due in and below ``folder``, in which no link is followed. Raises OSError if it cannot be read."""
    root = os.path.realpath(folder)
    os.scandir(folder).close()

    def note(_error: OSError) -> None:
        passed.closed += 1

    for parent, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        for name in sorted(filter(rules.matches, names)):
            try:
                status = os.stat(os.path.join(parent, name), follow_symlinks=False)
            except OSError:  # it has gone
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            passed.matched += 1
            age = now - status.st_mtime
            if action := rules.action(name, status, age):
                if os.geteuid() not in (0, status.st_uid):
                    passed.others += 1
                    continue
                log = _old_log(root, os.path.relpath(parent, folder), name, action, status)
                yield Due(log, _row(os.path.normpath(os.path.join(parent, name)), action, status, age))


def _old_log(root: str, below: str, name: str, action: Action, status: os.stat_result) -> OldLog:
    return OldLog(
        root=root,
        parts=() if below == os.curdir else tuple(below.split(os.sep)),
        name=name,
        action=action,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
    )


def _row(path: str, action: Action, status: os.stat_result, age: float) -> LogRow:
    linked = action is Action.COMPRESS and status.st_nlink > 1
    return LogRow(
        file=path,
        action=action,
        bytes=status.st_size,
        bytes_left=status.st_size,
        age_seconds=int(age),
        problem="has a second hard link" if linked else None,
    )


def _in_use(one: Due, seen: Writers) -> LogRow:
    """Its row, with a problem if somebody has it open for writing."""
    if names := seen.found.get((one.log.device, one.log.inode)):
        return replace(one.row, problem=f"open for writing by {', '.join(names[:3])}")
    try:
        file = os.open(one.row.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # the attempt to compress it will say why
        return one.row
    try:
        with unwritten(file) as alone:
            return one.row if alone else replace(one.row, problem="open for writing by a process that is hidden from us")
    finally:
        os.close(file)


def _is_wanted(rows: Sequence[LogRow], options: LogsOptions) -> bool:
    """Whether to do it: it was said, or is answered now, if somebody can be asked."""
    if options.dry_run or options.yes:
        return options.yes
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    lines = table(("action", "size", "age", "file"), map(_cells, rows), right=("size", "age"))
    return agreed(f"{_counts(rows, doing=False)}; do it", lines, yes=False)


def _carried_out(due: Sequence[Due], options: LogsOptions) -> list[LogRow]:
    """The rows afterwards. The run is one like those of ``batch``: it has a journal, and is continued by its name."""
    rows = {one.log.to_text(): one.row for one in due}
    outcomes = run_batch(
        deal_with_text,
        Args(list(rows)),
        jobs=options.jobs,
        backend="processes",
        nice=19,
        run_id=options.run_id,
        retry_failed=options.run_id is not None,
        output="keep",
        progress=sys.stderr.isatty(),
    )
    for outcome in outcomes:
        if outcome.input in rows:  # not of an earlier execution, whose file has gone meanwhile
            rows[outcome.input] = _after(rows[outcome.input], outcome)
    return list(rows.values())


def _after(row: LogRow, outcome: Outcome[int]) -> LogRow:
    try:
        return replace(row, done=True, bytes_left=outcome.value)
    except JobFailedError as error:
        cause = error.__cause__
        level = next((level for kind, level in _UNDONE.items() if isinstance(cause, kind)), Level.CRITICAL)
        why = cause.strerror if isinstance(cause, OSError) else str(cause or error.error)
        return replace(row, problem=why, level=level)


def _cells(row: LogRow) -> Sequence[object]:
    what = "kept" if row.problem else _DONE[row.action] if row.done else row.action
    file = row.file if row.problem is None else f"{row.file}: {row.problem}"
    return (what, size(row.bytes), duration(row.age_seconds), file)


def _summary(rows: Sequence[LogRow], doing: bool) -> str:
    """``2 compressed (31.0 MiB, now 2.1 MiB), 1 removed (4.2 MiB), 1 kept``."""
    kept = sum(row.problem is not None for row in rows)
    planned = [row for row in rows if row.problem is None]
    said = [_counts(planned, doing)] if planned else []
    said += [f"{kept} kept"] if kept else []
    undone = "; nothing was done: --yes does it" if planned and not doing else ""
    return (", ".join(said) or "nothing to compress or to remove") + undone


def _counts(rows: Sequence[LogRow], doing: bool) -> str:
    said = []
    for action, done in _DONE.items():
        some = [row for row in rows if row.action is action]
        now = f", now {size(sum(row.bytes_left for row in some))}" if doing and action is Action.COMPRESS else ""
        if some:
            said.append(f"{len(some)} {done if doing else f'to {action}'} ({size(sum(row.bytes for row in some))}{now})")
    return ", ".join(said)


def _passed_by(passed: Passed, seen: Writers | None) -> str:
    """What could not be seen, if anything."""
    said = [
        counted(passed.others, "file of another user is skipped", "files of other users are skipped"),
        counted(passed.closed, "folder may not be read", "folders may not be read"),
        counted(seen.unseen if seen else 0, "process may not be looked into", "processes may not be looked into"),
    ]
    return "".join(f"; {one}" for one in said if not one.startswith("0 "))
