"""What an admin program prints, in one form for people, programs and monitors.

The first line is the verdict, which a monitor shows; the table below it begins with what is worst.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict
from itertools import islice
from json import dumps
from typing import Any, ClassVar, Protocol, TextIO, TypeVar

from manyhands.core.encoding import list_or_base64, text_or_base64
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
    below: Callable[[R], Sequence[Sequence[object]]] = lambda _: (),
    notes: Callable[[R], Sequence[str]] = lambda _: (),
    right: Sequence[str] = (),
    least: Level = Level.OK,
    json: bool,
    to: TextIO | None = None,
) -> int:
    """Print ``rows``, and return the exit status: the worst of their levels, and at ``least`` that one.

    ``summary`` follows the level in the first line. ``cells`` gives the texts of a row below ``header``, ``below`` those of further lines
    for it; the last column may be long, and those in ``right`` are aligned there. ``notes`` gives lines that follow, without columns.
    With ``json`` each row is an object ``manyhands.SCHEMA/1``, in the order given; text that is not UTF-8 has a second key,
    ``NAME_base64``. ``to``: instead of standard output.
    """
    out = to or sys.stdout
    level = worst([least, *(row.level for row in rows)])
    if json:
        lines = [_record(row, schema) for row in rows]
    else:
        ordered = sorted(rows, key=lambda row: severity(row.level), reverse=True)
        lines = [f"{level.name} - {one_line(summary, 1000)}"]
        if ordered:
            shown = [((_mark(row.level), *cells(row)), *(("", *further) for further in below(row))) for row in ordered]
            printed = iter(table(("", *header), (line for several in shown for line in several), right=right))
            lines.append(next(printed))
            for row, several in zip(ordered, shown, strict=True):
                lines += islice(printed, len(several))
                lines += [f"    {one_line(note, 200)}" for note in notes(row)]
    for line in lines:
        out.write(line + "\n")
    out.flush()
    return level


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 update``, ``2,000 updates``; ``plural`` if it is not made by an s."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def _record(row: Row, schema: str) -> str:
    values: dict[str, Any] = {}
    for name, value in asdict(row).items():
        values.update(_keys(name, value))
    return dumps({"schema": f"manyhands.{schema}/1", **values, "level": row.level.name})


def _keys(name: str, value: object) -> dict[str, Any]:
    """A value as its key; text that is not UTF-8 as two."""
    if isinstance(value, str) and not value.isascii():
        return text_or_base64(name, os.fsencode(value))
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return list_or_base64(name, [os.fsencode(one) for one in value])
    return {name: value}


def _mark(level: Level) -> str:
    return "" if level is Level.OK else level.name
