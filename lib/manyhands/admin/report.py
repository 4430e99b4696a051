"""What an admin program prints, in one form for people, programs and monitors.

The first line is the verdict, which a monitor shows; the table below it begins with what is worst.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict
from json import dumps
from typing import Any, ClassVar, Protocol, TypeVar

from manyhands.core.level import Level, severity, worst
from manyhands.core.safe_text import one_line
from manyhands.render.table import table


class Row(Protocol):
    """One finding: a dataclass whose fields are the keys of its JSON object. Sizes are bytes, durations seconds, times ISO 8601."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def level(self) -> Level:
        """How bad it is."""
        ...


R = TypeVar("R", bound=Row)


def report(
    rows: Sequence[R],
    *,
    schema: str,
    summary: str,
    header: Sequence[str],
    cells: Callable[[R], Sequence[object]],
    right: Sequence[str] = (),
    json: bool,
) -> int:
    """Print ``rows``, and return the exit status: the worst of their levels.

    ``summary`` follows the level in the first line. ``cells`` gives the texts of a row below ``header``; the last column may be
    long, and those in ``right`` are aligned there. With ``json`` each row is an object ``manyhands.SCHEMA/1``, in the order given.
    """
    level = worst(row.level for row in rows)
    if json:
        lines = [_record(row, schema) for row in rows]
    else:
        ordered = sorted(rows, key=lambda row: severity(row.level), reverse=True)
        lines = [f"{level.name} - {one_line(summary, 1000)}"]
        if ordered:
            lines += table(("", *header), ((_mark(row.level), *cells(row)) for row in ordered), right=right)
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return level


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 update``, ``2 updates``; ``plural`` if it is not made by an s."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def _record(row: Row, schema: str) -> str:
    values: dict[str, Any] = asdict(row)
    return dumps({"schema": f"manyhands.{schema}/1", **values, "level": row.level.name})


def _mark(level: Level) -> str:
    return "" if level is Level.OK else level.name
