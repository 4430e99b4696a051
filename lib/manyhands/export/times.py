"""How long each job took, by its input: what ``batch --shard K/N --times FILE`` divides the inputs by.

JSON lines with ``input``, also ``input_base64`` if it is not UTF-8, and ``wall``, the seconds of all stages together.
"""

from __future__ import annotations

from manyhands.core.encoding import json_line, text_or_base64
from manyhands.core.job import Outcome, Status
from manyhands.export.job_record import RunJobs, Write
from manyhands.storage.stage_journals import Journals

_COUNT = frozenset({Status.OK, Status.FAILED, Status.TIMEOUT})
"""How a job ends that has run to its end, or at least so long."""


def export(jobs: RunJobs, write: Write) -> None:
    """Write the jobs that have ended, by their number, streamed."""
    for found in jobs.journal.records():
        last = found.outcome
        if last is not None and last.status in _COUNT:
            wall = last.wall if found.stage == 1 else _of_all_stages(jobs, found.job.number)
            write(json_line({**text_or_base64("input", b"\t".join(found.job.values)), "wall": wall}))


def _of_all_stages(jobs: RunJobs, number: int) -> float:
    if not isinstance(jobs.journal, Journals):
        return 0.0
    ends: list[Outcome] = [attempts[-1] for _, attempts in jobs.journal.parts(number) if attempts]
    return sum(end.wall for end in ends)
