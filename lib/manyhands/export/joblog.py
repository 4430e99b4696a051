"""The job log of GNU parallel, as its ``--joblog`` writes it: for its ``--resume``, and for other programs that read such logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manyhands.core.job import Job, Outcome, Status
from manyhands.export.job_record import RunJobs, Write
from manyhands.work.template import quote

HEADER: Final = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


def export(jobs: RunJobs, write: Write) -> None:
    """Write the finished jobs, in the order of their ends: ``parallel --resume`` takes every job in the log as done, whatever its
    status. A command for a shell is not quoted, as in GNU parallel."""
    write(HEADER)
    for found in jobs.journal.finished():
        if found.outcome and not found.left and found.outcome.status is not Status.SKIPPED:
            write(line_of(found.job, found.outcome, jobs.argv(found), shell=jobs.shell))


def line_of(job: Job, outcome: Outcome, argv: Sequence[bytes], *, shell: bool) -> bytes:
    """The line of a job that ran ``argv``, of a ``shell`` its last argument alone."""
    return joblog_line(job, outcome, argv[-1] if shell and argv else b" ".join(map(quote, argv)))


def joblog_line(job: Job, outcome: Outcome, command: bytes) -> bytes:
    """One line as `sub print_joblog` of GNU parallel 20221122 writes it.

    Host is ``:`` for this machine, else the host as it was given, without the number of slots. The runtime is truncated to
    milliseconds; Receive is the size of stdout; a newline in the command becomes a NUL, TABs stay. The quoting is valid for a shell but
    not always the same as parallel's, which quotes ``@%=:,``, too.
    """
    fields = (
        job.number,
        outcome.host or ":",
        f"{outcome.started or 0:.3f}",
        f"{int(outcome.wall * 1000) / 1000:10.3f}",
        0,
        outcome.stdout.size,
        _exitval(outcome),
        outcome.signal or 0,
    )
    return "\t".join(map(str, fields)).encode() + b"\t" + command.replace(b"\n", b"\0") + b"\n"


def _exitval(outcome: Outcome) -> int:
    """As parallel's `set_exitstatus`: -1 for a timeout, unless the job ended with a status of its own other than 0.

    Also -1 if there is neither status nor signal: with 0 and 0, ``--resume-failed`` would take the job as successful.
    """
    if outcome.exit or outcome.status is Status.OK:
        return outcome.exit or 0
    return 0 if outcome.signal and outcome.status is not Status.TIMEOUT else -1
