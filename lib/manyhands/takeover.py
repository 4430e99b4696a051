"""Before a run is gone on with: nothing of an earlier, killed execution may live, and its open records are closed.

Whoever calls this holds the run's lock.
"""

from __future__ import annotations

from manyhands import kernel
from manyhands.backend import Ended
from manyhands.backends import late
from manyhands.backends.outputs import output_of
from manyhands.engine.judging import judge
from manyhands.errors import ManyhandsError
from manyhands.job import Attempt, Status
from manyhands.journal import Journal
from manyhands.plan import Plan
from manyhands.runs import Run


def take_over(run: Run, plan: Plan, journal: Journal) -> int:
    """Record what had ended but was not recorded, end what is alive, close the rest as lost; returns how many were alive.

    Raises ManyhandsError when something of an earlier execution cannot be ended.
    """
    _record_late(run, plan, journal)
    prefix = f"MH_TAG={run.token}.".encode()
    tags = [b"%s%d.%d" % (prefix, job.number, last) for job, last in journal.left()]

    def is_stray(stat: kernel.ProcStat) -> bool:
        if not plan.allow_daemons:
            return kernel.has_tag(stat.pid, prefix, prefix=True)
        return any(kernel.has_tag(stat.pid, tag) for tag in tags)  # what a finished job left behind may live

    try:
        strays = kernel.end_all(is_stray)
    except TimeoutError as error:
        raise ManyhandsError(f"an earlier job of run {run.id} cannot be ended: {error}") from error
    journal.close_lost()
    return strays


def _record_late(run: Run, plan: Plan, journal: Journal) -> None:
    """Record what had ended when the coordinator was killed, but had not reached the journal."""
    open_ones = {(job.number, last): job for job, last in journal.left()}
    for end in late.read(run.outputs):
        job = open_ones.pop((end.job, end.attempt), None)
        if job is None:  # it was recorded
            continue
        ended = Ended(
            Attempt(job, end.attempt, ()), 0.0, *end[2:11], output_of(end.stdout), output_of(end.stderr), *end[13:],
        )  # fmt: skip
        outcome = judge(ended, None, Status.CANCELLED)
        tried_again = outcome.status is Status.FAILED and plan.limits.retries > 0
        journal.ended(outcome._replace(final=not tried_again))
    journal.commit()
    late.forget(run.outputs)
