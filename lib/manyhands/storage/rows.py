"""Converts jobs and outcomes to rows of the journal's tables and back: the only module that knows the order of the columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from marshal import dumps
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status, Values
from manyhands.core.lean import NamedTuple
from manyhands.inputs.value_file import decode_values, encode_values

LEFT: Final = (Status.LOST, Status.CANCELLED)
"""A job whose last status is one of these still has to be done."""


BEGAN: Final = ("job", "attempt", "key", "input")
ENDED: Final = (
    "job",
    "attempt",
    "status",
    "final",
    "exit",
    "signal",
    "error",
    "started",
    "wall",
    "user",
    "system",
    "max_rss",
    "slot",
    "leftovers",
    "still_running",
    "stdout",
    "stdout_path",
    "stdout_size",
    "stdout_dropped",
    "stderr",
    "stderr_path",
    "stderr_size",
    "stderr_dropped",
    "result",
    "traceback",
    "host",
)
"""The columns of the tables, each followed by the `checksum` of the row, for `ended` by `checksum_of_end`."""


class DamagedRowError(ValueError):
    """A row differs from what was written."""


class JobRecord(NamedTuple):
    """A job as the journal knows it. ``outcome`` is None while its last attempt has not ended."""

    job: Job
    attempt: int
    outcome: Outcome | None
    stage: int = 1
    """With several stages: the last one that the job has begun."""

    @property
    def left(self) -> bool:
        """Whether the job still has to be done."""
        return self.outcome is None or not self.outcome.final or self.outcome.status in LEFT


_NO_OUTPUT: Final = (None, None, None, None)
_LARGE: Final = 1 << 16
"""Bytes of a value that is not copied for its checksum."""


def checksum(row: Sequence[Any]) -> int:
    """The checksum that is stored with a row: it detects any single changed bit.

    marshal is the fastest way to turn a row into bytes (1.2 us with the CRC). Its version 2 depends only on the values, and is the same
    in every Python; later versions depend on how often an object is referenced.
    """
    try:
        return crc32(dumps(row if type(row) is tuple else tuple(row), 2))
    except ValueError:  # an IntEnum, a float of numpy: SQLite stores them as their base type
        return crc32(dumps(tuple(map(_plain, row)), 2))


def checksum_of_end(row: Sequence[Any]) -> int:
    """The checksum of a row of `ended`. One without a host has that of schema 3, which had no such column."""
    return checksum(row[:-1] if row[-1] is None else row)


def checksum_of_large(row: Sequence[Any]) -> int:
    """The checksum of a row with large values, without copying these: in marshal's version 2 a tuple is ``(``, its length and its
    values, and bytes are ``s``, their length and the bytes (Python/marshal.c)."""
    found = crc32(b"(" + len(row).to_bytes(4, "little"))
    for value in row:
        if type(value) is bytes:
            found = crc32(value, crc32(b"s" + len(value).to_bytes(4, "little"), found))
        else:
            found = crc32(dumps(value, 2), found)
    return found


def _plain(value: Any) -> Any:
    return next((kind(value) for kind in (int, float, str) if isinstance(value, kind)), value)


Row = tuple[object, ...]


def began_row(attempt: Attempt) -> Row:
    """A row of `began`, as it is inserted: bytes are bytearrays if they are small, because `sqlite3` takes 0.6 us for an object of bytes,
    which it first tries to adapt (PEP 246), and 0.1 us for a bytearray."""
    (number, key, values, place), last, _ = attempt
    if place is not None:
        blob = place.reference
    else:
        blob = values[0] if len(values) == 1 and values[0][:1] != b"\0" else encode_values(values)
    row = (number, last, key, blob)
    if len(blob) < _LARGE:
        return number, last, bytearray(key), bytearray(blob), crc32(dumps(row, 2))
    return *row, checksum_of_large(row)


def ended_row(outcome: Outcome) -> Row:
    """A row of `ended`; every value has the type with which SQLite returns it."""
    attempt, end = outcome.attempt, outcome.ending
    out, err = end.stdout, end.stderr
    row = (
        attempt.job.number,
        attempt.number,
        outcome.status._value_,
        int(outcome.final),
        end.exit,
        end.signal,
        end.error and _sayable(end.error),
        None if end.started is None else float(end.started),
        float(end.wall),
        float(end.user),
        float(end.system),
        end.max_rss,
        end.slot,
        end.leftovers,
        int(end.still_running),
        *(_NO_OUTPUT if out is NOTHING else _columns(out)),
        *(_NO_OUTPUT if err is NOTHING else _columns(err)),
        end.result,
        end.traceback and _sayable(end.traceback),
        end.host and _sayable(end.host),
    )
    if end.result is None or len(end.result) < _LARGE:
        return *row, checksum_of_end(row)
    return *row, checksum_of_large(row[:-1] if end.host is None else row)


_RARE: Final = (
    "signal",
    "error",
    "leftovers",
    "still_running",
    "stdout_path",
    "stderr",
    "stderr_path",
    "stderr_size",
    "stderr_dropped",
    "traceback",
)
"""Empty in most rows of commands, wherever they ran."""
_PRINTED: Final = ("stdout", "stdout_size", "stdout_dropped")
_SIZE: Final = ENDED.index("stdout_size")


class _Insert(NamedTuple):
    """A statement, and how its values are taken from a row of `ended`."""

    sql: str
    values: Callable[[Row], Row]

    @classmethod
    def without(cls, *left_out: str) -> _Insert:
        """The statement for rows in which these columns are empty."""
        names = [name for name in (*ENDED, "sum") if name not in left_out]
        zeros = [name for name in left_out if name in ("leftovers", "still_running")]
        values = ["?"] * len(names) + ["0"] * len(zeros)
        sql = f"INSERT INTO ended ({', '.join(names + zeros)}) VALUES ({', '.join(values)})"  # noqa: S608 - constants only
        return cls(sql, itemgetter(*((*ENDED, "sum").index(name) for name in names)))


_WHOLE, _TALKED = _Insert.without(), _Insert.without(*_RARE, "host")
_QUIET, _SILENT = _Insert.without(*_RARE, *_PRINTED, "host"), _Insert.without(*_RARE, *_PRINTED, "result", "host")
_TALKED_THERE, _SILENT_THERE = _Insert.without(*_RARE, "result"), _Insert.without(*_RARE, *_PRINTED, "result")
"""The same for commands on other hosts."""


class EndedRows:
    """Rows of `ended` that wait for a commit: statements, each with the values of the rows in a row that it inserts.

    SQLite takes 0.3 us to bind a column, `sqlite3` 0.6 us for null or bytes (see `began_row`), and most rows need only half of the
    columns (all 26: 16 us a row; 13: 6 us).
    """

    def __init__(self) -> None:
        self.inserts: list[tuple[str, list[Row]]] = []
        self._sql = ""
        self._rows: list[Row] = []
        """The rows of the last statement."""

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.inserts)

    def add(self, outcome: Outcome) -> None:
        """Add the row of an attempt that has ended."""
        (job, last, _), status, end, final = outcome
        exit_, signal, error, started, wall, user, system, rss, out, err, slot, left, result, traceback, still, host = end
        usual = error is None and signal is None and traceback is None and err is NOTHING and not left and not still
        plain = usual and host is None and out is NOTHING
        if plain and started is not None and (result is None or len(result) < _LARGE):
            # As `ended_row`, for most rows by far, without a function call or a value that is not used.
            number, name, over, started = job[0], status._value_, 1 if final else 0, started + 0.0
            wall, user, system = wall + 0.0, user + 0.0, system + 0.0
            head = number, last, name, over, exit_, None, None, started, wall, user, system, rss, slot, 0, 0
            row = (*head, None, None, None, None, None, None, None, None, result, None)
            try:
                total = crc32(dumps(row, 2))
            except ValueError:  # see `checksum`
                total = checksum(row)
            if result is None:
                if self._sql is not _SILENT.sql:
                    self._begin(_SILENT.sql)
                self._rows.append((number, last, name, over, exit_, started, wall, user, system, rss, slot, total))
                return
            if self._sql is not _QUIET.sql:
                self._begin(_QUIET.sql)
            kept = bytearray(result)
            self._rows.append((number, last, name, over, exit_, started, wall, user, system, rss, slot, kept, total))
            return
        whole = ended_row(outcome)
        if not usual or out.path is not None:
            insert = _WHOLE
        elif host is None:
            insert = _QUIET if whole[_SIZE] is None else _TALKED
        else:
            insert = _WHOLE if result is not None else _SILENT_THERE if whole[_SIZE] is None else _TALKED_THERE
        if self._sql is not insert.sql:
            self._begin(insert.sql)
        self._rows.append(insert.values(whole))

    def _begin(self, sql: str) -> None:
        self._sql, self._rows = sql, []
        self.inserts.append((sql, self._rows))

    def clear(self) -> None:
        """Forget the rows: they are durable."""
        self.inserts.clear()
        self._sql = ""


def _sayable(text: str) -> str:
    """Text that SQLite accepts: a lone surrogate, which stands for a byte that is not UTF-8, becomes ``\\udcNN``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _columns(printed: Output) -> tuple[bytes | None, bytes | None, int, int]:
    """An output as its four columns; the path as bytes, because it may not be valid text."""
    path = None if printed.path is None else os.fsencode(printed.path)
    return printed.data or None, path, printed.size, printed.dropped


def _output(data: bytes | None, path: bytes | None, size: int | None, dropped: int | None) -> Output:
    return (
        NOTHING if size is None else Output(data or b"", None if path is None else os.fsdecode(path), size, dropped or 0)
    )


def check_end(row: Sequence[object], *, summed: bool = True) -> None:
    """`check_row` for a row of `ended`."""
    if summed and row[-1] != checksum_of_end(row[:-1]):
        raise _damaged(row)


def check_row(row: Sequence[object], *, summed: bool = True) -> None:
    """Raise DamagedRowError if ``row`` differs from what was written; its last value is its checksum, if it is ``summed``."""
    if summed and row[-1] != checksum(row[:-1]):
        raise _damaged(row)


def _damaged(row: Sequence[object]) -> DamagedRowError:
    return DamagedRowError(f"the row of job {row[0]!r:.40}, attempt {row[1]!r:.40}, is damaged")


def record_of(
    row: Sequence[object], *, summed: bool = True, values_of: Callable[[bytes], Values] = decode_values
) -> JobRecord:
    """A job from the columns of `began` and those of `ended`, which are null while it has not ended; each with its checksum.
    ``values_of`` decodes its input.

    Raises DamagedRowError if a row differs from what was written.
    """
    began, end = row[: len(BEGAN) + 1], row[len(BEGAN) + 1 :]
    check_row(began, summed=summed)
    try:
        number, attempt, key, blob, _ = began
        job = Job(number, key, values_of(blob))  # type: ignore[arg-type]  # SQLite's columns are as the schema says
        if end[0] is None:
            return JobRecord(job, attempt, None)  # type: ignore[arg-type]
        check_end(end, summed=summed)
        return JobRecord(job, attempt, _outcome(Attempt(job, attempt, ()), end))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError) as error:  # rows of an older schema have no checksum
        raise error if isinstance(error, DamagedRowError) else DamagedRowError(str(error)) from error


def _outcome(attempt: Attempt, end: Sequence[Any]) -> Outcome:
    outputs = _output(*_STDOUT(end)), _output(*_STDERR(end))
    ending = Ending._make((*_MEASURED(end), *outputs, *_AFTER_THEM(end), bool(end[_STILL_RUNNING]), end[_HOST]))
    return Outcome(attempt, Status(end[_STATUS]), ending, bool(end[_FINAL]))


def _values_of(*names: str) -> itemgetter[Any]:
    return itemgetter(*map(ENDED.index, names))


_STATUS, _FINAL, _STILL_RUNNING, _HOST = map(ENDED.index, ("status", "final", "still_running", "host"))
_STDOUT, _STDERR = (
    _values_of(*(name + part for part in ("", "_path", "_size", "_dropped"))) for name in ("stdout", "stderr")
)
_OUTPUT_FIELD: Final = Ending._fields.index("stdout")
_MEASURED: Final = _values_of(*Ending._fields[:_OUTPUT_FIELD])
_AFTER_THEM: Final = _values_of(*Ending._fields[_OUTPUT_FIELD + 2 : -2])
