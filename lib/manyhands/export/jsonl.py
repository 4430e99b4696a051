"""JSON lines: each job as one object on a line of its own (https://jsonlines.org), with the keys of docs/json.md."""

from __future__ import annotations

from manyhands.core.encoding import json_line
from manyhands.export.job_record import RunJobs, Write


def export(jobs: RunJobs, write: Write) -> None:
    """Write all jobs by their number, streamed."""
    for _, record in jobs.records():
        write(json_line(record))
