"""What a tree takes on its disk, counted as ``du -x`` does: allocated bytes, no symlink followed, one file system.

    folder --look--> its first levels, and folders below them --part_of, many at once--> parts --tree_of--> Tree

Separate from the program that shows it. A part has what lies in each folder itself. Files with several names are kept apart until
all parts are there: each counts once in every folder that it has a name below, as ``du -x`` says of that folder alone.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from manyhands.admin.each import each
from manyhands.core.records import dataclass, field

_BLOCK: Final = 512
"""st_blocks counts units of 512 bytes: stat(2)."""
_PARTS: Final = 64
"""Enough that a few large ones leave nobody idle for long."""


@dataclass(slots=True)
class Amount:
    """Allocated bytes, and the number of files and folders (inodes)."""

    bytes: int = 0
    count: int = 0

    def add(self, bytes: int, count: int = 1) -> None:
        """Count more."""
        self.bytes += bytes
        self.count += count


@dataclass(frozen=True, slots=True)
class Rule:
    """What is counted. ``device``: the file system (st_dev); ``before``: only what was last modified earlier, in seconds since the
    epoch; ``group``: a number for what belongs together, such as the files of one owner; ``largest``: so many files are named."""

    device: int
    before: float | None = None
    group: Callable[[os.stat_result], int] | None = None
    largest: int = 0

    def counts(self, found: os.stat_result) -> bool:
        """Whether it is counted."""
        return self.before is None or found.st_mtime < self.before


@dataclass(slots=True)
class Folder:
    """``parent``: the number of the folder that it lies in, which comes before it; -1: none. ``amount``: itself and the files in it
    that have one name; in a `Tree`, all below it, too."""

    name: str
    parent: int
    amount: Amount


@dataclass(slots=True)
class Linked:
    """A file with several names: one of its paths, and the folders that have one."""

    path: str
    bytes: int
    group: int | None
    folders: list[int]


@dataclass(slots=True)
class Tree:
    """What was found in and below one folder, the first in ``folders``. ``unread``: folders that could not be read."""

    folders: list[Folder] = field(default_factory=list)
    groups: dict[int, Amount] = field(default_factory=dict)
    largest: list[tuple[int, str]] = field(default_factory=list)
    unread: int = 0

    def path(self, number: int) -> str:
        """Where a folder is."""
        names = []
        while number != -1:
            names.append(self.folders[number].name)
            number = self.folders[number].parent
        return os.path.join(*reversed(names))

    def depth(self, number: int) -> int:
        """How many folders it lies in; 0 for the first."""
        depth = -1
        while number != -1:
            number, depth = self.folders[number].parent, depth + 1
        return depth


@dataclass(slots=True)
class Part(Tree):
    """A tree whose folders have only what lies in them itself, without ``linked``. ``seen``: the folders of all parts by inode, so
    that one which is mounted at a second place, too (mount --bind), is entered once."""

    seen: dict[int, Folder] = field(default_factory=dict)
    linked: dict[tuple[int, int], Linked] = field(default_factory=dict)


def tree_of(folder: str, rule: Rule, jobs: int | str) -> Tree:
    """All of ``folder``. Raises OSError if it cannot be read."""
    first, left = look(folder, rule)
    parts: dict[str, Part] = {}

    def look_into(path: str) -> None:
        parts[path] = part_of(path, rule, first.seen)  # what a job returns would be pickled, and unpickled

    for outcome in each(look_into, [path for _, path in left], jobs=jobs):
        _ = outcome.value  # raises what the job has raised
    for number, path in left:
        _join(first, number, parts.pop(path))
    for number in range(len(first.folders) - 1, 0, -1):
        amount = first.folders[number].amount
        first.folders[first.folders[number].parent].amount.add(amount.bytes, amount.count)
    for one in first.linked.values():
        for number in _above(first.folders, one.folders):
            first.folders[number].amount.add(one.bytes)
        if one.group is not None:
            first.groups.setdefault(one.group, Amount()).add(one.bytes)
        first.largest.append((one.bytes, one.path))
    first.largest = heapq.nlargest(rule.largest, first.largest)
    return first


def _join(first: Part, number: int, part: Part) -> None:
    """Add ``part``, whose first folder is the one with this number."""
    offset = len(first.folders) - 1
    place = [number, *range(offset + 1, offset + len(part.folders))]
    amount = part.folders[0].amount
    first.folders[number].amount.add(amount.bytes, amount.count)
    for folder in part.folders[1:]:
        folder.parent = place[folder.parent]
        first.folders.append(folder)
    for key, linked in part.linked.items():
        linked.folders = [place[one] for one in linked.folders]
        if key in first.linked:
            first.linked[key].folders += linked.folders
        else:
            first.linked[key] = linked
    for group, amount in part.groups.items():
        first.groups.setdefault(group, Amount()).add(amount.bytes, amount.count)
    first.largest += part.largest
    first.unread += part.unread


def _above(folders: list[Folder], numbers: Iterable[int]) -> set[int]:
    """They, and all that they lie in, each once."""
    found: set[int] = set()
    for number in numbers:
        while number != -1 and number not in found:
            found.add(number)
            number = folders[number].parent
    return found


def look(folder: str, rule: Rule) -> tuple[Part, list[tuple[int, str]]]:
    """Look at the first levels of ``folder``, until there are enough folders to be looked at at once: their numbers and paths."""
    os.close(
        os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    )  # one that cannot be read is a mistake here, and counted below
    part, found = Part(), os.stat(folder)
    part.folders.append(Folder(folder, -1, _counted(part, found, rule)))
    part.seen[found.st_ino] = part.folders[0]
    left = deque([(0, folder)])
    for _ in range(_PARTS):  # folders within folders that have one each will never be enough
        if not left or len(left) >= _PARTS:
            break
        left.extend(_enter(part, *left.popleft(), rule))
    return part, list(left)


def part_of(folder: str, rule: Rule, seen: dict[int, Folder]) -> Part:
    """All that lies below ``folder``, which is counted already itself."""
    part = Part([Folder("", -1, Amount())], seen=seen)
    left = [(0, folder)]
    while left:
        left.extend(_enter(part, *left.pop(), rule))
    return part


def _enter(part: Part, number: int, path: str, rule: Rule) -> Iterator[tuple[int, str]]:
    """Count what lies in a folder itself; the folders in it are for the caller."""
    amount = part.folders[number].amount
    for entry in _entries(part, path):
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # gone since
            continue
        if stat.S_ISDIR(found.st_mode):
            folder = Folder(entry.name, number, Amount())
            if found.st_dev == rule.device and part.seen.setdefault(found.st_ino, folder) is folder:
                folder.amount = _counted(part, found, rule)
                part.folders.append(folder)
                yield len(part.folders) - 1, entry.path
        elif not rule.counts(found):
            continue
        elif found.st_nlink > 1:
            _add_linked(part, number, entry.path, found, rule)
        else:
            amount.add(_counted(part, found, rule).bytes)
            _remember(part.largest, (found.st_blocks * _BLOCK, entry.path), rule.largest)


def _entries(part: Part, path: str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder; a folder that cannot be read is counted."""
    try:
        with os.scandir(path) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):  # gone since, or replaced
        return
    except OSError:
        part.unread += 1


def _counted(part: Part, found: os.stat_result, rule: Rule) -> Amount:
    """What a file or folder takes, which is added to its group."""
    if not rule.counts(found):
        return Amount()
    bytes = found.st_blocks * _BLOCK
    if rule.group:
        part.groups.setdefault(rule.group(found), Amount()).add(bytes)
    return Amount(bytes, 1)


def _add_linked(part: Part, number: int, path: str, found: os.stat_result, rule: Rule) -> None:
    key = found.st_dev, found.st_ino
    if key not in part.linked:
        group = rule.group(found) if rule.group else None
        part.linked[key] = Linked(path, found.st_blocks * _BLOCK, group, [])
    if number not in part.linked[key].folders[-1:]:
        part.linked[key].folders.append(number)


def _remember(largest: list[tuple[int, str]], one: tuple[int, str], most: int) -> None:
    if len(largest) < most:
        heapq.heappush(largest, one)
    elif most and one > largest[0]:
        heapq.heapreplace(largest, one)
