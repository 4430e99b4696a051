"""What is known of a run from its rows: counts, groups, the timeline; without files."""

from __future__ import annotations

from typing import Any

from manyhands.web.failures import KINDS, Failures
from manyhands.web.journal_tail import EndedAttempt
from manyhands.web.picture import Picture
from manyhands.web.timeline import BARS, COLUMNS, ROWS, Timeline


def row(job: int, status: str = "ok", **more: Any) -> EndedAttempt:
    """A row of the journal."""
    usual = EndedAttempt(job, job, 1, status, 1, 0, None, None, 100.0 + job, 0.5, 0.1, 0, 1, None, 0, None, None)
    return usual._replace(**more)


def test_a_job_counts_once_by_its_last_attempt() -> None:
    """A retry that follows, one that succeeds, a loss that is done again."""
    picture = Picture()
    picture.begin(100.0)
    picture.add(row(1, "failed", final=0), 1)
    assert (picture.done, picture.count("failed"), picture.count("left")) == (0, 0, 1)
    picture.add(row(1, "failed", attempt=2), 1)
    assert (picture.done, picture.count("failed"), picture.retries) == (1, 1, 1)
    picture.add(row(2, "lost"), 1)
    assert (picture.done, picture.count("lost")) == (1, 1)
    assert sum(group["number"] for group in picture.failures.to_json()["groups"]) == 2
    for job in (1, 2):
        picture.add(row(job, attempt=3), 1)
    assert (picture.count("ok"), picture.count("failed", "lost"), picture.done) == (2, 0, 2)
    assert picture.failures.to_json() == {"groups": [], "more": 0}


def test_a_job_is_ok_after_its_last_stage() -> None:
    """Also if the journal of the first is read later than that of the second."""
    picture = Picture(2)
    picture.add(row(1), 1)
    assert (picture.done, picture.count("left")) == (0, 1)
    picture.add(row(1), 2)
    picture.add(row(2, "failed"), 2)
    picture.add(row(2), 1)
    assert (picture.count("ok"), picture.count("failed"), picture.done) == (1, 1, 2)


def test_pages_of_numbers() -> None:
    """Of a state, after a number; a job that has never ended has no place there."""
    picture = Picture()
    for job in (1, 3, 5, 7):
        picture.add(row(job, "ok" if job == 3 else "failed"), 1)
    assert picture.numbers(frozenset({"failed"}), 1, 2) == [5, 7]
    assert picture.numbers(frozenset({"ok", "left"}), 0, 9) == [3]


def test_groups_of_failures() -> None:
    """By how they ended and the last line of stderr, in which numbers do not count; however many kinds there are."""
    failures = Failures()
    for job in range(1, 21):
        failures.add(row(job, "failed", exit=3, said=b"first\ncannot open file-%d\n" % job))
    failures.add(row(30, "timeout", wall=1.5))
    first, second = failures.to_json()["groups"]
    assert (first["how"], first["said"], first["number"]) == ("failed with exit status 3", "cannot open file-1", 20)
    assert first["jobs"] == [*range(1, 9)]
    assert (second["how"], second["number"]) == ("timed out", 1)
    for job in range(100, 100 + 2 * KINDS):
        failures.add(row(job, "failed", error="x" * (job - 99)))
    found = failures.to_json()
    assert len(found["groups"]) + found["more"] <= KINDS + 1


def test_what_a_job_has_said_is_harmless() -> None:
    """Control characters and tricks of direction are visible."""
    failures = Failures()
    failures.add(row(1, "failed", said="\x1b[31mred\u202e".encode(), error="\x07"))
    [group] = failures.to_json()["groups"]
    assert "\x1b" not in str(group) and group["said"] == "^[[31mred\\u202e" and "^G" in group["how"]


def test_few_attempts_are_bars() -> None:
    """Each with its slot, its beginning and its length; those of an earlier execution are not drawn."""
    timeline = Timeline(100.0, stages=False)
    timeline.add(row(1, started=50.0), 1)
    timeline.add(row(2, started=101.0, slot=2), 1)
    timeline.add(row(3, "failed", started=100.0, slot=1, wall=2.0), 1)
    found = timeline.to_json()
    assert [one["name"] for one in found["rows"]] == ["slot 1", "slot 2"]
    assert found["bars"] == [[1, 1.0, 0.5, "ok", 2, 1], [0, 0.0, 2.0, "failed", 3, 1]]
    assert (sum(found["ok"]), sum(found["bad"])) == (1, 1)


def test_many_attempts_are_cells_whose_sums_are_exact() -> None:
    """However long the run is; the busy time of a slot is what its attempts took, and never more than all of a cell."""
    timeline = Timeline(100.0, stages=False)
    for job in range(BARS + 500):
        timeline.add(row(job + 1, "ok" if job % 10 else "failed", started=100.0 + 4 * job, wall=4.0), 1)
    found = timeline.to_json()
    assert found["bars"] is None and COLUMNS // 2 <= found["columns"] <= COLUMNS
    assert (sum(found["ok"]), sum(found["bad"])) == (1800, 200)
    [slot] = found["rows"]
    assert {*slot["busy"][:-1]} == {100} and sum(slot["bad"]) == 200


def test_slots_beyond_those_that_are_drawn_are_counted() -> None:
    """Hundreds of them take no more room."""
    timeline = Timeline(100.0, stages=True)
    for slot in range(ROWS + 6):
        timeline.add(row(slot + 1, slot=slot, host="web\x1b1"), 2)
    found = timeline.to_json()
    assert len(found["rows"]) == ROWS and found["more"] == 6
    assert found["rows"][0]["name"] == "2: web^[1 0"
