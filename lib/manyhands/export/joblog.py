"""The job log of GNU parallel, as its ``--joblog`` writes it: for its ``--resume``, and for whatever reads such logs."""

from __future__ import annotations

from manyhands.core.job import Job, Outcome, Status
from manyhands.export.job_record import RunJobs, Write
from manyhands.work.template import quote


def export(jobs: RunJobs, write: Write) -> None:
    """Write the jobs that are done with, as they ended: ``parallel --resume`` takes every job that it finds for done, whatever its status.
    A command for a shell is shown as it is, as GNU parallel does."""
    write(b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n")
    for found in jobs.journal.finished():
        if found.outcome and not found.left and found.outcome.status is not Status.SKIPPED:
            command = jobs.argv(found)
            write(joblog_line(found.job, found.outcome, command[-1] if jobs.shell else b" ".join(map(quote, command))))


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
