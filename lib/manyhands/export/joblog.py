"""A run's jobs for other programs: JSON lines, CSV, and the job log of GNU parallel.

Bytes that are not UTF-8 are never lost: a second key, ``..._base64``, then holds the exact bytes, and the text shows U+FFFD
for them in JSON, ``\\xNN`` in CSV. A job that has not ended has the status null. Output of which only the place is given, be it
too large or gone, is null with a ``..._path``. Times are ISO 8601 with the local offset (RFC 3339), durations float seconds,
sizes bytes; ``..._size`` is what was written and ``..._dropped`` how much of that the output cap cut.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from manyhands.core.encoding import argv_or_base64, iso, json_line, known_signal, text_or_base64
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job, Outcome, Output, Status
from manyhands.core.values import shown
from manyhands.storage import output
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord
from manyhands.storage.stage_journals import Journals
from manyhands.work.template import quote

SCHEMA: Final = "manyhands.job/1"
FORMATS: Final = ("jsonl", "csv", "joblog")
Format = Literal["jsonl", "csv", "joblog"]
Argv = Callable[[JobRecord], Sequence[bytes]]
"""The command of a job, on the slot that it had."""


def job_record(
    job: Job,
    outcome: Outcome | None,
    *,
    run: str,
    argv: Sequence[bytes],
    attempts: int,
    inline: int | None = None,
    gone_ok: bool = False,
    stage: int = 1,
) -> dict[str, Any]:
    """One job as a JSON object. ``outcome`` None: it has not ended, and its status is null.

    Output of more than ``inline`` bytes is named by its file instead, if it has one. Raises ManyhandsError for output whose
    file was removed, unless ``gone_ok``: then that is named by its file, too.
    """
    end = outcome or _NOT_ENDED
    return {
        "schema": SCHEMA, "run": run, "job": job.number, **text_or_base64("input", b"\t".join(job.values)), **argv_or_base64(argv),
        "status": end.status.value if outcome else None, "exit": end.exit, "signal": end.signal,
        "signal_name": known_signal(end.signal), "error": end.error, "attempts": attempts, "started": iso(end.started),
        "wall": end.wall, "user": end.user, "system": end.system, "max_rss_bytes": end.max_rss or None,
        **_printed("stdout", end.stdout, inline, gone_ok), **_printed("stderr", end.stderr, inline, gone_ok),
        "stdout_size": end.stdout.size, "stdout_dropped": end.stdout.dropped,
        "stderr_size": end.stderr.size, "stderr_dropped": end.stderr.dropped,
        "slot": end.slot, "host": socket.gethostname(), "leftovers": end.leftovers, **_result(end),
        "traceback": end.traceback, "stage": stage,
    }  # fmt: skip


def _result(end: Outcome) -> dict[str, Any]:
    """What a function returned; of a pickle, which is not read, only its description."""
    value, text = shown(end.result) if end.ok else (None, None)
    return {"result": value} if text is None else {"result": None, "result_repr": text}


def _printed(name: str, printed: Output, inline: int | None, gone_ok: bool) -> dict[str, Any]:
    place = {name: None, f"{name}_path": printed.path}
    if printed.path and inline is not None and printed.size - printed.dropped > inline:
        return place
    try:
        return text_or_base64(name, output.read(printed))
    except ManyhandsError:
        if gone_ok:
            return place
        raise


def export(
    journal: Journal | Journals,
    run: str,
    format: Format,
    argv: Argv,
    write: Callable[[bytes], object],
    *,
    shell: bool = False,
    columns: Sequence[str] = (),
) -> None:
    """Write all jobs of a run, streamed: jsonl and csv by job number, those that have not ended included; joblog as they ended.

    Output whose file was removed is named by that file. csv (RFC 4180) begins with the columns of the inputs, called as
    ``columns`` says, else ``input``, ``input_2`` (one of ours with such a name is then ``job.NAME``); then come the keys of jsonl, the most looked at first, ``wall`` as ``seconds``, ``argv`` as a
    JSON list. A text that a spreadsheet would take for a formula has an apostrophe before it; texts with a ``..._base64`` are
    exact there. ``shell``: the last argument is a script, which the joblog shows as it is, as GNU parallel does.
    """
    if format == "joblog":
        _export_joblog(journal, argv, write, shell=shell)
        return
    if format == "csv":
        _export_csv(journal, run, argv, write, columns)
        return
    for found in journal.records():
        record = job_record(
            found.job, found.outcome, run=run, argv=argv(found), attempts=found.attempt, gone_ok=True, stage=found.stage
        )
        write(json_line(record))


def _export_csv(
    journal: Journal | Journals, run: str, argv: Argv, write: Callable[[bytes], object], columns: Sequence[str]
) -> None:
    width = len(columns) or max((len(found.job.values) for found in journal.records()), default=1)
    names = columns or ["input", *(f"input_{number}" for number in range(2, width + 1))]
    titles = [_TITLES.get(name, name) for name in _CSV]
    write(_csv_line([*names, *(f"job.{title}" if title in names else title for title in titles)]))
    for found in journal.records():
        record = job_record(
            found.job, found.outcome, run=run, argv=argv(found), attempts=found.attempt, gone_ok=True, stage=found.stage
        )
        inputs = [_visible(value) for value in found.job.values]
        write(_csv_line([*inputs, *[None] * (width - len(inputs)), *(_cell(record, name) for name in _CSV)]))


def _export_joblog(journal: Journal | Journals, argv: Argv, write: Callable[[bytes], object], *, shell: bool) -> None:
    """Only jobs that are done with: ``parallel --resume`` takes every job that it finds for done, whatever its status."""
    write(b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n")
    for found in journal.finished():
        if found.outcome and not found.left and found.outcome.status is not Status.SKIPPED:
            command = argv(found)
            write(joblog_line(found.job, found.outcome, command[-1] if shell else b" ".join(map(quote, command))))


def joblog_line(job: Job, outcome: Outcome, command: bytes) -> bytes:
    """One line as `sub print_joblog` of GNU parallel 20221122 writes it.

    The runtime is cut to milliseconds, not rounded; Receive is the size of stdout; a newline in the command becomes a NUL,
    while TABs stay. Quoting is the shell's but not always parallel's: it quotes ``@%=:,`` too, where we do not need to.
    """
    fields = (
        job.number, ":", f"{outcome.started or 0:.3f}", f"{int(outcome.wall * 1000) / 1000:10.3f}", 0, outcome.stdout.size,
        _exitval(outcome), outcome.signal or 0,
    )  # fmt: skip
    return "\t".join(map(str, fields)).encode() + b"\t" + command.replace(b"\n", b"\0") + b"\n"


def _exitval(outcome: Outcome) -> int:
    """As parallel's `set_exitstatus`: -1 for a timeout, unless the job ended with a status of its own, which is not 0.

    Also -1 where there is neither status nor signal: with 0 and 0, ``--resume-failed`` would take it for well done.
    """
    if outcome.exit or outcome.status is Status.OK:
        return outcome.exit or 0
    return 0 if outcome.signal and outcome.status is not Status.TIMEOUT else -1


def _cell(record: dict[str, Any], name: str) -> object:
    """A value for CSV: bytes that are not UTF-8 as ``\\xNN``, a list as JSON."""
    value, exact = record.get(name), record.get(f"{name}_base64")
    if name == "result":
        value = record.get("result_repr", value)
        return None if value is None else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        shown = [_visible(base64.b64decode(one)) for one in exact] if exact else value
        return json.dumps(shown, ensure_ascii=False)
    if exact is not None:
        return _visible(base64.b64decode(exact))
    if value is None and name.endswith("_base64"):
        return _exact(record.get(name.removesuffix("_base64")))
    return _visible(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else value


def _exact(text: object) -> str | None:
    """In base64, if the text itself is changed."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
    return base64.b64encode(data).decode() if isinstance(text, str) and _no_formula(text) != text else None


def _visible(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _csv_line(fields: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_no_formula, fields))
    return line.getvalue().encode()


def _no_formula(field: object) -> object:
    """A cell that no spreadsheet computes (OWASP, CSV Injection); numbers stay as they are."""
    return f"'{field}" if isinstance(field, str) and _FORMULA.match(field) and not _NUMBER.fullmatch(field) else field


_FORMULA: Final = re.compile(r"[=+@\t\r-]")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CSV: Final = (
    "status", "wall", "exit", "signal_name", "error", "attempts", "started", "stdout", "stderr", "result", "job", "argv",
    "user", "system", "max_rss_bytes", "slot", "host", "run", "stage", "signal", "leftovers", "traceback",
    "stdout_size", "stdout_dropped", "stdout_path", "stderr_size", "stderr_dropped", "stderr_path",
    "input_base64", "argv_base64", "stdout_base64", "stderr_base64",
)  # fmt: skip
_TITLES: Final = {"wall": "seconds"}
_NOT_ENDED: Final = Outcome(Attempt(Job(0, b"", ()), 0, ()), Status.LOST)
