"""JUnit XML: read back by two programs that know the format, whatever jobs have printed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from conftest import Cli
from manyhands.core.job import NOTHING, Attempt, Ending, Job, Outcome, Output, Status
from manyhands.export.job_record import RunJobs
from manyhands.export.junit import export
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord

ENDS: list[tuple[Status, dict[str, Any], type | None, str | None]] = [
    (Status.OK, {"exit": 0}, None, None),
    (Status.FAILED, {"exit": 3}, Failure, "exit 3"),
    (Status.FAILED, {"exit": 1, "error": "ValueError: no", "traceback": "Traceback"}, Failure, "ValueError: no"),
    (Status.FAILED, {"signal": 9}, Error, "signal 9 (SIGKILL)"),
    (Status.FAILED, {"exit": 127, "error": "no such program: gzipp"}, Error, "no such program: gzipp"),
    (Status.TIMEOUT, {"signal": 15}, Error, "timeout"),
    (Status.LOST, {"error": "its host was lost"}, Error, "its host was lost"),
    (Status.CANCELLED, {}, Skipped, "not run"),
    (Status.SKIPPED, {}, Skipped, "not run"),
]


class Jobs:
    """What an exporter asks of a journal."""

    def __init__(self, *records: JobRecord) -> None:
        self._records = records

    def records(self) -> Iterator[JobRecord]:
        return iter(self._records)


def ended(number: int, status: Status = Status.OK, value: bytes = b"in", tries: int = 1, **more: Any) -> JobRecord:
    job = Job(number, b"k%d" % number, (value,))
    outcome = Outcome(Attempt(job, tries, ()), status, Ending(started=1e9 + number, wall=0.5, **more))
    return JobRecord(job, tries, outcome)


def text_of(*records: JobRecord) -> bytes:
    pieces: list[bytes] = []
    export(RunJobs(Jobs(*records), "night", lambda _: []), pieces.append)  # type: ignore[arg-type]
    return b"".join(pieces)


def read(data: bytes) -> list[Any]:
    (suite,) = JUnitXml.fromstring(data)
    return [suite, *suite]


def kept(data: bytes) -> Output:
    return Output(data, size=len(data))


def test_how_jobs_end() -> None:
    """A failure is the job's own; an error is not; the counts stand before the cases."""
    suite, *cases = read(text_of(*(ended(n, status, **more) for n, (status, more, _, _) in enumerate(ENDS, 1))))
    found = [(type(one.result[0]), one.result[0].message) if one.result else (None, None) for one in cases]
    assert found == [(kind, said) for _, _, kind, said in ENDS]
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (9, 2, 4, 2)
    assert (suite.time, suite.timestamp) == (8.5, "2001-09-09T01:46:41")


def test_a_job_that_has_not_ended() -> None:
    """It is there, and says so."""
    job = JobRecord(Job(1, b"k", (b"in",)), 1, None)
    _, case = read(text_of(job))
    assert (case.name, case.classname, case.result[0].message) == ("1: in", "night", "not ended")


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=50), st.text(max_size=50))
def test_whatever_is_printed(out: bytes, err: bytes, value: bytes, error: str) -> None:
    """It is XML, and nothing of it is taken for markup; what is text stays."""
    record = ended(1, Status.FAILED, value, exit=None, error=error or "x", stdout=kept(out), stderr=kept(err))
    _, case = read(text_of(record))
    assert isinstance(case.result[0], Error)
    if out.isascii() and out.decode().isprintable():
        assert (case.system_out or "") == out.decode()


def test_what_xml_cannot_have() -> None:
    """Escape sequences and illegal characters are left out, bytes that are no text are shown."""
    hostile = b"\x1b[31m]]></system-out><script>&\x00\x0b\xef\xbf\xbe\xff\x1b[0m"
    _, case = read(text_of(ended(1, stdout=kept(hostile))))
    assert case.system_out == "]]></system-out><script>&\\xff"


def test_a_large_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Its beginning and its end, from memory or from a file; a file that is gone is told."""
    data = b"begin " + b"x" * 200_000 + b" end"
    (tmp_path / "out").write_bytes(data)
    (tmp_path / "gone").touch()
    file, gone = (Output(path=str(tmp_path / name), size=len(data)) for name in ("out", "gone"))
    (tmp_path / "gone").unlink()
    _, one, two, three = read(text_of(*(ended(n, stdout=out) for n, out in enumerate((kept(data), file, gone), 1))))
    assert one.system_out == two.system_out
    assert (one.system_out[:6], one.system_out[-4:]) == ("begin ", " end")
    assert f"[... {len(data) - 65536} bytes left out ...]" in one.system_out
    assert "gone" in three.system_out
    exactly = b"y" * 65536
    assert read(text_of(ended(1, stdout=kept(exactly))))[1].system_out == exactly.decode()
    assert read(text_of(ended(1, stdout=NOTHING)))[1].system_out is None


def test_as_it_is_typed(cli: Cli) -> None:
    """With real jobs; one that was tried again says so."""
    cli("batch", "sh -c 'echo {}; exit {}'", "--retries", "1", "--backoff", "0.01", "--run-id", "r", "--", "0", "3")
    done = cli("batch.export", "r", "--format", "junit")
    suite, well, bad = read(done.stdout.encode())
    assert (suite.name, suite.tests, suite.failures) == ("r", 2, 1)
    assert (well.name, well.system_out, well.result) == ("1: 0", "0\n", [])
    assert (bad.result[0].message, bad.result[0].text) == ("exit 3, after 2 attempts", "3\n")
    assert bad.time > 0


@pytest.mark.slow
@pytest.mark.sampled
def test_the_schema_of_jenkins_takes_it(tmp_path: Path) -> None:
    """junit-10.xsd, as the source of pytest has it."""
    import xmlschema

    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        "pytest",
        "--dest",
        str(tmp_path),
    ]
    done = subprocess.run([*pip, "pytest"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("the package index cannot be reached")
    (source,) = tmp_path.glob("pytest-*.tar.gz")
    with tarfile.open(source) as archive:
        (name,) = (one for one in archive.getnames() if one.endswith("/junit-10.xsd"))
        file = archive.extractfile(name)
        assert file is not None
        schema = xmlschema.XMLSchema(file.read().decode())
    records = [ended(n, status, stdout=kept(b"out"), **more) for n, (status, more, _, _) in enumerate(ENDS, 1)]
    schema.validate(text_of(*records).decode())


def test_a_journal(tmp_path: Path) -> None:
    """From a real one."""
    with closing(Journal.create(tmp_path / "j.db")) as journal:
        outcome = ended(1, Status.FAILED, exit=1).outcome
        assert outcome is not None
        journal.began(outcome.attempt)
        journal.ended(outcome)
        journal.commit()
        pieces: list[bytes] = []
        export(RunJobs(journal, "r", lambda _: []), pieces.append)
    assert read(b"".join(pieces))[0].failures == 1
