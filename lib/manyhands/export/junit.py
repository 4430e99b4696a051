"""JUnit XML, which CI systems show as tests: a case for each job, in the dialect of Jenkins' xunit plugin (junit-10.xsd).

    failure   the job ended by itself, with an exit status other than 0, or its function raised
    error     it did not: a time-out, a signal, no such program, lost
    skipped   it was not run, or has not ended yet

Durations are seconds, moments UTC. Of each output the beginning and the end are kept, at most 64 KiB together. Escape sequences and
characters that XML 1.0 does not have are left out; bytes that are not UTF-8 are ``\\xNN``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from manyhands.core.encoding import known_signal
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Job, Outcome, Output, Status
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass
from manyhands.core.safe_text import one_line
from manyhands.core.terminal_escapes import plain
from manyhands.export.job_record import RunJobs, Write

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MOST: Final = 64 * 1024
"""Bytes of an output."""
_TOLD: Final = 4_000
"""Characters of it in a failure itself, which is what many pages show."""
_NAME: Final = 200
_ILLEGAL: Final = pattern("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no document may have, not even escaped (XML 1.0, 2.2)."""
_NOT_RUN: Final = frozenset({Status.CANCELLED, Status.SKIPPED})


@dataclass(slots=True)
class _Counts:
    """What stands before the cases."""

    tests: int = 0
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    begin: float | None = None
    end: float = 0.0

    def add(self, outcome: Outcome | None) -> None:
        self.tests += 1
        kind = kind_of(outcome)
        self.failures += kind == "failure"
        self.errors += kind == "error"
        self.skipped += kind == "skipped"
        if outcome and outcome.started is not None:
            self.begin = min(self.begin or outcome.started, outcome.started)
            self.end = max(self.end, outcome.started + outcome.wall)

    def attributes(self) -> dict[str, str]:
        began = datetime.fromtimestamp(self.begin or 0.0, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        numbers = {"tests": self.tests, "failures": self.failures, "errors": self.errors, "skipped": self.skipped}
        took = self.end - (self.begin or self.end)
        return {name: str(number) for name, number in numbers.items()} | {"time": f"{took:.3f}", "timestamp": began}


def kind_of(outcome: Outcome | None) -> str | None:
    """failure, error, skipped, or None for a job that is well."""
    if outcome is None or outcome.status in _NOT_RUN:
        return "skipped"
    if outcome.ok:
        return None
    own = outcome.exit and (not outcome.error or outcome.traceback)
    return "failure" if outcome.status is Status.FAILED and own else "error"


def export(jobs: RunJobs, write: Write) -> None:
    """Write all jobs by their number, streamed; the counts are taken first."""
    from xml.etree.ElementTree import Element, tostring  # here: most exports are something else

    counts = _Counts()
    for found in jobs.journal.records():
        counts.add(found.outcome)
    suite = Element("testsuite", {"name": _legal(jobs.run), **counts.attributes()})
    head = tostring(suite, "unicode", short_empty_elements=False).removesuffix("</testsuite>")
    write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{head}\n'.encode())
    for found in jobs.journal.records():
        case = _case(jobs.run, found.job, found.outcome, found.attempt)
        write(tostring(case, "unicode").encode() + b"\n")
    write(b"</testsuite>\n</testsuites>\n")


def _case(run: str, job: Job, outcome: Outcome | None, attempts: int) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    name = one_line(b"\t".join(job.values), _NAME)
    took = outcome.wall if outcome else 0.0
    case = Element("testcase", {"classname": _legal(run), "name": _legal(f"{job.number}: {name}"), "time": f"{took:.3f}"})
    kind = kind_of(outcome)
    if kind == "skipped":
        SubElement(case, "skipped", {"message": "not run" if outcome else "not ended"})
    if outcome is None:
        return case
    out, err = _text(outcome.stdout), _text(outcome.stderr)
    if kind in ("failure", "error"):
        told = SubElement(case, kind, {"message": _message(outcome, attempts), "type": outcome.status.value})
        told.text = _legal(outcome.traceback or "")[-_TOLD:] or err[-_TOLD:] or out[-_TOLD:]
    for stream, text in (("system-out", out), ("system-err", err)):
        if text:
            SubElement(case, stream).text = text
    return case


def _message(outcome: Outcome, attempts: int) -> str:
    """``exit 3``, ``signal 9 (SIGKILL)``, ``timeout``, or the error in words; and that it was tried more than once."""
    if outcome.error:
        how = one_line(outcome.error, _NAME)
    elif outcome.status is not Status.FAILED:
        how = outcome.status.value
    elif outcome.signal is not None:
        how = f"signal {outcome.signal} ({known_signal(outcome.signal)})"
    else:
        how = f"exit {outcome.exit}"
    return _legal(how) + (f", after {attempts} attempts" if attempts > 1 else "")


def _text(printed: Output) -> str:
    """The beginning and the end, and what is left out between them."""
    try:
        data = b"".join(_ends(printed))
    except ManyhandsError as error:
        return _legal(str(error))
    return _legal(plain(data.decode("utf-8", "backslashreplace")))


def _ends(printed: Output) -> list[bytes]:
    first, last, size = b"", b"", 0
    for chunk in printed.chunks():
        size += len(chunk)
        first += chunk[: _MOST // 2 - len(first)]
        last = (last + chunk)[-(_MOST // 2) :]
    if size <= _MOST:
        return [first, last[-(size - len(first)) :] if size > len(first) else b""]
    return [first, f"\n[... {size - _MOST} bytes left out ...]\n".encode(), last]


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
