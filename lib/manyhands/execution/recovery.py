"""Before a run is continued: ends all that is left of an earlier, killed execution, and closes its open records.

    results that nobody has recorded, of launchers and of a queue's consumers --> journal
    processes, and what consumers have --> ended, their attempts lost

Recovery may be killed after any step, and is then repeated: an attempt is open until its end is in the journal.
The caller holds the run's lock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Protocol

from manyhands.backends.protocol import Ended
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.captured import ending_of
from manyhands.core.errors import ManyhandsError, UnavailableError
from manyhands.core.job import Attempt, Job, Status
from manyhands.engine.outcomes import LEFT, judge, may_retry
from manyhands.execution.earlier_executions import AGAIN
from manyhands.execution.open_run import OpenRun
from manyhands.execution.run_backend import settings_of
from manyhands.posix import linux
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan


class EndAll(Protocol):
    """Ends every process for which ``chosen`` is true; returns their number, or raises TimeoutError (`manyhands.posix.linux.end_all`)."""

    def __call__(self, chosen: Callable[[linux.ProcStat], bool], /) -> int: ...


def take_over_queue(opened: OpenRun, journal: Journal, hurried: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Record what a queue's consumers have reported to a killed execution, and have them end the rest; yields what the user should know.
    While ``hurried`` is false, they are waited for.

    Raises UnavailableError if the broker cannot be used: then nothing is lost, and the run can be continued later.
    """
    from manyhands.backends.queue.carrier import BrokerLostError
    from manyhands.backends.queue.left_behind import PATIENCE
    from manyhands.backends.queue.queue_backend import left_behind

    plan, run = opened.plan, opened.run
    settings = settings_of(plan, run, opened.held, 1, run.record.get("columns", ()))
    try:
        for execution in left_behind(plan.backend, settings):
            attempts = [Attempt(job, number, ()) for job, number in journal.open_attempts()]
            for page in execution.ends(attempts, hurried):
                for ended in page:
                    _record(ended, plan, journal)
                journal.commit()
            for name in execution.silent:
                yield f"consumer {name} has not said within {PATIENCE:g} s that it has ended what it had of the run: that may still run there"
    except BrokerLostError as error:
        raise UnavailableError(f"the broker does not answer any more: {error}") from None


def take_over(run: Run, plan: Plan, journal: Journal, end_all: EndAll = linux.end_all) -> int:
    """Record attempts that had ended unrecorded, end live processes, close the rest as lost; return how many were alive.

    Raises ManyhandsError if a process of an earlier execution cannot be ended.
    """
    _record_orphan_results(run, plan, journal)
    try:
        strays = end_all(_strays(run, plan, journal))
    except TimeoutError as error:
        raise ManyhandsError(f"an earlier job of run {run.id} cannot be ended: {error}") from error
    journal.close_lost()
    return strays


def finished(numbers: Iterable[int], journal: Journal, *, without: Container[Status]) -> list[int]:
    """Those of these jobs that are done by now, ``without`` those that have ended so."""
    outcomes = [record.outcome for number in numbers if (record := journal.record(number)) is not None]
    done = (one for one in outcomes if one is not None and one.final and one.status not in LEFT)
    return [one.attempt.job.number for one in done if one.status not in without]


def _strays(run: Run, plan: Plan, journal: Journal) -> Callable[[linux.ProcStat], bool]:
    """Which processes are left over from the run; if daemons are allowed, only those of attempts whose end is not known."""
    prefix, spared, session = f"MH_TAG={run.token}.".encode(), _own_ancestry(), os.getsid(0)
    unknown = [(job.number, last) for job, last in journal.open_attempts()] + list(journal.lost_attempts())
    tags = [b"%s%d.%d" % (prefix, number, last) for number, last in unknown]

    def is_stray(stat: linux.ProcStat) -> bool:
        # A job has a session of its own. So if a process of our session has its tag, a job started us, directly or through a shell.
        if stat.pid in spared or stat.session == session:
            return False
        if not plan.allow_daemons:
            return linux.has_tag(stat.pid, prefix, prefix=True)
        return any(linux.has_tag(stat.pid, tag) for tag in tags)  # daemons of finished jobs may live

    return is_stray


def _own_ancestry() -> set[int]:
    """This process and its ancestors."""
    ancestry, pid = set(), os.getpid()
    while pid > 0 and pid not in ancestry:
        ancestry.add(pid)
        stat = linux.read_stat(pid)
        pid = stat.ppid if stat else 0
    return ancestry


def _record_orphan_results(run: Run, plan: Plan, journal: Journal) -> None:
    """Record attempts that had ended when the coordinator was killed, but were not yet in the journal."""
    open_ones: dict[tuple[int, int], Job] = {(job.number, attempt): job for job, attempt in journal.open_attempts()}
    for end in orphan_results.read(run.outputs):
        job = open_ones.pop((end.job, end.attempt), None)
        if job is None:  # it was recorded
            continue
        if end.measured.signal == signal.SIGKILL:
            # An earlier recovery may have sent that KILL, and been killed before it recorded it; the launcher, which had not yet
            # noticed that its coordinator was gone, saw a job end. We do not know how it ended: it is lost.
            continue
        _record(Ended(Attempt(job, end.attempt, ()), 0.0, ending_of(end.measured), end.began), plan, journal)
    journal.commit()
    orphan_results.forget(run.outputs)


def _record(ended: Ended, plan: Plan, journal: Journal) -> None:
    """Record how an attempt had ended by itself; if that was after its time-out, which nobody was there to notice, that counts."""
    limits = plan.limits
    limit = limits.timeout.seconds if limits.timeout else None
    late = limit is not None and ended.began and ended.ending.wall > limit
    outcome = judge(ended, ended.at if late else None, Status.TIMEOUT)
    again = outcome.status in AGAIN and may_retry(ended, outcome, limits.retry_on)
    final = not (again and _failures(journal, ended.attempt.job.number) < limits.retries)
    journal.ended(outcome._replace(final=final))


def _failures(journal: Journal, number: int) -> int:
    """How often a job has failed since its last final outcome."""
    failures = 0
    for outcome in journal.attempts(number):
        failures = 0 if outcome.final else failures + (outcome.status in (Status.FAILED, Status.TIMEOUT))
    return failures
