"""Files with the same content, and what could be saved without the copies. Nothing is changed.

all files --same size--> candidates --same beginning--> candidates --same content--> duplicates
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

from manyhands.admin.files import File, Tree
from manyhands.admin.hashing import Sum, sums
from manyhands.admin.report import counted, report
from manyhands.core.errors import UsageError
from manyhands.core.level import Level
from manyhands.core.limits import parse_size
from manyhands.core.records import dataclass
from manyhands.options.admin import DuplicatesOptions
from manyhands.render.words import size

BEGINNING: Final = 1 << 14
"""Bytes that are compared before a file is read as a whole."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Files with one content. ``savable_bytes``: on the disk, if only the largest of them there were left."""

    bytes: int
    savable_bytes: int
    sha256: str
    paths: tuple[str, ...]
    level: Level = Level.OK


def duplicates(options: DuplicatesOptions) -> int:
    """Print the duplicates among the files of some folders."""
    if not options.folders:
        raise UsageError("no folder is given: admin.duplicates FOLDER ...")
    least = parse_size(options.min_size, "--min-size")
    most = None if options.warn is None else parse_size(options.warn, "--warn")
    trees = [Tree(folder) for folder in options.folders]
    files = list(chain.from_iterable(trees))
    search = Search(lambda some, limit: sums(some, algorithm="sha256", jobs=options.jobs, limit=limit))
    found = search.among(one for one in files if one.size >= least)
    unread = search.unread + sum(len(tree.unread) for tree in trees)
    if not files and not unread:
        where = "it" if len(trees) == 1 else "them"
        raise UsageError(f"{', '.join(options.folders)}: there are no files in {where}")
    savable = sum(one.savable_bytes for one in found)
    missed = f"; {unread:,} could not be read" if unread else ""
    if missed and options.json:
        sys.stderr.write(f"manyhands: {missed[2:]}\n")
    copies = counted(sum(len(one.paths) - 1 for one in found), "copy", "copies")
    return report(
        found,
        schema="duplicates",
        summary=f"{copies}, {size(savable)} could be saved; {counted(len(files), 'file')} looked at{missed}",
        header=("saves", "size", "path"),
        cells=lambda one: (size(one.savable_bytes), size(one.bytes), one.paths[0]),
        below=lambda one: [("", "", path) for path in one.paths[1:]],
        right=("saves", "size"),
        least=Level.WARNING if most is not None and savable > most else Level.OK,
        json=options.json,
    )


class Search:
    """Looks for duplicates; ``unread`` counts what could not be read.

    ``checksums``: gives one for each file, in their order, or for so many bytes at its beginning.
    """

    def __init__(self, checksums: Callable[[Sequence[File], int | None], Iterable[Sum]]) -> None:
        self._checksums = checksums
        self.unread = 0

    def among(self, files: Iterable[File]) -> list[Duplicates]:
        """The duplicates among ``files``, those that take most first. Further names of one file (hard links) are none."""
        single: dict[tuple[int, int], File] = {}
        by_size: dict[int, list[File]] = defaultdict(list)
        for one in files:
            if single.setdefault(one.identity, one) is one:
                by_size[one.size].append(one)
        begin_alike = self._alike((group for group in by_size.values() if len(group) > 1), BEGINNING)
        found = [one for one in begin_alike if one[1][0].size <= BEGINNING]
        found += self._alike((group for _, group in begin_alike if group[0].size > BEGINNING), None)
        rows = [_row(checksum, group) for checksum, group in found]
        return sorted(rows, key=lambda one: (-one.savable_bytes, one.paths))

    def _alike(self, groups: Iterable[list[File]], limit: int | None) -> list[tuple[str, list[File]]]:
        """(checksum, files) of those that are still alike."""
        files = list(chain.from_iterable(groups))
        found: dict[tuple[int, str], list[File]] = defaultdict(list)
        for one, read in zip(files, self._checksums(files, limit), strict=True):
            if read.checksum is None:
                self.unread += 1
            else:
                found[one.size, read.checksum].append(one)
        return [(checksum, group) for (_, checksum), group in found.items() if len(group) > 1]


def _row(checksum: str, group: list[File]) -> Duplicates:
    allocated = [one.allocated for one in group]
    paths = tuple(os.fsdecode(one.path) for one in group)
    return Duplicates(group[0].size, sum(allocated) - max(allocated), checksum, paths)
