"""What every backend that calls functions promises, proved by the same tests on each; where one cannot, its flags say so.

To add a backend: one line in `BACKENDS`. docs/backends.md tabulates the differences.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import functions
from backends.test_command_backends import kind_of
from conftest import wait_for, with_tag
from manyhands import InputError, JobFailedError, ManyhandsError, Outcome, Status, UsageError, run_batch
from manyhands.core.job import Attempt, Job
from manyhands.core.serialization import is_pickle
from manyhands.storage.journal import Tally
from manyhands.storage.runs import Store
from manyhands.work.queue_kinds import QUEUES, is_queue
from sampled import marked

BACKENDS = ["serial", "threads", "processes", "asyncio", "gevent", "redis", "celery", "rq", "dask"]
if sys.version_info >= (3, 14):
    BACKENDS.append("interpreters")
SAMPLED = ["gevent", "redis", "celery", "rq", "dask", "interpreters"]
CAN_STOP = ["processes", "asyncio", "gevent", "redis", "celery", "rq", "dask"]
HERE = Path(__file__).parents[1]
NOT_IN_A_QUEUE = {
    "test_arguments_arrive_as_they_were",
    "test_huge_arguments_and_results",
    "test_no_more_than_jobs_at_once",  # its function returns a tuple
    "test_results_come_back_as_they_were",
    "test_a_failure_is_loud",  # it wants the exception itself
    "test_results_in_pickle_files",
    "test_an_initializer_prepares_each_worker",
    "test_an_initializer_that_fails_ends_the_batch",
    "test_killed_and_resumed",  # jobs end when the lease is over: tests/handlers/test_queue.py
}
"""What JSON cannot hold, and what only workers of our own have: tests/backends/queue has what a queue does with it."""
WITH_A_FEEDER = {
    "test_results_come_back_in_order",
    "test_an_iterator_is_pulled_lazily",
    "test_an_exception_is_kept_whole",
    "test_a_failed_job_is_tried_again",
    "test_a_halt_rule_ends_the_batch",
    "test_a_job_that_takes_too_long",
    "test_leaving_the_loop_stops_the_batch",
    "test_results_as_json",
    "test_inputs_that_cannot_travel",
    "test_much_is_in_a_file",
    "test_ctrl_c_ends_it_in_good_order",
}
"""What Celery and RQ have a part in; all else the same consumer does as with Redis."""
NOT_ON_A_CLUSTER = {"test_results_in_pickle_files", "test_killed_and_resumed"}
"""The files would be on the workers: tests/backends/cluster has that it is refused; jobs end a moment after the coordinator:
tests/handlers/test_cluster.py."""
BROKER: dict[str, str] = {}
CLUSTER = ""
RUN = f"mine{os.getpid()}"
pytestmark = pytest.mark.usefixtures("nothing_left")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every backend, unless it says on which; but what JSON cannot hold never gets through a queue."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "backend" in metafunc.fixturenames and not any("backend" in one for one in named):
        name = metafunc.function.__name__
        left_out = {*QUEUES} if name in NOT_IN_A_QUEUE else set() if name in WITH_A_FEEDER else {"celery", "rq"}
        left_out |= {"dask"} if name in NOT_ON_A_CLUSTER else set()
        every = [one for one in BACKENDS if one not in left_out]
        metafunc.parametrize("backend", marked(every, SAMPLED), indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "dask":
        cluster = request.getfixturevalue("shared_dask")
        request.getfixturevalue("monkeypatch").setattr(sys.modules[__name__], "CLUSTER", cluster.address)
    if not is_queue(request.param):
        yield str(request.param)
        return
    kind = kind_of(request, request.param)
    consumers, known = request.getfixturevalue("shared_consumers"), request.getfixturevalue("environment")
    known["PYTHONPATH"] += f":{HERE}"  # of the coordinators that the test starts, too
    server = consumers.ready(kind, known, "--slots", "8", "--allow", "functions:*", "--allow-commands")
    request.getfixturevalue("monkeypatch").setattr(sys.modules[__name__], "BROKER", kind.given(server))
    yield kind.name


def function(name: str, backend: str) -> Callable[..., Any]:
    """The function of that name, async where the backend wants it so."""
    found: Callable[..., Any] = getattr(functions, f"a_{name}" if backend == "asyncio" else name)
    return found


def run(name: str, inputs: Any, backend: str, **options: Any) -> list[Outcome]:
    options = fitting(backend, **options)
    return list(run_batch(function(name, backend), inputs, backend=backend, **{"jobs": 2, "backoff": 0, **options}))


def fitting(backend: str, **options: Any) -> dict[str, Any]:
    """Without the options that a backend refuses (tests/cli/test_options.py)."""
    if backend == "serial":
        options["jobs"] = 1
    if backend not in CAN_STOP:
        options.pop("grace", None)
    if backend not in ("processes", "dask"):
        options.pop("chunk", None)
    if is_queue(backend):
        options |= BROKER
    if backend == "dask":
        options["cluster"] = CLUSTER
    return options


def values(outcomes: list[Outcome]) -> list[Any]:
    return [one.value for one in outcomes]


def told(outcomes: list[Outcome]) -> list[str]:
    return [one.status.value for one in outcomes]


def no_threads() -> bool:
    return not any(thread.name.startswith("manyhands") for thread in threading.enumerate())


# -- what comes back -----------------------------------------------------------------------------------------------------


def test_results_come_back_in_order(backend: str) -> None:
    """With ``ordered`` in the order of the inputs, else all of them anyhow."""
    assert values(run("double", range(50), backend, ordered=True)) == [2 * x for x in range(50)]
    assert sorted(values(run("double", ["a", "b", "c"], backend))) == ["aa", "bb", "cc"]


@pytest.mark.slow
def test_thousands_of_jobs(backend: str) -> None:
    """All of them, each once."""
    outcomes = run("double", range(2_000), backend)
    assert sorted(values(outcomes)) == [2 * x for x in range(2_000)]
    assert len({one.attempt.job.number for one in outcomes}) == 2_000


def test_arguments_arrive_as_they_were(backend: str) -> None:
    """A tuple is the arguments, a dict the keyword arguments, anything else the one argument, exactly."""
    given = [(1, "b"), {"x": 1, "y": [2]}, [1, 2], (), ({"x": 1},), ((1, 2), [3])]
    expected = [[[1, "b"], {}], [[], {"x": 1, "y": [2]}], [[[1, 2]], {}], [[], {}], [[{"x": 1}], {}], [[(1, 2), [3]], {}]]
    assert values(run("describe", given, backend, ordered=True)) == expected
    things = [
        1,
        1.5,
        float("inf"),
        True,
        None,
        "x",
        "\udc80",
        b"\x00\xff",
        Path("a"),
        {1, 2},
        10**30,
        [(1,)],
        {"a": {2: 3}},
    ]
    found = values(run("kind", [(one,) for one in things], backend, ordered=True))
    assert found == [functions.kind(one) for one in things]


def test_an_iterator_is_pulled_lazily(backend: str) -> None:
    """As far as the window reaches, and no further; leaving early stops it."""
    pulled = 0

    def inputs() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    results = run_batch(function("double", backend), inputs(), backend=backend, **fitting(backend, jobs=2, chunk=1))
    first = next(iter(results))
    assert first.status is Status.OK
    assert pulled <= 2 * (2 + 64 + 4) + 64 + 2 * 96  # what may have come before the engine takes it


def test_no_more_than_jobs_at_once(backend: str) -> None:
    """Measured by when each of them was running; and as many as that, where there can be more than one."""
    spells = values(run("spell", [(n, 0.1) for n in range(9)], backend, jobs=3))
    most = max(sum(begin <= at < end for begin, end in spells) for at, _ in spells)
    assert most == (1 if backend == "serial" else 3)


# -- failure -------------------------------------------------------------------------------------------------------------


def test_an_exception_is_kept_whole(backend: str) -> None:
    """Type, message and where it came from, without our own frames; the others are not touched."""
    outcomes = run("odd_fails", range(6), backend, ordered=True)
    assert told(outcomes) == ["ok", "failed"] * 3
    failed = outcomes[3]
    assert (failed.exit, failed.signal, failed.error) == (1, None, "KeyError: 'no 3'")
    assert failed.traceback is not None
    assert "functions.py" in failed.traceback
    assert "in odd_fails" in failed.traceback
    assert "manyhands/backends" not in failed.traceback
    assert failed.traceback.endswith("KeyError: 'no 3'\n")


def test_leaving_python_ends_that_job(backend: str) -> None:
    """sys.exit() ends the job, not us: a success without a number, else a failure with it, or with the text."""
    outcomes = run("ends", ["exit 0", "exit None", "exit 7", "exit text"], backend, ordered=True)
    assert [(one.status.value, one.exit, one.error) for one in outcomes] == [
        ("ok", 0, None),
        ("ok", 0, None),
        ("failed", 7, "SystemExit: 7"),
        ("failed", 1, "SystemExit: why"),
    ]
    assert values(outcomes[:2]) == [None, None]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("base", "Mine: x"),
        ("cancelled", "CancelledError"),
        ("generator", "GeneratorExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("mute", "Mute: (its message cannot be made)"),
        ("surrogate", "ValueError: \\udc80"),
    ],
)
def test_whatever_a_job_raises_is_its_own_ending(backend: str, how: str, said: str) -> None:
    """It fails, with the place that it came from; those before and after it are not touched."""
    outcomes = run("ends", ["fine", how, "fine", how, "fine"], backend, ordered=True, chunk=5)
    assert told(outcomes) == ["ok", "failed", "ok", "failed", "ok"]
    assert {one.error for one in outcomes[1::2]} == {said}
    assert all("in ends" in str(one.traceback) for one in outcomes[1::2])


@pytest.mark.parametrize(("how", "result", "said"), [("repr", "repr", "no repr"), ("items", "json", "no items")])
def test_a_result_that_raises_when_it_is_kept(backend: str, how: str, result: str, said: str) -> None:
    """The job fails, with the traceback of what is wrong with its result."""
    outcomes = run("ends", ["fine", how, "fine"], backend, ordered=True, result=result)
    assert told(outcomes) == ["ok", "failed", "ok"]
    assert f"which cannot be {'kept' if result == 'repr' else 'pickled'}: Mine: {said}" in str(outcomes[1].error)
    assert "functions.py" in str(outcomes[1].traceback)


def test_causes_and_notes_are_kept(backend: str) -> None:
    """As Python shows them."""
    (outcome,) = run("ends", ["cause"], backend)
    shown = str(outcome.traceback)
    assert "KeyError: 'inner'" in shown
    assert "ValueError: outer\na note of it\n" in shown


@pytest.mark.parametrize("how", ["close out", "replace out"])
def test_what_a_job_does_to_its_streams(backend: str, how: str) -> None:
    """The next one prints as if nothing had been."""
    before = sys.stdout, sys.stderr
    assert told(run("ends", [how], backend, jobs=1)) == ["ok"]
    outcomes = run("ends_or_says", [how, 1, how, 2], backend, jobs=1, ordered=True, chunk=4)
    assert [one.stdout.data for one in outcomes[1::2]] == [b"out 1\n", b"out 2\n"]
    assert (sys.stdout, sys.stderr) == before


def test_output_that_meets_a_full_disk(backend: str) -> None:
    """The job fails and says so; the next one of its slot prints again."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    outcomes = run("ends_or_says", ["full", 1, "full", 2], backend, jobs=1, ordered=True)
    assert told(outcomes) == ["failed", "ok", "failed", "ok"]
    assert "what it has printed cannot be kept: No space left on device" in str(outcomes[0].error)
    assert [one.stdout.data for one in outcomes[1::2]] == [b"out 1\n", b"out 2\n"]


@pytest.mark.parametrize("how", ["cancel all", "stop loop", "exit task"])
def test_a_job_that_interferes_with_the_loop(how: str) -> None:
    """It may cancel what is not its own, stop the loop, or leave through it: every job has an end all the same."""
    outcomes = run("ends", [how, "fine", "fine"], "asyncio", jobs=3, ordered=True)
    assert len(outcomes) == 3
    assert told(run("ends", [how, "fine", "fine"], "asyncio", jobs=1, ordered=True))[1:] == ["ok", "ok"]


def test_a_failed_job_is_tried_again(backend: str, tmp_path: Path) -> None:
    """As often as asked, with a wait that grows, and not more often."""
    began = time.monotonic()
    outcomes = run("fails_first", [(str(tmp_path / "a"), 2)], backend, retries=3, backoff=0.1)
    assert time.monotonic() - began >= 0.3
    assert (outcomes[0].status, outcomes[0].value, outcomes[0].attempt.number) == (Status.OK, 3, 3)
    (outcome,) = run("fails_first", [(str(tmp_path / "b"), 9)], backend, retries=1)
    assert (outcome.status, outcome.error, outcome.attempt.number) == (Status.FAILED, "ValueError: not yet: 2", 2)


def test_only_named_exceptions_are_tried_again(backend: str, tmp_path: Path) -> None:
    """By their own name, or that of a class that they belong to; all others are the end."""
    inputs = [(str(tmp_path / "a"), 2)]
    (outcome,) = run("fails_first", inputs, backend, retries=3, retry_on=(ConnectionError, 75))
    assert (outcome.status, outcome.attempt.number) == (Status.FAILED, 1)
    (outcome,) = run("fails_first", [(str(tmp_path / "b"), 2)], backend, retries=3, retry_on="ValueError")
    assert (outcome.status, outcome.value) == (Status.OK, 3)
    (outcome,) = run("fails_first", [(str(tmp_path / "c"), 9)], backend, retries=1, retry_on="ArithmeticError,Exception")
    assert (outcome.error, outcome.attempt.number) == ("ValueError (Exception): not yet: 2", 2)


def test_a_halt_rule_ends_the_batch(backend: str) -> None:
    """What has not begun is left, and counted so."""
    options = fitting(backend, jobs=2, chunk=4)
    results = run_batch(function("odd_fails", backend), range(1, 2000), backend=backend, halt="soon,fail=3", **options)
    assert sum(one.status is Status.FAILED for one in results) >= 3
    assert results.summary is not None
    assert results.summary.halted == "soon,fail=3"
    assert results.summary.jobs + results.summary.left < 1999


def test_a_job_that_takes_too_long(backend: str, tmp_path: Path) -> None:
    """Ended where that can be done, and it may tidy up; else told as still running, or, by serial, when it has come back."""
    ledger = tmp_path / "ledger"
    pause = 60 if backend in CAN_STOP else 1.0
    began = time.monotonic()
    outcomes = run("sleepy", [(pause, str(ledger)), (0.01, None)], backend, timeout=0.3, grace=5, ordered=True)
    assert told(outcomes) == ["timeout", "ok"]
    assert outcomes[0].wall >= 0.3
    assert time.monotonic() - began < 15
    assert outcomes[0].still_running == (backend in ("threads", "interpreters"))
    if backend in CAN_STOP:
        assert ledger.read_text() == f"tidy {pause}\n"
    else:
        wait_for(lambda: ledger.exists() and "tidy" in ledger.read_text())
        wait_for(no_threads)


@pytest.mark.parametrize("backend", marked(CAN_STOP, SAMPLED), indirect=True)
def test_what_will_not_be_stopped(backend: str) -> None:
    """A job that swallows everything: its process is killed; a task is told as still running, and keeps its slot."""
    began = time.monotonic()
    outcomes = run("stubborn", [(4 if backend == "asyncio" else 60,)], backend, timeout=0.2, grace=0.3)
    assert (told(outcomes), outcomes[0].still_running) == (["timeout"], backend == "asyncio")
    assert outcomes[0].signal == (None if backend == "asyncio" else signal.SIGKILL)
    assert time.monotonic() - began < 20
    wait_for(no_threads)


def test_leaving_the_loop_stops_the_batch(backend: str, tmp_path: Path) -> None:
    """Nothing goes on that can be stopped, and nothing more begins."""
    ledger = tmp_path / "ledger"
    inputs = [(0.01, str(ledger))] + [(0.5 if backend not in CAN_STOP else 30, str(ledger))] * 9
    for outcome in run_batch(function("sleepy", backend), inputs, backend=backend, **fitting(backend, jobs=2)):
        assert outcome.status is Status.OK
        break
    wait_for(no_threads)
    assert ledger.read_text().count("end") <= 3


@pytest.mark.parametrize("jobs", [1, None])
def test_serial_tells_and_records_an_end_before_the_next_begins(
    jobs: int | None, tmp_path: Path, own_state: Path
) -> None:
    """Not when the next one has ended, too: a kill in that one would lose the first."""
    ledger = str(tmp_path / "ledger")
    options: dict[str, Any] = {} if jobs is None else {"jobs": jobs}
    results = run_batch(functions.noted, [(n, ledger) for n in range(5)], backend="serial", run_id=RUN, **options)
    for number, _ in enumerate(results, 1):
        assert len(lines(Path(ledger))) == number
        assert tally_of(own_state).counts == {Status.OK: number}


# -- what cannot travel --------------------------------------------------------------------------------------------------


def test_results_come_back_as_they_were(backend: str) -> None:
    """Equal, and of the same type; what people can read as JSON is kept so."""
    names = [*functions.TRAVELS, "nan"]
    outcomes = run("returns", names, backend, ordered=True)
    assert told(outcomes) == ["ok"] * len(names)
    for name, outcome in zip(names[:-1], outcomes[:-1], strict=True):
        expected = functions.TRAVELS[name]
        assert type(outcome.value) is type(expected)
        assert repr(outcome.value) == repr(expected)
        assert outcome.value is outcome.value
        assert outcome.input is name
    assert math.isnan(outcomes[-1].value)
    assert [one.result for one in outcomes if one.result and not is_pickle(one.result)] == [
        b'{"x":[1,null,2.5,true]}',
        b'"gr\xc3\xbcn"',
        b"null",
        b"-0.0",
    ]


def test_a_result_that_cannot_travel(backend: str) -> None:
    """Only that job fails, with the reason: whether it cannot be pickled, or not be made again."""
    outcomes = run("returns", ["lock", "unpacked", "none"], backend, ordered=True)
    assert told(outcomes) == ["failed", "failed", "ok"]
    assert "which cannot be pickled" in str(outcomes[0].error)
    assert "it returned an Unpacked, which cannot be pickled: Mine: cannot be built" in str(outcomes[1].error)


def test_results_as_json(backend: str) -> None:
    """What JSON cannot hold fails with what to do, keys that are no text too; ``repr`` and ``none`` keep something, or nothing."""
    names = ["tuple", "surrogate", "umlaut", "none"]
    assert values(run("returns", names, backend, result="json", ordered=True)) == [[1, 2], "\udc80", "gr\u00fcn", None]
    bad = ["set", "nan", "object", "bytes", "lambda", "path", "keys"]
    for outcome in run("returns", bad, backend, result="json"):
        assert (outcome.status, outcome.exit) == (Status.FAILED, 1)
        assert "--result repr" in str(outcome.error)
    assert [one.result for one in run("returns", bad, backend, result="none")] == [None] * 7
    for outcome in run("returns", bad, backend, result="repr"):
        assert outcome.value.startswith(repr(functions.returns(outcome.input)).split(" at ")[0])


def test_a_failure_is_loud(backend: str) -> None:
    """To ask for the value raises, from the very exception if it can be made again; ``check`` raises in the loop, and stops."""
    outcomes = run("ends", ["fine", "noted", "unmade", "exit 7"], backend, ordered=True)
    assert [one.ok for one in outcomes] == [True, False, False, False]
    with pytest.raises(JobFailedError, match=r"job 2 \(input 'noted'\): ValueError: why; a note of it") as caught:
        _ = outcomes[1].value
    assert repr(caught.value.__cause__) == "ValueError('why')"
    assert (caught.value.__cause__, outcomes[0].exception) == (outcomes[1].exception, None)
    assert "in ends" in "".join(traceback.format_exception(caught.value))
    unmade = outcomes[2].exception  # where Dask is imported, tblib can make it again
    assert isinstance(unmade, JobFailedError | functions.Unmade)
    assert "of two" in str(unmade)
    assert repr(outcomes[3].exception) == "SystemExit(7)"
    seen = []
    with pytest.raises(JobFailedError, match="input 'noted'"):
        for one in run_batch(
            function("ends", backend),
            ["fine", "noted", *["fine"] * 5000],
            backend=backend,
            check=True,
            ordered=True,
            **fitting(backend, jobs=2),
        ):
            seen.append(one.input)  # noqa: PERF401 - what came before the error is wanted
    assert seen == ["fine"]


def test_results_in_pickle_files(backend: str) -> None:
    """A file of the run, which only the user can read; what cannot be pickled is a failure of that job."""
    good, bad = run("returns", ["set", "lambda"], backend, result="pickle-file", ordered=True)
    path = Path(good.value["pickle_file"])
    assert pickle.loads(path.read_bytes()) == {1}
    assert path.stat().st_mode & 0o777 == 0o600
    assert (bad.status, bad.exit) == (Status.FAILED, 1)
    assert "cannot be pickled" in str(bad.error)


def test_inputs_that_cannot_travel(backend: str) -> None:
    """They end the batch with one line that says which, after what has begun."""
    with pytest.raises(InputError, match="cannot be pickled"):
        run("kind", [(threading.Lock(),)], backend)
    with pytest.raises(InputError, match="cannot be pickled"):
        run("kind", (one for one in [1, (threading.Lock(),)]), backend)


@pytest.mark.slow
def test_huge_arguments_and_results(backend: str) -> None:
    """Tens of megabytes, there and back."""
    size = 6_000_000
    assert values(run("size_of", ["x" * size, b"\x00" * size], backend, ordered=True)) == [size, size]
    (outcome,) = run("make", [size], backend)
    assert len(outcome.value) == size


# -- what jobs print -----------------------------------------------------------------------------------------------------


def test_what_jobs_print_is_kept_apart(backend: str) -> None:
    """stdout and stderr, job by job, also while several print at once; our own streams stay as they are."""
    before = sys.stdout, sys.stderr
    outcomes = run("say", range(20), backend, ordered=True, jobs=4)
    assert [one.stdout.data for one in outcomes] == [b"out %d\n" % n for n in range(20)]
    assert [one.stderr.data for one in outcomes] == [b"err %d\n" % n for n in range(20)]
    slowly = run("say_slowly", range(8), backend, ordered=True, jobs=4)
    assert [one.stdout.data for one in slowly] == [b"a %d\nb %d\nc %d\n" % (n, n, n) for n in range(8)]
    assert (sys.stdout, sys.stderr) == before


def test_what_jobs_print_is_passed_on(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    """When the outcome is taken, unless that is not wanted; whoever iterates prints as before."""
    for output in ("pass", "keep"):
        options = fitting(backend, jobs=1, ordered=True, output=output)
        for outcome in run_batch(function("say", backend), range(2), backend=backend, **options):
            print("ours", outcome.value)
    assert capfd.readouterr().out == "out 0\nours 0\nout 1\nours 1\nours 0\nours 1\n"


def test_much_is_in_a_file(backend: str) -> None:
    """Large output is kept whole, or cut at the cap; the next job of the slot begins anew."""
    large, small = run("say_much", [200_000, 3], backend, jobs=1, ordered=True)
    assert (large.stdout.size, len(large.stdout.read()), small.stdout.data) == (200_000, 200_000, b"yyy")
    assert large.stdout.path is not None
    (capped,) = run("say_much", [200_000], backend, output_cap="1k")
    assert (len(capped.stdout.data), capped.stdout.dropped) == (1024, 200_000 - 1024)


# -- workers -------------------------------------------------------------------------------------------------------------


def test_an_initializer_prepares_each_worker(backend: str) -> None:
    """Once in each, with its arguments, before any job."""
    functions.STATE.clear()
    found = values(run("prepared", range(6), backend, initializer=function("prepare", backend), initargs=[1, "two"]))
    assert all(given == [1, "two"] for given, _, _ in found)
    assert all(times <= (2 if backend == "threads" else 1) for _, times, _ in found)


def test_an_initializer_that_fails_ends_the_batch(backend: str) -> None:
    """With one line that says why."""
    with pytest.raises(ManyhandsError, match="the initializer failed: RuntimeError: cannot prepare"):
        run("double", range(5), backend, initializer=functions.refuse)


def test_a_batch_in_a_job(backend: str) -> None:
    """A job may run a batch of its own."""
    assert sorted(values(run("nested", [3, 4, 5], backend))) == [6, 12, 20]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there they are")
def test_interpreters_need_a_newer_python() -> None:
    """One line says which."""
    with pytest.raises(UsageError, match=r"backend=interpreters needs Python 3.14 or later; this is 3"):
        run_batch(functions.double, [1], backend="interpreters")


class OneInterpreter:
    """Stands for an interpreter of Python 3.14, with the calls of PEP 734: what crosses is pickled, as there."""

    def exec(self, code: str) -> None:
        exec(code, {})

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        function, args = pickle.loads(pickle.dumps((function, args)))
        return pickle.loads(pickle.dumps(function(*args)))

    def close(self) -> None:
        """Nothing to close."""


def test_what_is_done_in_an_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All but the interpreter itself, where Python has none yet."""
    from manyhands.backends.registry import open_backend
    from manyhands.backends.settings import FunctionSettings
    from manyhands.work.function import Call, encode

    if sys.version_info < (3, 14):
        stand_in = types.ModuleType("concurrent.interpreters")
        stand_in.create = OneInterpreter  # type: ignore[attr-defined]
        stand_in.__spec__ = ModuleSpec("concurrent.interpreters", None)
        monkeypatch.setitem(sys.modules, "concurrent.interpreters", stand_in)
    backend = open_backend(
        "interpreters",
        FunctionSettings(
            slots=1,
            outputs=tmp_path,
            token="t",
            environment={},
            workdir=tmp_path,
            call=Call.of(functions.say, type="object"),
        ),
    )
    before = sys.stdout, sys.stderr
    try:
        backend.start(Attempt(Job(1, b"", (encode(7),)), 1, ()))
        reports: list[Any] = []
        while len(reports) < 2:
            reports += backend.reports(10)
    finally:
        backend.close()
        sys.stdout, sys.stderr = before
    end = reports[1].ending
    assert (end.exit, end.result, end.stdout.data, end.stderr.data) == (0, b"7", b"out 7\n", b"err 7\n")


def test_function_backends_are_named_when_there_is_no_such() -> None:
    """The error names what exists; commands and functions have each their own."""
    with pytest.raises(UsageError, match="there is no such backend; choose one of processes, threads, asyncio"):
        run_batch(functions.double, [1], backend="celery-x")
    with pytest.raises(UsageError, match="it does not run functions"):
        run_batch(functions.double, [1], backend="commands")
    with pytest.raises(UsageError, match="it does not run commands"):
        run_batch("echo {}", ["a"], backend="threads")
    with pytest.raises(UsageError, match="awaits async functions, and functions:double is not one"):
        list(run_batch(functions.double, [1], backend="asyncio"))


# -- killed, stopped, resumed --------------------------------------------------------------------------------------------


def command(name: str, backend: str, ledger: Path, *more: str) -> list[str]:
    prefix = "a_" if backend == "asyncio" else ""
    queue = [*(f"--{name}={value}" for name, value in BROKER.items()), "--lease", "2"] if is_queue(backend) else []
    queue = ["--cluster", CLUSTER, "--lease", "4"] if backend == "dask" else queue
    call = f"functions:{name}" if is_queue(backend) else f"{HERE / 'functions.py'}:{prefix}{name}"
    inputs = ledger.parent / "inputs.jsonl"
    return [
        sys.executable,
        "-m",
        "manyhands",
        "batch.call",
        call,
        "--jsonl",
        str(inputs),
        "--backend",
        backend,
        "-j",
        "1" if backend == "serial" else "2",
        "--run-id",
        RUN,
        "--no-keep-order",
        *queue,
        *more,
    ]


def write_inputs(folder: Path, count: int, pause: float | None = None) -> Path:
    ledger = folder / "ledger"
    with open(folder / "inputs.jsonl", "w") as file:
        for number in range(count):
            given = {"x": number, "ledger": str(ledger)} | ({"pause": pause} if pause is not None else {})
            file.write(json.dumps(given) + "\n")
    return ledger


def finish(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=200)[1]
    finally:
        process.kill()


@contextmanager
def running(args: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program; killed and waited for, whatever happens meanwhile."""
    with start(args, environment, folder) as process:
        try:
            yield process
        finally:
            process.kill()


def start(args: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        args,
        env=environment,
        cwd=folder,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def tally_of(own_state: Path) -> Tally:
    with closing(Store(own_state).find(RUN).journal()) as journal:
        return journal.tally()


def lines(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def test_ctrl_c_ends_it_in_good_order(backend: str, environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """Nothing more begins, what runs is ended or waited for, all is recorded, the program dies by that signal, nothing is left."""
    ledger = write_inputs(tmp_path, 40, pause=0.3)
    with running(command("slow_and_noted", backend, ledger), environment, tmp_path) as process:
        wait_for(lambda: len(lines(ledger)) >= 3, 30)
        process.send_signal(signal.SIGINT)
        said = finish(process)
    assert process.returncode == -signal.SIGINT, said
    assert "stopped by SIGINT" in said
    noted = lines(ledger)
    assert with_tag(f"MH_RUN={RUN}") == []
    time.sleep(0.5)
    assert lines(ledger) == noted
    ended = sum(kind == "end" for kind, *_ in noted)
    tally = tally_of(own_state)
    assert ended - 2 <= tally.counts.get(Status.OK, 0) <= ended  # one may be stopped after its note, before its end
    assert ended < 40


@pytest.mark.parametrize(("backend", "times"), [("threads", 2), ("serial", 3)])
def test_more_ctrl_c_does_not_wait(
    backend: str, times: int, environment: dict[str, str], tmp_path: Path, own_state: Path
) -> None:
    """What cannot be stopped is left behind by the second one; what holds this very thread, by the third."""
    ledger = write_inputs(tmp_path, 5, pause=50)
    with running(command("slow_and_noted", backend, ledger), environment, tmp_path) as process:
        wait_for(lambda: lines(ledger), 30)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        said = finish(process)
    assert process.returncode == -signal.SIGINT, said
    assert tally_of(own_state).counts == {}


def test_who_only_shared_a_process_is_not_given_up(tmp_path: Path) -> None:
    """On gevent a death costs all that run: nobody knows which one it was, so retries decide."""
    inputs = [(1, 0, "kill", None, 0.3), (0, 0, "kill", str(tmp_path / "once"), 0.1)]
    for outcome in run_batch(functions.die_later, inputs, backend="gevent", jobs=2, retries=5, backoff=0):
        assert (outcome.status, outcome.attempt.number) == (Status.OK, 2)


def test_killed_and_resumed(backend: str, environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """kill -9 of the coordinator: what it ran dies with it, nothing that was recorded runs again, nothing is lost,
    and never two copies of a job at once."""
    ledger = write_inputs(tmp_path, 30, pause=0.1)
    args = command("slow_and_noted", backend, ledger)
    for kills in range(1, 3):
        with running(args, environment, tmp_path):
            wait_for(lambda wanted=6 * kills: len(lines(ledger)) >= wanted, 30)  # type: ignore[misc]
        wait_for(lambda: not with_tag(f"MH_RUN={RUN}"))
        noted = lines(ledger)
        time.sleep(0.3)
        assert lines(ledger) == noted
        args = [sys.executable, "-m", "manyhands", "batch.resume", RUN]
    process = start(args, environment, tmp_path)
    said = finish(process)
    assert process.returncode == 0, said
    runs: dict[str, list[tuple[float, float]]] = {}
    for kind, job, at, _ in lines(ledger):
        if kind == "begin":
            runs.setdefault(job, []).append((float(at), float("inf")))
        else:
            runs[job][-1] = (runs[job][-1][0], float(at))
    assert len(runs) == 30
    whole = [sum(end != float("inf") for _, end in spells) for spells in runs.values()]
    assert min(whole) == 1
    assert sum(whole) <= 30 + 2 * 2  # at most `jobs` attempts are repeated per kill
    for spells in runs.values():
        assert all(first[1] == float("inf") or first[1] <= second[0] for first, second in pairwise(spells))
    tally = tally_of(own_state)
    assert (tally.counts, tally.left) == ({Status.OK: 30}, 0)


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_kill_storms(backend: str, environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """Instant jobs, killed again and again: always onwards, and little is done twice."""
    count, kills = 20_000, 5
    ledger = write_inputs(tmp_path, count)
    args = command("noted", backend, ledger)
    for number in range(1, kills + 1):
        with running(args, environment, tmp_path):
            wait_for(lambda least=number * 800: ledger.exists() and len(ledger.read_bytes().split()) >= least, 40)  # type: ignore[misc]
        args = [sys.executable, "-m", "manyhands", "batch.resume", RUN]
    process = start(args, environment, tmp_path)
    said = finish(process)
    assert process.returncode == 0, said
    done = ledger.read_text().split()
    assert set(done) == {str(n) for n in range(count)}
    if backend == "processes":  # a worker remembers what had not reached the journal
        assert len(done) - count <= kills * 2
    tally = tally_of(own_state)
    assert (tally.counts, tally.left) == ({Status.OK: count}, 0)
