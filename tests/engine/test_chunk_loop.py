"""`map_batch`: a function over very many inputs, for what it returns, without records."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functions
from conftest import LIB, Cli, children, wait_for, with_tag
from manyhands import InputError, JobFailedError, UsageError, map_batch
from manyhands.engine import chunk_loop
from manyhands.work.chunks import LARGE, pack, unpack

PACKAGES = st.lists(st.integers() | st.text() | st.binary() | st.lists(st.integers(0, 255)).map(bytearray))


# -- how chunks travel ---------------------------------------------------------------------------------------------------


@given(PACKAGES)
def test_what_is_packed_is_unpacked(items: list[object]) -> None:
    """Small inputs go and come back equal, without a file."""
    packed = pack(items)
    assert packed.file == -1
    assert unpack(packed.values) == items


def test_large_inputs_lie_in_a_private_file_in_memory() -> None:
    """Arrays are mapped, and may be written to without anybody else seeing it."""
    items = [np.arange(100_000), b"x" * LARGE, np.zeros((30, 40)), "text"]
    packed = pack(items)
    try:
        assert packed.file >= 0
        first, second = unpack(packed.values), unpack(packed.values)
        first[0][:] = 7
        for array in (items[0], second[0]):
            assert np.array_equal(array, np.arange(100_000))  # type: ignore[arg-type]
        assert (second[1], second[2].shape, second[3]) == (items[1], (30, 40), "text")
    finally:
        os.close(packed.file)


# -- what comes back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 1, 7, 5000])
def test_results_come_in_order(chunk: int | None, nothing_left: None) -> None:
    """Whatever the size of the chunks."""
    assert list(map_batch(functions.double, range(3000), jobs=2, chunk=chunk)) == [2 * n for n in range(3000)]


def test_results_may_come_as_they_end(nothing_left: None) -> None:
    """What is quick does not wait for what is slow."""
    found = list(map_batch(time.sleep, [0.6, *[0.0] * 20], jobs=2, chunk=1, ordered=False))
    assert found == [None] * 21
    assert sorted(map_batch(functions.double, range(500), jobs=2, ordered=False)) == [2 * n for n in range(500)]


def test_tuples_and_dicts_give_arguments(nothing_left: None) -> None:
    """As `run_batch` has it; a list is one argument; and all of them may be mixed."""
    found = list(map_batch(functions.describe, [(1, 2), {"a": 3}, [4, 5], 6], jobs=1))
    assert found == [[[1, 2], {}], [[], {"a": 3}], [[[4, 5]], {}], [[6], {}]]


def test_async_functions_are_awaited(nothing_left: None) -> None:
    """In a loop of their own, as everywhere."""
    assert list(map_batch(functions.a_triple, range(10), jobs=2)) == [3 * n for n in range(10)]


def test_nothing_gives_nothing(nothing_left: None) -> None:
    """No inputs, no results, no error: a program may have none."""
    assert list(map_batch(functions.double, [], jobs=2)) == []


def test_inputs_are_pulled_as_they_are_needed(nothing_left: None) -> None:
    """An endless iterator will do, and the one who leaves early leaves nothing behind."""
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        while True:
            yield pulled
            pulled += 1

    results = map_batch(functions.double, endless(), jobs=2, chunk=10)
    assert [next(results) for _ in range(100)] == [2 * n for n in range(100)]
    assert pulled < 100 + 10 * 2 * 64 + 10
    del results


def test_what_is_ahead_of_a_slow_one_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing_left: None
) -> None:
    """In results, however short the jobs are; the chunks alone would allow for three times as many here."""
    monkeypatch.setattr(chunk_loop, "_MOST_RESULTS", 1000)
    gate, pulled = tmp_path / "gate", 0

    def inputs() -> Iterator[tuple[int, str]]:
        nonlocal pulled
        for number in range(10_000):
            yield number, str(gate)
            pulled += 1

    def open_when_it_rests() -> None:
        before = -1
        while pulled < 1900 or pulled != before:
            before = pulled
            time.sleep(0.3)
        gate.write_text(str(pulled))

    opener = threading.Thread(target=open_when_it_rests)
    opener.start()
    results = map_batch(functions.waits_if_first, inputs(), jobs=2, chunk=50)
    assert [next(results) for _ in range(10)] == [*range(10)]
    opener.join()
    assert int(gate.read_text()) < 2400
    results.close()


def test_an_initializer_prepares_every_worker(nothing_left: None) -> None:
    """As for `run_batch`."""
    assert list(map_batch(functions.state_plus, [1, 2], jobs=2, initializer=functions.set_base, initargs=[40])) == [
        41,
        42,
    ]


def test_arrays_arrive_writable(nothing_left: None) -> None:
    """Small and large; the caller's own are not touched."""
    arrays = [np.ones(10), np.ones(200_000)]
    assert list(map_batch(functions.changed, arrays, jobs=2)) == [10.0, 200_000.0]
    assert all(float(array.sum()) == len(array) for array in arrays)


def test_what_jobs_print_is_passed_on(capfd: pytest.CaptureFixture[str], nothing_left: None) -> None:
    """In the order of the inputs, each stream to its own."""
    list(map_batch(functions.prints, range(5), jobs=2, chunk=2))
    told = capfd.readouterr()
    assert told.out == "".join(f"printed {n}\n" for n in range(5))
    assert told.err == "".join(f"complained {n}\n" for n in range(5))


# -- what goes wrong -----------------------------------------------------------------------------------------------------


def test_a_failure_is_raised_at_its_place(nothing_left: None) -> None:
    """After the results before it, with its input, its message and its traceback."""
    found: list[int] = []
    with pytest.raises(JobFailedError, match=r"^job 4 \(input 3\): KeyError: 'no 3'\nIn the job:\n") as told:
        found.extend(map_batch(functions.odd_fails, [0, 2, 4, 3, 6], jobs=1, chunk=5))
    assert found == [0, 2, 4]
    assert (told.value.number, told.value.given) == (4, 3)
    assert "odd_fails" in str(told.value.traceback)
    assert repr(told.value.__cause__) == "KeyError('no 3')"
    assert "chunks.py" not in str(told.value.traceback)


def test_failures_may_be_returned(nothing_left: None) -> None:
    """Each in the place of its result; the others are not hurt."""
    found = list(map_batch(functions.odd_fails, range(6), jobs=2, chunk=3, return_exceptions=True))
    assert [type(one).__name__ if isinstance(one, Exception) else one for one in found] == [
        0,
        "JobFailedError",
        2,
        "JobFailedError",
        4,
        "JobFailedError",
    ]


def test_a_worker_that_dies_costs_nothing(tmp_path: Path, nothing_left: None) -> None:
    """Its chunk is done again, one by one."""
    work = partial(functions.dies_once, ledger=str(tmp_path / "died"))
    assert list(map_batch(work, range(100), jobs=2, chunk=10)) == list(range(100))


def test_a_job_that_kills_is_given_up_alone(nothing_left: None) -> None:
    """Every other one of its chunk is done."""
    work = partial(functions.dies_of, victim=13)
    found = list(map_batch(work, range(40), jobs=2, chunk=20, return_exceptions=True))
    assert [one for one in found if not isinstance(one, Exception)] == [n for n in range(40) if n != 13]
    assert "it has killed 2 workers" in str(found[13])
    assert "SIGKILL" in str(found[13])


def test_a_result_that_cannot_travel_fails_alone(nothing_left: None) -> None:
    """And says which type it was."""
    found = list(map_batch(functions.unpicklable, range(6), jobs=1, chunk=6, return_exceptions=True))
    assert [*found[:3], *found[4:]] == [0, 1, 2, 4, 5]
    assert "it returned a lock, which cannot be pickled" in str(found[3])


def test_an_input_that_cannot_travel_is_refused(nothing_left: None) -> None:
    """By name; and nothing stays behind."""
    with pytest.raises(InputError, match=r"the input <function .* cannot be pickled"):
        list(map_batch(functions.double, [1, 2, lambda: 1], jobs=2, chunk=3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunk": 0}, "chunk=0"),
        ({"start_method": "fork"}, "fork"),
        ({"jobs": "x"}, "jobs='x'"),
        ({"jobs": "auto"}, "jobs='auto'"),
    ],
)
def test_mistakes_are_told_before_anything_is_run(options: dict[str, object], said: str) -> None:
    """As everywhere."""
    with pytest.raises(UsageError, match=said):
        map_batch(functions.double, [1], **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whoever_ends_the_program_ends_its_workers(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    """Whatever the signal: no process stays, nor the folder of what was printed."""
    script = tmp_path / "script.py"
    script.write_text(
        "import functions\nfrom manyhands import map_batch\n"
        "if __name__ == '__main__':\n    list(map_batch(functions.sleepy, [60.0] * 4, jobs=2))\n"
    )
    # not below tmp_path: multiprocessing has a socket there, whose path may have 107 bytes (unix(7))
    with tempfile.TemporaryDirectory(prefix="m") as tmp:
        env = environment | {"PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{LIB}", "TMPDIR": tmp}
        program = subprocess.Popen([sys.executable, str(script)], env=env, start_new_session=True)
        marked = f"TMPDIR={tmp}"

        def ours() -> list[int]:
            return [one.pid for one in with_tag(marked) if one.pid != program.pid]

        try:
            wait_for(lambda: len(ours()) >= 4, 60)
            time.sleep(0.2)
            program.send_signal(number)
            program.wait(60)
            wait_for(lambda: not ours(), 60)
            wait_for(lambda: not list(Path(tmp).glob("manyhands-*")), 60)
        finally:
            program.kill()
            program.wait()


# -- at the command line -------------------------------------------------------------------------------------------------


def test_a_function_as_a_filter(cli: Cli, tmp_path: Path) -> None:
    """Numbers in, results out, and nothing is kept."""
    done = cli("batch.call", "math:factorial", "--type", "int", "--no-journal", input="1\n5\n3\n")
    assert (done.returncode, done.stdout) == (0, "1\n120\n6\n")
    assert done.stderr.startswith("3 jobs: 3 ok in ")
    assert "batch.retry" not in done.stderr
    assert cli("batch.list").stderr == "there are no runs yet\n"


def test_a_filter_behind_a_slow_producer(environment: dict[str, str], tmp_path: Path) -> None:
    """Each result comes when its input has: the producer waits for it before it goes on."""
    command = [
        sys.executable,
        "-m",
        "manyhands",
        "batch.call",
        "math:factorial",
        "--type",
        "int",
        "--no-journal",
        "--quiet",
    ]
    pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment, "cwd": tmp_path}
    with subprocess.Popen(command, **pipe) as program:
        assert program.stdin and program.stdout
        for number, result in ((1, b"1\n"), (5, b"120\n"), (3, b"6\n")):
            program.stdin.write(b"%d\n" % number)
            program.stdin.flush()
            assert program.stdout.readline() == result
        program.stdin.close()
        assert program.wait(60) == 0


@pytest.mark.parametrize("pull", ["thread", "caller"])
def test_inputs_may_depend_on_results(pull: Any, nothing_left: None) -> None:
    """An iterator that waits for a result gets it, however large the chunks have become."""
    results: queue.Queue[int] = queue.Queue()

    def inputs() -> Iterator[int]:
        yield from range(2000)
        for number in range(3):
            if pull == "thread":
                assert results.get(timeout=60) == 2 * (1999 + number)
            yield 2000 + number

    found = []
    for value in map_batch(functions.double, inputs(), jobs=2, pull=pull):
        found.append(value)
        if value >= 2 * 1999:
            results.put(value)
    assert found == [2 * number for number in range(2003)]


def test_an_error_of_the_inputs_comes_after_the_results_before_it(nothing_left: None) -> None:
    """Whatever an iterator raises: what it gave before is done and given."""

    def inputs() -> Iterator[int]:
        yield from range(100)
        raise ZeroDivisionError("mine")

    for pull in ("thread", "caller"):
        found: list[int] = []
        with pytest.raises(ZeroDivisionError, match="mine"):
            found.extend(map_batch(functions.double, inputs(), jobs=2, chunk=7, pull=pull))
        assert found == [2 * number for number in range(100)]


def test_failures_are_told_and_counted(cli: Cli) -> None:
    """The traceback once, and exit 1."""
    done = cli("batch.call", "math:factorial", "--type", "int", "--no-journal", "--", "1", "-2", "3", "-4")
    assert (done.returncode, done.stdout) == (1, "1\n6\n")
    assert done.stderr.count("failed: ValueError: factorial() not defined for negative values: math:factorial -") == 2
    assert done.stderr.count("Traceback") <= 1
    assert "4 jobs: 2 ok, 2 failed in" in done.stderr


def test_json_lines_tell_everything(cli: Cli) -> None:
    """One object for each input, in order, also for what failed."""
    import json

    done = cli("batch.call", "math:factorial", "--type", "int", "--no-journal", "--json", "--", "3", "-1", "x")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["job"], line["status"], line.get("result")) for line in lines] == [
        (1, "ok", 6),
        (2, "failed", None),
        (3, "failed", None),
    ]
    assert "not of type int" in lines[2]["error"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--retries", "1"], "--retries needs the journal"),
        (["--timeout", "3"], "--timeout needs the journal"),
        (["--run-id", "x"], "--run-id needs the journal"),
        (["--backend", "threads"], "--backend needs the journal"),
        (["--then", "math:sqrt"], "--then needs the journal"),
        (["--result", "repr"], "choose --result json or none, not repr"),
        (["--chunk", "-1"], "--chunk -1"),
        (["--jobs", "auto"], "--jobs auto needs"),
        (["--max-jobs-per-worker", "5"], "--max-jobs-per-worker needs"),
    ],
)
def test_what_needs_the_journal_is_refused(cli: Cli, options: list[str], said: str) -> None:
    """One line, exit 2."""
    done = cli("batch.call", "math:factorial", "--type", "int", "--no-journal", *options, "--", "1")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_inputs_and_wrong_arguments_are_refused(cli: Cli) -> None:
    """As with a journal."""
    assert cli("batch.call", "math:factorial", "--no-journal", input="").returncode == 0
    assert cli("batch.call", "math:factorial", "--no-journal", "--fail-if-empty", input="").returncode == 2
    done = cli("batch.call", "json:dump", "--no-journal", "--", "1")
    assert done.returncode == 2
    assert "missing a required argument: 'fp'" in done.stderr
    assert not children()
