"""A file that is replaced is replaced as a whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.posix.durable_files import Disk, replacing


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of this process, while the test runs."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    """As `open` would have made it; until it is whole, nothing has its name."""
    path = tmp_path / "new"
    with replacing(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["new"]


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    """Whoever could not read it before cannot now."""
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_what_is_interrupted_changes_nothing(tmp_path: Path) -> None:
    """Neither a half file, nor one under another name."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept"]


class FullDisk(Disk):
    """Takes nothing."""

    def sync(self, file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the one that is made meanwhile; a folder, a link and a device are not replaced."""
    for path, disk, error in (
        (tmp_path / "none" / "x", Disk(), FileNotFoundError),
        (tmp_path, Disk(), FileExistsError),
        (Path("/dev/null"), Disk(), FileExistsError),
        (tmp_path / "full", FullDisk(), OSError),
    ):
        with pytest.raises(error) as caught, replacing(path, disk):
            pass
        assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == []
