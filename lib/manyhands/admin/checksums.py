"""Checksums of all files of a folder, written and verified in parallel, in the format of sha256sum.

Tree --> sums (hashing.py) --> lines of a file, or what differs from them
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final, TextIO

from manyhands.admin.checksum_lines import line_of, read_line
from manyhands.admin.each import forget
from manyhands.admin.files import DIGITS, File, Tree, file_of
from manyhands.admin.hashing import Seen, Sum, Summed, hash_files, sums
from manyhands.admin.report import counted, report
from manyhands.core.errors import InputError, UsageError
from manyhands.core.level import Level
from manyhands.core.records import dataclass
from manyhands.core.safe_text import harmless
from manyhands.options.admin import ChecksumsOptions
from manyhands.posix.durable_files import replacing
from manyhands.render.words import size

_STATES: Final = {
    "changed": Level.CRITICAL,
    "missing": Level.CRITICAL,
    "new": Level.CRITICAL,
    "unread": Level.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not as it should be. ``state``: one of `_STATES`; ``expected`` and ``found`` are checksums."""

    path: str
    state: str
    problem: str | None = None
    expected: str | None = None
    found: str | None = None

    @property
    def level(self) -> Level:
        """By its state."""
        return _STATES[self.state]


def checksums(options: ChecksumsOptions) -> int:
    """Write the checksums of all files of a folder, or compare them with those of a file."""
    tree = Tree(os.path.abspath(options.folder))
    if options.verify is None:
        return _write(options, tree)
    return _Verification(options, tree, options.verify).report()


def _write(options: ChecksumsOptions, tree: Tree) -> int:
    target = None if options.write == "-" else Path(options.write)
    if target:
        _refuse_other_content(target)
    findings: list[Finding] = []
    count = total = 0
    with replacing(target) if target else nullcontext(sys.stdout.buffer) as file:
        own = {_identity(os.fstat(file.fileno()))} | ({_identity(target.stat())} if target and target.exists() else set())
        files = (found for found in tree if found.identity not in own)
        for one in sums(files, algorithm=options.algorithm, jobs=options.jobs, run_id=options.run_id):
            if one.checksum is None:
                findings.append(_unread(tree.name(one.path), one.problem))
                continue
            count, total = count + 1, total + one.size
            line = line_of(one.checksum, tree.name(one.path))
            file.write(line if target or not sys.stdout.isatty() else harmless(line).encode())
        file.flush()
        findings += [_unread(tree.name(one.path), one.why) for one in tree.unread]
        if not count:  # checksums that are there already are not replaced by none
            why = "none of its files could be read" if findings else "there are no files in it"
            raise UsageError(f"{options.folder}: {why}")
    summary = f"{counted(count, 'file')}, {size(total)}{f', written to {target}' if target else ''}"
    if findings:
        summary = f"{len(findings)} could not be read; {summary}"
    elif not target:
        return Level.OK  # as sha256sum: a word more would be mail from cron
    return _report(findings, summary, options, to=None if target else sys.stderr)


def _refuse_other_content(path: Path) -> None:
    """Raise UsageError for a file that is there and holds something else: somebody has mistaken one name for another."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not read_line(file.readline(1 << 16)):
                raise UsageError(f"{path}: holds something else than checksums, so it is not replaced")


def verify_files(algorithm: str, limit: int | None, files: tuple[Seen, ...]) -> list[Summed]:
    """`hash_files` under another name, so that no run that has written checksums is taken for one that has verified them."""
    return hash_files(algorithm, limit, files)


class _Verification:
    """A folder is compared with checksums."""

    def __init__(self, options: ChecksumsOptions, tree: Tree, listing: str) -> None:
        self._options, self._tree, self._listing = options, tree, listing
        self._own: tuple[int, int] | None = None
        self._expected: dict[bytes, str] = {}
        self._findings: list[Finding] = []
        self._count = self._total = 0

    def report(self) -> int:
        """Compare, and print what differs."""
        self._read()
        options, tree = self._options, self._tree
        self._compare(
            sums(self._met(), algorithm=options.algorithm, jobs=options.jobs, run_id=options.run_id, job=verify_files)
        )
        self._compare(sums(list(self._not_met()), algorithm=options.algorithm, jobs=options.jobs))
        if options.run_id is not None:
            forget(options.run_id)  # what it has read says nothing about the next time
        self._findings += [_unread(tree.name(one.path), one.why) for one in tree.unread]
        counts = {state: sum(one.state == state for one in self._findings) for state in _STATES}
        words = {**{state: state for state in _STATES}, "unread": "could not be read"}
        said = [f"{number:,} {words[state]}" for state, number in counts.items() if number]
        read = f"{counted(self._count, 'file')}, {size(self._total)}"
        summary = f"{', '.join(said)}; {read} read" if said else f"{read}, as in {self._listing}"
        return _report(sorted(self._findings, key=lambda one: one.path), summary, options)

    def _read(self) -> None:
        """Read what is expected. Raises InputError for a line that is no checksum."""
        listing = self._listing
        with nullcontext(sys.stdin.buffer) if listing == "-" else open(listing, "rb") as file:
            self._own = _identity(os.fstat(file.fileno()))
            for number, line in enumerate(file, 1):
                if line.startswith(b"#") or not line.strip():
                    continue
                name, value = self._entry(line, f"{listing}, line {number}")
                if self._expected.setdefault(name, value) != value:
                    raise InputError(f"{listing}, line {number}: a second, different checksum of one file")
        if not self._expected:
            raise InputError(f"{listing}: there are no checksums in it")

    def _entry(self, line: bytes, where: str) -> tuple[bytes, str]:
        algorithm, tree = self._options.algorithm, self._tree
        found = read_line(line)
        if not found:
            raise InputError(f"{where}: expected a checksum and a name, as {algorithm}sum prints them")
        value, name = found
        if len(value) != DIGITS[algorithm]:
            fitting = " or ".join(one for one, digits in DIGITS.items() if digits == len(value))
            hint = f"; try --algorithm {fitting}" if fitting else ""
            raise InputError(f"{where}: a checksum of {algorithm} has {DIGITS[algorithm]} digits, not {len(value)}{hint}")
        path = os.path.normpath(os.path.join(tree.folder, name))
        if not tree.holds(path):
            raise InputError(f"{where}: {os.fsdecode(name)} is outside of {os.fsdecode(tree.folder)}")
        return tree.name(path), value

    def _met(self) -> Iterator[File]:
        """The files of the folder that are listed."""
        for found in self._tree:
            name = self._tree.name(found.path)
            if name in self._expected:
                yield found
            elif found.identity != self._own and not self._options.allow_new:
                self._findings.append(Finding(os.fsdecode(name), "new"))

    def _compare(self, found: Iterable[Sum]) -> None:
        for one in found:
            name = self._tree.name(one.path)
            expected = self._expected.pop(name)
            if one.checksum is None:
                self._findings.append(_unread(name, one.problem))
                continue
            self._count, self._total = self._count + 1, self._total + one.size
            if one.checksum != expected:
                self._findings.append(Finding(os.fsdecode(name), "changed", None, expected, one.checksum))

    def _not_met(self) -> Iterator[File]:
        """What is listed, and was not met in the folder, although it can be read: its own folder may not be listed, perhaps."""
        folder = os.path.realpath(self._tree.folder)
        for name, expected in list(self._expected.items()):
            path, text = os.path.join(self._tree.folder, name), os.fsdecode(name)
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                self._findings.append(Finding(text, "missing", None, expected))
                continue
            except OSError as error:
                self._findings.append(_unread(name, error.strerror))
                continue
            if os.path.realpath(path) != os.path.join(folder, name):
                self._findings.append(Finding(text, "changed", "behind a symbolic link", expected))
            elif not stat.S_ISREG(found.st_mode):
                self._findings.append(Finding(text, "changed", "no regular file", expected))
            else:
                yield file_of(path, found)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _unread(name: bytes, why: str | None) -> Finding:
    return Finding(os.fsdecode(name) or ".", "unread", why)


def _report(findings: list[Finding], summary: str, options: ChecksumsOptions, to: TextIO | None = None) -> int:
    return report(
        findings,
        schema="checksum",
        summary=summary,
        header=("state", "problem", "path"),
        cells=lambda one: (one.state, one.problem or "", one.path),
        json=options.json,
        to=to,
    )
