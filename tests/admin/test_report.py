"""What every program of admin prints."""

from __future__ import annotations

import base64
import io
import json
import os
from dataclasses import dataclass

from manyhands.admin.report import report
from manyhands.core.level import Level


@dataclass(frozen=True)
class Found:
    path: str
    paths: tuple[str, ...]
    level: Level = Level.OK


def lines(*rows: Found, as_json: bool) -> list[str]:
    out = io.StringIO()
    report(rows, schema="found", summary="x", header=("path",), cells=lambda row: (row.path,), json=as_json, to=out)
    return out.getvalue().splitlines()


def test_no_byte_of_a_name_is_lost_in_json() -> None:
    """A text that is not UTF-8 has a second key with its exact bytes; a list is given in both forms."""
    odd = os.fsdecode(b"a\xff")
    (line,) = lines(Found(odd, ("é", odd)), as_json=True)
    exact = base64.b64encode(b"a\xff").decode()
    assert json.loads(line) == {
        "schema": "manyhands.found/1",
        "path": "a\ufffd",
        "path_base64": exact,
        "paths": ["é", "a\ufffd"],
        "paths_base64": [base64.b64encode("é".encode()).decode(), exact],
        "level": "OK",
    }
    assert "base64" not in lines(Found("é", ("b",)), as_json=True)[0]


def test_names_are_harmless_to_a_terminal() -> None:
    """Each row is one line, whatever its texts are; the worst stands first."""
    text = lines(Found("a\nb\x1b[31m", ()), Found(os.fsdecode(b"\xff"), (), Level.CRITICAL), as_json=False)
    assert text == ["CRITICAL - x", "          path", "CRITICAL  \\xff", "          a␤b^[[31m"]


def test_further_lines_of_a_row_stay_with_it() -> None:
    """Also where the rows are put in another order; the verdict may be worse than every row."""
    rows = [Found("a", ("b", "c")), Found("d", ("e",), Level.WARNING)]
    out = io.StringIO()
    status = report(
        rows,
        schema="found",
        summary="x",
        header=("path",),
        cells=lambda row: (row.path,),
        below=lambda row: [(path,) for path in row.paths],
        least=Level.CRITICAL,
        json=False,
        to=out,
    )
    assert status == Level.CRITICAL
    assert [line.split() for line in out.getvalue().splitlines()[1:]] == [
        ["path"],
        ["WARNING", "d"],
        ["e"],
        ["a"],
        ["b"],
        ["c"],
    ]
