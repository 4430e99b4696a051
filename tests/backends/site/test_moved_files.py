"""A file on its way: whole or not there, with its mode and its time, and never outside of the folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from manyhands.backends.site.moved_files import BLOCK, Incoming, NotMovedError, Outgoing, parts_of, remove

NAMES = [b"a", b"a b", b"new\nline", b"\xff\xfe", b"-n", b"$(x)'\"", b"~", b"n" * 255, b"in/to/it", b"./x", b"a//b"]
ESCAPES = [b"/etc/passwd", b"..", b"../x", b"a/../../x", b"a/..", b"/", b""]


def folders(tmp_path: Path) -> tuple[bytes, bytes]:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    return bytes(here), bytes(there)


def moved(here: bytes, there: bytes, path: bytes, *, follow: bool = True) -> None:
    """The file, from one folder to the other."""
    file = Outgoing(here, path, follow=follow)
    incoming = Incoming(there, path, b"mark-1", durable=True)
    for piece in file.pieces():
        incoming.add(piece)
    incoming.finish(file.trailer())


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK + 1])
@pytest.mark.parametrize("name", NAMES)
def test_it_arrives_as_it_was(tmp_path: Path, name: bytes, size: int) -> None:
    """Content, mode and time, whatever it is called; nothing else is left."""
    here, there = folders(tmp_path)
    source = os.path.join(here, name)
    os.makedirs(os.path.dirname(source), exist_ok=True)
    Path(os.fsdecode(source)).write_bytes(os.urandom(size))
    os.chmod(source, 0o4751)
    os.utime(source, ns=(1, 123_456_789_123_456_789))
    moved(here, there, name)
    target = os.path.join(there, name)
    assert Path(os.fsdecode(target)).read_bytes() == Path(os.fsdecode(source)).read_bytes()
    found = os.stat(target)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o751, 123_456_789_123_456_789)
    assert os.listdir(os.path.dirname(target)) == [os.path.basename(target)]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_name_leaves_the_folder(tmp_path: Path, path: bytes) -> None:
    """At both ends."""
    here, there = folders(tmp_path)
    for attempt in (
        lambda: parts_of(path),
        lambda: Outgoing(here, path, follow=True),
        lambda: Incoming(there, path, b"m", durable=False),
    ):
        with pytest.raises(NotMovedError):
            attempt()
    remove(there, path)
    assert not os.listdir(there)


def test_links_of_the_other_machine_lead_nowhere(tmp_path: Path) -> None:
    """A folder that is a link is not entered; a file that is a link is replaced, not followed."""
    here, there = folders(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    os.symlink(outside, os.path.join(there, b"folder"))
    os.symlink(outside / "file", os.path.join(there, b"link"))
    os.mkdir(os.path.join(here, b"folder"))
    for name in ("folder/file", "link"):
        (tmp_path / "here" / name).write_text("new")
    with pytest.raises(NotMovedError, match=r"folder/file: (Not a directory|Too many levels)"):
        moved(here, there, b"folder/file")
    moved(here, there, b"link")
    remove(there, b"folder/file")
    assert (outside / "file").read_text() == "precious"
    assert (tmp_path / "there" / "link").read_text() == "new"
    for path in (b"folder/file", b"folder"):
        with pytest.raises(NotMovedError):
            Outgoing(there, path, follow=False)


def test_links_of_ones_own_are_followed(tmp_path: Path) -> None:
    """Of what is sent, the user says what it is."""
    here, there = folders(tmp_path)
    (tmp_path / "real").write_text("x")
    os.symlink("../real", os.path.join(here, b"link"))
    moved(here, there, b"link")
    assert not (tmp_path / "there" / "link").is_symlink()


def test_only_regular_files(tmp_path: Path) -> None:
    """A pipe, on which one would wait for ever, a folder, and what is not there."""
    here, _ = folders(tmp_path)
    os.mkfifo(os.path.join(here, b"pipe"))
    os.mkdir(os.path.join(here, b"folder"))
    for name in (b"pipe", b"folder"):
        with pytest.raises(NotMovedError, match="is not a regular file"):
            Outgoing(here, name, follow=True)
    with pytest.raises(NotMovedError, match=r"^none: No such file or directory$"):
        Outgoing(here, b"none", follow=True)


def test_what_was_there_stays_until_all_has_come(tmp_path: Path) -> None:
    """And if it does not come, or is another, for ever; nothing else is left."""
    here, there = folders(tmp_path)
    for folder, text in (("here", "new"), ("there", "old")):
        (tmp_path / folder / "x").write_text(text)
    file = Outgoing(here, b"x", follow=True)
    incoming = Incoming(there, b"x", b"m", durable=False)
    for piece in file.pieces():
        incoming.add(piece)
    assert (tmp_path / "there" / "x").read_text() == "old"
    with pytest.raises(NotMovedError, match="x: what has arrived is not what was sent"):
        incoming.finish(file.trailer() | {"sum": "00"})
    dropped = Incoming(there, b"x", b"m", durable=False)
    dropped.add(b"half")
    dropped.drop()
    dropped.drop()
    assert os.listdir(there) == [b"x"]
    assert (tmp_path / "there" / "x").read_text() == "old"


def test_what_a_killed_one_has_left_is_taken_over(tmp_path: Path) -> None:
    """The next attempt of the same job removes it."""
    here, there = folders(tmp_path)
    (tmp_path / "here" / "x").write_text("new")
    Incoming(there, b"x", b"mark-1", durable=False).add(b"half")
    assert os.listdir(there) == [b".x.mark-1.part"]
    moved(here, there, b"x")
    assert os.listdir(there) == [b"x"]


def test_a_file_that_changes_is_not_sent(tmp_path: Path) -> None:
    """It would be a mixture."""
    here, _ = folders(tmp_path)
    path = tmp_path / "here" / "x"
    path.write_bytes(bytes(2 * BLOCK))
    pieces = Outgoing(here, b"x", follow=True).pieces()
    next(pieces)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(NotMovedError, match="x was changed while it was read"):
        list(pieces)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason, and nothing is left."""
    _, there = folders(tmp_path)
    incoming = Incoming(there, b"x", b"m", durable=False)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(NotMovedError, match=r"^x: No space left on device$"):
            incoming.add(b"x")
    assert not os.listdir(there)


def test_a_folder_is_in_the_place(tmp_path: Path) -> None:
    """It is not replaced."""
    here, there = folders(tmp_path)
    (tmp_path / "here" / "x").write_text("new")
    (tmp_path / "there" / "x").mkdir()
    with pytest.raises(NotMovedError, match="x: Is a directory"):
        moved(here, there, b"x")
    assert os.listdir(there) == [b"x"]
