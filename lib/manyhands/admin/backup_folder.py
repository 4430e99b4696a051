"""The folder that backups are kept in.

2026-11-26T063000/       a whole backup; nothing else has such a name
latest                   a link to the last one that was verified
.unfinished-.../         one that is being made, or that was interrupted: the next one takes from it what it can, and removes it
.deleting-.../           one that is being deleted, or half deleted: the next one deletes the rest
.lock                    held by the program that makes a backup, and by its rsync
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manyhands.core.errors import BusyError, UsageError
from manyhands.posix.durable_files import Disk, replacing

_NAME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d{6}")
_FORMAT: Final = "%Y-%m-%dT%H%M%S"
_UNFINISHED: Final = ".unfinished-"
DELETING: Final = ".deleting-"
"""Begins the names of what nobody needs any more."""


class BackupFolder:
    """A folder with backups of one source. `locked` is held while it is changed."""

    def __init__(self, path: str) -> None:
        """Raises UsageError if it is not there: a disk that is not mounted, perhaps, would have the backups on another one."""
        self.path = Path(os.path.abspath(path))
        if not self.path.is_dir():
            raise UsageError(
                f"{path}: {'is no folder' if os.path.lexists(path) else 'there is no such folder; make it first'}"
            )
        latest = self.path / "latest"
        if os.path.lexists(latest) and not latest.is_symlink():
            raise UsageError(f"{latest}: is no symbolic link, so it is not replaced")

    def refuse_other(self, source: Path) -> None:
        """Raise UsageError if the backups here are of another folder: a rule for these would delete those."""
        note = self.path / ".source"
        if note.exists() and (before := os.fsdecode(note.read_bytes())) != str(source):
            raise UsageError(f"{self.path}: has backups of {before}; if {source} is the same, remove {note}")

    def note(self, source: Path) -> None:
        """Write down what they are backups of."""
        with replacing(self.path / ".source") as file:
            file.write(os.fsencode(source))

    def backups(self) -> dict[datetime, Path]:
        """The whole ones, the oldest first."""
        found = {}
        for path in self.path.iterdir():
            if (moment := _moment(path.name)) and path.is_dir() and not path.is_symlink():
                found[moment] = path
        return dict(sorted(found.items()))

    def unfinished(self) -> list[Path]:
        """What was interrupted, the newest first."""
        return sorted(self.path.glob(f"{_UNFINISHED}*"), reverse=True)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock; gives its descriptor, for programs that must not work on after us. Raises BusyError."""
        file = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = os.pread(file, 20, 0).decode("ascii", "replace").strip()
                raise BusyError(f"{self.path}: another backup is running here, process {who} or its rsync") from None
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
            os.set_inheritable(file, True)  # for those who are given it; `sh` closes what it does not pass
            yield file
        finally:
            os.close(file)

    def free(self, now: datetime) -> datetime:
        """``now``, or the next second that no backup has."""
        taken = self.backups()
        moment = now.replace(microsecond=0)
        while moment in taken:
            moment += timedelta(seconds=1)
        return moment

    def place_for(self, moment: datetime) -> Path:
        """Where that backup will be when it is whole."""
        return self.path / moment.strftime(_FORMAT)

    def begin(self, moment: datetime) -> Path:
        """A new, empty folder for a backup that is being made; only its owner may look into it yet."""
        path = self.path / f"{_UNFINISHED}{moment.strftime(_FORMAT)}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o700)
        return path

    def finish(self, path: Path, moment: datetime) -> Path:
        """Give a whole backup, which is on the disk, its name."""
        place = self.place_for(moment)
        path.rename(place)
        Disk().sync_folder(self.path)
        return place

    def point_at(self, backup: Path) -> None:
        """Let ``latest`` lead to a backup, from one moment to the next."""
        fresh = self.path / f".latest-{secrets.token_hex(4)}"
        fresh.symlink_to(backup.name)
        fresh.rename(self.path / "latest")

    def remove(self, path: Path) -> None:
        """Delete a backup. It is none any more before anything of it is gone."""
        doomed = path
        if not path.name.startswith(DELETING):
            doomed = path.with_name(f"{DELETING}{path.name.lstrip('.')}-{secrets.token_hex(4)}")
            path.rename(doomed)
        if os.geteuid():  # root needs no permission, and is not to change modes where others may put links meanwhile
            _permit(doomed)
        shutil.rmtree(doomed)

    def half_deleted(self) -> list[Path]:
        """What was being deleted when somebody was interrupted."""
        return sorted(self.path.glob(f"{DELETING}*"))


def _moment(name: str) -> datetime | None:
    if not _NAME.fullmatch(name):
        return None
    try:
        return datetime.strptime(name, _FORMAT)
    except ValueError:  # 2026-02-31T000000
        return None


def _permit(folder: Path) -> None:
    """Let us delete what is in the folders of a tree: a backup of a folder that may not be written to is one, too."""
    folder.chmod(0o700)
    for here, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(here, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
