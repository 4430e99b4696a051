"""What is in a folder of backups, and what is done with it; rsync has no part in this."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from admin.trees import hostile_tree, restricted, tree
from manyhands.admin.backup_folder import BackupFolder
from manyhands.core.errors import BusyError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    (tmp_path / "backups").mkdir()
    return BackupFolder(str(tmp_path / "backups"))


def test_only_whole_backups_are_backups(folder: BackupFolder) -> None:
    """No other name, no date that is none, no link, no file."""
    for name in (
        "2026-11-26T063000",
        "2025-01-01T000000",
        "2026-02-31T000000",
        "2026-11-26",
        ".unfinished-2026-11-27T063000-ab",
        "x",
    ):
        (folder.path / name).mkdir()
    (folder.path / "2026-11-28T063000").symlink_to("x")
    (folder.path / "2026-11-29T063000").touch()
    assert list(folder.backups()) == [datetime(2025, 1, 1), datetime(2026, 11, 26, 6, 30)]
    assert folder.free(datetime(2026, 11, 26, 6, 30, 0, 999)) == datetime(2026, 11, 26, 6, 30, 1)


def test_from_the_beginning_to_the_end(folder: BackupFolder) -> None:
    """It gets its name when it is finished; ``latest`` leads to it."""
    for day in (1, 2):
        moment = datetime(2026, 11, day)
        fresh = folder.begin(moment)
        assert folder.unfinished() == [fresh]
        assert fresh.stat().st_mode & 0o077 == 0
        place = folder.finish(fresh, moment)
        folder.point_at(place)
        assert (folder.path / "latest").resolve() == place
    assert len(folder.backups()) == 2
    assert folder.unfinished() == []
    assert sorted(os.listdir(folder.path)) == ["2026-11-01T000000", "2026-11-02T000000", "latest"]


def test_two_at_once(folder: BackupFolder) -> None:
    """The second one is told who has it; afterwards it can have it."""
    with (
        folder.locked(),
        pytest.raises(BusyError, match=f"another backup is running here, process {os.getpid()} "),
        folder.locked(),
    ):
        pass
    with folder.locked():
        pass


def test_what_is_deleted(folder: BackupFolder, tmp_path: Path) -> None:
    """All of it, whatever its names; a link is deleted, not followed; a hard link elsewhere keeps its content and its mode."""
    backup = hostile_tree(folder.path / "2026-11-26T063000")
    outside = tree(tmp_path / "outside", {"a": b"a"})
    (backup / "folder").symlink_to(outside, target_is_directory=True)
    os.link(outside / "a", backup / "a")
    (outside / "a").chmod(0o440)
    folder.remove(backup)
    assert os.listdir(folder.path) == []
    assert ((outside / "a").read_bytes(), (outside / "a").stat().st_mode & 0o777) == (b"a", 0o440)


def test_folders_that_may_not_be_written_to(folder: BackupFolder, environment: dict[str, str]) -> None:
    """A backup has the permissions of its source, which do not keep its owner from deleting it."""
    backup = tree(folder.path / "2026-11-26T063000", {"closed/sub/a": b"a", "open/b": b"b"})
    for path in (backup / "closed" / "sub", backup / "closed", backup):
        path.chmod(0o500 if path is not backup else 0)
    script = (
        "import os, sys; from pathlib import Path; from manyhands.admin.backup_folder import BackupFolder\n"
        "os.geteuid = lambda: 1\n"
        "BackupFolder(sys.argv[1]).remove(Path(sys.argv[2]))\n"
    )
    command = [*restricted(), sys.executable, "-c", script, str(folder.path), str(backup)]
    subprocess.run(command, env=environment, check=True)
    assert os.listdir(folder.path) == []


def test_half_deleted_is_no_backup(folder: BackupFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another name from the beginning, by which the next one finds it."""
    backup = tree(folder.path / "2026-11-26T063000", {"a": b"a"})

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("shutil.rmtree", interrupted)
        folder.remove(backup)
    assert not folder.backups()
    (half,) = folder.half_deleted()
    folder.remove(half)
    assert os.listdir(folder.path) == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """A disk that is not mounted is not made; something else that is called latest is not replaced."""
    tree(tmp_path, {"file": b"", "other/latest": b""})
    for name, text in (
        ("none", "there is no such folder"),
        ("file", "is no folder"),
        ("other", "latest: is no symbolic link"),
    ):
        with pytest.raises(UsageError, match=text):
            BackupFolder(str(tmp_path / name))
