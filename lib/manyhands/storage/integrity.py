"""Whether a journal is as it was written: what SQLite's own check does not see.

SQLite keeps no checksum of its pages, so that a changed bit in a value is read as another value. Each row therefore carries one,
and `seal` says how many rows there are, so that one that is no longer found is missed.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.storage.database import Database
from manyhands.storage.rows import BEGAN, ENDED, check_row
from manyhands.storage.schema import damaged

_HEADER: Final = 32  # of the log (https://sqlite.org/fileformat2.html#walformat)
_FRAME: Final = 24  # before each page in it


def check_all(db: Database, path: Path, version: int) -> None:
    """Read the whole journal. Raises JournalError if anything of it is not as it was written."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)
    orphan = "SELECT e.job FROM ended e LEFT JOIN began b ON b.job = e.job AND b.attempt = e.attempt WHERE b.job IS NULL"
    if lone := db.execute(orphan).fetchone():
        raise damaged(path, f"job {lone[0]} has ended, but never begun")
    if version < 3:
        return
    check_seal(db, path)
    for table, columns in (("began", BEGAN), ("ended", ENDED), ("execution", ("id", "started", "wall", "complete"))):
        for row in db.execute(f"SELECT {', '.join(columns)}, sum FROM {table}"):  # noqa: S608 - constants only
            check_row(row)


def check_seal(db: Database, path: Path) -> None:
    """Compare how many rows there are, and are found by their keys, with how many were written. Raises JournalError."""
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("began", "ended", "execution"))  # noqa: S608
    found = "(SELECT count(*) FROM began b JOIN ended e ON e.job = b.job AND e.attempt = b.attempt)"
    rows = list(db.execute(f"SELECT began, ended, executions, ended, {counts}, {found} FROM seal"))  # noqa: S608
    if len(rows) != 1 or rows[0][:4] != rows[0][4:]:
        raise damaged(path, "rows are missing")


def kept_inputs(db: Database) -> tuple[int, int]:
    """(bytes, their CRC) of the inputs that were durable at the last commit."""
    size, checksum = db.execute("SELECT inputs_size, inputs_sum FROM seal").fetchone()
    return int(size), int(checksum)


def check_log(db: Database, path: Path) -> None:
    """Raise JournalError when the log holds commits that SQLite does not see, because something before them is damaged.

    A crash can tear the last commit, which had not been told to anybody. Each commit is synchronised before the next is
    written: so if more than one lies behind the place where the log ceases to be valid, that is no crash.
    """
    commits = _commits(path.with_name(path.name + "-wal"))
    if not commits:
        return
    _, valid, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if sum(frame > valid for frame in commits) > 1:
        raise damaged(path, "its log is broken in the middle")


def _commits(log: Path) -> list[int]:
    """The numbers, from 1, of the frames that end a commit, as far as the log has been written since it last began anew."""
    found: list[int] = []
    with suppress(FileNotFoundError), log.open("rb") as file:
        header = file.read(_HEADER)
        salts, size = _salts(header), int.from_bytes(header[8:12], "big")
        number = 0
        while size in _PAGE_SIZES and len(frame := file.read(_FRAME)) == _FRAME:
            number += 1
            salts = salts or frame[8:16]  # the log's own header is damaged: as its first frame has it
            if frame[8:16] == salts and frame[4:8] != bytes(4):
                found.append(number)
            file.seek(size, 1)
    return found


def _salts(header: bytes) -> bytes:
    """What distinguishes the frames of this log from those of the one before; nothing if its header is damaged."""
    if len(header) < _HEADER:
        return b""
    words = struct.unpack((">" if header[3] & 1 else "<") + "6I", header[:24])
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return header[16:24] if struct.pack(">2I", one, two) == header[24:] else b""


_PAGE_SIZES: Final = frozenset(1 << shift for shift in range(9, 17))
