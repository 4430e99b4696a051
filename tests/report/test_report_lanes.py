"""The timeline: each attempt while they are few, bands when they are many, always a bounded number of marks."""

from __future__ import annotations

from made_events import end
from made_histories import attempts_of, clock_of, record
from manyhands.core.job import Status
from manyhands.report.attempts import Attempts
from manyhands.report.lanes import timeline


def test_few_attempts_are_drawn_one_by_one() -> None:
    """In the lane of their slot; what failed is higher than what went well; nothing is on top of what failed."""
    attempts = attempts_of((0, 1, Status.FAILED), (0, 2, Status.OK), (1, 1, Status.TIMEOUT), slots=2)
    found = timeline(attempts, clock_of(attempts))
    assert found.single
    assert [label.text for label in found.labels] == ["slot 1", "slot 2"]
    assert [one.state for one in found.rects] == ["ok", "failed", "timeout"]
    well, failed, late = found.rects
    assert (well.x, well.x2, int(well.y), int(failed.y), late.x) == (0, 2, 1, 0, 1)
    assert failed.y2 - failed.y > well.y2 - well.y


def test_hosts_and_stages_have_headlines() -> None:
    """And the slots below them; a retry has its number."""
    attempts = Attempts(at=0, running=lambda _: None)
    for number, (host, stage, tries) in enumerate([("b", 1, 1), ("a", 2, 2), ("a", 1, 1)], 1):
        attempts.add(record(end(number, host=host, tries=tries, wall=1.0), stage))
    found = timeline(attempts, clock_of(attempts))
    assert [label.text for label in found.labels] == [
        "a, stage 1",
        "slot 1",
        "a, stage 2",
        "slot 1",
        "b, stage 1",
        "slot 1",
    ]
    assert [one.retry for one in found.rects if int(one.y) == 3] == [2]


def test_many_attempts_are_bands() -> None:
    """However many there are; each way to fail is seen in its place."""
    made = [(n * 0.01, 0.01, Status.FAILED if n == 5000 else Status.OK) for n in range(20_000)]
    found = timeline(attempts := attempts_of(*made), clock_of(attempts))
    assert not found.single
    assert len(found.rects) < 100
    [failed] = [one for one in found.rects if one.state == "failed"]
    assert failed.x <= 50.01 <= failed.x2


def test_many_slots_are_one_lane() -> None:
    """A lane for each host then; and of very many hosts the rest in one."""
    attempts = attempts_of(*((0.0, 1.0, Status.OK) for _ in range(500)), slots=500)
    assert [label.text for label in timeline(attempts, clock_of(attempts)).labels] == ["all slots"]
    attempts = Attempts(at=0, running=lambda _: None)
    for number in range(1, 301):
        attempts.add(record(end(number, host=f"web{number:03}", wall=1.0)))
    found = timeline(attempts, clock_of(attempts))
    assert found.labels[-1].text == "252 more"
    assert found.height == 49
    assert max(one.y2 for one in found.rects) <= found.height
