"""What failed in the same way is one group, by the line that jobs that are well do not print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_events import end
from manyhands.core.job import Outcome, Output, Status
from manyhands.report.failure_groups import FailureGroups, Group

BANNER = b"tool 1.2\nwarning: slow disk\n"


def groups(*failed: Outcome, well: bytes = b"") -> list[Group]:
    found = FailureGroups()
    for outcome in failed:
        found.failed(outcome)
    found.well(end(99, err=well))
    return found.groups()


def told(*failed: Outcome, well: bytes = b"") -> list[tuple[int, str]]:
    return [(one.number, one.line) for one in groups(*failed, well=well)]


def failed(number: int, err: bytes, **more: Any) -> Outcome:
    return end(number, Status.FAILED, b"file-%d.txt" % number, err=err, **more)


def test_what_all_jobs_print_tells_nothing() -> None:
    """Neither a banner nor a warning makes a group; the first other line does."""
    some = [failed(n, BANNER + b"no space left\n") for n in (1, 2)] + [failed(3, BANNER + b"no such user\n")]
    assert told(*some, well=BANNER) == [(2, "no space left"), (1, "no such user")]


def test_numbers_and_the_own_input_do_not_differ() -> None:
    """The group shows those of its first job."""
    some = [failed(n, b"cannot open file-%d.txt at line %d (0x%x)\n" % (n, n * 7, n << 30)) for n in (4, 5, 6)]
    [group] = groups(*some)
    assert (group.number, group.jobs, group.line) == (3, [4, 5, 6], "cannot open file-4.txt at line 28 (0x100000000)")
    assert (group.how, group.first_input) == ("failed with exit status 3", "file-4.txt")


def test_how_they_ended_tells_them_apart() -> None:
    """Another exit status is another group, a time-out is one, however long it took."""
    some = [failed(1, b"x\n"), failed(2, b"x\n", exit=4)]
    late = [end(n, Status.TIMEOUT, wall=n * 1.0, err=b"x\n") for n in (5, 6)]
    assert [(one.number, one.how) for one in groups(*some, *late)] == [
        (2, "timed out"),
        (1, "failed with exit status 3"),
        (1, "failed with exit status 4"),
    ]


def test_a_traceback_is_told_by_its_last_line() -> None:
    """Wherever in the program it was raised."""
    some = [
        end(n, Status.FAILED, error="ValueError: bad", traceback=f"Traceback\n  line {n} in f\nValueError: bad {n}\n")
        for n in (1, 2)
    ]
    [group] = groups(*some)
    assert (group.number, group.line) == (2, "ValueError: bad 1")
    assert "line 1 in f" in group.stderr


def test_output_without_a_difference(tmp_path: Path) -> None:
    """Nothing printed, nothing new printed, or the file is gone: a group all the same."""
    gone = end(3, Status.FAILED)
    gone = gone._replace(ending=gone.ending._replace(stderr=Output(b"", str(tmp_path / "gone"), 10)))
    assert told(failed(1, b""), failed(2, BANNER), gone, well=BANNER) == [(3, "")]


def test_kinds_are_bounded() -> None:
    """The rest is one group."""
    found = FailureGroups()
    for number in range(1, 1501):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        found.failed(end(number, Status.FAILED, err=f"{word}\n".encode()))
    made = found.groups()
    assert (made[0].how, made[0].number) == ("failed in other ways", 500)
    assert sum(one.number for one in made) == 1500
