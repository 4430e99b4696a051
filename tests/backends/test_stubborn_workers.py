"""What jobs may do to the processes around them, and what the machine may lack: noticed, replaced, and nothing else is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import wait_for, with_tag
from manyhands import Outcome, Status, map_batch, run_batch

HERE = Path(__file__).parents[1]
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


def run(function: Any, inputs: Any, **options: Any) -> list[Outcome]:
    return list(run_batch(function, inputs, **{"jobs": 2, "backoff": 0, "ordered": True, **options}))


def told(outcomes: list[Outcome]) -> list[str]:
    return [one.status.value for one in outcomes]


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return path


def call(
    folder: Path, environment: dict[str, str], *command: str | Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(one) for one in command],
        cwd=folder,
        env={**environment, "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )


# -- a stop reaches the job that it is meant for --------------------------------------------------------------------------


def test_a_stop_that_comes_late_hits_no_other_job() -> None:
    """Many short jobs, some of which take about as long as they may: nothing but those is touched."""
    pauses = [0.0002 if n % 20 else 0.049 + (n % 7) * 0.0005 for n in range(2000)]
    outcomes = run(functions.naps, pauses, timeout=0.05)
    assert {one.status for n, one in enumerate(outcomes) if n % 20} == {Status.OK}
    assert {one.status for one in outcomes} <= {Status.OK, Status.TIMEOUT}


def test_a_job_that_ends_itself_by_term_ends_by_term() -> None:
    """A signal that is not ours is the job's own ending."""
    outcomes = run(functions.signals_itself, [0, int(signal.SIGTERM), 0], chunk=3, jobs=1)
    assert [(one.status.value, one.signal) for one in outcomes] == [("ok", None), ("failed", 15), ("ok", None)]


# -- the next job finds a clean worker ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 64])
def test_the_next_job_finds_a_clean_worker(chunk: int, tmp_path: Path) -> None:
    """Whatever the one before it has changed."""
    changes = sorted(functions.CHANGES) * 2
    inputs = ["look", *(one for how in changes for one in (how, "look"))]
    outcomes = run(functions.changes, inputs, jobs=1, chunk=chunk, workdir=tmp_path, env={"GIVEN": "yes"})
    assert told(outcomes) == ["ok"] * len(inputs)
    first, *others = [{**one.value, "MH_JOB": None} for one in outcomes[::2]]
    assert {how: seen for how, seen in zip(changes, others, strict=True) if seen != first} == {}
    assert (first["folder"], first["GIVEN"]) == (str(tmp_path), "yes")


def test_what_a_job_starts_finds_its_names() -> None:
    """Also in the second and third job of a worker, and after one that has emptied the environment."""
    outcomes = run(functions.names_below, ["", "", "clear", "", ""], jobs=1, chunk=5)
    assert [one.value[0] for one in outcomes if one.value] == ["1", "2", "4", "5"]
    assert [one.value[1].split(".")[1:] for one in outcomes if one.value] == [
        ["1", "1"],
        ["2", "1"],
        ["4", "1"],
        ["5", "1"],
    ]


def test_a_worker_does_not_grow() -> None:
    """Not with the number of jobs."""
    outcomes = run(functions.peak, range(60_000), jobs=1)
    assert outcomes[-1].value - outcomes[20_000].value < 1 << 20


def test_a_worker_remembers_little() -> None:
    """It keeps what the journal may not have yet; not, whatever the results are, more than some megabytes of it."""
    sizes = [int(one.value.split()[0]) for one in run(functions.heavy, range(1000), jobs=1)]
    assert max(sizes) - sizes[50] < 24 << 20


def test_a_child_that_a_job_forgets_to_end(tmp_path: Path) -> None:
    """It does not go on with the work of its worker."""
    ledger = tmp_path / "ledger"
    outcomes = run(functions.forks_and_forgets, [(n, str(ledger)) for n in range(6)], chunk=3)
    assert told(outcomes) == ["ok"] * 6
    wait_for(lambda: ledger.read_text().count("\n") == 12)


# -- stopped and killed ---------------------------------------------------------------------------------------------------


def test_a_job_that_stops_its_worker_fails() -> None:
    """It is noticed without a time-out; the others are done."""
    outcomes = run(functions.signals_itself, [0, int(signal.SIGSTOP), 0, 0], chunk=4, jobs=1)
    assert told(outcomes) == ["ok", "failed", "ok", "ok"]
    assert "its worker process was stopped by a signal, and killed" in str(outcomes[1].error)


def test_a_stopped_job_ends_at_its_time_out() -> None:
    """TERM reaches what is stopped, because CONT follows it."""
    (outcome,) = run(functions.signals_itself, [int(signal.SIGSTOP)], timeout=0.3, grace=5)
    assert (outcome.status, outcome.signal) == (Status.TIMEOUT, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_what_happens_to_the_fork_server_costs_no_job(number: int, tmp_path: Path) -> None:
    """Running jobs go on, later ones are done, each once, and new workers can be made."""
    ledger = tmp_path / "ledger"
    inputs = [(n, str(ledger), int(number) if n == 3 else 0) for n in range(12)]
    outcomes = run(functions.signals_parent, inputs, max_jobs_per_worker=2, jobs=3)
    assert told(outcomes) == ["ok"] * 12
    assert sorted(ledger.read_text().split()) == sorted(str(n) for n in range(12))


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_the_warden_is_replaced(number: int, environment: dict[str, str], tmp_path: Path) -> None:
    """A job has stopped or killed it, then the coordinator is killed: nothing is left all the same."""
    main = script(
        tmp_path,
        f"""
        import functions
        from manyhands import run_batch
        if __name__ == "__main__":
            list(run_batch(functions.harms_the_warden, [({number}, "ledger")], run_id="warden"))
        """,
    )
    with subprocess.Popen([sys.executable, main], cwd=tmp_path, env={**environment, "PYTHONPATH": str(HERE)}) as process:
        wait_for(lambda: (tmp_path / "ledger").exists(), 30)
        time.sleep(2.5)  # two looks of the coordinator
        process.kill()
    wait_for(lambda: not with_tag("MH_RUN=warden"))


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_greenlet_that_harms_its_process(number: int) -> None:
    """It is noticed; what shared the process is told as dead, and all others are done."""
    outcomes = run(functions.signals_itself, [0, int(number), 0, 0], jobs=1, backend="gevent")
    assert told(outcomes) == ["ok", "failed", "ok", "ok"]


def test_threads_that_never_end_hold_up_no_worker() -> None:
    """It is replaced after its jobs all the same."""
    outcomes = run(functions.leaves_a_thread, range(3), jobs=1, max_jobs_per_worker=1)
    assert len({one.value for one in outcomes}) == 3


# -- what comes back ------------------------------------------------------------------------------------------------------


def test_a_result_that_cannot_be_unpickled_fails_alone() -> None:
    """The other jobs of its chunk keep theirs."""
    found = list(map_batch(functions.ends, ["fine", "unpacked", "fine"] * 4, jobs=1, return_exceptions=True, chunk=6))
    assert found[::3] == found[2::3] == [None] * 4
    assert all("its result cannot be unpickled: Mine: cannot be built" in str(one) for one in found[1::3])


@pytest.mark.parametrize("how", ["base", "cancelled", "generator", "interrupt", "mute", "exit 7"])
def test_chunks_take_whatever_is_raised(how: str) -> None:
    """As jobs with a record do."""
    found = list(map_batch(functions.ends, ["fine", how, "exit 0"], jobs=1, return_exceptions=True, chunk=3))
    assert (found[0], type(found[1]).__name__, found[2]) == (None, "JobFailedError", None)


def test_an_input_that_cannot_be_unpickled_fails_alone() -> None:
    """In the worker it is the job's failure, not the worker's."""
    found = list(
        map_batch(functions.size_of, ["ab", functions.Unpacked(), "abc"], jobs=1, return_exceptions=True, chunk=3)
    )
    assert (found[0], found[2]) == (2, 3)
    assert "its input cannot be unpickled: Mine: cannot be built" in str(found[1])


# -- at the end ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sys.exit()", "raise KeyError", "None", "gc.freeze()", "os.kill(os.getpid(), 15)"])
def test_a_program_that_leaves_in_the_middle_ends(way: str, environment: dict[str, str], tmp_path: Path) -> None:
    """Whatever it still holds: nobody waits for workers, and none is left."""
    main = script(
        tmp_path,
        f"""
        import gc, os, sys, functions
        from manyhands.backends.registry import open_backend
        from manyhands.backends.settings import FunctionSettings
        from manyhands.work.function import Call, encode
        from manyhands.core.job import Attempt, Job
        from pathlib import Path
        if __name__ == "__main__":
            backend = open_backend("processes", FunctionSettings(
                slots=2, outputs=Path("."), token="{os.getpid()}", environment=dict(os.environb) | {{b"MH_RUN": b"leaves"}},
                workdir=Path.cwd(), call=Call.of(functions.sleepy, type="object")))
            for number in range(1, 4):
                backend.start(Attempt(Job(number, b"", (encode((60, None)),)), 1, ()))
            while not backend.reports(10): pass
            {way}
        """,
    )
    call(tmp_path, environment, sys.executable, main)
    wait_for(lambda: not with_tag("MH_RUN=leaves"))


@pytest.mark.parametrize("backend", ["processes", "gevent"])
def test_a_program_that_keeps_an_iterator_ends(backend: str, environment: dict[str, str], tmp_path: Path) -> None:
    """At its last line, without a word, and nothing is left."""
    main = script(
        tmp_path,
        f"""
        import functions
        from manyhands import map_batch, run_batch
        if __name__ == "__main__":
            mapped = map_batch(functions.double, range(100_000), jobs=2)
            results = iter(run_batch(functions.double, range(1_000), jobs=2, backend="{backend}", ordered=True, run_id="kept"))
            print(next(mapped), next(results).value)
        """,
    )
    done = call(tmp_path, environment, sys.executable, main)
    assert (done.stdout, done.stderr, done.returncode) == ("0 0\n", "", 0)
    wait_for(lambda: not with_tag("MH_RUN=kept"))


def test_a_backend_is_closed_from_anywhere(tmp_path: Path) -> None:
    """By another thread, by two at once, twice, while a job is at work: it is quick, and all is gone."""
    from manyhands.backends.registry import open_backend
    from manyhands.backends.settings import FunctionSettings
    from manyhands.core.job import Attempt, Job
    from manyhands.work.function import Call, encode

    backend = open_backend(
        "processes",
        FunctionSettings(
            slots=2,
            outputs=tmp_path,
            token=f"c{os.getpid()}",
            environment=dict(os.environb),
            workdir=tmp_path,
            call=Call.of(functions.sleepy, type="object"),
        ),
    )
    backend.start(Attempt(Job(1, b"", (encode((60, None)),)), 1, ()))
    assert backend.reports(30)
    threads = [threading.Thread(target=backend.close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    backend.close()


# -- how the program was started ------------------------------------------------------------------------------------------

PROGRAM = """
from manyhands import map_batch, run_batch
def cube(x):
    return x ** 3
if __name__ == "__main__":
    print([one.value for one in run_batch(cube, [1, 2, 3], ordered=True, jobs=2)], list(map_batch(cube, [4, 5], jobs=2)))
"""


@pytest.mark.parametrize("way", ["package", "zip", "-c", "-"])
def test_functions_of_a_program_that_cannot_be_imported(way: str, environment: dict[str, str], tmp_path: Path) -> None:
    """They go by value: of ``python -m package``, a zipapp, a line, standard input."""
    pytest.importorskip("cloudpickle")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__main__.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "-m", "zipapp", "pkg"], cwd=tmp_path, check=True)
    ways = {"package": ["-m", "pkg"], "zip": ["pkg.pyz"], "-c": ["-c", PROGRAM], "-": ["-"]}
    done = call(tmp_path, environment, sys.executable, *ways[way], input=PROGRAM if way == "-" else "")
    assert (done.stdout, done.stderr) == ("[1, 8, 27] [64, 125]\n", "")


@pytest.mark.parametrize("name", ["SIGCHLD", "SIGTERM"])
@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_signals_that_the_parent_blocks_or_ignores(
    how: str, name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Workers, the host of greenlets and all that they need begin with an empty mask: the batch ends, and stops what it must."""
    number = getattr(signal, name)

    def prepare() -> None:
        if how == "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        else:
            signal.signal(number, signal.SIG_IGN)

    for backend in ("processes", "gevent"):
        main = script(
            tmp_path,
            f"""
            import functions
            from manyhands import run_batch
            if __name__ == "__main__":
                inputs = [(0.01, None), (60, "ledger")]
                print([one.status.value for one in run_batch(functions.sleepy, inputs, backend="{backend}", timeout=1, ordered=True, jobs=2)])
            """,
        )
        done = call(tmp_path, environment, sys.executable, main, preexec_fn=prepare)
        assert (done.stdout, done.stderr, done.returncode) == ("['ok', 'timeout']\n", "", 0)
    assert (tmp_path / "ledger").read_text() == "tidy 60\n" * 2


@pytest.mark.parametrize("most", [36, 64])
def test_few_descriptors(most: int, environment: dict[str, str], tmp_path: Path) -> None:
    """Fewer workers, one warning, and every job is done once."""
    limited = f"ulimit -n {most}; exec {sys.executable} -m manyhands batch.call functions:double --type int -j 100 --"
    done = call(tmp_path, environment, "bash", "-c", f"{limited} $(seq 300)")
    assert done.returncode == 0, done.stderr
    assert sorted(map(int, done.stdout.split())) == [2 * n for n in range(1, 301)]
    assert done.stderr.count("of 100 workers") == 1
    assert "Traceback" not in done.stderr


def test_what_is_printed_beside_jobs_is_no_result(environment: dict[str, str], tmp_path: Path) -> None:
    """By a module when it is imported, and by an initializer: it goes to standard error, on every backend."""
    (tmp_path / "loud.py").write_text(
        "print('imported')\ndef get_ready(): print('ready')\ndef go(x): print('from a job'); return x\n"
    )
    for backend in ("processes", "threads", "serial", "gevent"):
        done = call(
            tmp_path,
            environment,
            sys.executable,
            "-m",
            "manyhands",
            "batch.call",
            "loud:go",
            "--initializer",
            "loud:get_ready",
            "--backend",
            backend,
            "--json",
            "--",
            "1",
        )
        assert "imported" not in done.stdout, backend
        assert "ready" not in done.stdout, backend
        assert "imported" in done.stderr
        assert "ready" in done.stderr


@pytest.mark.parametrize("backend", ["processes", "threads", "serial", "gevent", "auto", "asyncio", "map_batch"])
def test_what_an_initializer_prints_is_not_on_the_output_of_a_program(
    backend: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """A program's standard output is its own, and that of the jobs that it lets through."""
    if backend == "gevent":
        pytest.importorskip("gevent")
    main = script(
        tmp_path,
        f"""
        from manyhands import map_batch, run_batch
        def get_ready(): print("ready")
        def same(x): return x
        async def same_async(x): return x
        if __name__ == "__main__":
            if {backend!r} == "map_batch":
                found = list(map_batch(same, [1, 2], initializer=get_ready))
            else:
                work = same_async if {backend!r} == "asyncio" else same
                found = sorted(o.value for o in run_batch(work, [1, 2], backend={backend!r}, initializer=get_ready))
            print(found)
        """,
    )
    done = call(tmp_path, environment, sys.executable, main)
    assert done.stdout == "[1, 2]\n"
    assert "ready" in done.stderr


# -- forks of the program -------------------------------------------------------------------------------------------------


def test_a_fork_of_the_program_runs_batches_of_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    """After one in the parent, as under a server that preloads; and what it inherits of the parent's batch it leaves alone."""
    main = script(
        tmp_path,
        """
        import os, functions
        from manyhands import map_batch, run_batch
        if __name__ == "__main__":
            print([one.value for one in run_batch(functions.double, [1], jobs=1)], flush=True)
            results = iter(run_batch(functions.double, range(200), jobs=2, ordered=True))
            first = next(results).value
            child = os.fork()
            if child == 0:
                print([one.value for one in run_batch(functions.double, [2, 3], jobs=2, ordered=True)],
                      list(map_batch(functions.double, [4])), flush=True)
                os._exit(0)
            os.waitpid(child, 0)  # os.wait() would return for a helper of the batch, too
            print([first, *(one.value for one in results)] == [2 * n for n in range(200)])
        """,
    )
    done = call(tmp_path, environment, sys.executable, "-W", "ignore::DeprecationWarning", main)
    assert (done.stdout, done.stderr) == ("[2]\n[4, 6] [8]\nTrue\n", "")


def test_a_fork_that_closes_a_backend_harms_nothing(tmp_path: Path) -> None:
    """Workers, files and threads of the parent are the parent's."""
    from manyhands.backends.registry import open_backend
    from manyhands.backends.settings import FunctionSettings
    from manyhands.core.job import Attempt, Job
    from manyhands.work.function import Call, encode

    for name in ("processes", "gevent", "threads", "serial", "asyncio"):
        (tmp_path / name).mkdir()
        work = functions.a_say if name == "asyncio" else functions.say
        backend = open_backend(
            name,
            FunctionSettings(
                slots=1,
                outputs=tmp_path / name,
                token=f"t{os.getpid()}",
                environment=dict(os.environb),
                workdir=Path.cwd(),
                call=Call.of(work, type="object"),
            ),
        )
        try:
            for number in (1, 2):
                backend.start(Attempt(Job(number, b"", (encode(number),)), 1, ()))
                ended: list[Any] = []
                while not ended:
                    ended = [one for one in backend.reports(30) if hasattr(one, "ending")]
                assert (ended[0].ending.exit, ended[0].ending.stdout.data) == (0, b"out %d\n" % number), name
                before = sorted((tmp_path / name).iterdir())
                if (child := os.fork()) == 0:
                    backend.close()
                    os._exit(0)
                os.waitpid(child, 0)
                assert sorted((tmp_path / name).iterdir()) == before
        finally:
            backend.close()
            backend.close()
