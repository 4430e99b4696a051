"""Groups several inputs in one job, as ``xargs -n``: the next N inputs that no earlier execution has put in a group.

    inputs --in_groups--> (a, b, c), (d, e, f), (g,)

Separate from `manyhands.inputs.sources`, because the groups depend on what a run has recorded: recorded groups stay as they were, even
if there are new inputs between their members.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain

from manyhands.core.errors import InputError
from manyhands.core.hashes import blake2b
from manyhands.core.hints import option_name
from manyhands.core.job import Values
from manyhands.inputs.program_inputs import Given


def groups_of(inputs: int | None, most: int | None) -> int | None:
    """The number of jobs that ``inputs`` inputs make; None while it is not known."""
    return inputs if inputs is None or most is None else -(-inputs // most)


def never(_: bytes) -> bool:
    """For a run that has recorded nothing."""
    return False


def in_groups(
    inputs: Iterable[Values | None], most: int, met: Callable[[bytes], bool] = never
) -> Iterator[Values | None]:
    """Groups of ``most`` inputs of one column, without those that were ``met``; the last may be smaller. Yields None where
    ``inputs`` does. Raises InputError for an input of several columns."""
    group: list[Values] = []
    for values in inputs:
        if values is None:
            yield None
            continue
        if len(values) != 1:
            raise InputError(
                f"{option_name('--max-args')} is for inputs of one column, and this one has {len(values)}: {b' '.join(values)!r:.100}"
            )
        if met(values[0]):
            continue
        group.append(values)
        if len(group) == most:
            yield _joined(group)
            group.clear()
    if group:
        yield _joined(group)


def _joined(group: list[Values]) -> Values:
    """One input made of many; items that a program gave are attached as a list."""
    columns = tuple(values[0] for values in group)
    if not isinstance(group[0], Given):
        return columns
    return Given.of(columns, [values.item for values in group if isinstance(values, Given)])


def new_groups(inputs: Iterable[Values | None], most: int, recorded: Iterable[Values]) -> Iterator[Values | None]:
    """As `in_groups`, without inputs that are in ``recorded`` groups."""
    with closing(Recorded(recorded)) as earlier:
        yield from in_groups(inputs, most, earlier.take)


class Recorded:
    """The single inputs of recorded groups, counted by content, in a temporary database of SQLite, which spills to disk."""

    def __init__(self, groups: Iterable[Values]) -> None:
        self._db = sqlite3.connect("")  # https://sqlite.org/inmemorydb.html#temp_db
        self._db.execute("CREATE TABLE input (digest BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        self._db.executemany(
            "INSERT INTO input VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
            ((_digest(value),) for value in chain.from_iterable(groups)),
        )

    def take(self, value: bytes) -> bool:
        """Whether ``value`` is one of them; each is found only as often as it was recorded."""
        changed = self._db.execute("UPDATE input SET times = times - 1 WHERE digest = ? AND times > 0", (_digest(value),))
        return changed.rowcount == 1

    def close(self) -> None:
        """Remove the database."""
        self._db.close()


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
