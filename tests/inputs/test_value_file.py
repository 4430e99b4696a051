"""Inputs of a program come back from their file as they were, or not at all."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.job import Values
from manyhands.inputs.value_file import (
    REFERRED,
    KeptValues,
    LostInputError,
    Placed,
    ValueFile,
    encode_values,
    fresh_name,
    load,
    mapped,
    place_of,
    write_all,
)
from manyhands.posix.durable_files import Disk

ONE = st.binary(max_size=9) | st.integers(REFERRED - 2, REFERRED + 2).map(bytes) | st.just(os.urandom(5000))
ROWS = st.lists(st.lists(ONE, min_size=1, max_size=3).map(tuple), max_size=30)


def kept(folder: Path, rows: list[Values]) -> KeptValues:
    return KeptValues(folder / "inputs.1", len(rows), (), None)


@given(ROWS)
def test_what_was_written_is_read(rows: list[Values]) -> None:
    """One after another, and by the places of those that are not small, which the journal refers to."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with ExitStack() as last:
            places = write_all(folder / "inputs.1", Disk(), rows, last)
        found = list(kept(folder, rows))
        assert [tuple(one) for one in found] == rows
        assert {n: one.place for n, one in enumerate(found, 1) if isinstance(one, Placed)} == places
        assert set(places) == {n for n, row in enumerate(rows, 1) if len(encode_values(row)) >= REFERRED}
        for number, place in places.items():
            again = place_of(place.reference)
            assert again == place
            assert load(folder, place) == rows[number - 1]
            assert tuple(map(bytes, mapped(str(folder / place.name), place.offset, place.size))) == rows[number - 1]


@given(ROWS.filter(bool), st.data())
def test_a_damaged_file_gives_no_wrong_input(rows: list[Values], data: st.DataObject) -> None:
    """What stands before the damage is given, then an error: whether the end is missing, or a byte is another."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "inputs.1"
        with ExitStack() as last:
            places = write_all(path, Disk(), rows, last)
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(
            whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        )
        found: list[Values] = []
        with pytest.raises(LostInputError):
            found.extend(map(tuple, kept(folder, rows)))
        assert found == rows[: len(found)]
        for place in places.values():
            if place.offset <= at < place.offset + place.size:
                with pytest.raises(LostInputError):
                    load(folder, place)


def test_no_bit_can_be_changed(tmp_path: Path) -> None:
    """Of the frames' heads neither, in a file with both kinds of frames."""
    rows: list[Values] = [(b"small",), (b"1", b"2"), (b"a" * REFERRED,), (b"last",)]
    path = tmp_path / "inputs.1"
    with ExitStack() as last:
        write_all(path, Disk(), rows, last)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        found: list[Values] = []
        with pytest.raises(LostInputError):
            found.extend(map(tuple, kept(tmp_path, rows)))
        assert found == rows[: len(found)]


@given(st.lists(st.binary(max_size=9), max_size=3).map(tuple))
def test_no_input_is_taken_for_a_reference(values: Values) -> None:
    """Whatever it holds."""
    assert place_of(encode_values(values)) is None


def test_inputs_one_by_one(tmp_path: Path) -> None:
    """As an iterator gives them; each file has a name of its own, and a missing one is an error of one line."""
    assert fresh_name(tmp_path) == "inputs.1"
    file = ValueFile(tmp_path / fresh_name(tmp_path), Disk())
    places = [file.append(bytes([number]) * 70_000) for number in range(1, 4)]
    file.close()
    file.close()
    assert [load(tmp_path, place) for place in places] == [(bytes([number]) * 70_000,) for number in range(1, 4)]
    assert fresh_name(tmp_path) == "inputs.2"
    (tmp_path / "inputs.1").unlink()
    with pytest.raises(LostInputError, match=r"cannot read an input in .*inputs.1: No such file"):
        load(tmp_path, places[0])


class Counting(Disk):
    """Counts what was made durable."""

    def __init__(self) -> None:
        self.synchronised = 0

    def sync(self, file: int) -> None:
        self.synchronised += 1


def ended() -> None:
    """Wait until the disk has what was left to a thread."""
    for thread in threading.enumerate():
        if thread.name == "manyhands-sync":
            thread.join()


def test_the_disk_writes_much_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And little at once."""
    disk = Counting()
    with ExitStack() as last:
        write_all(tmp_path / "inputs.1", disk, [(b"a" * 5000,)], last)
        assert disk.synchronised == 1
        monkeypatch.setattr("manyhands.inputs.value_file._AT_ONCE", 4999)
        places = write_all(tmp_path / "inputs.2", disk, [(b"a" * 5000,)], last)
        assert load(tmp_path, places[1]) == (b"a" * 5000,)
        assert disk.synchronised == 1
        write_all(tmp_path / "inputs.3", disk, [(b"a" * 5000,)], last, wait=True)
        assert disk.synchronised == 2
    ended()
    assert disk.synchronised == 3


def test_much_is_synchronised_without_a_thread_if_there_can_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the limit of processes may have it."""

    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("manyhands.inputs.value_file._AT_ONCE", 4999)
    monkeypatch.setattr(threading.Thread, "start", start)
    disk, before = Counting(), set(os.listdir("/dev/fd"))
    with ExitStack() as last:
        write_all(tmp_path / "inputs.1", disk, [(b"a" * 5000,)], last)
    assert disk.synchronised == 1
    assert len(before ^ set(os.listdir("/dev/fd"))) <= 1


class Full(Disk):
    """A disk that has no room."""

    def write(self, file: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_when_the_file_is_closed(tmp_path: Path) -> None:
    """What is not large is written then; the file is closed all the same."""
    file = ValueFile(tmp_path / "inputs.1", Full())
    file.append(b"a" * 5000)
    before = set(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert len(before - set(os.listdir("/dev/fd"))) == 1
    file.close()
