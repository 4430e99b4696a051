"""`async for` over the outcomes of a batch: the loop goes on meanwhile, and whatever ends the task ends the batch in good order.

The jobs here can only end if the event loop goes on: what they wait for is made by another task of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

import functions
from conftest import wait_for
from manyhands import JobFailedError, Results, Status, UsageError, run_batch
from manyhands.core.job import Outcome
from manyhands.storage.runs import Store

WAITS = 'sh -c \'touch "$0.here"; until [ -e "$0.go" ]; do sleep 0.01; done; echo {}\' {}'
pytestmark = pytest.mark.usefixtures("nothing_left")


@asynccontextmanager
async def heartbeat(folder: Path) -> AsyncIterator[list[int]]:
    """A task that lets every job go on that has begun, again and again; it yields how often it had its turn."""
    beats = [0]

    async def beat() -> None:
        while True:
            for one in folder.glob("*.here"):
                one.with_suffix(".go").touch()
            beats[0] += 1
            await asyncio.sleep(0.005)

    task = asyncio.create_task(beat())
    try:
        yield beats
    finally:
        task.cancel()


async def all_of(results: Results[object]) -> list[Outcome[object]]:
    return [outcome async for outcome in results]


def test_the_loop_goes_on_while_jobs_run(tmp_path: Path) -> None:
    """Each job ends because the loop has had its turn after its begin; outcomes are those of `for`."""

    async def main() -> list[object]:
        async with heartbeat(tmp_path):
            return [(one.input, one.ok, one.stdout.text) async for one in run_batch(WAITS, paths, jobs=2, ordered=True)]

    paths = [tmp_path / str(number) for number in range(6)]
    assert asyncio.run(main()) == [(path, True, f"{path}\n") for path in paths]


@pytest.mark.parametrize("backend", ["processes", "threads", "asyncio"])
def test_functions_of_every_kind(backend: str) -> None:
    """Values come in order, several batches at once in one loop."""

    async def main() -> list[list[object]]:
        function = functions.a_double if backend == "asyncio" else functions.double
        batches = [run_batch(function, range(n, n + 5), backend=backend, jobs=2, ordered=True) for n in (0, 10)]
        return [[one.value for one in found] for found in await asyncio.gather(*map(all_of, batches))]

    assert asyncio.run(main()) == [[0, 2, 4, 6, 8], [20, 22, 24, 26, 28]]


def test_a_cancelled_task_ends_the_batch_and_it_can_be_resumed(tmp_path: Path, own_state: Path) -> None:
    """What ran is stopped and recorded as cancelled before the task is over, and the loop goes on until then."""

    async def main() -> None:
        paths = [tmp_path / str(number) for number in range(4)]
        task = asyncio.create_task(all_of(run_batch(WAITS, paths, jobs=2, run_id="r")))
        while len(list(tmp_path.glob("*.here"))) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    with closing(Store(own_state).find("r").journal(check=True)) as journal:
        ends = [one.outcome.status for one in journal.records() if one.outcome]
    assert set(ends) == {Status.CANCELLED}
    assert len(ends) >= 2
    for path in (tmp_path / str(number) for number in range(4)):
        path.with_suffix(".go").touch()
    again = list(run_batch(WAITS, [tmp_path / str(number) for number in range(4)], run_id="r"))
    assert sorted(one.number for one in again if one.ok) == [1, 2, 3, 4]


def test_a_stubborn_job_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    """While the grace of a stubborn job goes by, other tasks have their turn: one of them lets it end by itself."""
    stubborn = 'sh -c \'trap "" TERM; touch "$0.here"; until [ -e "$0.go" ]; do sleep 0.01; done; touch "$0.end"\' {}'

    async def main() -> None:
        run = run_batch(stubborn, [tmp_path / "a"], grace=60)
        task = asyncio.create_task(all_of(run))
        while not (tmp_path / "a.here").exists():
            await asyncio.sleep(0.01)
        run.stop()
        async with heartbeat(tmp_path):  # without it, it would be killed after the minute
            await task

    asyncio.run(main())
    assert (tmp_path / "a.end").exists()


def test_leaving_the_loop_or_the_block_ends_what_runs(tmp_path: Path, own_state: Path) -> None:
    """After the first outcome, by `break` and at the end of `async with`; then nothing of it runs."""

    async def main() -> list[object]:
        first: list[object] = []
        async with run_batch("sh -c 'case {} in 0) ;; *) sleep 60;; esac'", range(3), jobs=3) as run:
            async for one in run:
                first.append(one.input)
                break
        first.append(run.run_id)
        async for one in run_batch("sh -c 'case {} in 0) ;; *) sleep 60;; esac'", range(3), jobs=3, run_id="left"):
            first.append(one.input)
            break
        return first

    found = asyncio.run(main())
    assert found[0] == found[2] == 0
    for name in (str(found[1]), "left"):
        with closing(Store(own_state).find(name).journal(check=True)) as journal:
            assert journal.tally().left == 2


def test_the_first_failure_is_raised_with_check(tmp_path: Path) -> None:
    """As `for` does, when what runs has been stopped."""

    async def main() -> None:
        async for _ in run_batch("sh -c 'exit {}'", [0, 3, 0], jobs=1, ordered=True, check=True):
            pass

    with pytest.raises(JobFailedError, match="exit status 3"):
        asyncio.run(main())


def test_an_error_of_the_inputs_comes_after_what_was_done() -> None:
    """An iterator that raises, pulled in a thread or by the loop itself."""

    def rows() -> object:
        yield from ("a", "b")
        raise RuntimeError("no more rows")

    async def main(pull: str) -> list[object]:
        found: list[object] = []
        with pytest.raises(RuntimeError, match="no more rows"):
            async for one in run_batch("echo {}", rows(), ordered=True, pull=pull):  # type: ignore[call-overload]
                found += [one.input]
        return found

    assert asyncio.run(main("thread")) == asyncio.run(main("caller")) == ["a", "b"]


def test_stop_gives_the_outcomes_that_are_left(tmp_path: Path) -> None:
    """`Results.stop` can be called by another task."""

    async def main() -> list[Status]:
        async with run_batch("sleep {}", [60, 60, 60], jobs=2) as run:
            asyncio.get_running_loop().call_later(0.2, run.stop)
            return [one.status async for one in run]

    found = asyncio.run(main())
    assert set(found) == {Status.CANCELLED}
    assert len(found) >= 2


def test_what_would_hold_up_the_loop_is_refused(own_state: Path) -> None:
    """By name, before anything is made; `for` takes it."""

    async def main() -> None:
        await all_of(run_batch(functions.double, [1], backend="serial"))

    with pytest.raises(UsageError, match="backend 'serial' calls the function in the thread that iterates"):
        asyncio.run(main())
    assert list((own_state / "runs").iterdir()) == []


def test_nothing_that_is_forgotten_goes_on(tmp_path: Path) -> None:
    """A batch whose loop has ended before it is stopped when the program lets go of it; so is the loop's handler of Ctrl-C."""

    async def main() -> Results[None]:
        run = run_batch(WAITS, [tmp_path / "a"])
        iterator = aiter(run)
        task = asyncio.ensure_future(anext(iterator))
        while not (tmp_path / "a.here").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        return run

    run = asyncio.run(main())
    run.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_batch_and_then_the_program(number: int, environment: dict[str, str], tmp_path: Path) -> None:
    """What ran is recorded as cancelled; the program ends as asyncio and the system have it."""
    (tmp_path / "program.py").write_text(
        "import asyncio, sys\nfrom manyhands import run_batch\n"
        "async def main():\n async for one in run_batch(sys.argv[1], ['x'], run_id='r'): pass\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "program.py", "sh -c 'touch here; sleep 60' {}"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
    ) as process:
        wait_for((tmp_path / "here").exists)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == -number
    assert (b"KeyboardInterrupt" in said) == (number == signal.SIGINT)
    with closing(Store(Path(environment["XDG_STATE_HOME"]) / "manyhands").find("r").journal(check=True)) as journal:
        assert [one.outcome.status for one in journal.records() if one.outcome] == [Status.CANCELLED]
