"""Recovery: whatever an earlier execution left, and wherever an earlier recovery was cut off."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import wait_for
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.measured import Measured
from manyhands.core.errors import JournalError
from manyhands.core.events import Finished, RunStarted, Summary
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.core.limits import Limits, RetryOn, Timeout
from manyhands.core.records import replace
from manyhands.execution.batch import Batch
from manyhands.execution.open_run import again
from manyhands.execution.recovery import take_over
from manyhands.execution.staged import StagedBatch
from manyhands.posix import linux
from manyhands.storage import database
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run, Store
from manyhands.work.plan import Plan, Stage
from manyhands.work.template import Template

RETRIES = 2


def plan(*, allow_daemons: bool = False) -> Plan:
    return Plan(
        work=Template.parse("true"),
        source={"kind": "args", "values": []},
        workdir="/",
        allow_daemons=allow_daemons,
        limits=Limits(jobs=2, retries=RETRIES),
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made, held = Store(tmp_path / "state").create(plan().to_json(), "r")
    yield made
    held.close()


def attempt(number: int, tries: int = 1) -> Attempt:
    return Attempt(Job(number, b"k%d" % number, (b"%d" % number,)), tries, ())


def write(journal: Journal, *things: Attempt | Outcome) -> None:
    for one in things:
        if isinstance(one, Attempt):
            journal.began(one)
        else:
            journal.began(one.attempt)
            journal.ended(one)
    journal.commit()


def end(number: int, tries: int = 1, exit: int = 0) -> orphan_results.OrphanResult:
    return orphan_results.OrphanResult(number, tries, True, Measured(exit, None, None, 1e9, 0.5, slot=1))


def left_behind(run: Run) -> None:
    """A run as a killed coordinator leaves it: done, waiting for a retry, open, and with ends that only its helper knew."""
    with closing(run.journal()) as journal:
        write(
            journal, Outcome(attempt(1), Status.OK, Ending(0)), Outcome(attempt(2), Status.FAILED, Ending(1), final=False)
        )
        write(journal, Outcome(attempt(6), Status.CANCELLED), Outcome(attempt(7), Status.LOST))
        write(journal, attempt(3), attempt(4), attempt(5))
        for tries in range(1, RETRIES + 1):
            write(journal, Outcome(attempt(8, tries), Status.FAILED, Ending(1), final=False))
        write(journal, attempt(8, RETRIES + 1))
    ends = [end(1), end(2, exit=1), end(3), end(4, exit=1), end(7), end(8, RETRIES + 1, exit=1)]
    orphan_results.write(os.fsencode(run.outputs), 0, ends)


def states(run: Run) -> dict[tuple[int, int], tuple[Status, bool]]:
    """(job, attempt) -> (status, final) of all that has ended."""
    with closing(run.journal()) as journal:
        outcomes = [one for number in range(1, 9) for one in journal.attempts(number)]
    return {(one.attempt.job.number, one.attempt.number): (one.status, one.final) for one in outcomes}


RECOVERED = {
    (1, 1): (Status.OK, True),
    (2, 1): (Status.FAILED, False),
    (3, 1): (Status.OK, True),
    (4, 1): (Status.FAILED, False),
    (5, 1): (Status.LOST, False),
    (6, 1): (Status.CANCELLED, True),
    (7, 1): (Status.LOST, True),
    (8, 1): (Status.FAILED, False),
    (8, 2): (Status.FAILED, False),
    (8, 3): (Status.FAILED, True),
}


def test_what_is_recorded_stays_and_what_is_open_is_closed_once(run: Run) -> None:
    """Ends that the journal has are not written again, though the helper knew them, too; a second recovery finds nothing."""
    left_behind(run)
    for _ in range(3):
        with closing(run.journal(check=True)) as journal:
            assert take_over(run, plan(), journal) == 0
        assert states(run) == RECOVERED
    with closing(run.journal()) as journal:
        assert [job.number for job, _ in journal.left()] == [2, 4, 5, 6, 7]


def test_what_an_earlier_recovery_has_killed_is_lost(run: Run) -> None:
    """Its launcher, which got no CPU, saw the job end by KILL, and kept that for a recovery that was killed in turn."""
    with closing(run.journal()) as journal:
        write(journal, attempt(1), attempt(2))
    killed = [
        orphan_results.OrphanResult(number, 1, True, Measured(None, by, None, 1e9, 0.5, slot=1))
        for number, by in ((1, signal.SIGKILL), (2, signal.SIGSEGV))
    ]
    orphan_results.write(os.fsencode(run.outputs), 0, killed)
    with closing(run.journal(check=True)) as journal:
        take_over(run, plan(), journal)
    found = states(run)
    assert (found[1, 1], found[2, 1][0]) == ((Status.LOST, False), Status.FAILED)


# -- what the execution after it reports ---------------------------------------------------------------------------------


@pytest.fixture
def left(tmp_path: Path) -> Run:
    """A run as a killed coordinator leaves it."""
    made, held = Store(tmp_path / "state").create(plan().to_json(), "r")
    held.close()
    left_behind(made)
    return made


def reported(batch: Batch | StagedBatch) -> tuple[list[int], RunStarted, Summary]:
    """(the jobs with a final result, in order; the first event of the run, its last)"""
    events = [*batch.events()]
    (begin,) = [one for one in events if isinstance(one, RunStarted)]
    assert batch.summary
    return (
        [one.outcome.attempt.job.number for one in events if isinstance(one, Finished) and one.outcome.final],
        begin,
        batch.summary,
    )


def test_what_was_not_recorded_is_reported_in_its_turn(left: Run) -> None:
    """Nobody has seen the results of 3 and 8 yet; only 1 was done before."""
    numbers, begin, end = reported(Batch.resume(left, os.environ))
    assert numbers == [2, 3, 4, 5, 6, 7, 8]
    assert (begin.done_before, end.done_before) == (1, 1)
    assert (end.counts[Status.OK], end.counts[Status.FAILED], end.jobs) == (7, 1, 8)


def test_what_is_tried_again_is_not_reported_before(left: Run) -> None:
    """A retry does 8 again, which failed; 3, which is well, is reported, and nothing twice."""
    numbers, begin, _ = reported(Batch.retry(left, os.environ))
    assert (numbers, begin.done_before) == ([3, 8], 1)


def test_what_waits_comes_when_the_execution_is_stopped_early(left: Run) -> None:
    """Before 3, in the order of the inputs, would come 2, which does not begin any more."""
    batch = Batch.resume(left, os.environ)
    batch.stop(signal.SIGTERM)
    numbers, _, _ = reported(batch)
    assert numbers == [3, 8]


def test_what_goes_on_to_the_next_stage_is_no_result_yet(tmp_path: Path) -> None:
    """Job 1 has ended well on the first stage, 2 on both, 3 badly on the first; each gets one result."""
    staged = replace(plan(), then=(Stage(Template.parse("true"), 2, "commands"),), limits=Limits(jobs=2))
    run, held = Store(tmp_path / "state").create(staged.to_json(), "r")
    held.close()
    first, second = run.stages
    for stage, begun, ends in (
        (first, (1, 2, 3), [end(1), end(2), end(3, exit=1)]),
        (second, (2,), [end(2)]),
    ):
        stage.outputs.mkdir(parents=True, exist_ok=True)
        with closing(stage.journal()) as journal:
            write(journal, *map(attempt, begun))
        orphan_results.write(os.fsencode(stage.outputs), 0, ends)
    numbers, begin, summary = reported(StagedBatch(again(run, os.environ, "rest")))
    assert sorted(numbers) == [1, 2, 3]
    assert (begin.done_before, summary.done_before) == (0, 0)
    assert (summary.counts[Status.OK], summary.counts[Status.FAILED]) == (2, 1)


# -- a recovery that is cut off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "status", "final"),
    [
        (Limits(jobs=2, retries=1), Status.FAILED, False),
        (Limits(jobs=2, retries=0), Status.FAILED, True),
        (Limits(jobs=2, retries=1, retry_on=RetryOn.parse("7")), Status.FAILED, True),
        (Limits(jobs=2, retries=1, retry_on=RetryOn.parse("3")), Status.FAILED, False),
        (Limits(jobs=2, retries=1, timeout=Timeout(seconds=0.4)), Status.TIMEOUT, False),
        (Limits(jobs=2, retries=1, timeout=Timeout(seconds=0.6)), Status.FAILED, False),
    ],
)
def test_the_limits_hold_for_what_ended_meanwhile(run: Run, limits: Limits, status: Status, final: bool) -> None:
    """The job took half a second and exited with 3: that its time was over nobody was there to notice."""
    with closing(run.journal()) as journal:
        write(journal, attempt(1))
    orphan_results.write(os.fsencode(run.outputs), 0, [end(1, exit=3)])
    with closing(run.journal(check=True)) as journal:
        take_over(run, replace(plan(), limits=limits), journal)
    assert states(run)[1, 1] == (status, final)


class Dying(database.Sqlite):
    """A connection whose ``deadline``-th statement, and all that follow, fail."""

    deadline = 0

    def execute(self, *args: Any) -> Any:
        Dying.deadline -= 1
        if Dying.deadline <= 0:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(*args)


def dying(path: Path, new: bool) -> database.Database:
    assert not new
    return sqlite3.connect(path, isolation_level=None, factory=Dying)


def test_a_recovery_that_was_cut_off_anywhere_can_be_repeated(run: Run) -> None:
    """Whatever statement was its last one, the next recovery comes to the same end."""
    left_behind(run)
    for deadline in range(1, 100):
        Dying.deadline = deadline
        try:
            with closing(Journal.open(run.path / "journal.db", check=True, connect=dying)) as journal:
                take_over(run, plan(), journal)
            break
        except JournalError:
            pass
    assert deadline > 10
    assert states(run) == RECOVERED
    assert not list(run.outputs.iterdir())


def strays(run: Run, *, allow_daemons: bool) -> int:
    with closing(run.journal()) as journal:
        return take_over(run, plan(allow_daemons=allow_daemons), journal)


def sleeper(tag: str, **options: Any) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "MH_TAG": tag}, start_new_session=True, **options)
    wait_for(lambda: linux.has_tag(process.pid, f"MH_TAG={tag}".encode()))
    return process


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_a_daemon_that_was_allowed_is_let_live(run: Run) -> None:
    """Though its job waits for a retry, its attempt has ended; what belongs to an attempt whose end is not known is ended."""
    left_behind(run)
    daemon, open_one = sleeper(f"{run.token}.2.1"), sleeper(f"{run.token}.5.1")
    try:
        assert strays(run, allow_daemons=True) == 1
        assert open_one.wait(10) == -9
        assert daemon.poll() is None
        assert strays(run, allow_daemons=False) == 1
        assert daemon.wait(10) == -9
    finally:
        for process in (daemon, open_one):
            process.kill()
            process.wait()


FROM_A_JOB = """
import subprocess, sys
with subprocess.Popen(["sleep", "60"]) as sibling:
    done = subprocess.run([sys.executable, "-m", "manyhands", "batch.resume", "r", "--state-dir", sys.argv[1]])
    print(done.returncode, sibling.poll(), flush=True)
    sibling.kill()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_a_resume_from_a_shell_that_a_job_began_does_not_end_it(tmp_path: Path, environment: dict[str, str]) -> None:
    """Neither itself, nor its ancestors, nor what that shell has begun, carry they the mark of the run or not."""
    store = Store(tmp_path / "state")
    run, held = store.create(plan().to_json(), "r")
    held.close()
    with closing(run.journal()) as journal:
        write(journal, attempt(1))
    marked = environment | {"MH_TAG": f"{run.token}.1.1"}
    done = subprocess.run(
        [sys.executable, "-c", FROM_A_JOB, str(store.state)],
        env=marked,
        cwd=tmp_path,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "0 None\n", done
    assert [one.status for one in attempts_of(run, 1)] == [Status.LOST, Status.OK]


def attempts_of(run: Run, number: int) -> list[Outcome]:
    with closing(run.journal()) as journal:
        return journal.attempts(number)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\xff\xfe\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"3\n",
        b"[1, 1]\n",
        b"[" * 100_000 + b"\n",
        b'["3", 1, 0, null, null, true, 0, 0, 0, 0, 0, ["", null, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, true, null, null, true, 0, 0, 0, 0, 0, ["", null, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, 0, null, null, true, NaN, 0, 0, 0, 0, ["", null, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, 1e9, null, null, true, 0, 0, 0, 0, 0, ["", null, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, 0, null, null, true, 0, 0, 0, 0, 99999999999999999999, ["", null, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, 0, null, null, true, 0, 0, 0, 0, 0, ["!!", 7, 0, 0], ["", null, 0, 0], 1, 0, null, null]\n',
        b'[3, 1, 0, null, null, true, 0, 0, 0, 0, 0, ["", null, 0, 0], ["", null, -1, 0], 1, 0, [1], null]\n',
    ],
)
def test_results_of_a_helper_that_cannot_be_understood_are_passed_over(run: Run, odd: bytes) -> None:
    """Their jobs run again; what stands beside them counts, and nothing is left for the next time."""
    with closing(run.journal()) as journal:
        write(journal, attempt(3), attempt(4))
    orphan_results.write(os.fsencode(run.outputs), 7, [end(4)])
    (run.outputs / ".late-0").write_bytes(odd)
    (run.outputs / ".late-1").mkdir()
    (run.outputs / ".late-2").symlink_to("/etc/passwd")
    os.mkfifo(run.outputs / ".late-3")
    with closing(run.journal(check=True)) as journal:
        take_over(run, plan(), journal)
    assert states(run) == {(3, 1): (Status.LOST, False), (4, 1): (Status.OK, True)}
    assert not (run.outputs / ".late-0").exists()
