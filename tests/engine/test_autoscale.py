"""``--jobs auto`` and ``--backend auto``: what is measured decides, and is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import functions
from conftest import Cli
from manyhands import Status, run_batch
from manyhands.backends.auto import Auto
from manyhands.backends.fake import Fake, Play
from manyhands.backends.launchers.slots import Slots
from manyhands.backends.protocol import Ended
from manyhands.core.job import Attempt, Job
from manyhands.engine.autoscale import Climber
from manyhands.host.metrics import strain

HERE = Path(__file__).parents[1]


class World:
    """Jobs of a second, of which a machine can do ``capacity`` at once; more only get in each other's way."""

    def __init__(self, capacity: int, first: int = 2, most: int = 64) -> None:
        self.now, self.capacity, self.pressed = 0.0, capacity, None  # type: float, int, str | None
        self.climber = Climber(first, most, lambda: self.pressed, lambda: self.now)
        self.notes: list[str] = []

    def go(self, seconds: float) -> World:
        end = self.now + seconds
        while self.now < end:
            width = self.climber.width
            self.now += 1.0 / min(width, self.capacity) * max(1.0, width / self.capacity / 2)
            if note := self.climber.ended():
                self.notes.append(note)
        return self


def test_it_climbs_as_far_as_that_helps() -> None:
    """And settles at the best width, whatever comes then."""
    world = World(8).go(200)
    assert world.climber.width == 8
    assert [width for _, width in world.climber.steps] == [2, 4, 8, 16, 8]
    assert "jobs a second" in world.notes[-1]
    assert world.go(500).climber.width == 8


def test_it_stays_where_more_do_not_help() -> None:
    """One core: one step up, and back."""
    world = World(1, first=1).go(100)
    assert world.climber.width == 1
    assert [width for _, width in world.climber.steps] == [1, 2, 1]


def test_it_climbs_no_further_than_it_may() -> None:
    """The most is the most."""
    assert World(1000, most=10).go(400).climber.width == 10


def test_pressure_lowers_it() -> None:
    """At once, and it comes back when the pressure has gone, but no further than where it was best."""
    world = World(16).go(300)
    assert world.climber.width == 16
    world.pressed = "somebody waited for memory 30% of the last 10 s"
    world.go(30)
    assert world.climber.width <= 4
    assert "somebody waited for memory" in world.notes[-1]
    world.pressed = None
    world.go(600)
    assert world.climber.width == 16
    assert "the pressure has gone" in world.notes[-1]


def psi(folder: Path, **some: float) -> Path:
    for name, value in some.items():
        (folder / name).write_text(f"some avg10={value} avg60=0.00 avg300=0.00 total=0\n")
    return folder


@pytest.mark.parametrize(
    ("some", "said"),
    [
        ({"memory": 0.0, "io": 10.0}, None),
        ({"memory": 20.0}, "for memory 20%"),
        ({"memory": 0.0, "io": 80.0}, "for io 80%"),
    ],
)
def test_strain_is_what_psi_says(tmp_path: Path, some: dict[str, float], said: str | None) -> None:
    """Waiting for memory is worse than waiting for disks; a busy CPU is no strain."""
    found = strain(psi(tmp_path, cpu=99.0, **some))
    assert (said is None and found is None) or (said is not None and said in str(found))


def test_without_psi_the_load_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many tasks as cores."""
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert strain(tmp_path / "none") == "the load is 1000.0"
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.0, 0.0))
    assert strain(tmp_path / "none") is None


def test_jobs_auto_finds_its_width(cli: Cli) -> None:
    """For jobs that wait, more than there are cores; it says so, and the run remembers."""
    done = cli(
        "batch", "sleep 0.1; : {}", "--shell", "-j", "auto", "--run-id", "w", "--", *map(str, range(150)), timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "jobs at once, not " in done.stderr
    assert "width    " in cli("batch.show", "w").stdout
    assert [one.status for one in run_batch("true", ["a"], jobs="auto")] == [Status.OK]


def test_each_stage_climbs_by_itself(own_state: Path) -> None:
    """Only the one that is asked to."""
    results = run_batch("true {}", ["a"], then=["true {}"], jobs="2,auto")
    plan = results._batch.plan
    assert [(plan.stage(n).limits.jobs, plan.stage(n).limits.climb) for n in (1, 2)] == [(2, False), (64, True)]
    assert [one.status for one in results] == [Status.OK]


# -- the backend ---------------------------------------------------------------------------------------------------------


def drive(auto: Auto, count: int) -> list[object]:
    """All that is reported of so many jobs."""
    reports: list[object] = []
    for number in range(1, count + 1):
        auto.start(Attempt(Job(number, b"", ()), 1, ()))
        for _ in range(3):
            reports += auto.reports(10)
    return reports


@pytest.mark.parametrize(
    ("wall", "cpu", "timed", "said"),
    [
        (1.0, 0.1, False, "90% of the time of the first 1 jobs was waiting: continuing in threads"),
        (1.0, 0.1, True, "because threads cannot keep a time-out"),
        (1.0, 0.9, False, "continuing in processes"),
        (0.001, 0.0, False, "100% of the time of the first 8 jobs was waiting: continuing in processes"),
    ],
)
def test_the_first_jobs_decide(monkeypatch: pytest.MonkeyPatch, wall: float, cpu: float, timed: bool, said: str) -> None:
    """By how much of their time was waiting; no job is lost on the way."""
    processes, threads = Fake(2, lambda _: Play(wall=wall)), Fake(2, lambda _: Play(wall=wall))
    original = Fake._end

    def end(self: Fake, key: tuple[int, int], signal: int | None = None) -> None:
        original(self, key, signal)
        self._ready = [
            one._replace(ending=one.ending._replace(user=cpu * wall)) if isinstance(one, Ended) else one
            for one in self._ready
        ]

    monkeypatch.setattr(Fake, "_end", end)
    auto = Auto(processes, lambda: threads, cannot="keep a time-out" if timed else None)
    reports = drive(auto, 20)
    auto.close()
    (text,) = [one.text for one in reports if hasattr(one, "text")]
    assert said in text
    assert sum(isinstance(one, Ended) for one in reports) == 20
    assert processes.closed
    assert bool(threads.began) == ("in threads" in said)


def test_waiting_for_a_cpu_is_not_waiting() -> None:
    """Jobs that only stood in the queue for one stay in processes."""
    delay = iter(range(1000))
    backend = Fake(2, lambda _: Play(wall=1.0))
    auto = Auto(backend, lambda: Fake(2, lambda _: Play()), cannot=None, queued=lambda _: float(next(delay)))
    auto._workers[4711] = -1000.0  # it has waited for longer than all jobs took
    texts = [one.text for one in drive(auto, 20) if hasattr(one, "text")]
    auto.close()
    assert [text.partition(" of the time")[0] for text in texts] == ["0%"]
    assert texts[0].endswith("continuing in processes")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", ["double", "a_double"])
def test_auto_does_all_that_is_asked(name: str) -> None:
    """Sync and async."""
    outcomes = run_batch(getattr(functions, name), range(100), backend="auto", jobs=2, ordered=True)
    assert [one.value for one in outcomes] == [2 * n for n in range(100)]


@pytest.mark.usefixtures("nothing_left")
def test_waiting_jobs_go_to_threads(cli: Cli) -> None:
    """And it says so."""
    done = cli(
        "batch.call",
        f"{HERE / 'functions.py'}:spell",
        "--type",
        "int",
        "--backend",
        "auto",
        "-j",
        "4",
        "--",
        *map(str, range(40)),
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 40
    assert "was waiting: continuing in threads" in done.stderr


def test_fewer_slots_are_used_than_there_are() -> None:
    """What is held back comes into use again; what runs is held when it ends; what rests is not counted twice."""
    names: list[Any] = ["a", "b", "c", "d"]
    slots: Any = Slots(names)
    busy = slots.free.pop()
    slots.limit(1)
    assert (slots.free, len(slots.held)) == ([], 3)
    slots.put(busy)
    assert slots.free == [busy]
    slots.limit(0)
    assert not slots.free
    slots.limit(3)
    assert len(slots.free) == 3
    assert sorted(slots) == names
    slots.limit(9)
    assert sorted(slots.free) == names
