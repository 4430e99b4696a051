"""What fills a disk: the largest folders or files, amounts by age or owner, deleted files that are still open."""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from manyhands.admin.report import counted, report
from manyhands.admin.tree_sizes import Amount, Rule, Tree, tree_of
from manyhands.core.errors import UsageError
from manyhands.core.hints import option_name
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass
from manyhands.host import metrics
from manyhands.host.checks import Threshold
from manyhands.options.admin import DiskOptions
from manyhands.processes.deleted_files import DeletedFile, deleted_files
from manyhands.processes.listing import process_info, user_name
from manyhands.render.words import size

_AGES: Final = (
    (1, "modified in the last day"),
    (7, "in the last 7 days"),
    (30, "in the last 30 days"),
    (90, "in the last 90 days"),
    (365, "in the last year"),
)
"""Days, and what is said of files that are not older."""
_NAMELESS: Final = {
    "deleted": "deleted, but still open (--by open)",
    "unread": "folders not read",
    "hidden": "processes not looked into",
}
_EFFECT: Final = {
    "depth": {"folder"},
    "inodes": {"folder", "age", "owner"},
    "older_than": {"folder", "file", "age", "owner"},
    "top": {"folder", "file", "owner", "open"},
    "jobs": {"folder", "file", "age", "owner"},
}
"""With which lists an option has an effect."""
_MOST: Final = 0.9
"""A folder is left out if one folder in it has at least this share of it: that one is listed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one thing takes. ``kind``: what it is, and ``count`` counts: files and folders of a filesystem, folder, file, age or
    owner, a deleted file that is ``open``, all that are ``deleted``, ``unread`` folders, ``hidden`` processes. ``percent``: of the
    file system for it, of all that was counted for others. The last three are of the processes that have a file open,
    ``program`` and ``user`` of the first."""

    kind: str
    name: str | None
    bytes: int | None
    count: int | None
    percent: float | None = None
    level: Level = Level.OK
    pids: tuple[int, ...] = ()
    program: str | None = None
    user: str | None = None


def disk(options: DiskOptions) -> int:
    """Print what fills the file system of a folder."""
    limits = _checked(options)
    folder = os.path.realpath(options.folder)
    summary, whole = _file_system(folder, limits, inodes=options.inodes)
    said, rows = (_by_open if options.by == "open" else _by_tree)(folder, options)
    return report(
        [whole, *rows],
        schema="disk",
        summary=f"{summary}; {said}",
        header=("size", "pid", "program", "user", "file") if options.by == "open" else ("size", "share", "count", "what"),
        cells=_cells_of_open if options.by == "open" else _cells,
        right=("size", "share", "count", "pid"),
        json=options.json,
    )


def _checked(options: DiskOptions) -> Threshold:
    """The thresholds. Raises UsageError for options that are wrong, or that have no effect."""
    for name, only in _EFFECT.items():
        if name in options.given() and options.by not in only:
            raise UsageError(f"{option_name('--' + name.replace('_', '-'))} has no effect with --by {options.by}")
    for name, least in (("--top", options.top), ("--depth", options.depth)):
        if least is not None and least < 1:
            raise UsageError(f"{name} {least}: expected 1 or more")
    percents = []
    for name, text in (("--warn", options.warn), ("--critical", options.critical)):
        match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%?", text)
        if not match or float(match[1]) > 100:
            raise UsageError(f"{name} {text!r}: expected a percentage from 0% to 100%")
        percents.append(float(match[1]))
    if percents[0] > percents[1]:
        raise UsageError(f"--warn {options.warn} is above --critical {options.critical}")
    return Threshold(percents[0], percents[1], percent=True)


def _file_system(folder: str, limits: Threshold, *, inodes: bool) -> tuple[str, Usage]:
    """What the verdict says of it, and its row."""
    space = metrics.disk(folder)
    mount = folder
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    used = space.inodes - (space.inodes_free or 0) if space.inodes else None
    said, percent = f"{mount} is {space.percent:.0f}% full, {size(space.free)} free", space.percent
    if inodes and used and space.inodes:
        percent = 100 * used / space.inodes
        said = f"{mount} has used {percent:.0f}% of its inodes"
    elif inodes:
        said, percent = f"{mount} has no fixed number of inodes", 0.0
    return said, Usage("filesystem", mount, space.used, used, percent, limits.level(percent))


# -- what lies in a tree -------------------------------------------------------------------------------------------------


def _by_tree(folder: str, options: DiskOptions) -> tuple[str, list[Usage]]:
    """What the verdict says of it, and the rows."""
    now = time.time()
    before = None if options.older_than is None else now - parse_duration(options.older_than, "--older-than")
    rule = Rule(
        os.stat(folder).st_dev,
        before,
        {"age": lambda found: _age(now - found.st_mtime), "owner": lambda found: found.st_uid}.get(options.by),
        options.top if options.by == "file" else 0,
    )
    tree = tree_of(folder, rule, options.jobs)
    all_of_it = tree.folders[0].amount
    rows = list(_ROWS[options.by](tree, options))
    said = f"{folder} holds {'at least ' if tree.unread else ''}{size(all_of_it.bytes)} in "
    said += counted(all_of_it.count, "file or folder", "files and folders")
    said += "" if options.older_than is None else f" not modified for {options.older_than}"
    if options.by == "folder" and options.older_than is None:
        files, _ = _deleted(rule.device)
        rows += [Usage("deleted", None, sum(one.bytes for one in files), len(files))] if files else []
    rows += [Usage("unread", None, None, tree.unread)] if tree.unread else []
    return said, rows


def _age(seconds: float) -> int:
    """Which of `_AGES`, or the number of them: older."""
    return next((number for number, (days, _) in enumerate(_AGES) if seconds <= 86400 * days), len(_AGES))


def _share(amount: Amount, tree: Tree, *, inodes: bool) -> float:
    whole = _value(tree.folders[0].amount, inodes=inodes)
    return 100 * _value(amount, inodes=inodes) / whole if whole else 0.0


def _value(amount: Amount, *, inodes: bool) -> int:
    return amount.count if inodes else amount.bytes


def _folders(tree: Tree, options: DiskOptions) -> Iterator[Usage]:
    """The largest, without those that are large because of one folder in them."""
    values = [_value(folder.amount, inodes=options.inodes) for folder in tree.folders]
    depths, largest = [0], [0] * len(values)
    for number, folder in enumerate(tree.folders[1:], start=1):
        depths.append(depths[folder.parent] + 1)
        if options.depth is None or depths[-1] <= options.depth:
            largest[folder.parent] = max(largest[folder.parent], values[number])
    wanted = (
        number
        for number in range(1, len(values))
        if values[number]
        and (options.depth is None or depths[number] <= options.depth)
        and largest[number] < _MOST * values[number]
    )
    for number in heapq.nlargest(options.top, wanted, key=values.__getitem__):
        amount = tree.folders[number].amount
        share = _share(amount, tree, inodes=options.inodes)
        yield Usage("folder", tree.path(number), amount.bytes, amount.count, share)


def _files(tree: Tree, _options: DiskOptions) -> Iterator[Usage]:
    for bytes, path in sorted(tree.largest, reverse=True):
        yield Usage("file", path, bytes, 1, _share(Amount(bytes), tree, inodes=False))


def _ages(tree: Tree, options: DiskOptions) -> Iterator[Usage]:
    for number, (_, name) in enumerate((*_AGES, (0, "longer ago"))):
        if amount := tree.groups.get(number):
            yield Usage("age", name, amount.bytes, amount.count, _share(amount, tree, inodes=options.inodes))


def _owners(tree: Tree, options: DiskOptions) -> Iterator[Usage]:
    known: dict[int, str] = {}
    for user in heapq.nlargest(options.top, tree.groups, lambda one: _value(tree.groups[one], inodes=options.inodes)):
        amount = tree.groups[user]
        name = user_name(user, known)
        yield Usage("owner", name, amount.bytes, amount.count, _share(amount, tree, inodes=options.inodes))


_ROWS: Final[dict[str, Callable[[Tree, DiskOptions], Iterator[Usage]]]] = {
    "folder": _folders,
    "file": _files,
    "age": _ages,
    "owner": _owners,
}


def _cells(row: Usage) -> tuple[str, ...]:
    share = "" if row.percent is None else f"{row.percent:.0f}%"
    return _size(row), share, str(row.count or ""), _text(row)


def _size(row: Usage) -> str:
    return "" if row.bytes is None else size(row.bytes)


def _text(row: Usage) -> str:
    name = row.name or _NAMELESS[row.kind]
    return f"{name}, the whole file system" if row.kind == "filesystem" else name


# -- deleted files -------------------------------------------------------------------------------------------------------


def _deleted(device: int) -> tuple[list[DeletedFile], int]:
    """Those of a file system, the largest first; and the number of processes that may not be looked into."""
    files, hidden = deleted_files()
    return sorted((one for one in files if one.device == device), key=lambda one: one.bytes, reverse=True), hidden


def _by_open(folder: str, options: DiskOptions) -> tuple[str, list[Usage]]:
    """What the verdict says of it, and the rows."""
    files, hidden = _deleted(os.stat(folder).st_dev)
    said = f"{size(sum(one.bytes for one in files))} in {counted(len(files), 'deleted file')} still open"
    rows = [_open(one) for one in files[: options.top]]
    return said, rows + ([Usage("hidden", None, None, hidden)] if hidden else [])


def _open(one: DeletedFile) -> Usage:
    process = process_info(one.pids[0])
    user, program = (process.user, process.name) if process else (None, None)
    return Usage("open", one.path, one.bytes, 1, pids=one.pids, program=program, user=user)


def _cells_of_open(row: Usage) -> tuple[str, ...]:
    more = f"+{len(row.pids) - 1}" if len(row.pids) > 1 else ""
    pid = f"{row.pids[0]}{more}" if row.pids else ""
    text = f"({row.count} {_text(row)})" if row.kind == "hidden" else _text(row)
    return _size(row), pid, row.program or "", row.user or "", text
