"""Exports: exact in JSON whatever the bytes, readable as CSV, and GNU parallel's job log to the byte."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import Cli
from manyhands.core.encoding import iso, json_line
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status
from manyhands.core.safe_text import harmless
from manyhands.export.formats import EXPORTERS
from manyhands.export.job_record import Argv, RunJobs, job_record
from manyhands.export.joblog import joblog_line
from manyhands.options.choices import Format
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord

KEYS = [
    "schema",
    "run",
    "job",
    "input",
    "argv",
    "status",
    "exit",
    "signal",
    "signal_name",
    "error",
    "attempts",
    "started",
    "wall",
    "user",
    "system",
    "max_rss_bytes",
    "stdout",
    "stderr",
    "stdout_size",
    "stdout_dropped",
    "stderr_size",
    "stderr_dropped",
    "slot",
    "host",
    "leftovers",
    "result",
    "traceback",
    "stage",
]


def end(number: int, status: Status, *, out: Output = NOTHING, **more: Any) -> Outcome:
    """How a job of one value ended."""
    final = bool(more.pop("final", True))
    attempt = Attempt(Job(number, b"k%d" % number, (b"in%d" % number,)), 1, ())
    return Outcome(attempt, status, Ending(stdout=out, **more), final)


def kept(data: bytes) -> Output:
    return Output(data, size=len(data))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.create(tmp_path / "j.db")) as made:
        yield made


def fill(journal: Journal, *ends: Outcome) -> None:
    for outcome in ends:
        journal.began(outcome.attempt)
        journal.ended(outcome)
    journal.commit()


def exported(
    journal: Journal, format: Format, argv: Argv = lambda record: [b"cmd", *record.job.values], **more: Any
) -> bytes:
    lines: list[bytes] = []
    EXPORTERS[format](RunJobs(journal, "r", argv, **more), lines.append)
    return b"".join(lines)


def rows_of(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode(), newline="")))


def exact(record: dict[str, object], name: str) -> bytes:
    """The bytes behind a key, as whoever reads the JSON gets them."""
    if f"{name}_base64" in record:
        return base64.b64decode(str(record[f"{name}_base64"]))
    return str(record[name]).encode()


@given(st.binary(), st.binary(), st.lists(st.binary(), min_size=1))
def test_every_byte_survives_json(value: bytes, printed: bytes, argv: list[bytes]) -> None:
    """Input, output and arguments come back from the JSON text as they were."""
    job = Job(1, b"", (value,))
    outcome = Outcome(Attempt(job, 1, ()), Status.OK, Ending(0, stdout=Output(printed, size=len(printed))))
    record = json.loads(json.dumps(job_record(job, outcome, run="r", argv=argv, attempts=1), ensure_ascii=False).encode())
    assert exact(record, "input") == value
    assert exact(record, "stdout") == printed
    if "argv_base64" in record:
        assert [base64.b64decode(one) for one in record["argv_base64"]] == argv
    else:
        assert [one.encode() for one in record["argv"]] == argv
    assert [key for key in record if not key.endswith("_base64")] == KEYS


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


@pytest.mark.parametrize(("number", "name"), [(None, None), (9, "SIGKILL"), (15, "SIGTERM"), (11, "SIGSEGV"), (50, None)])
def test_a_signal_has_its_name(number: int | None, name: str | None) -> None:
    """Beside its number, which is always there; real-time signals have none."""
    outcome = end(1, Status.FAILED, signal=number)
    record = job_record(outcome.attempt.job, outcome, run="r", argv=[], attempts=1)
    assert (record["signal"], record["signal_name"]) == (number, name)


def test_large_output_is_named_not_copied(tmp_path: Path) -> None:
    """Beyond a limit the record says where it is, and how much was dropped."""
    path = tmp_path / "out"
    path.write_bytes(b"x" * 100)
    outcome = end(1, Status.OK, out=Output(b"", str(path), 150, 50))
    job = outcome.attempt.job
    record = job_record(job, outcome, run="r", argv=[], attempts=1, inline=99)
    assert (record["stdout"], record["stdout_path"]) == (None, str(path))
    assert (record["stdout_size"], record["stdout_dropped"]) == (150, 50)
    whole = job_record(job, outcome, run="r", argv=[], attempts=1, inline=100)
    assert whole["stdout"] == "x" * 100
    assert "stdout_path" not in whole


def test_removed_output_is_an_error_or_named() -> None:
    """Whoever asks for one job is told; with ``gone_ok`` the record says where the output was."""
    outcome = end(1, Status.OK, out=Output(b"", "/nowhere/out", 5))
    with pytest.raises(ManyhandsError, match="/nowhere/out is gone"):
        job_record(outcome.attempt.job, outcome, run="r", argv=[], attempts=1)
    record = job_record(outcome.attempt.job, outcome, run="r", argv=[], attempts=1, gone_ok=True)
    assert (record["stdout"], record["stdout_path"], record["stdout_size"]) == (None, "/nowhere/out", 5)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_an_export_goes_on_where_output_was_removed(journal: Journal, format: Format) -> None:
    """One removed file does not hide the jobs after it."""
    fill(journal, end(1, Status.OK, out=Output(b"", "/nowhere/out", 5)), end(2, Status.OK, out=kept(b"here")))
    found = exported(journal, format)
    rows = rows_of(found) if format == "csv" else [json.loads(line) for line in found.splitlines()]
    assert [(row.get("stdout") or None, row.get("stdout_path") or None) for row in rows] == [
        (None, "/nowhere/out"),
        ("here", None),
    ]


def test_jsonl_has_every_job_by_number(journal: Journal) -> None:
    """Also what began and has not ended: its status is null. Every line is an object."""
    fill(journal, end(2, Status.OK), end(1, Status.FAILED, exit=3))
    journal.began(Attempt(Job(3, b"k", (b"x",)), 2, ()))
    journal.commit()
    records = [json.loads(line) for line in exported(journal, "jsonl").splitlines()]
    assert [(one["job"], one["status"], one["attempts"]) for one in records] == [
        (1, "failed", 1),
        (2, "ok", 1),
        (3, None, 2),
    ]
    assert all(list(one) == KEYS for one in records)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_reason_with_stray_bytes_can_be_written(
    journal: Journal, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file that is not UTF-8, in a reason or a path: the line is UTF-8 all the same."""
    outcome = end(1, Status.FAILED, error="cannot start caf\udce9", out=Output(b"", "/no\udcff", 5))
    monkeypatch.setattr(journal, "records", lambda: iter([JobRecord(outcome.attempt.job, 1, outcome)]))
    found = exported(journal, format)
    row = rows_of(found)[0] if format == "csv" else json.loads(found)
    stray = ("\\xe9", "\\xff") if format == "csv" else ("\udce9", "\udcff")
    assert (row["error"], row["stdout_path"]) == (f"cannot start caf{stray[0]}", f"/no{stray[1]}")


def test_csv_has_a_header_without_jobs(journal: Journal) -> None:
    """An empty run is a table without rows, with the keys of jsonl as its columns, the most looked at first."""
    [header] = exported(journal, "csv").decode().splitlines()
    columns = [name if name != "seconds" else "wall" for name in header.split(",")]
    assert columns[:4] == ["input", "status", "wall", "exit"]
    assert sorted(name for name in columns if not name.endswith(("_base64", "_path"))) == sorted(KEYS[1:])
    assert set(columns) - set(KEYS) == {
        "input_base64",
        "argv_base64",
        "stdout_base64",
        "stdout_path",
        "stderr_base64",
        "stderr_path",
    }


@pytest.mark.parametrize(
    ("columns", "titles"),
    [((), ["input", "input_2", "input_3"]), (("host", "exit", "x y"), ["host", "exit", "x y"])],
)
def test_csv_has_a_column_for_each_of_an_input(journal: Journal, columns: tuple[str, ...], titles: list[str]) -> None:
    """Under its own name, if that is none of ours; what a shorter input lacks is empty."""
    for number, values in ((1, (b"a", b"1", b"x\xff")), (2, (b"b",))):
        journal.began(Attempt(Job(number, b"k%d" % number, values), 1, ()))
    journal.commit()
    first, second = rows_of(exported(journal, "csv", columns=columns))
    assert list(first)[:4] == [*titles, "status"]
    assert [name for name in first if name.startswith("job.")] == [
        f"job.{one}" for one in ("exit", "host") if one in columns
    ]
    assert [first[title] for title in titles] == ["a", "1", "x\\xff"]
    assert [second[title] for title in titles] == ["b", "", ""]


def test_csv_shows_stray_bytes_as_escapes(journal: Journal) -> None:
    """As ``\\xNN``, the text around them as it is, and the exact bytes in base64 beside it."""
    fill(journal, end(1, Status.OK, exit=0, out=kept("grün".encode() + b"\xff")))
    [row] = rows_of(exported(journal, "csv", lambda record: [b"cmd", b"\xe9", "ü".encode()]))
    assert (row["stdout"], base64.b64decode(row["stdout_base64"])) == ("grün\\xff", "grün".encode() + b"\xff")
    assert json.loads(row["argv"]) == ["cmd", "\\xe9", "ü"]
    assert [base64.b64decode(one) for one in json.loads(row["argv_base64"])] == [b"cmd", b"\xe9", "ü".encode()]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.binary(), st.binary(min_size=1)), min_size=1, max_size=4))
def test_csv_can_be_read_back(tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[bytes, bytes]]) -> None:
    """By any reader of RFC 4180, whatever bytes the jobs print or are given: no row breaks, no byte is lost."""
    with closing(Journal.create(tmp_path_factory.mktemp("csv") / "j.db")) as journal:
        ends = [
            Outcome(Attempt(Job(number, b"k", (value,)), 1, ()), Status.OK, Ending(0, stdout=kept(printed)))
            for number, (value, printed) in enumerate(jobs, 1)
        ]
        fill(journal, *ends)
        rows = rows_of(exported(journal, "csv"))
    assert len(rows) == len(jobs)
    for row, (value, printed) in zip(rows, jobs, strict=True):
        for name, data in (("input", value), ("stdout", printed)):
            stray = row[f"{name}_base64"]
            assert (base64.b64decode(stray) if stray else row[name].encode()) == data
            shown = data.decode("utf-8", "backslashreplace")
            assert row[name] in (shown, f"'{shown}")


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("http://x")', "+A1", "-A1", "@SUM(1)", "\t=1", "\r=1", "-", "ok", "-2", "+1.5e3", "'=1"]
)
def test_no_cell_of_csv_is_a_formula(journal: Journal, text: str) -> None:
    """An apostrophe stands before what a spreadsheet would compute, with the exact bytes beside it; numbers stay."""
    fill(journal, end(1, Status.OK, exit=0, out=kept(text.encode())))
    [row] = rows_of(exported(journal, "csv"))
    plain = text in ("ok", "-2", "+1.5e3", "'=1")
    assert row["stdout"] == (text if plain else f"'{text}")
    assert (row["stdout_base64"] == "") == plain
    assert plain or base64.b64decode(row["stdout_base64"]).decode() == text


def columns_of(outcome: Outcome, command: bytes = b"x") -> list[bytes]:
    line = joblog_line(outcome.attempt.job, outcome, command)
    assert line.endswith(b"\n")
    return line[:-1].split(b"\t", 8)


def test_a_newline_in_a_command_becomes_a_nul() -> None:
    """As `sub print_joblog` of GNU parallel writes it; a TAB and stray bytes stay."""
    outcome = end(2, Status.FAILED, signal=9, started=5.0, wall=1.25, out=kept(b"abc"))
    expected = b"2\t:\t5.000\t     1.250\t0\t3\t0\t9\ta\0b\t\xff\n"
    assert joblog_line(outcome.attempt.job, outcome, b"a\nb\t\xff") == expected


@pytest.mark.parametrize(
    ("wall", "text"),
    [(0.0009, b"     0.000"), (1.9999, b"     1.999"), (123456.5, b"123456.500"), (1e7, b"10000000.000")],
)
def test_the_runtime_is_cut_and_padded(wall: float, text: bytes) -> None:
    """As parallel's `sub runtime`: to whole milliseconds, ten wide."""
    assert columns_of(end(1, Status.OK, exit=0, wall=wall))[3] == text


@pytest.mark.parametrize(
    ("status", "exit", "signal", "expected"),
    [
        (Status.OK, 0, None, (b"0", b"0")),
        (Status.FAILED, 3, None, (b"3", b"0")),
        (Status.FAILED, 255, None, (b"255", b"0")),
        (Status.FAILED, None, 9, (b"0", b"9")),
        (Status.TIMEOUT, None, 15, (b"-1", b"15")),
        (Status.TIMEOUT, 0, None, (b"-1", b"0")),
        (Status.TIMEOUT, 5, None, (b"5", b"0")),
        (Status.TIMEOUT, None, None, (b"-1", b"0")),
        (Status.FAILED, None, None, (b"-1", b"0")),
    ],
)
def test_exit_values(status: Status, exit: int | None, signal: int | None, expected: tuple[bytes, bytes]) -> None:
    """As GNU parallel 20221122 gives them, measured; only what is ok has zero and zero."""
    found = columns_of(end(1, status, exit=exit, signal=signal))
    assert (found[6], found[7]) == expected


def test_the_joblog_is_in_the_order_of_ends_and_only_of_what_is_done(journal: Journal) -> None:
    """What is lost, cancelled, to be tried again or still running is not in it: parallel --resume would leave it out."""
    fill(
        journal,
        end(3, Status.OK, exit=0, started=1.0),
        end(1, Status.FAILED, exit=3, started=1.0),
        end(4, Status.LOST, started=1.0, final=False),
        end(5, Status.CANCELLED, signal=15, started=1.0),
        end(6, Status.FAILED, exit=3, started=1.0, final=False),
        end(7, Status.SKIPPED),
        end(2, Status.TIMEOUT, still_running=True),
    )
    journal.began(Attempt(Job(8, b"k", (b"x",)), 1, ()))
    journal.commit()
    header, *rows = exported(journal, "joblog").splitlines()
    assert header == b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"
    assert [row.split(b"\t")[0] for row in rows] == [b"3", b"1", b"2"]
    assert [row.split(b"\t")[8] for row in rows] == [b"cmd in3", b"cmd in1", b"cmd in2"]


def test_arguments_are_quoted_for_the_shell(journal: Journal) -> None:
    """So that `parallel --retry-failed`, which runs the column Command, runs the same; a script is shown as it is."""
    fill(journal, end(1, Status.OK, exit=0, started=1.0))
    assert exported(journal, "joblog", lambda record: [b"echo", b"a b", b"$x"]).endswith(b"\techo 'a b' '$x'\n")
    script = exported(journal, "joblog", lambda record: [b"bash", b"-c", b"echo $x"], shell=True)
    assert script.endswith(b"\techo $x\n")


PARALLEL = shutil.which("parallel")
NAMES = ["0", "3", "a b", "x'y", "K", "T", "$(x) `y`", "-n", "c\td", "l1\nl2", "*", "\udcff", "grün"]
SCRIPT = "case {} in 3) exit 3;; K) kill -9 $$;; T) sleep 30;; esac; echo {}; echo more >&2"


@pytest.fixture
def parallel(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """Run GNU parallel, one job at a time, on inputs that may hold newlines; returns what it prints."""
    if PARALLEL is None:
        pytest.skip("needs GNU parallel")
    variables = {**environment, "SHELL": shutil.which("bash") or "/bin/sh", "PARALLEL_HOME": str(tmp_path)}

    def run(*args: str) -> str:
        done = subprocess.run(
            [str(PARALLEL), "--will-cite", "-j1", "--null", *args],
            cwd=tmp_path,
            env=variables,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        return os.fsdecode(done.stdout)

    return run


def ours(cli: Cli, environment: dict[str, str], *options: str) -> bytes:
    """The joblog of the same batch by manyhands."""
    more = {"env": {**environment, "SHELL": shutil.which("bash") or "/bin/sh"}, "errors": "surrogateescape"}
    cli("batch", SCRIPT, "--shell", "-j1", "--timeout", "1", *options, "--", *NAMES, **more)
    return os.fsencode(cli("batch.export", "--format", "joblog", **more).stdout)


def test_gnu_parallel_writes_the_same(
    cli: Cli, tmp_path: Path, environment: dict[str, str], parallel: Callable[..., str]
) -> None:
    """All columns but the two times are the same, byte for byte, and these are of the same shape."""
    parallel("--timeout", "1", "--joblog", "theirs", SCRIPT, ":::", *NAMES)

    def columns(log: bytes) -> list[list[bytes]]:
        rows = [row.split(b"\t", 8) for row in log.split(b"\n")[:-1]]
        return [rows[0], *([*row[:2], *(re.sub(rb"\d", b"9", time) for time in row[2:4]), *row[4:]] for row in rows[1:])]

    theirs = columns((tmp_path / "theirs").read_bytes())
    assert len(theirs) == len(NAMES) + 1
    assert columns(ours(cli, environment)) == theirs


def test_gnu_parallel_goes_on_from_ours(
    cli: Cli, tmp_path: Path, environment: dict[str, str], parallel: Callable[..., str]
) -> None:
    """--resume leaves out what our log has, --resume-failed does again only what did not end well."""
    log = ours(cli, environment)
    tell = ["echo did {}", ":::", *NAMES, "new"]
    (tmp_path / "a").write_bytes(log)
    assert parallel("--resume", "--joblog", "a", *tell) == "did new\n"
    (tmp_path / "b").write_bytes(log)
    assert parallel("--resume-failed", "--joblog", "b", *tell) == "did 3\ndid K\ndid T\ndid new\n"


def test_gnu_parallel_runs_our_commands_again(journal: Journal, tmp_path: Path, parallel: Callable[..., str]) -> None:
    """--retry-failed takes the command itself from our log: every argument arrives as it was."""
    values = [b"a b", b"x'", b"'", b"", b"k=v", b"$(touch hurt)", b"l1\nl2", b"c\td", b"\xff"]
    fill(journal, *(end(number, Status.FAILED, exit=1, started=1.0) for number in range(1, len(values) + 1)))
    log = exported(journal, "joblog", lambda record: [b"printf", b"<%s>", values[record.job.number - 1]])
    (tmp_path / "log").write_bytes(log)
    assert os.fsencode(parallel("--retry-failed", "--joblog", "log")) == b"".join(b"<%s>" % value for value in values)
    assert not (tmp_path / "hurt").exists()


@given(st.text())
@example("\x7f\x9b\u202e\u2066\udcff\U000e0041")
def test_a_line_of_json_is_harmless_and_exact(text: str) -> None:
    """What could move a cursor or hide text is escaped as JSON does it; scripts stay readable."""
    line = json_line({"text": text})
    assert json.loads(line) == json.loads(json.dumps({"text": text}))
    assert harmless(line) == line.decode()
    assert json_line("grün 漢") == '"grün 漢"\n'.encode()
