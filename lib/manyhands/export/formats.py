"""The export formats by name. A new one is a module with a function `export`, a line here, and its name in `Format`.

``summary`` is not among them: it is what `manyhands.ci.job_summary` writes, far above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from manyhands.export import csv, joblog, jsonl, junit, times
from manyhands.export.job_record import RunJobs, Write
from manyhands.options.choices import Format

EXPORTERS: Final[Mapping[Format, Callable[[RunJobs, Write], None]]] = {
    "jsonl": jsonl.export,
    "csv": csv.export,
    "joblog": joblog.export,
    "junit": junit.export,
    "times": times.export,
}
