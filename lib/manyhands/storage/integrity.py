"""Detects damage to a journal that SQLite's own check does not find.

SQLite has no checksums of its pages, so a changed bit in a value is read as another value. Therefore each row has a checksum, and `seal`
has the number of rows, so that a missing row is detected.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.storage.database import Database
from manyhands.storage.rows import BEGAN, ENDED, check_end, check_row
from manyhands.storage.schema import damaged

_HEADER: Final = 32  # of the log (https://sqlite.org/fileformat2.html#walformat)
_FRAME: Final = 24  # before each page in it


def check_all(db: Database, path: Path, version: int) -> None:
    """Read the whole journal. Raises JournalError if any of it differs from what was written."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)
    orphan = "SELECT e.job FROM ended e LEFT JOIN began b ON b.job = e.job AND b.attempt = e.attempt WHERE b.job IS NULL"
    if lone := db.execute(orphan).fetchone():
        raise damaged(path, f"job {lone[0]} has ended, but never begun")
    if version < 3:
        return
    check_seal(db, path)
    for table, columns in (("began", BEGAN), ("execution", ("id", "started", "wall", "complete"))):
        for row in db.execute(f"SELECT {', '.join(columns)}, sum FROM {table}"):  # noqa: S608 - constants only
            check_row(row)
    ended = ENDED if version >= 4 else (*ENDED[:-1], "NULL")
    for row in db.execute(f"SELECT {', '.join(ended)}, sum FROM ended"):  # noqa: S608 - constants only
        check_end(row)


def check_seal(db: Database, path: Path) -> None:
    """Compare the numbers of rows, and of rows found by their keys, with the number written. Raises JournalError if they differ."""
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
    """Raise JournalError if the log holds commits that SQLite ignores, because something before them is damaged.

    A crash can tear the last commit, which had not been reported yet. Each commit is synchronised before the next is written: so if
    the log is invalid at some point and more than one commit follows, the cause is damage, not a crash.
    """
    commits = _commits(path.with_name(path.name + "-wal"))
    if not commits:
        return
    _, valid, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if sum(frame > valid for frame in commits) > 1:
        raise damaged(path, "its log is broken in the middle")


def _commits(log: Path) -> list[int]:
    """The numbers, from 1, of the frames that end a commit, up to where the log was written since it was last reset."""
    found: list[int] = []
    with suppress(FileNotFoundError), log.open("rb") as file:
        header = file.read(_HEADER)
        salts, size = _salts(header), int.from_bytes(header[8:12], "big")
        number = 0
        while size in _PAGE_SIZES and len(frame := file.read(_FRAME)) == _FRAME:
            number += 1
            salts = salts or frame[8:16]  # the log's own header is damaged: use those of its first frame
            if frame[8:16] == salts and frame[4:8] != bytes(4):
                found.append(number)
            file.seek(size, 1)
    return found


def _salts(header: bytes) -> bytes:
    """The salts, which distinguish the frames of this log from those of the one before; empty if the header is damaged."""
    if len(header) < _HEADER:
        return b""
    words = struct.unpack((">" if header[3] & 1 else "<") + "6I", header[:24])
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return header[16:24] if struct.pack(">2I", one, two) == header[24:] else b""


_PAGE_SIZES: Final = frozenset(1 << shift for shift in range(9, 17))
