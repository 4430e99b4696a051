"""What `test_instructions` counts: the engine's work for a number of jobs, and plain Python to compare it with.

python instructions.py engine FOLDER JOBS       the engine, with a fake backend and clock, and a journal in FOLDER
python instructions.py yardstick FOLDER ROUNDS  tuples, dictionaries, calls and SQLite, as any program uses them
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from manyhands.backends.fake import Fake, Play
from manyhands.core.events import Summary
from manyhands.core.job import Job, Status, Values
from manyhands.core.limits import Limits
from manyhands.engine.loop import Engine
from manyhands.storage.journal import Journal

_PLAY = Play(wall=0.01)


def engine(folder: Path, count: int) -> None:
    """Run so many jobs, four at once."""
    fake = Fake(4, lambda _: _PLAY, ahead=64)
    journal = Journal.create(folder / "journal.db")
    jobs: Iterator[tuple[Job, int]] = (
        (Job(number, b"%16d" % number, (b"%d" % number,)), 0) for number in range(1, count + 1)
    )
    limits = Limits(jobs=4)
    made = Engine(jobs=jobs, argv=_argv, backend=fake, journal=journal, limits=limits, clock=fake.clock, total=count)
    *_, summary = made.run()
    journal.close()
    assert isinstance(summary, Summary)
    assert summary.counts == {Status.OK: count}


def _argv(values: Values, _: int) -> tuple[bytes, ...]:
    return b"true", *values


def yardstick(folder: Path, rounds: int) -> None:
    """Do as much as a small program does for a row of a table."""
    with sqlite3.connect(folder / "yardstick.db") as db:
        db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, key BLOB, size REAL)")
        rows = [_row(number, {}) for number in range(rounds)]
        db.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
    db.close()


def _row(number: int, found: dict[str, object]) -> tuple[int, bytes, float]:
    for name in ("one", "two", "three", "four", "five", "six", "seven", "eight"):
        found[name] = (number, name, len(name))
        found.setdefault(f"{name}-{number}", [value for value in found.values() if value])
    return number, b"%16d" % number, sum(len(name) for name in found) / 7


if __name__ == "__main__":
    {"engine": engine, "yardstick": yardstick}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
