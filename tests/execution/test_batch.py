"""The library does all that the tasks do: run, stop, resume, retry; nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import LIB, wait_for, with_tag
from manyhands import Glob, Outcome, Status, Template, UsageError, run_batch
from manyhands.backends.protocol import Backend
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.core.events import Counted, Finished, RunStarted, Summary
from manyhands.core.job import Attempt, Job
from manyhands.core.limits import Backoff, Limits
from manyhands.execution.batch import Batch
from manyhands.inputs.sources import Spec
from manyhands.posix import linux
from manyhands.storage.runs import Store
from manyhands.work.plan import Plan

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_the_example_of_the_package(tmp_path: Path) -> None:
    """The first lines of the package's own documentation."""
    import gzip

    paths = [tmp_path / "a b.log", tmp_path / "c.log"]
    for path in paths:
        path.write_text(path.name)
    for outcome in run_batch("gzip -9 -k {}", [str(path) for path in paths], jobs=4, timeout=60, retries=2):
        assert (outcome.status, outcome.exit) == (Status.OK, 0)
        assert outcome.attempt.job.values[0].endswith(b".log")
    assert gzip.decompress((tmp_path / "a b.log.gz").read_bytes()) == b"a b.log"


def test_inputs_of_every_kind(tmp_path: Path) -> None:
    """Lists, mappings, rows, iterators, sources; outcomes in order when asked for."""

    def out(template: object, inputs: object) -> list[bytes]:
        return [one.stdout.data for one in run_batch(template, inputs, ordered=True)]  # type: ignore[call-overload]

    (tmp_path / "x.txt").touch()
    assert out("echo {}", ["a", b"b \xff"]) == [b"a\n", b"b \xff\n"]
    assert out(["echo", "{x}-{y}"], [{"x": "1", "y": "2"}]) == [b"1-2\n"]
    assert out("echo {2} {1}", [("a", "b")]) == [b"b a\n"]
    assert out(Template.parse("echo {}"), (str(n) for n in range(3))) == [b"0\n", b"1\n", b"2\n"]
    assert out("echo {/}", Glob([str(tmp_path / "*.txt")])) == [b"x.txt\n"]
    assert out("echo {}-{#}", ["a"]) == [b"a-1\n"]


def test_a_shell_line_only_when_asked_for() -> None:
    """With shell=True every input is one word of it."""
    (outcome,) = run_batch("echo {} | tr a-z A-Z", ["a; echo b"], shell=True)
    assert outcome.stdout.data == b"A; ECHO B\n"
    with pytest.raises(UsageError, match="shell=True"):
        run_batch("echo {} | wc", ["a"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"jobs": -99}, "jobs=-99"),
        ({"timeout": "x"}, "timeout='x'"),
        ({"retries": -1}, "retries=-1"),
        ({"halt": "x"}, "halt='x'"),
        ({"backend": "x"}, "no such backend"),
        ({"run_id": "a/b"}, "run_id='a/b'"),
        ({"output_cap": "x"}, "output_cap"),
    ],
)
def test_arguments_that_cannot_be_meant(arguments: dict[str, object], reason: str, own_state: Path) -> None:
    """They are refused before anything is made or run."""
    with pytest.raises(UsageError, match=reason):
        run_batch("true", ["a"], **arguments)  # type: ignore[call-overload]
    assert not own_state.exists()


@pytest.mark.parametrize("then", [[], ["true"]])
def test_no_inputs_are_an_empty_result(then: list[str], own_state: Path) -> None:
    """Of a list, of an iterator, of functions too; they leave nothing behind, and are a mistake only if that is asked for."""
    nothing: tuple[Iterable[str], ...] = ([], iter(()))
    for inputs in nothing:
        results = run_batch("true", inputs, then=then)
        assert list(results) == []
        assert results.summary is not None
        assert (results.summary.jobs, results.summary.not_run) == (0, 0)
    assert list(run_batch(len, [], backend="threads")) == []
    with pytest.raises(UsageError, match="no inputs"):
        list(run_batch("true", [], then=then, fail_if_empty=True))
    assert list((own_state / "runs").iterdir()) == []


def test_several_inputs_in_one_job_of_a_program(own_state: Path) -> None:
    """Of commands and of functions, which are given a list of what was given; a run keeps its groups."""
    commands = run_batch(["echo", "{}", "{#}"], ["a", "b c", "d"], max_args=2, ordered=True, run_id="r")
    assert [one.stdout.data for one in commands] == [b"a b c 1\n", b"d 2\n"]
    again = run_batch(["echo", "{}", "{#}"], iter(["d", "e", "b c", "a", "f", "g"]), max_args=2, ordered=True, run_id="r")
    assert [one.stdout.data for one in again] == [b"e f 3\n", b"g 4\n"]
    assert (again.summary and again.summary.total) == 4
    given: list[Any] = [1, "x", (2, 3), {"k": [4]}, b"5", None, [6]]
    sent = [one.value for one in run_batch(repr, given, max_args=4, ordered=True, backend="threads")]
    assert sent == [repr(given[:4]), repr(given[4:])]
    with pytest.raises(UsageError, match="max_args=0"):
        run_batch("true", ["a"], max_args=0)
    assert Plan.from_json(Store(own_state).find("r").record, {}).max_args == 2


def test_inputs_that_are_commands() -> None:
    """Each is one, and is refused before anything runs if it is none."""
    ends = run_batch(Template.each_line(), ["echo {} a", "sh -c 'exit 4'"], ordered=True)
    assert [(one.exit, one.stdout.data) for one in ends] == [(0, b"{} a\n"), (4, b"")]
    with pytest.raises(UsageError, match="needs a shell"):
        run_batch(Template.each_line(), ["echo a", "ls | wc"])


def test_no_new_inputs_of_a_run_that_exists() -> None:
    """Inputs that are all known are not none."""
    list(run_batch("true", ["a"], run_id="r"))
    assert list(run_batch("true", ["a"], run_id="r", fail_if_empty=True)) == []
    with pytest.raises(UsageError, match="no inputs"):
        list(run_batch("true", [], run_id="r", fail_if_empty=True))


def test_leaving_the_loop_stops_what_runs() -> None:
    """Nothing goes on behind the back of whoever left, and the run can be resumed."""
    results = run_batch("sleep {}", ["0", "60", "60"], jobs=3)
    for outcome in results:
        assert outcome.status is Status.OK
        break
    store = Store(Path(os.environ["XDG_STATE_HOME"]) / "manyhands")
    run = store.find(results.run_id)
    wait_for(lambda: not with_tag(f"MH_RUN={run.id}"))
    with closing(run.journal()) as journal:
        assert sorted(values.values for values, _ in journal.left()) == [(b"60",), (b"60",)]


def test_the_summary_tells_what_it_came_to() -> None:
    """Counts, times, and the id under which the run can be looked at."""
    results = run_batch("sh -c 'exit {}'", ["0", "3", "0"])
    assert results.summary is None
    outcomes = list(results)
    assert len(outcomes) == 3
    assert results.summary is not None
    assert results.summary.counts == {Status.OK: 2, Status.FAILED: 1}
    assert results.summary.jobs == 3
    assert results.summary.run == results.run_id


def test_a_run_is_gone_on_with_by_its_id(tmp_path: Path) -> None:
    """The same id and command do only what is new."""
    script = f"sh -c 'echo {{}} >> {tmp_path}/ledger'"
    list(run_batch(script, ["a", "b"], run_id="mine"))
    again = run_batch(script, ["b", "c", "a"], run_id="mine")
    assert [one.attempt.job.values for one in again] == [(b"c",)]
    assert sorted((tmp_path / "ledger").read_text().split()) == ["a", "b", "c"]
    assert again.summary is not None
    assert again.summary.jobs == 3
    with pytest.raises(UsageError, match="another command"):
        run_batch("echo {}", ["a"], run_id="mine")


def test_a_resumed_run_keeps_its_rule_for_retries(own_state: Path) -> None:
    """What is tried again, and after which waits, is part of the run."""
    work = "sh -c 'exit {}'"
    list(run_batch(work, ["0"], run_id="r", retries=2, retry_on=[75, "timeout"], backoff="0,max=1,jitter=10%"))
    run = Store(own_state).find("r")
    kept = Plan.from_json(run.record, {}).limits
    assert (str(kept.retry_on), kept.backoff) == ("75,timeout", Backoff(0.0, cap=1.0, jitter=0.1))
    with closing(run.journal()) as journal:
        journal.began(Attempt(Job(2, b"k", (b"75",)), 1, ()))
        journal.began(Attempt(Job(3, b"l", (b"3",)), 1, ()))
        journal.commit()
    batch = Batch.resume(run, os.environ)
    ends = [e.outcome for e in batch.events() if isinstance(e, Finished) and e.outcome.final]
    assert sorted((o.exit, o.attempt.number) for o in ends) == [(3, 2), (75, 4)]


def test_what_never_began_is_missing_after_a_retry(own_state: Path) -> None:
    """What failed is done again, and the inputs that a halt rule kept from beginning are still counted as not run."""
    list(run_batch("false", ["a", "b", "c"], jobs=1, halt="soon,fail=1", run_id="r"))
    run = Store(own_state).get("r")
    assert run
    batch = Batch.retry(run, os.environ)
    with closing(batch.events()) as events:
        assert not [one for one in events if isinstance(one, Counted)]
    assert batch.summary
    assert (batch.summary.total, batch.summary.not_run) == (3, 2)


def test_inputs_that_were_cut_off_are_not_counted(own_state: Path) -> None:
    """How many there would have been is not known, so that no number is told, neither at the beginning nor at the end."""
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\n")
    os.close(writing)
    source: Spec = {"kind": "lines", "path": "-", "null": False, "separator": None}
    plan = Plan(work=Template.parse("true {}"), source=source, workdir=os.getcwd(), streamed=True, limits=Limits(jobs=1))
    first = Batch.start(plan, Store(own_state), stream=reading)
    list(first.events())
    os.close(reading)
    (first.run.path / "inputs").rename(first.run.path / "inputs.part")
    (first.run.path / "inputs.sum").unlink()
    batch = Batch.resume(first.run, os.environ)
    events = list(batch.events())
    assert [one.total for one in events if isinstance(one, RunStarted | Counted | Summary)] == [None, None]
    assert batch.summary
    assert (batch.summary.unread, batch.summary.not_run, batch.summary.jobs) == (True, None, 2)


def test_a_batch_can_be_stopped_from_another_thread() -> None:
    """What runs is cancelled, and the signal is sent on when all is recorded."""
    results = run_batch("sleep {}", ["60"] * 4, jobs=2)
    seen: list[Outcome] = []
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    timer = threading.Timer(0.5, results._batch.stop, (signal.SIGTERM,))
    timer.start()
    try:
        seen += results
    finally:
        signal.signal(signal.SIGTERM, before)
        timer.join()
    assert {one.status for one in seen} == {Status.CANCELLED}
    assert got == [signal.SIGTERM]


def test_in_a_thread_no_signal_handler_is_touched() -> None:
    """A batch in another thread than the main one works, and leaves signals alone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.extend(run_batch("true", ["a", "b"])))
    thread.start()
    thread.join()
    assert [one.status for one in found] == [Status.OK] * 2
    assert before == {number: signal.getsignal(number) for number in before}


def test_ctrl_c_in_a_program_is_a_keyboard_interrupt(tmp_path: Path) -> None:
    """After everything has been stopped and recorded, Python's own handler has its say."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom manyhands import run_batch\n"
        "try:\n for one in run_batch('sleep {}', ['60', '60']): print(one.status)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(LIB)], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: sum(one.pid != process.pid for one in linux.descendants([process.pid])) >= 4, 60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines() == ["cancelled", "cancelled", "interrupted"]
    assert process.returncode == 0


def test_memory_does_not_grow_with_the_inputs() -> None:
    """An endless iterator of inputs is pulled no faster than it is worked off."""
    pulled = 0

    def endless() -> Iterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield str(pulled)

    for number, _ in enumerate(run_batch("true", endless(), jobs=2, backend="fake")):
        if number == 1000:
            break
    assert pulled < 1500


def test_the_journal_of_a_new_run_is_checked_out_by_its_owner_only() -> None:
    """While a batch runs, nobody else can take it; afterwards it is free."""
    results = run_batch("true", ["a"])
    store = Store(Path(os.environ["XDG_STATE_HOME"]) / "manyhands")
    run = store.find(results.run_id)
    with pytest.raises(Exception, match="being worked on"):
        Batch.resume(run, os.environ)
    list(results)
    again = Batch.resume(run, os.environ)
    assert [type(event).__name__ for event in again.events()][-1] == "Summary"


def test_secrets_are_not_written_down(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a variable that looks like a secret reaches the command, but no file of the run."""
    results = run_batch(
        "sh -c '[ -n \"$API_TOKEN\" ] && exit {}'", ["0", "1"], env={"API_TOKEN": "hunter2", "PLAIN": "x"}
    )
    assert {one.status for one in results} == {Status.OK, Status.FAILED}
    for path in own_state.rglob("*"):
        assert not path.is_file() or path.name == "journal.db" or b"hunter2" not in path.read_bytes()
    run = Store(own_state).find(results.run_id)
    assert run.record["environment"] == {"API_TOKEN": None, "PLAIN": "x"}
    monkeypatch.delenv("API_TOKEN", raising=False)
    with pytest.raises(UsageError, match="API_TOKEN"):
        Batch.retry(run, os.environ)


@pytest.mark.parametrize(("inputs", "width"), [(["a"], 1), (["a", "b", "c"], 3), (list("abcdefgh"), 4), (iter("a"), 4)])
def test_nothing_is_started_for_jobs_that_do_not_exist(
    monkeypatch: pytest.MonkeyPatch, inputs: list[str], width: int
) -> None:
    """There are no more slots, and so no more launchers, than inputs; where those are not counted, as many as were wanted."""
    from manyhands.execution import run_backend

    opened: list[int] = []

    def note(name: str, settings: CommandSettings) -> Backend:
        opened.append(settings.slots)
        return open_backend(name, settings)

    monkeypatch.setattr(run_backend, "open_backend", note)
    assert all(outcome.status is Status.OK for outcome in run_batch("true {}", inputs, jobs=4))
    assert opened == [width]


@pytest.mark.parametrize("piped", [False, True])
def test_a_long_list_is_counted_while_it_runs(own_state: Path, tmp_path: Path, piped: bool) -> None:
    """Long before all of it is read: a file, and a pipe that has ended. Who stops the run learns how many were not run."""
    (tmp_path / "list").write_bytes(b"30\n" * 5000)
    path = "-" if piped else str(tmp_path / "list")
    source: Spec = {"kind": "lines", "path": path, "null": False, "separator": None}
    plan = Plan(
        work=Template.parse("sleep {}"), source=source, workdir=os.getcwd(), streamed=piped, limits=Limits(jobs=1)
    )
    stream = os.open(tmp_path / "list", os.O_RDONLY)
    batch = Batch.start(plan, Store(own_state), stream=stream if piped else None)
    for event in batch.events():
        if isinstance(event, Counted):
            assert event.total == 5000
            batch.stop(signal.SIGTERM)
    os.close(stream)
    assert batch.summary
    assert (batch.summary.total, batch.summary.not_run) == (5000, 5000)
