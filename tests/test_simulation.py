"""The simulator: many runs in its world keep every promise, the same seed is the same run, and it finds what it is there to find."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from manyhands.backends.protocol import Ended
from manyhands.core.errors import JournalError
from manyhands.core.events import Event, Finished, Summary
from manyhands.core.job import Outcome, Status
from manyhands.engine import loop
from manyhands.engine.loop import Engine
from manyhands.engine.order import in_order
from manyhands.engine.outcomes import judge
from manyhands.execution import batch, recovery, staged
from manyhands.inputs.spool import InputFile
from manyhands.storage.journal import Journal
from simulation import execution, files
from simulation.simulate import simulate
from simulation.world import Broken

SEEDS = int(os.environ.get("SIMULATED_SEEDS", "1000"))
PARTS = 25
Recall = Callable[[int], Finished | None]


@pytest.mark.sampled
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_is_kept(part: int) -> None:
    """Nothing lost, nothing recorded wrongly, nothing done twice, never two at once, counts that add up, and always an end."""
    for seed in range(part, SEEDS, PARTS):
        try:
            simulate(seed)
        except Exception as error:
            pytest.fail(f"python -m simulation --first {seed} --seeds 1: {type(error).__name__}: {error}")


def test_a_seed_repeats_exactly() -> None:
    """The same jobs at the same moments with the same ends, also across crashes."""
    for seed in range(12):
        first, second = simulate(seed), simulate(seed)
        assert first.world.steps == second.world.steps
        assert [(c.key, c.began, c.end) for c in first.world.copies.values()] == [
            (c.key, c.began, c.end) for c in second.world.copies.values()
        ]


def first_failure(seeds: range) -> Exception | None:
    for seed in seeds:
        try:
            simulate(seed)
        except Exception as error:
            return error
    return None


def recorded_ends_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery takes for open whatever is left to do, so that an end that is recorded is recorded again."""
    monkeypatch.setattr(Journal, "open_attempts", lambda self: list(self.left()))


def inputs_are_not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are shown before they are synchronised, and not compared with what the journal knows."""

    def sync(self: InputFile) -> None:
        self.kept = self._size, self._crc

    monkeypatch.setattr(InputFile, "sync", sync)
    monkeypatch.setattr(Journal, "kept_inputs", lambda self: (0, 0))


def a_commit_is_not_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told is not durable."""
    execute = files.SimulatedDatabase.execute

    def loose(self: Any, sql: str, values: Any = (), /) -> Any:
        return execute(self, sql.replace("synchronous = FULL", "synchronous = OFF"), values)

    monkeypatch.setattr(files.SimulatedDatabase, "execute", loose)


def strays_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier execution left running is not ended before its job begins again."""
    take_over = recovery.take_over
    monkeypatch.setattr(execution, "take_over", lambda run, plan, journal, _: take_over(run, plan, journal, lambda _: 0))


def results_behind_a_slow_one_are_miscounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not held is only counted, so that a result is looked for in the journal before its event has come."""

    def loose_order(events: Iterable[Event], issued: deque[int], recall: Recall) -> Iterator[Event]:
        held: dict[int, Finished] = {}
        hold, beyond = (in_order.__kwdefaults__ or {})["hold"], 0
        for event in events:
            if not isinstance(event, Finished) or not event.outcome.final:
                while issued and isinstance(event, Summary):
                    number = issued.popleft()
                    if late := held.pop(number, None) or (recall(number) if beyond else None):
                        yield late
                yield event
                continue
            number = event.outcome.attempt.job.number
            if len(held) < hold or number == issued[0]:
                held[number] = event
            else:
                beyond += 1
            while issued and (due := held.pop(issued[0], None) or (recall(issued[0]) if beyond else None)):
                issued.popleft()
                yield due

    monkeypatch.setattr(batch, "in_order", loose_order)
    monkeypatch.setattr(staged, "in_order", loose_order)


def a_halt_rule_begins_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs lie ready although a halt rule may be met, and more begin before all ends are known."""
    make = Engine.__init__

    def careless(self: Engine, **arguments: Any) -> None:
        make(self, **arguments)
        self._careful = False

    monkeypatch.setattr(Engine, "__init__", careless)


def ready_jobs_begin_without_a_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies ready is not taken back when the journal cannot be written."""

    def commit(self: Engine) -> bool:
        try:
            self._recorder.commit()
        except JournalError as error:
            self.broken = error
            return False
        return True

    monkeypatch.setattr(Engine, "_commit", commit)


def a_stop_begins_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is ended, and what lies ready taken back, but more begins in its place."""
    monkeypatch.setattr(Engine, "_ending", lambda self: self._halting.reached or self.broken is not None)


def an_unknown_end_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose helper died after its deadline is taken for one that was not in time."""

    def guess(report: Ended, asked: float | None, why: Status) -> Outcome:
        outcome = judge(report, asked, why)
        return outcome._replace(status=why) if asked is not None and outcome.status is Status.LOST else outcome

    monkeypatch.setattr(loop, "judge", guess)


def doubled_reports_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end is taken for that of the attempt that is under way, whichever it was of."""
    ended = Engine._ended

    def anyhow(self: Engine, report: Ended) -> None:
        flight = self._flights.get(report.attempt.job.number)
        ended(self, report._replace(attempt=flight.attempt) if flight else report)

    monkeypatch.setattr(Engine, "_ended", anyhow)


def a_share_is_of_what_was_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of inputs is told although some of them were cut off."""
    make = Engine.__init__
    monkeypatch.setattr(Engine, "__init__", lambda self, **arguments: make(self, **arguments | {"whole": True}))


FOUND: dict[Callable[[pytest.MonkeyPatch], None], int] = {
    results_behind_a_slow_one_are_miscounted: 13,
    a_halt_rule_begins_more: 0,
    ready_jobs_begin_without_a_journal: 57,
    a_stop_begins_more: 101,
    an_unknown_end_is_late: 29,
    doubled_reports_count: 8,
    a_share_is_of_what_was_pulled: 35,
    recorded_ends_are_open: 1,
    inputs_are_not_durable: 4,
    a_commit_is_not_synchronised: 11,
    strays_live_on: 4,
}
"""The faults, and the first seed that shows each: from there it is searched, since the others take long to show nothing."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FOUND, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is taken out of the engine, the recovery, the journal or the inputs, a few hundred seeds show it."""
    fault(monkeypatch)
    found = first_failure(range(FOUND[fault], FOUND[fault] + 400))
    assert isinstance(found, Broken | JournalError | sqlite3.Error | IndexError), found
