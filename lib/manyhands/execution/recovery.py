"""Before a run is continued: nothing of an earlier, killed execution may live, and its open records are closed.

Every step may be the last one, and be repeated: an attempt is open until its end is in the journal, whatever else there is of it.
The caller holds the run's lock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Protocol

from manyhands.backends.protocol import Ended
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.captured import ending_of
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job, Status
from manyhands.engine.outcomes import judge
from manyhands.posix import linux
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan


class EndAll(Protocol):
    """Ends every process that is chosen; returns how many there were, or raises TimeoutError (`manyhands.posix.linux.end_all`)."""

    def __call__(self, chosen: Callable[[linux.ProcStat], bool], /) -> int: ...


def take_over(run: Run, plan: Plan, journal: Journal, end_all: EndAll = linux.end_all) -> int:
    """Record what had ended but was not recorded, end what is alive, close the rest as lost; returns how many were alive.

    Raises ManyhandsError when something of an earlier execution cannot be ended.
    """
    _record_late(run, plan, journal)
    try:
        strays = end_all(_strays(run, plan, journal))
    except TimeoutError as error:
        raise ManyhandsError(f"an earlier job of run {run.id} cannot be ended: {error}") from error
    journal.close_lost()
    return strays


def _strays(run: Run, plan: Plan, journal: Journal) -> Callable[[linux.ProcStat], bool]:
    """Which processes are left over from the run; with daemons allowed, only those of attempts whose end is not known."""
    prefix, spared, session = f"MH_TAG={run.token}.".encode(), _own_line(), os.getsid(0)
    unknown = [(job.number, last) for job, last in journal.open_attempts()] + list(journal.lost_attempts())
    tags = [b"%s%d.%d" % (prefix, number, last) for number, last in unknown]

    def is_stray(stat: linux.ProcStat) -> bool:
        # A job has a session of its own. So if one of ours has its mark, we were called by a job, or by a shell that one began.
        if stat.pid in spared or stat.session == session:
            return False
        if not plan.allow_daemons:
            return linux.has_tag(stat.pid, prefix, prefix=True)
        return any(linux.has_tag(stat.pid, tag) for tag in tags)  # what a finished job left behind may live

    return is_stray


def _own_line() -> set[int]:
    """This process and its ancestors."""
    line, pid = set(), os.getpid()
    while pid > 0 and pid not in line:
        line.add(pid)
        stat = linux.read_stat(pid)
        pid = stat.ppid if stat else 0
    return line


def _record_late(run: Run, plan: Plan, journal: Journal) -> None:
    """Record what had ended when the coordinator was killed, but had not reached the journal."""
    open_ones: dict[tuple[int, int], Job] = {(job.number, attempt): job for job, attempt in journal.open_attempts()}
    for end in orphan_results.read(run.outputs):
        job = open_ones.pop((end.job, end.attempt), None)
        if job is None:  # it was recorded
            continue
        if end.measured.signal == signal.SIGKILL:
            # An earlier recovery may have done that, and have been killed before it said so; the launcher, which had not noticed
            # yet that its coordinator was gone, saw a job end. We do not know: it is lost.
            continue
        ended = Ended(Attempt(job, end.attempt, ()), 0.0, ending_of(end.measured), end.began)
        outcome = judge(ended, None, Status.CANCELLED)
        final = outcome.status is not Status.FAILED or _failures(journal, job.number) >= plan.limits.retries
        journal.ended(outcome._replace(final=final))
    journal.commit()
    orphan_results.forget(run.outputs)


def _failures(journal: Journal, number: int) -> int:
    """How often a job has failed since it was last begun afresh."""
    failures = 0
    for outcome in journal.attempts(number):
        failures = 0 if outcome.final else failures + (outcome.status in (Status.FAILED, Status.TIMEOUT))
    return failures
