"""The table of a page has all jobs while there is room, and those that failed however many others there are."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

from made_events import end
from made_histories import record
from manyhands.core.job import Status
from manyhands.core.serialization import to_bytes
from manyhands.report.attempts import STATES
from manyhands.report.job_rows import JobRows
from manyhands.report.packed import Packed
from manyhands.storage.rows import JobRecord

OK, FAILED = STATES.index("ok"), STATES.index("failed")
PAGE = 5_000_000


def lines(packed: Packed) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(base64.b64decode(packed.base64())).splitlines()]


def test_a_row_and_what_it_printed() -> None:
    """All attempts together make its time; each is told."""
    rows = JobRows()
    tries: list[JobRecord] = [
        record(end(1, Status.FAILED, err=b"once", wall=1.0, final=False)),
        record(end(1, Status.FAILED, out=b"\x1b[31mred\x1b[0m \xff", err=b"twice", tries=2, wall=2.0, max_rss=3 << 20)),
    ]
    rows.add(tries, FAILED, 1e9 - 5)
    assert lines(rows.bad) == [[1, "in1", FAILED, 3.0, 5.0, 2, 1, 0, 3.0, 0.0, "3"]]
    [printed] = lines(rows.bad_output)
    assert (printed["o"], printed["e"]) == ("red \\xff", "twice")
    assert [one[:4] for one in printed["a"]] == [
        [1, 1, "failed with exit status 3", 1.0],
        [1, 2, "failed with exit status 3", 2.0],
    ]


def test_what_failed_has_its_room() -> None:
    """Also behind jobs that fill the page; all together is less than a page may have."""
    rows, draw = JobRows(), random.Random(1)
    for number in range(1, 14_001):
        well = number % 7 != 0
        noise = draw.randbytes(400)
        done = end(number, Status.OK if well else Status.FAILED, noise, out=noise, err=noise, wall=draw.random())
        rows.add([record(done)], OK if well else FAILED, 0.0)
    packed = (rows.bad, rows.well, rows.bad_output, rows.well_output)
    assert [bool(one.left_out) for one in packed] == [False, True, True, True]
    assert (rows.bad.count, rows.well.count + rows.well.left_out) == (2_000, 12_000)
    whole = sum(len(one.base64()) for one in packed)
    assert whole < PAGE - 500_000


def test_large_output_is_cut_in_the_middle() -> None:
    """Its beginning and its end are there, and how much is not."""
    rows = JobRows()
    rows.add([record(end(1, Status.FAILED, out=b"first" + b"x" * 10_000_000 + b"last"))], FAILED, 0.0)
    [printed] = lines(rows.bad_output)
    assert printed["o"].startswith("firstxxx")
    assert printed["o"].endswith("xxxlast")
    assert "bytes left out" in printed["o"]
    assert len(printed["o"]) < 70_000


def test_what_a_function_returned_is_not_unpickled() -> None:
    """A value is shown, a pickle described."""
    rows = JobRows()
    rows.add([record(end(1, result=b"[1, 2]"))], OK, 0.0)
    rows.add([record(end(2, result=to_bytes(Path)))], OK, 0.0)
    first, second = lines(rows.well_output)
    assert first["r"] == "[1, 2]"
    assert second["r"] == "<class 'pathlib.Path'>"


def test_the_slowest() -> None:
    """Ten of them, the slowest first."""
    rows = JobRows()
    for number in range(1, 31):
        rows.add([record(end(number, wall=number / 10))], OK, 0.0)
    assert [one.number for one in rows.slowest] == list(range(30, 20, -1))
