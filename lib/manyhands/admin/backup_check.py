"""Whether a backup can be restored: a random sample of it is, and is compared with the source.

sample --rsync--> a temporary folder beside the backups --checksums--> the same as in the source, or not
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from manyhands.admin.backup_folder import DELETING
from manyhands.admin.files import File, Tree, file_of
from manyhands.admin.hashing import sums
from manyhands.core.records import dataclass

if TYPE_CHECKING:
    import sh

T = TypeVar("T")
_RESTORED: Final = 1 << 30
"""Bytes that are restored at most; the rest of a sample is read where it is."""
_TICK: Final = 20_000_000
"""Nanoseconds by which the time of a change may be behind the clock: the kernel writes that of its last tick (ktime_get_coarse)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One file of the sample. ``same``: None if the source has changed since the backup began."""

    name: bytes
    same: bool | None
    problem: str | None = None


def sample_of(items: Iterable[T], count: int, draw: random.Random) -> list[T]:
    """``count`` of them, each as likely as any other, without holding all of them (Vitter's algorithm R)."""
    chosen: list[T] = []
    for number, item in enumerate(items):
        if number < count:
            chosen.append(item)
        elif (place := draw.randrange(number + 1)) < count:
            chosen[place] = item
    return chosen


def compare_sample(source: Path, backup: Path, count: int, began: int, rsync: sh.Command) -> Iterator[Compared]:
    """Restore ``count`` files of a backup that was begun at ``began`` (nanoseconds), and compare them with those of its source."""
    tree = Tree(str(backup))
    chosen = sample_of(tree, count, random.SystemRandom())
    with tempfile.TemporaryDirectory(prefix=f"{DELETING}restored-", dir=backup.parent) as folder:
        restored = _restore(tree, chosen, folder, rsync)
        pairs = [(tree.name(one.path), place) for one, place in zip(chosen, restored, strict=True)]
        yield from _compare(os.fsencode(source), pairs, began)


def _restore(tree: Tree, chosen: list[File], folder: str, rsync: sh.Command) -> list[bytes]:
    """Restore files to ``folder``; returns where the content of each is to be read."""
    places, names, total = [], [], 0
    for one in chosen:
        name = tree.name(one.path)
        total += one.size
        if total <= _RESTORED:
            names.append(os.path.join(b".", name))
        places.append(os.path.join(os.fsencode(folder), name) if total <= _RESTORED else one.path)
    rsync(
        "--archive",
        "--from0",
        "--files-from=-",
        "--",
        f"{os.fsdecode(tree.folder)}/",
        f"{folder}/",
        _in=b"\0".join(names),
    )
    return places


def _compare(source: bytes, pairs: list[tuple[bytes, bytes]], began: int) -> Iterator[Compared]:
    originals = [os.path.join(source, name) for name, _ in pairs]
    both = [*originals, *(place for _, place in pairs)]
    found = {one.path: one for one in sums(map(_file, both), algorithm="sha256", jobs="100%")}
    for original, (name, place) in zip(originals, pairs, strict=True):
        ours, theirs = found[place], found[original]
        if ours.checksum is not None and ours.checksum == theirs.checksum:
            yield Compared(name, same=True)
        elif why := _changed_since(original, began):
            yield Compared(name, None, why)
        else:
            yield Compared(
                name, False, theirs.problem or ours.problem or "differs from the source, which has not changed"
            )


def _file(path: bytes) -> File:
    try:
        return file_of(path, os.lstat(path))
    except OSError:  # reading it will say so
        return File(path, 0, 0, 0, 0, 0, 0)


def _changed_since(path: bytes, began: int) -> str | None:
    """What has happened to a file of the source since then, if anything has."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "has been removed since"
    return "has changed since" if found.st_ctime_ns > began - _TICK else None
