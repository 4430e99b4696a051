"""Inputs from a pipe: durable before a reader sees them, no more of them than is of use, and found again after a crash."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from conftest import wait_for
from manyhands.core.errors import JournalError
from manyhands.inputs.spool import NotKeptError, Spool, spooled
from manyhands.posix.durable_files import Disk

pytestmark = pytest.mark.usefixtures("nothing_left")

LINES = {"kind": "lines", "null": False}
NULLS = {"kind": "lines", "null": True}
CSV = {"kind": "csv"}
JSONL = {"kind": "jsonl"}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe of which both ends are closed at the end, if the test has not done so."""
    ends = os.pipe()
    yield ends
    close(*ends)


def close(*descriptors: int) -> None:
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue


class Watched(Disk):
    """A disk that notes what was done, and that can be slow or full."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.room = 1 << 40

    def write(self, file: int, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.done.append("write")
        super().write(file, data)

    def sync(self, file: int) -> None:
        self.go.wait(20)
        self.done.append("sync")

    def rename(self, old: Path, new: Path) -> None:
        self.done.append("rename")
        super().rename(old, new)

    def sync_folder(self, path: Path) -> None:
        self.done.append("folder")


def test_a_stream_is_kept_to_its_end(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """A reader follows while it is written; when it has ended the file gets its final name."""
    spool = Spool(pipe[0], tmp_path)
    follower = spool.follow()
    os.write(pipe[1], b"one\n")
    assert follower.readline() == b"one\n"
    os.write(pipe[1], b"two\nthree")
    os.close(pipe[1])
    assert follower.read() == b"two\nthree"
    assert spool.complete
    assert spool.kept() == (13, crc32(b"one\ntwo\nthree"))
    spool.close()
    spool.close()
    follower.close()
    assert spooled(tmp_path, LINES, (13, crc32(b"one\ntwo\nthree"))) == (tmp_path / "inputs", 13, True)
    assert (tmp_path / "inputs").read_bytes() == b"one\ntwo\nthree"
    assert (tmp_path / "inputs").stat().st_mode & 0o777 == 0o600


def test_nothing_is_read_before_it_is_durable(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """What a reader has seen survives a loss of power, and so do the names of the file."""
    disk = Watched()
    disk.go.clear()
    spool = Spool(pipe[0], tmp_path, disk=disk)
    os.write(pipe[1], b"one\n")
    wait_for(lambda: "write" in disk.done)
    got: list[bytes] = []
    with spool.follow() as follower:
        thread = threading.Thread(target=lambda: got.append(follower.readline()))
        thread.start()
        assert (spool.kept()[0], got) == (0, [])
        disk.go.set()
        thread.join(20)
        assert got == [b"one\n"]
        os.close(pipe[1])
        wait_for(lambda: spool.complete)
    spool.close()
    assert disk.done == ["folder", "write", "sync", "write", "sync", "rename", "folder"]


def test_what_cannot_be_kept_is_not_given_to_anybody(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """A full disk is told, with the status of one, after what had come before."""
    disk = Watched()
    disk.room = 4
    spool = Spool(pipe[0], tmp_path, disk=disk)
    os.write(pipe[1], b"one\n")
    with spool.follow() as follower:
        assert follower.readline() == b"one\n"
        os.write(pipe[1], b"two\n")
        with pytest.raises(NotKeptError, match="No space left") as raised:
            follower.readline()
    assert raised.value.exit_code == 74
    spool.close()


def test_a_quick_pipe_waits_for_its_reader(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Only so much is kept beyond what was read; then the pipe is full, and its writer waits."""
    written = 0

    def write() -> None:
        nonlocal written
        try:
            while True:
                written += os.write(pipe[1], b"y\n" * 30_000)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    spool = Spool(pipe[0], tmp_path)
    with spool.follow() as follower:
        wait_for(lambda: spool.kept()[0] >= 16 << 20, 60)
        size = spool.kept()[0]
        assert size <= 17 << 20
        assert written <= size + (2 << 20)
        assert len(follower.read(4 << 20)) == 4 << 20
        wait_for(lambda: spool.kept()[0] >= size + (3 << 20), 60)
        assert spool.kept()[0] <= size + (5 << 20)
    spool.close()
    os.close(pipe[0])
    thread.join()


def test_beyond_the_limit_only_what_is_wanted_now_is_kept(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """The pipe waits until all that came before was read."""
    text = b"".join(b"%07d\n" % number for number in range(40_000))

    def write() -> None:
        for start in range(0, len(text), 4096):
            os.write(pipe[1], text[start : start + 4096])
        os.close(pipe[1])

    thread = threading.Thread(target=write)
    thread.start()
    spool = Spool(pipe[0], tmp_path, limit=100_000)
    offset, got = 0, bytearray()
    buffer = memoryview(bytearray(5000))
    with spool.follow() as follower:
        while size := follower.raw.readinto(buffer):
            offset += size
            got += buffer[:size]
            assert spool.kept()[0] <= max(100_000, offset) + (1 << 16)
    assert got == text
    spool.close()
    thread.join()


@pytest.mark.parametrize(
    ("spec", "text", "kept"),
    [
        (LINES, b"a\nb\nhalf", b"a\nb\n"),
        (NULLS, b"a\nb\0c\nd\0e\nhalf", b"a\nb\0c\nd\0"),
        (NULLS, b"a\nhalf", b""),
        (LINES, b"a\nb\0\0\0d\ne\n", b"a\n"),
        (LINES, b"half", b""),
        (LINES, b"", b""),
        (LINES, b"a\n", b"a\n"),
        (LINES, b"x" * 200_000 + b"\n" + b"y" * 200_000, b"x" * 200_000 + b"\n"),
        (LINES | {"separator": ","}, b"a,b\nc,", b"a,b\n"),
        (JSONL, b'{"a": 1}\n{"a": "\\n', b'{"a": 1}\n'),
        (CSV, b'a,b\n1,"x\ny"\n2,"cut\nhere', b'a,b\n1,"x\ny"\n'),
        (CSV, b'a,b\n1,"say ""x"""\n2,"cut ""\n', b'a,b\n1,"say ""x"""\n'),
        (CSV, b'\xef\xbb\xbfa,b\n1,5" tube\n2,3', b'\xef\xbb\xbfa,b\n1,5" tube\n'),
        (CSV, b'a,b\n1,"x"y\n2,z\n3,', b'a,b\n1,"x"y\n'),
        (CSV, b'a,"b', b""),
        (CSV | {"delimiter": ";"}, b'a;b\n1,"2;3\n4;"5\n', b'a;b\n1,"2;3\n'),
    ],
)
def test_what_was_cut_in_the_middle_is_left_out(tmp_path: Path, spec: dict[str, str], text: bytes, kept: bytes) -> None:
    """The last input of a pipe that was not copied to its end is not mistaken for a whole one; the file stays as it is."""
    (tmp_path / "inputs.part").write_bytes(text)
    there = spooled(tmp_path, spec, (0, 0))
    assert not there.complete
    with there.open() as file:
        assert file.read() == kept
    assert (tmp_path / "inputs.part").read_bytes() == text


@pytest.mark.parametrize("name", ["inputs", "inputs.part"])
@pytest.mark.parametrize("damage", ["short", "zeros", "gone"])
def test_inputs_that_the_journal_knows_must_be_there(tmp_path: Path, name: str, damage: str) -> None:
    """A file that has lost what was durable is refused, and named, with the way out."""
    text = b"one\ntwo\nthree\n"
    found = {"short": text[:5], "zeros": text[:5] + bytes(len(text) - 5), "gone": b""}[damage]
    if damage != "gone":
        (tmp_path / name).write_bytes(found)
    with pytest.raises(JournalError, match=r"inputs") as raised:
        spooled(tmp_path, LINES, (len(text), crc32(text)))
    assert "\n" not in str(raised.value)
    (tmp_path / name).write_bytes(text + b"more\n")
    assert spooled(tmp_path, LINES, (len(text), crc32(text))).size == len(text) + 5


@pytest.mark.parametrize("noted", [b"", b"5\n", b"x y\n", b"14 1\n", b"15 1\n", b"99999999999999999999999 1\n"])
def test_all_of_a_whole_pipe_must_be_there(tmp_path: Path, noted: bytes) -> None:
    """Also what no job has been made of yet."""
    (tmp_path / "inputs").write_bytes(b"one\ntwo\nthree\n")
    (tmp_path / "inputs.sum").write_bytes(noted)
    with pytest.raises(JournalError, match=r"damaged; give|are damaged"):
        spooled(tmp_path, LINES, (0, 0))


def test_a_reader_has_what_was_kept_when_the_spool_is_closed(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Also if the descriptor of the spool is by then that of another file."""
    spool = Spool(pipe[0], tmp_path)
    with spool.follow() as follower:
        os.write(pipe[1], b"x")
        wait_for(lambda: spool.kept()[0])
        spool.close()
        (tmp_path / "other").write_bytes(b"other")
        with (tmp_path / "other").open("rb"), (tmp_path / "other").open("rb"), (tmp_path / "other").open("rb"):
            assert follower.read() == b"x"


def test_closing_ends_a_reader_that_waits(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Nobody waits for a stream that nobody reads any more."""
    spool = Spool(pipe[0], tmp_path)
    got: list[bytes] = []
    with spool.follow() as follower:
        thread = threading.Thread(target=lambda: got.append(follower.read()))
        thread.start()
        os.write(pipe[1], b"x")
        wait_for(lambda: spool.kept()[0])
        spool.close()
        thread.join()
    assert got == [b"x"]


def test_cancelling_needs_no_lock(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """A signal handler can end a wait that the main thread is in."""
    spool = Spool(pipe[0], tmp_path)
    threading.Timer(0.1, spool.cancel).start()
    with spool.follow() as follower:
        assert follower.read() == b""
    spool.close()
