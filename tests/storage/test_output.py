"""What an attempt printed, read and passed on: the same bytes from memory and from a file, without holding them all."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import NOTHING, Output
from manyhands.storage import output

MIB = 1 << 20
SENDFILE = os.sendfile


def in_file(path: Path, data: bytes) -> Output:
    path.write_bytes(data)
    return Output(b"", str(path), len(data))


def pattern(size: int) -> bytes:
    """Bytes of which no block is like another."""
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


def copied(one: Output, path: Path, flags: int = 0) -> bytes:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    try:
        output.copy(one, descriptor)
    finally:
        os.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
def test_all_ways_to_read_give_every_byte(tmp_path: Path, size: int) -> None:
    """In pieces of at most 1 MiB, at once, or copied; at the borders of the pieces, too."""
    data = pattern(size)
    one = in_file(tmp_path / "x", data)
    pieces = list(one.chunks())
    assert b"".join(pieces) == one.read() == copied(one, tmp_path / "y") == data
    assert all(len(piece) <= MIB for piece in pieces)


def test_what_is_held_in_memory_reads_the_same(tmp_path: Path) -> None:
    """The caller does not see the difference."""
    one = Output(b"a\0\xff\n", size=4)
    assert (list(one.chunks()), one.read(), copied(one, tmp_path / "y")) == (
        [b"a\0\xff\n"],
        one.data,
        one.data,
    )
    assert (list(NOTHING.chunks()), NOTHING.read(), output.tail(NOTHING, 5)) == ([], b"", [])


@pytest.mark.parametrize("limit", [0, 3, 100])
def test_reading_stops_at_the_limit(tmp_path: Path, limit: int) -> None:
    """The first bytes, from memory or a file."""
    assert in_file(tmp_path / "x", b"abcdef").read(limit) == b"abcdef"[:limit]
    assert Output(b"abcdef", size=6).read(limit) == b"abcdef"[:limit]


def test_a_file_opened_for_appending_gets_it_all(tmp_path: Path) -> None:
    """``>> log``: sendfile(2) refuses such a file, and what was there stays."""
    (tmp_path / "log").write_bytes(b"before\n")
    data = pattern(2 * MIB + 5)
    assert copied(in_file(tmp_path / "x", data), tmp_path / "log", os.O_APPEND) == b"before\n" + data


@pytest.mark.parametrize("works_for", [0, 1, 2])
def test_a_kernel_that_cannot_send_files_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works_for: int
) -> None:
    """Reading and writing goes on where sendfile(2) gave up."""
    calls = []

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        calls.append(offset)
        if len(calls) > works_for:
            raise OSError(errno.ENOSYS, "not here")
        return SENDFILE(out, file, offset, count // 3)

    monkeypatch.setattr(os, "sendfile", sendfile)
    data = pattern(3 * MIB)
    assert copied(in_file(tmp_path / "x", data), tmp_path / "y") == data
    assert len(calls) == works_for + 1


def test_a_full_disk_is_not_taken_for_such_a_kernel(tmp_path: Path) -> None:
    """Other errors are the caller's to see."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            output.copy(in_file(tmp_path / "x", pattern(100)), full)
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(full)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_slow_reader_of_a_non_blocking_pipe_gets_it_all(tmp_path: Path, in_memory: bool) -> None:
    """Somebody who shares our stdout may have made it non-blocking: we wait for room, and lose nothing."""
    data = pattern(MIB // 2)
    one = Output(data, size=len(data)) if in_memory else in_file(tmp_path / "x", data)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)
    found: list[bytes] = []

    def read_slowly() -> None:
        time.sleep(0.05)
        while piece := os.read(reader, 4096):
            found.append(piece)

    thread = threading.Thread(target=read_slowly)
    thread.start()
    output.copy(one, writer)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(found) == data


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_has_left_is_a_broken_pipe(tmp_path: Path, in_memory: bool, blocking: bool) -> None:
    """Not a hang, and not silence."""
    one = Output(b"x", size=1) if in_memory else in_file(tmp_path / "x", b"x")
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            output.copy(one, writer)
    finally:
        os.close(writer)


def test_the_end_of_a_huge_file_is_found_without_reading_it(tmp_path: Path) -> None:
    """4 GiB without a newline, and two lines: only the last 64 KiB are looked at."""
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 4 << 30)
    with path.open("ab") as file:
        file.write(b"\none\ntwo\n")
    tracemalloc.start()
    try:
        assert output.tail(Output(b"", str(path), path.stat().st_size), 2) == [b"one", b"two"]
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=9).filter(lambda line: not set(line) & {10, 13})), count=st.integers(0, 9))
def test_the_last_lines_are_the_last_lines(tmp_path: Path, lines: list[bytes], count: int) -> None:
    """From memory and from a file."""
    data = b"".join(line + b"\n" for line in lines)
    expected = lines[-count:] if count else []
    assert output.tail(in_file(tmp_path / "x", data), count) == expected
    assert output.tail(Output(data, size=len(data)), count) == expected


def test_a_last_line_needs_no_newline_and_a_progress_bar_shows_its_end() -> None:
    """A carriage return ends a line, as the eye has it; a line longer than the limit is cut at its front."""
    assert output.tail(Output(b"a\nb", size=3), 1) == [b"b"]
    assert output.tail(Output(b"10%\r99%\rdone", size=12), 2) == [b"99%", b"done"]
    assert output.tail(Output(b"0123456789", size=10), 1, limit=4) == [b"6789"]


@pytest.mark.parametrize(
    "way",
    [Output.read, lambda one: list(one.chunks()), lambda one: output.tail(one, 1), lambda one: output.copy(one, 1)],
    ids=["read", "chunks", "tail", "copy"],
)
def test_output_that_was_removed_is_named(tmp_path: Path, way: Callable[[Output], object]) -> None:
    """One line that says which file, whichever way it was wanted."""
    path = tmp_path / "folder" / "gone"
    with pytest.raises(ManyhandsError, match="is gone") as caught:
        way(Output(b"", str(path), 7))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
