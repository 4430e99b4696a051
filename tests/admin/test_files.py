"""The files of a tree, and a checksum of one, also while somebody writes to it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from admin.trees import hostile_tree, tree
from manyhands.admin import files
from manyhands.admin.files import Tree, checksum
from manyhands.core.errors import UsageError


def test_the_files_that_find_finds(tmp_path: Path) -> None:
    """Regular ones only, no link is followed, in the same order each time."""
    folder = hostile_tree(tmp_path / "tree")
    said = subprocess.run(["find", folder, "-type", "f", "-print0"], capture_output=True, check=True).stdout
    found = [one.path for one in Tree(str(folder))]
    assert sorted(found) == sorted(said.split(b"\0")[:-1])
    assert found == [one.path for one in Tree(str(folder))]


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_is_no_folder(name: str, tmp_path: Path) -> None:
    """It is refused at once."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=name):
        Tree(str(tmp_path / name))


@pytest.mark.parametrize("limit", [None, 0, 1, 4096, 65536, 65537, 100_000, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 4095, 65536, 100_000])
def test_a_checksum_of_all_or_of_the_beginning(limit: int | None, size: int, tmp_path: Path) -> None:
    """As hashlib has it."""
    content = os.urandom(size)
    tree(tmp_path, {"file": content})
    assert checksum(bytes(tmp_path / "file"), "sha256", limit) == hashlib.sha256(content[:limit]).hexdigest()


def test_a_file_that_changes_is_read_again_and_then_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum is one of a content that was there all the time."""
    path = tree(tmp_path, {"log": b"1\n"}) / "log"
    real, changes = files._checksum, iter([True, False])

    def reading(*args: object) -> str:
        found: str = real(*args)  # type: ignore[arg-type]
        if next(changes):
            with path.open("ab") as log:
                log.write(b"2\n")
        return found

    monkeypatch.setattr(files, "_checksum", reading)
    assert checksum(bytes(path), "sha256") == hashlib.sha256(b"1\n2\n").hexdigest()
    changes = iter([True, True])
    with pytest.raises(OSError, match="changes while it is read"):
        checksum(bytes(path), "sha256")


def test_what_has_taken_the_place_of_a_file(tmp_path: Path) -> None:
    """A link is not followed, a pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="is no regular file any more"):
        checksum(bytes(tmp_path / "pipe"), "sha256")
    with pytest.raises(OSError, match="symbolic links"):
        checksum(bytes(tmp_path / "link"), "sha256")
