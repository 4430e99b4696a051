"""What failed stands at the end once more, with what to type."""

from __future__ import annotations

from made_events import began, told
from manyhands.core.events import Event, Summary
from manyhands.core.job import Status
from manyhands.render.failures import MOST, Failures

FAILED, OK = Status.FAILED, Status.OK


def lines(*events: Event, counts: dict[Status, int], width: int = 200) -> list[str]:
    failures = Failures()
    for event in events:
        failures.event(event)
    return list(failures.told(Summary("r", counts), "7f3a", width, lambda *words: " ".join(["mh", *words])))


def test_nothing_is_said_when_nothing_failed() -> None:
    """Nor for what was stopped, or failed and is tried again."""
    events = began(1, 0.0), told(1), told(2, Status.CANCELLED), told(3, FAILED, retry_in=1.0)
    assert lines(*events, counts={OK: 1}) == []


def test_one_failure() -> None:
    """Its number, its input, how it ended, and where its output is."""
    assert lines(told(3, FAILED), told(4), counts={OK: 1, FAILED: 1}) == [
        "failed:",
        "  job 3  in3  failed with exit status 3",
        "  what it printed: mh batch.show 7f3a --job 3",
    ]


def test_several_are_in_the_order_of_their_numbers() -> None:
    """In columns, harmless, each on one line of the terminal."""
    events = told(12, FAILED, b"\x1b[2J\n"), told(3, Status.TIMEOUT, b"x" * 99, wall=2.0), told(4, Status.LOST)
    found = lines(*events, counts={FAILED: 1, Status.TIMEOUT: 1, Status.LOST: 1}, width=80)
    assert found == [
        "failed:",
        "  job 3   " + "x" * 32 + "…  timed out after 2.0 s",
        "  job 4   in4" + " " * 32 + "was lost: how it ended is not known",
        "  job 12  ^[[2J␤" + " " * 29 + "failed with exit status 3",
        "  what they printed: mh batch.show 7f3a --failed --output",
    ]


def test_many_are_counted() -> None:
    """Also those that an earlier execution has left."""
    events = [told(number, FAILED) for number in range(1, 1001)]
    found = lines(*events, counts={FAILED: 1200})
    assert (len(found), found[-2]) == (1 + MOST + 2, "  ... and 1,190 more: mh batch.show 7f3a --failed")
