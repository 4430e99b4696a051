"""Exports: exact in JSON whatever the bytes, readable as CSV, and GNU parallel's job log to the byte."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Cli
from manyhands.job import Attempt, Job, Outcome, Output, Status
from manyhands.joblog import export, iso, job_record, joblog_line
from manyhands.journal import Journal

KEYS = {
    "schema", "run", "job", "input", "argv", "status", "exit", "signal", "attempts", "started", "wall", "user", "system",
    "max_rss_bytes", "stdout", "stderr", "slot", "host",
}  # fmt: skip


def exact(record: dict[str, object], name: str) -> bytes:
    """The bytes behind a key, as whoever reads the JSON gets them."""
    if f"{name}_base64" in record:
        return base64.b64decode(str(record[f"{name}_base64"]))
    return str(record[name]).encode()


@given(st.binary(), st.binary(), st.lists(st.binary(), min_size=1))
def test_every_byte_survives_json(value: bytes, printed: bytes, argv: list[bytes]) -> None:
    """Input, output and arguments come back from the JSON text as they were."""
    job = Job(1, b"", (value,))
    outcome = Outcome(Attempt(job, 1, ()), Status.OK, 0, stdout=Output(printed, size=len(printed)))
    record = json.loads(json.dumps(job_record(job, outcome, run="r", argv=argv, attempts=1), ensure_ascii=False).encode())
    assert exact(record, "input") == value
    assert exact(record, "stdout") == printed
    if "argv_base64" in record:
        assert [base64.b64decode(one) for one in record["argv_base64"]] == argv
    else:
        assert [one.encode() for one in record["argv"]] == argv
    assert set(record) >= KEYS


def test_what_has_not_ended_has_no_status() -> None:
    """A job that is still to be done is told as that."""
    record = job_record(Job(3, b"", (b"a", b"b")), None, run="r", argv=[b"x"], attempts=1)
    assert (record["status"], record["exit"], record["started"], record["input"]) == (None, None, None, "a\tb")


def test_times_have_an_offset() -> None:
    """ISO 8601, to the microsecond."""
    assert iso(None) is None
    assert iso(0.5) is not None
    assert "1970-01-01T" in str(iso(0.5)) or "1969-12-31T" in str(iso(0.5))
    assert str(iso(0.5))[-6] in "+-"


def test_large_output_is_named_not_copied(tmp_path: Path) -> None:
    """Beyond a limit the record says where it is, and how much was dropped."""
    path = tmp_path / "out"
    path.write_bytes(b"x" * 100)
    job = Job(1, b"", (b"a",))
    outcome = Outcome(Attempt(job, 1, ()), Status.OK, 0, stdout=Output(b"", str(path), 150, 50))
    record = job_record(job, outcome, run="r", argv=[], attempts=1, inline=10)
    assert (record["stdout"], record["stdout_path"]) == (None, str(path))
    assert (record["stdout_bytes"], record["stdout_dropped_bytes"]) == (150, 50)
    assert job_record(job, outcome, run="r", argv=[], attempts=1)["stdout"] == "x" * 100


def test_csv_can_be_read_back(tmp_path: Path) -> None:
    """By any reader of RFC 4180, with newlines and quotes in fields."""
    journal = Journal.create(tmp_path / "j.db")
    for number, printed in enumerate([b'a,"b"\n', b"\xff"], 1):
        attempt = Attempt(Job(number, b"k", (b"x",)), 1, ())
        journal.began(attempt)
        journal.ended(Outcome(attempt, Status.OK, 0, stdout=Output(printed, size=len(printed))))
    journal.commit()
    lines: list[bytes] = []
    export(journal, "r", "csv", lambda job, slot: [b"cmd", *job.values], lines.append)
    rows = list(csv.DictReader(io.StringIO(b"".join(lines).decode(), newline="")))
    assert [row["stdout"] for row in rows] == ['a,"b"\n', "\ufffd"]
    assert rows[1]["stdout_base64"] == "/w=="
    assert json.loads(rows[0]["argv"]) == ["cmd", "x"]
    journal.close()


def test_a_newline_in_a_command_becomes_a_nul() -> None:
    """As `sub print_joblog` of GNU parallel writes it."""
    job = Job(2, b"", ())
    outcome = Outcome(Attempt(job, 1, ()), Status.FAILED, None, 9, started=5.0, wall=1.25, stdout=Output(b"abc", size=3))
    assert joblog_line(job, outcome, b"a\nb") == b"2\t:\t5.000\t     1.250\t0\t3\t0\t9\ta\0b\n"


@pytest.mark.skipif(not shutil.which("parallel"), reason="needs GNU parallel")
def test_gnu_parallel_writes_and_reads_the_same(cli: Cli, tmp_path: Path, environment: dict[str, str]) -> None:
    """All columns but the times are the same, byte for byte; parallel --resume skips what our log says is done."""
    names = ["0", "3", "a b", "x'y", "K"]
    script = "case {} in 3) exit 3;; K) kill -9 $$;; esac; echo {}"
    environment = {**environment, "SHELL": shutil.which("bash") or "/bin/sh", "PARALLEL_HOME": str(tmp_path)}
    subprocess.run(
        ["parallel", "--will-cite", "-j1", "--joblog", "theirs", script, ":::", *names], cwd=tmp_path, env=environment,
        capture_output=True, check=False,
    )  # fmt: skip
    cli("batch", script, "--shell", "-j1", "--", *names, env=environment)
    (tmp_path / "ours").write_text(cli("batch.export", "--format", "joblog").stdout)

    def columns(name: str) -> list[list[str]]:
        rows = [line.split("\t") for line in (tmp_path / name).read_text().splitlines()]
        return [[*row[:2], str(len(row[2].partition(".")[2])), str(len(row[3])), *row[4:8]] for row in rows]

    assert columns("ours") == columns("theirs")
    resumed = subprocess.run(
        ["parallel", "--will-cite", "-j1", "--resume", "--joblog", "ours", script, ":::", *names, "new"], cwd=tmp_path,
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.stdout == "new\n"
