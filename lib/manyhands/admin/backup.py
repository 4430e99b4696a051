"""A verified, rotated backup of a folder: rsync makes it, with hard links to what has not changed since the one before.

SOURCE --rsync--> .unfinished-... --whole, on the disk--> 2026-11-26T063000 --sample restored, compared--> latest --> old ones deleted
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manyhands.admin.backup_check import compare_sample
from manyhands.admin.backup_folder import BackupFolder
from manyhands.admin.files import Tree
from manyhands.admin.programs import ProgramError, program
from manyhands.admin.report import counted, report
from manyhands.admin.rotation import Rotation
from manyhands.core.errors import UsageError
from manyhands.core.level import Level
from manyhands.core.records import dataclass, replace
from manyhands.options.admin import BackupOptions
from manyhands.render.words import size

if TYPE_CHECKING:
    import sh

_OPTIONS: Final = ("--archive", "--hard-links", "--numeric-ids", "--stats", "--no-human-readable")
_VANISHED: Final = 24
"""The exit status of rsync if files of the source were removed meanwhile, which is no failure."""
_UNFINISHED: Final = 3
"""How many interrupted backups are of use: each has what the one before it had, as far as it came."""


@dataclass(frozen=True, slots=True)
class Row:
    """A backup, or a file of the sample that is not as it should be. ``new_bytes``: what was copied, not linked."""

    path: str
    state: str
    why: str | None = None
    files: int | None = None
    bytes: int | None = None
    new_bytes: int | None = None
    level: Level = Level.OK


def backup(options: BackupOptions) -> int:
    """Back up a folder, verify that, and delete old backups by rule."""
    rotation = Rotation(options.keep, options.daily, options.weekly, options.monthly)
    rotation.check()
    if options.sample < 0 or (rotation.deletes and not options.sample):
        raise UsageError(f"--sample {options.sample}: expected 1 or more; what is not verified replaces no older backup")
    if not options.source or not options.target:
        raise UsageError("a folder without a name is given; an empty variable, perhaps?")  # it would be this one
    source, folder = Path(os.path.abspath(options.source)), BackupFolder(options.target)
    if next(iter(Tree(str(source))), None) is None:
        raise UsageError(f"{options.source}: there are no files in it, so it is not backed up; is its disk mounted?")
    _refuse_inside(source, folder.path, one_file_system=options.one_file_system)
    folder.refuse_other(source)
    made = Backup(options, source, folder, rotation)
    if options.dry_run:
        return made.preview()
    with folder.locked() as lock:
        return made.make(lock)


def _refuse_inside(source: Path, target: Path, *, one_file_system: bool) -> None:
    """Raise UsageError if the backups would be backed up."""
    real = target.resolve()
    skipped = one_file_system and real.stat().st_dev != source.stat().st_dev
    if not skipped and any(parent.samefile(source) for parent in (real, *real.parents)):
        raise UsageError(f"{target}: lies in {source}, so that each backup would hold those before it")


class Backup:
    """One backup, from its beginning to its report."""

    def __init__(self, options: BackupOptions, source: Path, folder: BackupFolder, rotation: Rotation) -> None:
        self._options, self._source, self._folder, self._rotation = options, source, folder, rotation
        self._rsync = _rsync()
        self._rows: list[Row] = []

    def preview(self) -> int:
        """Print what would be copied and deleted."""
        import sh

        folder = self._folder
        moment = folder.free(datetime.now())
        place = folder.place_for(moment)
        try:
            self._rows = [self._copy(place, "--dry-run", state="would be made")]  # which fails with --xattrs: rsync 3.5
        except sh.ErrorReturnCode as error:
            return self._failed(error, place)
        self._sort([*folder.backups(), moment], lambda doomed: self._rows.append(Row(str(doomed), "would be deleted")))
        return self._report(f"dry run: {self._said(place)}; {self._counted('would be deleted')}")

    def make(self, lock: int) -> int:
        """Make the backup, and print what was done. ``lock``: rsync has it, too, in case we are killed and it is not."""
        import sh

        folder = self._folder
        for doomed in (*folder.half_deleted(), *folder.unfinished()[_UNFINISHED:]):
            folder.remove(doomed)
        interrupted = folder.unfinished()
        folder.note(self._source)
        moment, began = folder.free(datetime.now()), time.time_ns()
        fresh = folder.begin(moment)
        try:
            row = self._copy(fresh, "--acls", "--xattrs", interrupted=interrupted, lock=lock)
            _write_out(fresh)
        except sh.ErrorReturnCode as error:
            return self._failed(error, fresh)
        place = folder.finish(fresh, moment)
        for doomed in interrupted:
            folder.remove(doomed)
        self._rows = [replace(row, path=str(place))]
        return self._verify(place, began)

    def _copy(
        self, place: Path, *more: str, state: str = "made", interrupted: Sequence[Path] = (), lock: int | None = None
    ) -> Row:
        """Let rsync do it. What has not changed is linked to the last backup, or to what an interrupted one has copied."""
        options = self._options
        links = [*list(self._folder.backups().values())[-1:], *interrupted]
        process = self._rsync(
            *_OPTIONS,
            *more,
            *(["--one-file-system"] if options.one_file_system else []),
            *(["--checksum"] if options.checksum else []),
            *(f"--exclude={pattern}" for pattern in options.exclude),
            *(f"--link-dest={path}" for path in links),
            "--",
            f"{self._source}/",
            f"{place}/",
            _ok_code=[0, _VANISHED],
            _pass_fds=set() if lock is None else {lock},
            _bg=True,
            _bg_exc=False,
        )
        try:
            process.wait()
        except KeyboardInterrupt:  # a terminal has sent it to rsync, too, but kill has not
            process.terminate()
            raise
        said = str(process)
        return Row(
            str(place),
            state,
            None,
            _stat(said, r"reg"),
            _stat(said, "Total file size"),
            _stat(said, "Total transferred file size"),
        )

    def _verify(self, place: Path, began: int) -> int:
        import sh

        try:
            compared = list(compare_sample(self._source, place, self._options.sample, began, self._rsync))
        except sh.ErrorReturnCode as error:
            self._rows.append(Row(str(place), "not restored", _why(error), level=Level.CRITICAL))
            return self._report(f"{self._said(place)}, but a sample could not be restored; nothing was deleted")
        for one in compared:
            if not one.same:
                state, level = ("changed", Level.OK) if one.same is None else ("differs", Level.CRITICAL)
                self._rows.append(Row(os.path.join(place, os.fsdecode(one.name)), state, one.problem, level=level))
        same = sum(one.same is True for one in compared)
        said = f"{self._said(place)}; {same} of {len(compared)} restored the same"
        if any(one.same is False for one in compared):
            return self._report(f"{said}; nothing was deleted")
        if self._options.sample and not same:
            return self._report(f"{said}, so it is not verified; nothing was deleted", Level.WARNING)
        self._folder.point_at(place)
        self._sort(self._folder.backups(), self._delete)
        return self._report(f"{said if self._options.sample else self._said(place)}; {self._counted('deleted')}")

    def _sort(self, moments: Collection[datetime], delete: Callable[[Path], None]) -> None:
        """Delete the backups that no rule keeps; the one that was just made, the first row, always is."""
        kept = self._rotation.kept(moments)
        for moment in sorted(moments):
            place = self._folder.place_for(moment)
            if str(place) == self._rows[0].path:
                continue
            if moment in kept:
                self._rows.append(Row(str(place), "kept", ", ".join(kept[moment]) or None))
            else:
                delete(place)

    def _delete(self, place: Path) -> None:
        try:
            self._folder.remove(place)
        except OSError as error:
            self._rows.append(Row(str(place), "not deleted", error.strerror, level=Level.WARNING))
        else:
            self._rows.append(Row(str(place), "deleted"))

    def _failed(self, error: sh.ErrorReturnCode, place: Path) -> int:
        self._rows = [Row(str(place), "failed", _why(error), level=Level.CRITICAL)]
        return self._report("no backup was made; nothing was deleted")

    def _said(self, place: Path) -> str:
        row = self._rows[0]
        return f"{place.name}: {counted(row.files or 0, 'file')}, {size(row.bytes or 0)}, {size(row.new_bytes or 0)} new"

    def _counted(self, state: str) -> str:
        kept = sum(row.state == "kept" for row in self._rows) + 1
        return f"{sum(row.state == state for row in self._rows)} {state}, {kept} kept"

    def _report(self, summary: str, least: Level = Level.OK) -> int:
        return report(
            self._rows,
            schema="backup",
            summary=summary,
            header=("state", "path", "why"),
            cells=lambda row: (row.state, row.path, row.why or ""),
            least=least,
            json=self._options.json,
        )


def _rsync() -> sh.Command:
    """Raises ProgramError for an old one, and for openrsync, which knows no --link-dest for several folders, no ACLs."""
    rsync = program("rsync", package="rsync")
    first = str(rsync("--version")).partition("\n")[0]
    version = re.match(r"rsync +version v?(\d+)\.(\d+)", first)
    if not version or (int(version[1]), int(version[2])) < (3, 1):
        raise ProgramError(f"rsync 3.1 or later is needed; this one is {first!r}")
    return rsync


def _write_out(folder: Path) -> None:
    """Have everything on the disk before it gets a name that says so."""
    if sys.platform == "linux":
        program("sync", package="coreutils")("--file-system", "--", str(folder))
    else:
        os.sync()


def _stat(said: str, label: str) -> int:
    """A number of rsync's --stats: ``Number of files: 3 (reg: 1, dir: 2)``, ``Total file size: 100,000 bytes``."""
    found = re.search(rf"\b{label}: ([\d,]+)", said)
    return int(found[1].replace(",", "")) if found else 0


def _why(error: sh.ErrorReturnCode) -> str:
    """The first thing that rsync complained of; its last line is the same for everything."""
    lines = [line for line in os.fsdecode(error.stderr).splitlines() if line.strip()]
    more = f" (and {counted(len(lines) - 2, 'more line')})" if len(lines) > 2 else ""
    return f"{lines[0] if lines else 'rsync'}{more}, exit status {error.exit_code}"
