"""Comma separated values (RFC 4180) for spreadsheets: the columns of the inputs, then those of the job, the most used first.

The inputs' columns have their names in the run, else ``input``, ``input_2``; a column of ours with the same name is then
``job.NAME``. The others are the keys of JSON lines, with ``wall`` as ``seconds``, ``argv`` as a JSON list. A text that a spreadsheet
would take for a formula gets an apostrophe before it; a text that is changed is exact in its ``..._base64`` column.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Final

from manyhands.core.patterns import pattern
from manyhands.export.job_record import RunJobs, Write


def export(jobs: RunJobs, write: Write) -> None:
    """Write all jobs by their number, streamed."""
    width = len(jobs.columns) or jobs.journal.width()
    names = jobs.columns or ["input", *(f"input_{number}" for number in range(2, width + 1))]
    titles = [_TITLES.get(name, name) for name in _CSV]
    write(_csv_line([*names, *(f"job.{title}" if title in names else title for title in titles)]))
    for found, record in jobs.records():
        inputs = [_visible(value) for value in found.job.values]
        write(_csv_line([*inputs, *[None] * (width - len(inputs)), *(_cell(record, name) for name in _CSV)]))


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
    """The text in base64, if the shown text is changed."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
    return base64.b64encode(data).decode() if isinstance(text, str) and _no_formula(text) != text else None


def _visible(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _csv_line(fields: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_no_formula, fields))
    return line.getvalue().encode()


def _no_formula(field: object) -> object:
    """A cell that no spreadsheet computes (OWASP, CSV Injection); numbers are not changed."""
    return f"'{field}" if isinstance(field, str) and _FORMULA.match(field) and not _NUMBER.fullmatch(field) else field


_FORMULA: Final = pattern(r"[=+@\t\r-]")
_NUMBER: Final = pattern(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CSV: Final = (
    "status",
    "wall",
    "exit",
    "signal_name",
    "error",
    "attempts",
    "started",
    "stdout",
    "stderr",
    "result",
    "job",
    "argv",
    "user",
    "system",
    "max_rss_bytes",
    "slot",
    "host",
    "run",
    "stage",
    "signal",
    "leftovers",
    "traceback",
    "stdout_size",
    "stdout_dropped",
    "stdout_path",
    "stderr_size",
    "stderr_dropped",
    "stderr_path",
    "input_base64",
    "argv_base64",
    "stdout_base64",
    "stderr_base64",
)
_TITLES: Final = {"wall": "seconds"}
