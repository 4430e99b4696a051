"""A run that another process carries out, told from its files; and what its commands print, as it grows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import wait_for
from manyhands.core.events import Began, Event, Finished, Printed, RunStarted, Summary, Warned
from manyhands.core.job import Status
from manyhands.core.limits import Limits
from manyhands.execution.begin import begin, go_on
from manyhands.execution.following import Follower
from manyhands.execution.growing_output import GrowingOutput
from manyhands.inputs.sources import Args
from manyhands.render.line_buffered import LineBuffered
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.work.plan import Plan, Stage
from manyhands.work.template import Template

pytestmark = pytest.mark.usefixtures("nothing_left")


def plan(command: str, inputs: list[str], **given: Any) -> Plan:
    limits = Limits(jobs=given.pop("jobs", 2), keep_order=False, retries=given.pop("retries", 0))
    return Plan(work=Template.parse(command), source=Args(inputs).spec(), workdir=os.getcwd(), limits=limits, **given)


@contextmanager
def carried_out(plan: Plan, store: Store) -> Iterator[Run]:
    """A run that is carried out, by a thread, which is waited for."""
    batch = begin(plan, store, run_id="r")
    thread = threading.Thread(target=lambda: [None for _ in batch.events(tick=0.05)])
    thread.start()
    try:
        yield batch.run
        thread.join(60)
    finally:
        batch.stop(signal.SIGTERM)
        thread.join(60)
    assert not thread.is_alive()


def looked(follower: Follower, until: Callable[[list[Event]], bool]) -> list[Event]:
    """All that is told until a condition holds."""
    found: list[Event] = []

    def look() -> bool:
        found.extend(follower.look())
        return until(found)

    wait_for(look)
    return found


def told(follower: Follower) -> list[Event]:
    """All that is told until it is over."""
    return looked(follower, lambda _: follower.over)


def finals(events: list[Event]) -> Counter[Status]:
    return Counter(one.outcome.status for one in events if isinstance(one, Finished) and one.outcome.final)


def test_it_tells_what_the_run_tells(own_state: Path) -> None:
    """Each end once, with what was printed; failures and retries; a summary that counts the same."""
    store = Store(own_state)
    command = "sh -c 'echo {}; sleep 0.02; test {} != 7'"
    with carried_out(plan(command, [str(n) for n in range(1, 41)]), store) as run:
        events = told(Follower(store, run, history=True))
    assert isinstance(events[0], RunStarted) and events[0].template == command
    assert finals(events) == {Status.OK: 39, Status.FAILED: 1}
    printed = {one.outcome.attempt.job.number: one.outcome.stdout.data for one in events if isinstance(one, Finished)}
    assert printed == {n: b"%d\n" % n for n in range(1, 41)}
    assert isinstance(events[-1], Summary)
    assert (events[-1].counts, events[-1].left, events[-1].total) == ({Status.OK: 39, Status.FAILED: 1}, 0, 40)


def test_what_was_before_is_only_counted(own_state: Path) -> None:
    store = Store(own_state)
    with carried_out(plan("true {}", ["a", "b"]), store) as run:
        pass
    events = told(Follower(store, run))
    assert finals(events) == {}
    assert isinstance(events[0], RunStarted) and events[0].done_before == 2
    assert isinstance(events[-1], Summary) and events[-1].counts == {Status.OK: 2}


def test_what_runs_is_told_once_and_its_end_too(own_state: Path, tmp_path: Path) -> None:
    """With its process, its slot, and its command."""
    store, gate = Store(own_state), tmp_path / "gate"
    waiting = plan(f"sh -c 'until test -e {gate}; do sleep 0.02; done'", ["a", "b", "c"])
    with carried_out(waiting, store) as run:
        follower = Follower(store, run)
        events = looked(follower, lambda events: sum(isinstance(one, Began) for one in events) == 2)
        began = [one for one in events if isinstance(one, Began)]
        assert all(os.path.exists(f"/proc/{one.pid}") for one in began)
        assert {one.slot for one in began} == {1, 2}
        assert began[0].attempt.argv[0] == b"sh"
        gate.touch()
        events += looked(follower, lambda _: follower.over)
    assert len({one.attempt.job.number for one in events if isinstance(one, Began)}) == sum(
        isinstance(one, Began) for one in events
    )
    assert finals(events) == {Status.OK: 3}


def test_stages(own_state: Path) -> None:
    """What goes on to the next stage is not final."""
    store = Store(own_state)
    two = plan("echo {}", ["a", "b"], then=(Stage(work=Template.parse("test {} = a"), backend="commands", jobs=1),))
    with carried_out(two, store) as run:
        events = told(Follower(store, run, history=True))
    assert finals(events) == {Status.OK: 1, Status.FAILED: 1}
    assert {one.stage for one in events if isinstance(one, Finished)} == {1, 2}


def test_a_run_that_was_killed(own_state: Path) -> None:
    """It is over, unfinished, and nobody says that it went well."""
    script = (
        "import sys; from pathlib import Path; from manyhands.execution.begin import begin;"
        "from execution.test_following import plan; from manyhands.storage.runs import Store;"
        "[None for _ in begin(plan('sleep {}', ['0', '1000']), Store(Path(sys.argv[1])), run_id='r').events()]"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(own_state)], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    store = Store(own_state)
    wait_for(lambda: (own_state / "runs" / "r" / "standing.json").exists())
    run = store.find("r")
    follower = Follower(store, run)
    list(follower.look())
    process.kill()
    process.wait()
    events = looked(follower, lambda _: follower.over)
    assert any(isinstance(one, Warned) and "without bringing it to an end" in one.text for one in events)
    assert isinstance(events[-1], Summary) and events[-1].not_run == 1
    for _ in go_on(run, os.environ, "failed").events():  # ends what is left of it
        pass


class Gathered:
    """A renderer that keeps what each job prints."""

    def __init__(self) -> None:
        self.out: defaultdict[int, bytes] = defaultdict(bytes)
        self.pieces: Counter[int] = Counter()
        self.ends = 0

    def event(self, event: Event) -> None:
        if isinstance(event, Printed):
            self.out[event.attempt.job.number] += event.stdout.read()
            self.pieces[event.attempt.job.number] += 1
        elif isinstance(event, Finished):
            assert event.outcome.stdout.size == 0
            self.ends += 1

    def running(self) -> list[str]:
        return []

    def pause(self, paused: bool) -> None: ...

    def close(self) -> None: ...


def test_growing_output_is_whole_and_nobody_elses(own_state: Path) -> None:
    """Hundreds of commands after one another in two slots, looked at all the time: each has printed exactly its own."""
    store, gathered, moment = Store(own_state), Gathered(), iter(range(1 << 40))
    command = "sh -c 'for i in 1 2 3 4 5; do echo {} $i; done; printf {}'"
    batch = begin(plan(command, [str(n) for n in range(300)]), store, run_id="r")
    shown = LineBuffered(gathered, GrowingOutput([batch.run.outputs]), clock=lambda: next(moment))
    for event in batch.events():
        shown.event(event)
    assert gathered.ends == 300
    wanted = {n: b"".join(b"%d %d\n" % (n - 1, i) for i in range(1, 6)) + b"%d" % (n - 1) for n in range(1, 301)}
    assert gathered.out == wanted


def test_lines_are_told_while_the_command_runs(own_state: Path, tmp_path: Path) -> None:
    """A line is told before its command ends; one that has not ended is not torn."""
    store, gathered, gate = Store(own_state), Gathered(), tmp_path / "gate"
    script = tmp_path / "script"
    script.write_text(f"echo whole; printf half; until test -e {gate}; do sleep 0.02; done; echo -end\n")
    command = f"sh {script}"
    batch = begin(plan(command, ["x"]), store, run_id="r")
    shown = LineBuffered(gathered, GrowingOutput([batch.run.outputs]))
    for event in batch.events(tick=0.02):
        shown.event(event)
        if gathered.out[1]:
            assert gathered.out[1] == b"whole\n" or gate.exists()
            gate.touch()
    assert gathered.out[1] == b"whole\nhalf-end\n"
    assert not is_busy(batch.run)
