"""The rows of a journal, out of one file and into another: for archives, and for runs that are merged.

    Journal --rows_of--> Rows, with names of files --fill--> the journal of a new run, with their paths there

Where a row names a file of the run's outputs by its path, here is only the name: the run may come to another folder. Rows are checked
on their way out, and get new checksums on their way in. Both journals have the current schema, and no other connection writes to them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from manyhands.core.errors import JournalError
from manyhands.storage.database import Database, connect
from manyhands.storage.rows import BEGAN, ENDED, check_end, check_row, checksum, checksum_of_end
from manyhands.storage.schema import explained

Row = tuple[Any, ...]
EXECUTION: Final = ("id", "started", "wall", "complete")
_AT_ONCE: Final = 5_000
_PATHS: Final = (ENDED.index("stdout_path"), ENDED.index("stderr_path"))
_RESULT: Final = ENDED.index("result")
_PICKLE_FILE: Final = b'{"pickle_file": '
Name = Callable[[str], str]


class Rows(NamedTuple):
    """All rows of one journal, without checksums; each can be iterated once. ``kept``: see `Journal.kept_inputs`."""

    began: Iterable[Row]
    ended: Iterable[Row]
    executions: Iterable[Row]
    kept: tuple[int, int] = (0, 0)


def rows_of(db: Database, outputs: Path) -> Rows:
    """The rows of an open journal, whose files are in the folder ``outputs``. Iterating raises JournalError, DamagedRowError."""

    def name(path: str) -> str:
        folder, base = os.path.split(path)
        if folder != os.fspath(outputs):
            raise JournalError(f"an output of the run is not in its folder, but in {folder}")
        return base

    def read(columns: Sequence[str], table: str, check: Callable[[Row], object]) -> Iterator[Row]:
        for row in db.execute(f"SELECT {', '.join(columns)}, sum FROM {table} ORDER BY rowid"):  # noqa: S608 - constants only
            check(row)
            yield tuple(row[:-1])

    began = (
        tuple(row[:-1])
        for row in _checked(db.execute(f"SELECT {', '.join(BEGAN)}, sum FROM began ORDER BY job, attempt"))  # noqa: S608
    )
    ended = (with_paths(row, name) for row in read(ENDED, "ended", check_end))
    kept = db.execute("SELECT inputs_size, inputs_sum FROM seal").fetchone()
    return Rows(began, ended, read(EXECUTION, "execution", check_row), (int(kept[0]), int(kept[1])))


def _checked(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        check_row(row)
        yield row


def with_paths(row: Row, name: Name) -> Row:
    """A row of `ended` in which ``name`` has taken the place of each path of an output."""
    result = row[_RESULT]
    pickled = type(result) is bytes and result.startswith(_PICKLE_FILE)
    if row[_PATHS[0]] is None and row[_PATHS[1]] is None and not pickled:
        return row
    changed = list(row)
    for place in _PATHS:
        if row[place] is not None:
            changed[place] = os.fsencode(name(os.fsdecode(row[place])))
    if pickled and (path := _pickle_file(result)) is not None:
        changed[_RESULT] = json.dumps({"pickle_file": name(path)}).encode()
    return tuple(changed)


def _pickle_file(result: bytes) -> str | None:
    """The file in which ``--result pickle-file`` has kept a value; None if a function has returned something that looks like it."""
    try:
        found = json.loads(result)
    except ValueError:
        return None
    path = found.get("pickle_file") if isinstance(found, dict) and len(found) == 1 else None
    return path if isinstance(path, str) and path.endswith(".pickle") else None


def files_in(row: Row) -> list[str]:
    """The names of the files of outputs that a row of `ended` has, as `with_paths` has left them."""
    found: list[str] = []
    with_paths(row, lambda name: found.append(name) or name)  # type: ignore[func-returns-value]
    return found


def fill(path: Path, rows: Rows, outputs: Path) -> None:
    """Put all ``rows`` into the new, empty journal at ``path``, of a run whose outputs are in ``outputs``. Raises JournalError."""
    with explained(path, "write to"), closing(connect(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        at = os.fspath(outputs)
        ended = (
            (*row, checksum_of_end(row)) for row in (with_paths(row, lambda n: os.path.join(at, n)) for row in rows.ended)
        )
        counts = (
            _insert(db, "began", BEGAN, ((*row, checksum(row)) for row in rows.began)),
            _insert(db, "ended", ENDED, ended),
            _insert(db, "execution", EXECUTION, ((*row, checksum(row)) for row in rows.executions)),
        )
        db.execute(
            "UPDATE seal SET began = ?, ended = ?, executions = ?, inputs_size = ?, inputs_sum = ?", (*counts, *rows.kept)
        )
        db.execute("COMMIT")


def _insert(db: Database, table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
    names = (*columns, "sum")
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - constants only
    number, waiting = 0, iter(rows)
    while group := list(islice(waiting, _AT_ONCE)):
        db.executemany(sql, group)
        number += len(group)
    return number
