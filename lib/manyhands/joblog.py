"""A run's jobs for other programs: JSON lines, CSV, and the job log of GNU parallel.

Bytes that are not UTF-8 are never lost in JSON: the text then shows U+FFFD for them, and a second key, ``..._base64``, holds
the exact bytes. Times are ISO 8601 with offset (RFC 3339), durations float seconds, sizes bytes.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from manyhands import output
from manyhands.job import Attempt, Job, Outcome, Output, Status
from manyhands.journal import JobRecord, Journal
from manyhands.template import quote

SCHEMA: Final = "manyhands.job/1"
FORMATS: Final = ("jsonl", "csv", "joblog")
Format = Literal["jsonl", "csv", "joblog"]
Argv = Callable[[Job, int], Sequence[bytes]]
"""The command of a job on a slot."""


def text_or_base64(name: str, data: bytes) -> dict[str, Any]:
    """``{name: text}``, and ``{name}_base64`` with the exact bytes if they are not UTF-8."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "replace"), f"{name}_base64": base64.b64encode(data).decode()}


def iso(seconds: float | None) -> str | None:
    """Seconds since the epoch as local time with its offset, to the microsecond."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="microseconds")


def job_record(
    job: Job, outcome: Outcome | None, *, run: str, argv: Sequence[bytes], attempts: int, inline: int | None = None
) -> dict[str, Any]:
    """One job as a JSON object. ``outcome`` None: it has not ended, and its status is null.

    Output of more than ``inline`` bytes is named by its file instead, if it has one.
    """
    texts = [value.decode("utf-8", "surrogateescape") for value in argv]
    exact = not any("\udc80" <= character <= "\udcff" for text in texts for character in text)
    shown = texts if exact else [value.decode("utf-8", "replace") for value in argv]
    record: dict[str, Any] = {
        "schema": SCHEMA, "run": run, "job": job.number, **text_or_base64("input", b"\t".join(job.values)), "argv": shown,
    }  # fmt: skip
    if not exact:
        record["argv_base64"] = [base64.b64encode(value).decode() for value in argv]
    end = outcome or _NOT_ENDED
    record |= {
        "status": end.status.value if outcome else None, "exit": end.exit, "signal": end.signal, "error": end.error,
        "attempts": attempts, "started": iso(end.started), "wall": end.wall, "user": end.user, "system": end.system,
        "max_rss_bytes": end.max_rss,
    }  # fmt: skip
    for name, printed in (("stdout", end.stdout), ("stderr", end.stderr)):
        record |= _printed(name, printed, inline)
    return record | {"slot": end.slot, "leftovers": end.leftovers, "host": socket.gethostname()}


def _printed(name: str, printed: Output, inline: int | None) -> dict[str, Any]:
    sizes = {f"{name}_bytes": printed.size, f"{name}_dropped_bytes": printed.dropped}
    if printed.path and inline is not None and printed.size - printed.dropped > inline:
        return {name: None, f"{name}_path": printed.path, **sizes}
    return {**text_or_base64(name, output.read(printed)), **sizes}


def export(
    journal: Journal, run: str, format: Format, argv: Argv, write: Callable[[bytes], object], *, shell: bool = False
) -> None:
    """Write all jobs of a run: jsonl and csv by job number, those that have not ended included; joblog as they ended.

    ``shell``: the last argument is a script, which the joblog shows as it is, as GNU parallel shows its own.
    """
    if format == "joblog":
        write(b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n")
        for found in journal.finished():
            if found.outcome and found.outcome.started is not None:
                command = argv(found.job, found.outcome.slot)
                write(joblog_line(found.job, found.outcome, command[-1] if shell else b" ".join(map(quote, command))))
        return
    records = (_as_record(found, run, argv) for found in journal.records())
    if format == "jsonl":
        for record in records:
            write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        return
    first = True
    for record in records:
        flat = {name: json.dumps(value) if isinstance(value, list) else value for name, value in record.items()}
        flat = {name: flat.get(name) for name in _CSV}
        write(_csv_line(list(flat)) if first else b"")
        write(_csv_line(list(flat.values())))
        first = False


def joblog_line(job: Job, outcome: Outcome, command: bytes) -> bytes:
    """One line as `sub print_joblog` of GNU parallel 20221122 writes it: a newline in the command becomes a NUL."""
    fields = (
        job.number, ":", f"{outcome.started or 0:.3f}", f"{outcome.wall:10.3f}", 0, outcome.stdout.size,
        outcome.exit or 0, outcome.signal or 0,
    )  # fmt: skip
    return "\t".join(map(str, fields)).encode() + b"\t" + command.replace(b"\n", b"\0") + b"\n"


def _as_record(found: JobRecord, run: str, argv: Argv) -> dict[str, Any]:
    slot = found.outcome.slot if found.outcome else 0
    return job_record(found.job, found.outcome, run=run, argv=argv(found.job, slot), attempts=found.attempt)


def _csv_line(fields: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().encode()


_CSV: Final = (
    "run", "job", "input", "input_base64", "argv", "status", "exit", "signal", "error", "attempts", "started", "wall", "user",
    "system", "max_rss_bytes", "stdout", "stdout_base64", "stdout_bytes", "stdout_dropped_bytes", "stderr", "stderr_base64",
    "stderr_bytes", "stderr_dropped_bytes", "slot", "leftovers", "host",
)  # fmt: skip
_NOT_ENDED: Final = Outcome(Attempt(Job(0, b"", ()), 0, ()), Status.LOST)
