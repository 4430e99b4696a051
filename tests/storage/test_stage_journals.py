"""The journals of all stages, read as one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from made_events import end
from manyhands.core.job import Outcome, Status
from manyhands.storage.journal import Journal
from manyhands.storage.stage_journals import Journals


def filled(path: Path, *ends: Outcome, began: tuple[Outcome, ...] = ()) -> Journal:
    journal = Journal.create(path)
    for outcome in (*ends, *began):
        journal.began(outcome.attempt)
    for outcome in ends:
        journal.ended(outcome)
    journal.commit()
    return journal


def test_histories_have_every_attempt_at_every_stage(tmp_path: Path) -> None:
    """By the number of the job, then in the order in which they were made; the last one is as in `records`."""
    first = filled(
        tmp_path / "1.db",
        end(1, Status.FAILED, final=False),
        end(1, tries=2),
        end(3, Status.FAILED),
        end(2),
        began=(end(4),),
    )
    second = filled(tmp_path / "2.db", end(2), end(1, Status.FAILED, final=False), began=(end(1, tries=2),))
    with closing(Journals([first, second])) as journals:
        found = list(journals.histories())
        told = [
            [(one.stage, one.attempt, one.outcome.status.value if one.outcome else None) for one in history]
            for history in found
        ]
        assert told == [
            [(1, 1, "failed"), (1, 2, "ok"), (2, 1, "failed"), (2, 2, None)],
            [(1, 1, "ok"), (2, 1, "ok")],
            [(1, 1, "failed")],
            [(1, 1, None)],
        ]
        assert [history[-1] for history in found] == list(journals.records())
        assert found[0][1].left  # ok, but not at the last stage


def test_histories_of_an_empty_run(tmp_path: Path) -> None:
    """Nothing."""
    with closing(Journals([filled(tmp_path / "1.db")])) as journals:
        assert list(journals.histories()) == []
