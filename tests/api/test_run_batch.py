"""`run_batch` keeps its promises whatever the program around it does: slow, early gone, forgetful, forked, interrupted."""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import LIB, open_descriptors, wait_for, with_tag
from manyhands import Outcome, Status, UsageError, run_batch
from manyhands.engine import channel
from manyhands.storage.journal import Tally
from manyhands.storage.runs import Store

pytestmark = pytest.mark.usefixtures("nothing_left")

WAYS: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
    ("commands", lambda: "echo {}", {}),
    ("stages", lambda: "echo {}", {"then": ["echo {}"]}),
    ("command-threads", lambda: "echo {}", {"backend": "command-threads"}),
    ("processes", lambda: functions.kind, {"backend": "processes"}),
    ("threads", lambda: functions.kind, {"backend": "threads"}),
    ("asyncio", lambda: functions.a_kind, {"backend": "asyncio"}),
]
ways = pytest.mark.parametrize(("work", "options"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])


def tally(run_id: str) -> Tally:
    with closing(Store(Path(os.environ["XDG_STATE_HOME"]) / "manyhands").find(run_id).journal()) as journal:
        return journal.tally()


# -- a slow consumer -----------------------------------------------------------------------------------------------------


def test_limits_hold_while_nobody_takes_outcomes() -> None:
    """A job that is out of time is ended and recorded although the loop does something else."""
    with run_batch("sleep {}", ["0", "600"], jobs=2, timeout=1, grace=1) as run:
        assert next(run).status is Status.OK
        wait_for(lambda: tally(run.run_id).counts.get(Status.TIMEOUT), 60)
        assert [one.status for one in run] == [Status.TIMEOUT]


@ways
def test_ends_are_recorded_while_nobody_takes_outcomes(work: Callable[[], Any], options: dict[str, Any]) -> None:
    """After a kill, nothing would run again only because the loop was slow."""
    with run_batch(work(), [str(n) for n in range(20)], jobs=2, **options) as run:
        next(run)
        wait_for(lambda: tally(run.run_id).counts.get(Status.OK) == 20, 60)
        assert sum(1 for _ in run) == 19


def test_a_slow_consumer_bounds_what_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not every job runs ahead of a program that does not look; when it does, all are done."""
    monkeypatch.setattr(channel, "MOST", 20)
    ledger = tmp_path / "ledger"
    with run_batch(["sh", "-c", f"echo x >> {ledger}", "sh", "{}"], [str(n) for n in range(500)], jobs=2) as run:
        next(run)
        wait_for(lambda: run._carrier.channel.full, 60)  # type: ignore[union-attr]
        assert ledger.stat().st_size / 2 < 250
        assert sum(1 for _ in run) == 499
    assert ledger.stat().st_size / 2 == 500


# -- inputs --------------------------------------------------------------------------------------------------------------


@ways
def test_the_first_job_is_done_before_the_second_input_comes(work: Callable[[], Any], options: dict[str, Any]) -> None:
    """Inputs may depend on results: nobody waits for more of them than there are."""
    results: queue.Queue[int] = queue.Queue()

    def inputs() -> Iterator[str]:
        yield "0"
        for number in range(1, 6):
            assert results.get(timeout=60) == number
            yield str(number)

    with run_batch(work(), inputs(), jobs=4, **options) as run:
        for number, outcome in enumerate(run, 1):
            assert outcome.status is Status.OK
            results.put(number)
    assert run.summary is not None
    assert (run.summary.jobs, run.summary.total) == (6, 6)


@ways
@pytest.mark.parametrize("pull", ["thread", "caller"])
def test_an_error_of_the_inputs_comes_after_what_was_done(
    work: Callable[[], Any], options: dict[str, Any], pull: Any
) -> None:
    """Everything that was pulled before it is done and given."""

    def inputs() -> Iterator[str]:
        yield from "abc"
        raise ZeroDivisionError("mine")

    found: list[Outcome] = []
    with pytest.raises(ZeroDivisionError, match="mine"):
        found.extend(run_batch(work(), inputs(), jobs=2, pull=pull, **options))
    assert sorted(one.attempt.job.number for one in found) == [1, 2, 3]
    assert {one.status for one in found} == {Status.OK}


@pytest.mark.parametrize(("pull", "backend"), [("caller", "threads"), ("thread", "threads"), ("thread", "serial")])
def test_which_thread_pulls_the_inputs(pull: Any, backend: str) -> None:
    """The program's own if it says so, and always where calls are made in it; else another."""
    seen: list[threading.Thread] = []

    def inputs() -> Iterator[int]:
        for number in range(50):
            seen.append(threading.current_thread())
            yield number

    assert sum(1 for _ in run_batch(functions.kind, inputs(), backend=backend, pull=pull)) == 50
    mine = pull == "caller" or backend == "serial"
    assert {one is threading.current_thread() for one in seen} == {mine}


def test_an_iterator_that_never_comes_back_holds_nobody_up() -> None:
    """Leaving ends what runs, and does not wait for the program's own iterator."""
    forever = threading.Event()

    def inputs() -> Iterator[str]:
        yield "0"
        forever.wait()

    with run_batch("sleep {}", inputs(), jobs=2) as run:
        assert next(run).status is Status.OK
    assert run.summary is None
    forever.set()
    wait_for(lambda: not any(one.name == "manyhands-feed" for one in threading.enumerate()))


# -- leaving, forgetting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["commands", "processes", "threads", "asyncio", "stages"])
def test_leaving_early_ends_and_records_what_runs(backend: str) -> None:
    """At once, also where the loop is left at a beginning, or a job cannot be stopped."""
    work: Any = "sleep {}"
    options: dict[str, Any] = {"then": ["true"]} if backend == "stages" else {}
    if backend not in ("commands", "stages"):
        work, options = (functions.a_sleepy if backend == "asyncio" else functions.sleepy), {"backend": backend}
    inputs = ["0", "600", "600"] if isinstance(work, str) else [0, 2, 2]
    run = run_batch(work, inputs, jobs=3, **options)
    for _ in run:
        break
    wait_for(
        lambda: not with_tag(f"MH_TAG={Store(Path(os.environ['XDG_STATE_HOME']) / 'manyhands').find(run.run_id).token}")
    )
    assert tally(run.run_id).left == 2
    assert list(run) == []
    wait_for(lambda: not any("slot" in one.name for one in threading.enumerate()))


def test_forgotten_in_a_cycle_it_ends() -> None:
    """Nothing but the thread may keep it alive, and the thread does not."""
    before = threading.active_count()

    class Holder:
        pass

    def forget() -> str:
        holder: Any = Holder()
        holder.run, holder.itself = run_batch("sleep {}", ["0", "600"], jobs=2), holder
        next(holder.run)
        return str(holder.run.run_id)

    run_id = forget()
    gc.collect()
    wait_for(lambda: threading.active_count() == before and not with_tag(f"MH_RUN={run_id}"))
    assert tally(run_id).left == 1


def test_never_begun_it_leaves_nothing(own_state: Path) -> None:
    """Neither a run, nor a descriptor, nor a thread; begun after it was closed, it says so."""
    before = open_descriptors()
    results = run_batch("true", ["a"])
    del results
    gc.collect()
    assert open_descriptors() == before
    assert list((own_state / "runs").iterdir()) == []
    with run_batch("true", ["a"], then=["true"]) as run:
        pass
    assert list(run) == []


def test_a_second_loop_finds_nothing_more() -> None:
    """And does no harm."""
    run = run_batch("true", ["a", "b"])
    assert len(list(run)) == 2
    assert list(run) == []


def test_it_may_be_finished_in_another_thread() -> None:
    """Signal handlers that another thread may not restore do as before all the same."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    run = run_batch("true", ["a", "b"])
    first = next(run)
    rest: list[Outcome] = []
    thread = threading.Thread(target=lambda: rest.extend(run))
    thread.start()
    thread.join()
    assert len([first, *rest]) == 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert len(list(run_batch("true", ["a"]))) == 1  # the next one in the main thread tidies up
    assert before == {number: signal.getsignal(number) for number in before}


def test_two_at_once_restore_the_handlers_in_any_order() -> None:
    """However they end, the program's own handlers are back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    assert sum(1 for _ in zip(run_batch("true", ["a"]), run_batch("true", ["b", "c"]), strict=False)) == 1
    gc.collect()
    assert before == {number: signal.getsignal(number) for number in before}


def test_stop_ends_in_good_order_and_sends_no_signal() -> None:
    """What ran is cancelled and given; the program goes on."""
    with run_batch("sleep {}", ["0", "600", "600"], jobs=3) as run:
        assert next(run).status is Status.OK
        run.stop()
        assert [one.status for one in run] == [Status.CANCELLED] * 2


def test_a_keyboard_interrupt_in_the_loop_stops_and_records() -> None:
    """With the program's own handlers, too."""
    run = run_batch("sleep {}", ["0", "600"], jobs=2, handle_signals=False)
    before = signal.getsignal(signal.SIGINT)
    with suppress(KeyboardInterrupt):
        for _ in run:
            assert signal.getsignal(signal.SIGINT) is before
            signal.raise_signal(signal.SIGINT)
    assert tally(run.run_id).left == 1


def test_what_only_functions_have_is_refused_for_commands() -> None:
    """By name, before anything is made; and so is a way of pulling that there is not."""
    with pytest.raises(UsageError, match="result, initializer: only for functions"):
        run_batch("true", ["a"], result="none", initializer=print)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="pull='elsewhere'"):
        run_batch("true", ["a"], pull="elsewhere")  # type: ignore[call-overload]


# -- programs ------------------------------------------------------------------------------------------------------------

ENDINGS = {
    "kept": "it = iter(run)\nnext(it)\nkeep.append(it)",
    "full queue": "next(run)\nkeep.append(run)",
    "cycle": "next(run)\nkeep.append([run, keep])",
    "sys.exit in the loop": "for one in run: sys.exit(0)",
    "exception in the loop": "for one in run: keep.append(run); raise SystemExit(0)",
    "never begun": "keep.append(run)",
}
RUNS = {
    "commands": "run_batch('sleep {}', ['0', '0.01'] * 3000 + ['600'] * 9, jobs=4)",
    "processes": "run_batch(time.sleep, [0, 0.01] * 3000 + [600] * 9, jobs=4)",
    "threads": "run_batch(time.sleep, [0, 0.01] * 3000 + [600] * 9, jobs=4, backend='threads')",
    "stages": "run_batch('sleep {}', ['0', '0.01'] * 3000 + ['600'] * 9, jobs=2, then=['true'])",
    "map": "map_batch(time.sleep, [0, 0.01] * 3000 + [600] * 9, jobs=4)",
    "map of an iterator": "map_batch(time.sleep, (n % 2 / 100 for n in range(10**9)), jobs=4, chunk=1)",
}


@pytest.mark.sampled
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("run", RUNS)
def test_the_program_can_end(run: str, ending: str, tmp_path: Path) -> None:
    """Whatever it still holds, and leaves no process behind."""
    script = tmp_path / "program.py"
    lines = [
        "import sys, time",
        "sys.path.insert(0, sys.argv[1])",
        "from manyhands import map_batch, run_batch",
        "keep = []",
    ]
    body = [f"run = {RUNS[run]}", *ENDINGS[ending].splitlines()]
    script.write_text("\n".join([*lines, "if __name__ == '__main__':", *(f"    {line}" for line in body)]) + "\n")
    mark = f"PROGRAM={tmp_path}"
    environment = dict(os.environ) | {"PROGRAM": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, str(LIB)], env=environment, timeout=100, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    wait_for(lambda: not with_tag(mark), 30)


def test_a_stop_does_not_wait_for_a_main_thread_that_computes_in_c(tmp_path: Path) -> None:
    """The jobs end while the program is inside one long call, which lets other threads run but no handler."""
    script = tmp_path / "program.py"
    script.write_text(
        "import hashlib, sys\nsys.path.insert(0, sys.argv[1])\nfrom manyhands import run_batch\n"
        "for one in run_batch('sleep {}', ['0', '600', '600'], jobs=3):\n"
        "    open('busy', 'w').close()\n    hashlib.pbkdf2_hmac('sha256', b'x', b'x', 2**31 - 1)\n"
    )
    environment = dict(os.environ) | {"PROGRAM": str(tmp_path)}
    program = subprocess.Popen([sys.executable, script, str(LIB)], env=environment, cwd=tmp_path)
    try:
        wait_for((tmp_path / "busy").exists, 60)
        program.send_signal(signal.SIGTERM)
        wait_for(lambda: not [one for one in with_tag(f"PROGRAM={tmp_path}") if one.pid != program.pid], 60)
        assert program.poll() is None
    finally:
        program.kill()
        program.wait()


def test_a_fork_of_the_iterating_thread_records_nothing() -> None:
    """The calls are made in this very thread, whose copy in the child forgets them."""
    run = run_batch(functions.kind, ["a", "b", "c"], backend="serial")
    loop = iter(run)
    next(loop)
    child = os.fork()
    if child == 0:
        loop.close()
        run.close()
        del loop, run
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with closing(Store(Path(os.environ["XDG_STATE_HOME"]) / "manyhands").find(run.run_id).journal()) as journal:
        assert [one.outcome is None for one in journal.records()] == [False, True, True]
    assert len(list(loop)) == 2
    assert tally(run.run_id).counts == {Status.OK: 3}


def test_a_forked_child_harms_nothing_and_holds_nothing() -> None:
    """It may leave in any way; the run's lock is free when the parent has finished, although the child still lives."""
    go, done = os.pipe(), os.pipe()
    with run_batch("sleep {}", ["0", "0.2", "0.4"], jobs=1) as run:
        next(run)
        child = os.fork()
        if child == 0:
            try:
                run.close()
                os.write(done[1], b"x")
                os.read(go[0], 1)
            finally:
                os._exit(0)
        assert os.read(done[0], 1) == b"x"
        assert [one.status for one in run] == [Status.OK] * 2
    assert len(list(run_batch("sleep {}", ["0", "0.2", "0.4", "0.0"], run_id=run.run_id))) == 1
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for descriptor in (*go, *done):
        os.close(descriptor)


# -- nothing kept, and what is shown -------------------------------------------------------------------------------------


def test_without_a_journal_nothing_is_kept(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run, no folder; large output is there as long as the outcome is; what only a kept run can have is refused."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    outcomes = list(run_batch("head -c 300000 /dev/zero; true {}", [1, 2], shell=True, journal=False))
    assert [one.input for one in outcomes] in ([1, 2], [2, 1])
    assert [len(one.stdout.read()) for one in outcomes] == [300_000] * 2
    assert not list(tmp_path.glob("manyhands-*"))
    run_batch("true {}", [1], journal=False).close()
    assert not list(tmp_path.glob("manyhands-*"))
    assert not own_state.exists()
    refused: list[dict[str, Any]] = [{"run_id": "a"}, {"state_dir": tmp_path}, {"retry_failed": True}]
    for options in refused:
        with pytest.raises(UsageError, match="journal=False: nothing is kept of the run"):
            run_batch("true {}", [1], journal=False, **options)


def test_the_progress_is_shown_on_stderr(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While an outcome is waited for, of how many jobs; what jobs print stays away from it, and failures have their line."""
    monkeypatch.setattr("manyhands.render.plain.HEARTBEAT", 0.0)
    for one in run_batch("echo {}; exit {}", [0, 3], shell=True, jobs=1, ordered=True, progress=True):
        print("ours", one.input)
    out, err = capfd.readouterr()
    assert out == "ours 0\nours 3\n"
    assert "job 2 failed with exit status 3" in err
    assert "1 of 2 done (50%)" in err
