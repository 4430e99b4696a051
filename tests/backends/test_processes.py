"""What only worker processes promise: death costs one job, a stop reaches everything, state stays with its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import Cli, wait_for, with_tag
from manyhands import ManyhandsError, Outcome, Status, UsageError, run_batch
from manyhands.posix import linux

HERE = Path(__file__).parents[1]
RUN = f"mine{os.getpid()}"
pytestmark = pytest.mark.usefixtures("nothing_left")


def run(function: Any, inputs: Any, **options: Any) -> list[Outcome]:
    return list(run_batch(function, inputs, **{"jobs": 2, "backoff": 0, "ordered": True, **options}))


def sleepers(seconds: float) -> list[linux.ProcStat]:
    """Every living ``sleep SECONDS``."""
    found = []
    for stat in linux.processes():
        try:
            words = Path(f"/proc/{stat.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            continue
        if words[:2] == [b"sleep", str(seconds).encode()] and stat.state != "Z":
            found.append(stat)
    return found


# -- death ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "number"), [("kill", signal.SIGKILL), ("segfault", signal.SIGSEGV), ("0", None), ("7", None)]
)
@pytest.mark.parametrize("chunk", [1, 8])
def test_a_death_costs_one_job(how: str, number: int | None, chunk: int) -> None:
    """The others are all done, also those that lay in the same chunk; a fresh worker takes its place."""
    outcomes = run(functions.die, [(n, 13, how) for n in range(40)], chunk=chunk)
    assert [one.status for one in outcomes] == [Status.FAILED if n == 13 else Status.OK for n in range(40)]
    dead = outcomes[13]
    assert (dead.signal, dead.exit) == (number, None if number else 1)
    assert "its worker process died" in str(dead.error)


@pytest.mark.parametrize("how", ["kill", "0"])
def test_what_was_done_before_a_death_is_not_done_again(how: str, tmp_path: Path) -> None:
    """Nobody had been told of it yet: those were jobs of microseconds, in one chunk."""
    ledger = str(tmp_path / "ledger")
    outcomes = run(functions.notes_and_dies, [(n, 150, how, ledger) for n in range(300)], chunk=300, jobs=1)
    assert [one.status for one in outcomes] == [Status.FAILED if n == 150 else Status.OK for n in range(300)]
    assert Counter(Path(ledger).read_text().split()) == Counter(map(str, range(300)))


def test_ends_are_told_while_a_later_job_of_the_chunk_runs() -> None:
    """However long that takes."""
    with run_batch(functions.naps, [0.0] * 50 + [600.0] + [0.0], jobs=1, chunk=52, grace=0.5) as outcomes:
        assert [next(outcomes).number for _ in range(50)] == list(range(1, 51))


def test_ends_are_told_though_the_worker_was_held_up_between_two_jobs() -> None:
    """As on a busy machine: we have looked meanwhile, and seen nothing."""
    with run_batch(functions.lags, [0.0] * 9 + [-1.0] + [0.0] * 10 + [600.0], jobs=1, chunk=21, grace=0.5) as outcomes:
        assert [next(outcomes).number for _ in range(20)] == list(range(1, 21))


def test_large_and_small_results_of_a_chunk_keep_their_jobs() -> None:
    """They come by different ways."""
    sizes = [10, 100_000, 20, 3_000_000, 30, 40, 16_370, 16_390, 50] * 8
    outcomes = run(functions.bytes_of, sizes, chunk=36)
    assert [len(one.value) for one in outcomes] == sizes


def test_many_middling_results_of_a_chunk() -> None:
    """More than are kept ready for the coordinator."""
    outcomes = run(functions.bytes_of, [8_000] * 400, chunk=200)
    assert {len(one.value) for one in outcomes} == {8_000}
    assert len(outcomes) == 400


@pytest.mark.parametrize("elsewhere", ["/dev/null", "file"])
@pytest.mark.parametrize("how", ["print", "write", "program"])
def test_a_job_that_redirects_its_descriptors(how: str, elsewhere: str, tmp_path: Path) -> None:
    """The output of the next one of the chunk is its own, and the outputs of both are kept apart."""
    inputs = [how, elsewhere, how, how, elsewhere, elsewhere, how]
    outcomes = run(functions.redirects, inputs, chunk=7, jobs=1, workdir=tmp_path)
    assert [one.stdout.data for one in outcomes] == [b"said\n" if one == how else b"" for one in inputs]


def test_a_death_is_tried_again(tmp_path: Path) -> None:
    """As every other failure is, if retries are asked for."""
    once = str(tmp_path / "once")
    outcomes = run(functions.die, [(n, 5, "kill", once) for n in range(10)], retries=1)
    assert [one.value for one in outcomes] == list(range(10))
    assert outcomes[5].attempt.number == 2


def test_a_poison_job_is_given_up() -> None:
    """After two deaths, named, whatever retries says; all others are done."""
    outcomes = run(functions.die, [(n, 5) for n in range(20)], retries=50)
    assert [one.status for one in outcomes] == [Status.FAILED if n == 5 else Status.OK for n in range(20)]
    assert outcomes[5].attempt.number == 2
    assert str(outcomes[5].error).endswith("given up: it has killed 2 workers")


def test_what_a_dead_job_had_printed_is_kept(tmp_path: Path) -> None:
    """What had got out of it, at least."""
    (tmp_path / "dies.py").write_text("import os\ndef go(x):\n    os.write(1, b'last words')\n    os.abort()\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import dies  # type: ignore[import-not-found]

        (outcome,) = run(dies.go, [1])
    finally:
        sys.path.remove(str(tmp_path))
    assert (outcome.signal, outcome.stdout.data) == (signal.SIGABRT, b"last words")


def test_a_timeout_in_a_chunk_costs_one_job() -> None:
    """Those before it keep their results, those after it are done by another worker."""
    inputs = [(60.0 if n == 3 else 0.0, None) for n in range(12)]
    outcomes = run(functions.sleepy, inputs, chunk=12, jobs=1, timeout=0.5)
    assert [one.status for one in outcomes] == [Status.TIMEOUT if n == 3 else Status.OK for n in range(12)]


def test_what_a_job_has_started_ends_with_it() -> None:
    """Children, and daemons in sessions of their own, when the job is stopped."""
    seconds = 70 + os.getpid() / 1e7
    (outcome,) = run(functions.has_children, [seconds], timeout=0.5, grace=0.5)
    assert outcome.status is Status.TIMEOUT
    assert sleepers(seconds) == []


def test_jobs_of_a_killed_coordinator_are_ended(environment: dict[str, str], tmp_path: Path) -> None:
    """With all that they have started, within a second."""
    seconds = 80 + os.getpid() / 1e7
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "manyhands",
            "batch.call",
            f"{HERE / 'functions.py'}:has_children",
            "--type",
            "float",
            "-j",
            "2",
            "--",
            str(seconds),
            str(seconds),
        ],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(sleepers(seconds)) == 4)
    process.kill()
    process.wait()
    wait_for(lambda: not sleepers(seconds))
    workers = [stat for stat in linux.processes() if linux.has_tag(stat.pid, b"MH_RUN=", prefix=True)]
    assert [stat for stat in workers if stat.state != "Z" and str(tmp_path) in os.readlink(f"/proc/{stat.pid}/cwd")] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_file_is_left_by_a_signal(environment: dict[str, str], tmp_path: Path, number: int) -> None:
    """multiprocessing keeps a folder for its fork server, which whoever ends by a signal does not remove by itself."""
    folder = Path(tempfile.mkdtemp(prefix="mh-"))  # a short path: it has to fit into the address of a socket
    process = subprocess.Popen(
        [sys.executable, "-m", "manyhands", "batch.call", "time:sleep", "--type", "float", "--", "90.25"],
        env={**environment, "TMPDIR": str(folder)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        wait_for(lambda: list(folder.iterdir()))
        time.sleep(0.3)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == -number
    wait_for(lambda: not list(folder.iterdir()))
    folder.rmdir()


# -- workers -------------------------------------------------------------------------------------------------------------


def test_state_stays_with_its_worker() -> None:
    """Prepared once, then used by all jobs of that worker (scenario C3)."""
    outcomes = run(functions.prepared, range(30), initializer="functions:prepare", initargs=["a"])
    assert all(one.value[:2] == [["a"], 1] for one in outcomes)
    assert len({one.value[2] for one in outcomes}) <= 2


def test_workers_are_replaced_after_so_many_jobs() -> None:
    """Each process does no more than it may; nothing is lost in between."""
    outcomes = run(functions.pid, range(20), max_jobs_per_worker=3, chunk=2)
    counts = [sum(one.value == pid for one in outcomes) for pid in {one.value for one in outcomes}]
    assert sum(counts) == 20
    assert max(counts) <= 3


def test_a_fork_server_that_somebody_has_reaped() -> None:
    """A waitpid(-1) elsewhere in the program has taken its end: a new one is made."""
    pid = vars(forkserver)["_forkserver"]._forkserver_pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (outcome,) = run(functions.double, [1])
    assert outcome.value == 2


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_start_methods(method: str) -> None:
    """Both do; no worker is a fork of this process."""
    outcomes = run(functions.parent, range(4), start_method=method)
    assert ({one.value for one in outcomes} == {os.getpid()}) == (method == "spawn")
    assert os.getpid() not in {one.value for one in run(functions.pid, range(4), start_method=method)}


def test_fork_is_refused() -> None:
    """A fork beside threads can hang for ever."""
    with pytest.raises(UsageError, match="can hang"):
        run(functions.pid, [1], start_method="fork")


def test_a_job_may_fork() -> None:
    """The worker has no threads of ours: Python does not warn."""
    assert [one.value for one in run(functions.forks, [3, 4])] == [3, 4]


def test_what_a_job_finds(tmp_path: Path) -> None:
    """Its folder, its numbers, what was given to it, and nothing to read."""
    outcomes = run(functions.where, [1, 2], workdir=tmp_path, env={"GIVEN": "yes"}, jobs=1)
    folder, text, names = outcomes[1].value
    assert (folder, text) == (str(tmp_path), "")
    assert names["MH_RUN"]
    assert {key: names[key] for key in ("MH_JOB", "MH_ATTEMPT", "MH_SLOT", "GIVEN")} == {
        "MH_JOB": "2",
        "MH_ATTEMPT": "1",
        "MH_SLOT": "1",
        "GIVEN": "yes",
    }


def test_what_programs_of_a_job_print_is_captured() -> None:
    """At the level of descriptors."""
    assert run(functions.shell_out, [7])[0].stdout.data == b"child 7\n"


def test_usage_is_told() -> None:
    """CPU time of the job, memory of its worker."""
    (outcome,) = run(functions.make, [12_000_000])
    assert outcome.max_rss > 12_000_000
    assert outcome.wall > 0


def test_a_batch_of_processes_in_a_process() -> None:
    """Workers are no daemons in the sense of multiprocessing: they may have children."""
    assert [one.value for one in run(functions.nested_processes, [3, 4])] == [6, 12]


@pytest.mark.parametrize("chunk", [1, 3, 1000, None])
def test_chunks_change_nothing_but_speed(chunk: int | None) -> None:
    """Each job keeps its own record, output and failure."""
    outcomes = run(functions.odd_fails, range(300), chunk=chunk)
    assert [one.value for one in outcomes if one.status is Status.OK] == list(range(0, 300, 2))
    assert all(one.error == f"KeyError: 'no {2 * n + 1}'" for n, one in enumerate(o for o in outcomes if o.exit))


def test_held_workers_do_nothing(tmp_path: Path) -> None:
    """While the batch is paused its workers are stopped; then they go on."""
    from manyhands.core.events import Began, Finished
    from manyhands.core.limits import Limits
    from manyhands.execution.batch import Batch
    from manyhands.inputs.sources import Rows
    from manyhands.storage.runs import Store
    from manyhands.work.function import Call, encode
    from manyhands.work.plan import Plan

    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    source = Rows([(encode((n, str(ledger), str(gate))),) for n in range(2)])
    plan = Plan(
        work=Call.of(functions.noted_when_it_may_end, type="object"),
        source=source.spec(),
        limits=Limits(jobs=2),
        workdir=str(tmp_path),
        backend="processes",
    )
    batch = Batch.start(plan, Store(tmp_path / "state"), source=source)
    ended = 0
    for event in batch.events():
        if isinstance(event, Began) and event.attempt.job.number == 2:
            batch.pause(True)
            gate.touch()
            time.sleep(0.3)
            assert "end" not in ledger.read_text()
            batch.pause(False)
        ended += isinstance(event, Finished)
    assert ended == 2


# -- functions that have no name of their own -----------------------------------------------------------------------------


def test_functions_without_a_name_need_cloudpickle() -> None:
    """A lambda or a closure goes by value; where that cannot be, one line says what to do."""
    pytest.importorskip("cloudpickle")
    assert [one.value for one in run(lambda x: x * 3, [1, 2])] == [3, 6]


def test_without_cloudpickle_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And names the way out."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(UsageError, match=r"cloudpickle is not installed.*or choose threads"):
        run(lambda x: x, [1])


def test_a_worker_that_cannot_begin_ends_the_batch() -> None:
    """Not for ever anew."""
    with pytest.raises(ManyhandsError, match="worker processes die before they begin"):
        run(functions.double, [1], initializer=os._exit, initargs=[5])


SCRIPT = """
from manyhands import run_batch

def cube(x):
    return x ** 3

{guard}
    for outcome in run_batch(cube, [1, 2, 3], ordered=True, jobs=2):
        print(outcome.value)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_functions_of_a_script(environment: dict[str, str], tmp_path: Path, method: str) -> None:
    """Under a ``__main__`` guard they work as they are; the run can be resumed by the command line."""
    script = tmp_path / "script.py"
    text = SCRIPT.format(guard='if __name__ == "__main__":').replace(
        "jobs=2", f"jobs=2, run_id='cubes', start_method='{method}'"
    )
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n8\n27\n", "")
    again = [sys.executable, "-m", "manyhands", "batch.resume", "cubes"]
    resumed = subprocess.run(again, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert (resumed.returncode, resumed.stdout) == (0, "")


def test_a_script_without_a_guard_is_told_so(environment: dict[str, str], tmp_path: Path) -> None:
    """It ends with a reason instead of starting workers without end."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard="if True:"))
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert 'under if __name__ == "__main__":' in done.stderr
    assert done.stdout == ""


def test_functions_of_a_session(environment: dict[str, str], tmp_path: Path) -> None:
    """As in a notebook: there is no file that a worker could import."""
    pytest.importorskip("cloudpickle")
    text = SCRIPT.format(guard="if True:").replace("jobs=2", "jobs=2, run_id='cubes'")
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n8\n27\n", "")
    again = [sys.executable, "-m", "manyhands", "batch.resume", "cubes"]
    resumed = subprocess.run(again, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert resumed.returncode == 2
    assert "only the same program can continue" in resumed.stderr


def test_a_program_on_standard_input(environment: dict[str, str]) -> None:
    """Its functions go by value, as those of a session do."""
    pytest.importorskip("cloudpickle")
    text = SCRIPT.format(guard="if True:")
    done = subprocess.run(
        [sys.executable, "-"], input=text, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n8\n27\n", "")


def test_from_an_invoke_task(environment: dict[str, str], tmp_path: Path) -> None:
    """A task of somebody's own tasks.py."""
    (tmp_path / "work.py").write_text("def cube(x):\n    return x ** 3\n")
    (tmp_path / "tasks.py").write_text(
        "from invoke import task\n@task\ndef cubes(c):\n    import work\n    from manyhands import run_batch\n"
        "    for outcome in run_batch(work.cube, [1, 2], ordered=True):\n        print(outcome.value)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "cubes"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n8\n", "")


def test_nothing_of_a_killed_run_is_left(cli: Cli, tmp_path: Path, own_state: Path) -> None:
    """Files of slots are removed when a batch ends; what is kept of it belongs to somebody."""
    done = cli(
        "batch.call",
        f"{HERE / 'functions.py'}:say_much",
        "--type",
        "int",
        "--run-id",
        RUN,
        "--quiet",
        "--",
        "100000",
        "5",
    )
    assert done.returncode == 0
    assert sorted(os.listdir(own_state / f"runs/{RUN}/outputs")) == ["1.1.out"]
    assert with_tag(f"MH_RUN={RUN}") == []
    records = cli("batch.export", RUN).stdout.splitlines()
    assert [json.loads(line)["stdout_size"] for line in records] == [100000, 5]
