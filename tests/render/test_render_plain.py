"""Piped, in a log, or quiet: the exact bytes, in the right order, and few words beside them."""

from __future__ import annotations

import io
import os
import pty
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_events import Clock, began, end, told
from manyhands.core.events import Finished, Held, RunStarted, Summary, Tick, Warned
from manyhands.core.job import Output, Status
from manyhands.render.plain import HEARTBEAT, Plain
from manyhands.render.progress import Progress

FAILED, TIMEOUT = Status.FAILED, Status.TIMEOUT


class Screen:
    """A plain renderer on two streams that are not files, and a clock that stands still."""

    def __init__(self, *, tag: bool = False, quiet: bool = False) -> None:
        self.clock = Clock()
        self.out, self.err = io.BytesIO(), io.BytesIO()
        talk = io.TextIOWrapper(self.err, "utf-8", write_through=True)
        self.plain = Plain(self.out, talk, tag=tag, quiet=quiet, clock=self.clock)

    def show(self, *events: object) -> tuple[bytes, str]:
        for event in events:
            self.plain.event(event)  # type: ignore[arg-type]
        self.plain.close()
        return self.out.getvalue(), self.err.getvalue().decode("utf-8", "surrogateescape")


def stored(path: Path, data: bytes) -> Output:
    path.write_bytes(data)
    return Output(b"", str(path), len(data))


# -- the jobs' output ----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_every_byte_is_passed_on_and_nothing_else(outputs: list[tuple[bytes, bytes]]) -> None:
    """stdout to stdout, stderr to stderr, job after job."""
    screen = Screen()
    screen.show(*(told(n, out=o, err=e) for n, (o, e) in enumerate(outputs, 1)))
    assert screen.out.getvalue() == b"".join(o for o, _ in outputs)
    assert screen.err.getvalue() == b"".join(e for _, e in outputs)


def test_output_kept_in_a_file_goes_out_whole_and_in_its_turn(tmp_path: Path) -> None:
    """Between what was gathered before it and what comes after it, to a real file."""
    big = bytes(range(256)) * 20_000
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "w") as err:
        plain = Plain(out, err)
        for event in (told(1, out=b"one"), told(2, stdout=stored(tmp_path / "x", big)), told(3, out=b"three")):
            plain.event(event)
        plain.close()
    assert (tmp_path / "out").read_bytes() == b"one" + big + b"three"


def test_stdout_and_stderr_in_one_file_stay_in_order(tmp_path: Path) -> None:
    """``2>&1``: a job's stdout, its stderr, what we say about it, then the next job."""
    with open(tmp_path / "log", "ab") as out, open(tmp_path / "log", "a") as err:
        plain = Plain(out, err)
        plain.event(told(1, FAILED, out=b"out1\n", err=b"err1\n"))
        plain.event(told(2, out=b"out2\n", err=b"err2\n"))
        plain.close()
    assert (tmp_path / "log").read_text().splitlines() == [
        "out1",
        "err1",
        "manyhands: job 1 failed with exit status 3: cmd in1",
        "out2",
        "err2",
    ]


def test_on_a_terminal_output_is_harmless() -> None:
    """Where bytes would act, they are shown; colours and titles of a job's are text."""
    leader, follower = pty.openpty()
    with open(follower, "wb", buffering=0) as out, open(os.dup(follower), "w") as err:
        plain = Plain(out, err, quiet=True)
        plain.event(told(1, out=b"\x1b]0;x\x07\xff\n", err=b"\x1b[2J\n"))
        plain.close()
        seen = b""
        while seen.count(b"\n") < 2:  # what was written in two pieces may arrive in two
            seen += os.read(leader, 100)
        assert seen == b"^[]0;x^G\\xff\r\n^[[2J\r\n"
    os.close(leader)


def test_only_the_last_attempt_is_shown() -> None:
    """What a failed attempt printed is not output of the job; it is in the journal."""
    out, err = Screen().show(told(1, FAILED, out=b"half", err=b"no", retry_in=1.0), told(1, out=b"whole", tries=2))
    assert out == b"whole"
    assert err == "manyhands: job 1 failed with exit status 3; trying again in 1.0 s (attempt 2): cmd in1\n"


def test_output_that_somebody_removed_is_an_error_line_and_no_end(tmp_path: Path) -> None:
    """The run goes on; even a quiet one says so."""
    gone = told(1, stdout=Output(b"", str(tmp_path / "gone"), 9))
    out, err = Screen(quiet=True).show(gone, told(2, out=b"next"))
    assert out == b"next"
    assert err.startswith("manyhands: job 1: the output kept in ")
    assert err.count("\n") == 1


# -- tags ----------------------------------------------------------------------------------------------------------------


def test_every_line_is_tagged_with_the_input() -> None:
    """Empty lines, too, as GNU parallel --tag does; the values of several columns are joined by a blank."""
    events = (told(1, out=b"a\n\nb"), told(2, Status.OK, b"x", b"y z", out=b"c\n"), told(3, err=b"d\n"))
    assert Screen(tag=True).show(*events) == (b"in1\ta\nin1\t\nin1\tbx y z\tc\n", "in3\td\n")


@given(st.lists(st.binary()), st.binary(min_size=1))
def test_tags_can_be_taken_off_again(lines: list[bytes], value: bytes) -> None:
    """In a pipe the tag is the input, byte for byte, however long."""
    data = b"\n".join(lines)
    out, _ = Screen(tag=True).show(told(1, Status.OK, value, out=data))
    tag = value + b"\t"
    if not data:
        assert out == b""
    elif data.endswith(b"\n"):
        assert out == b"".join(tag + line + b"\n" for line in data[:-1].split(b"\n"))
    else:
        assert out == tag + data.replace(b"\n", b"\n" + tag)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1, (1 << 20) + 1, 3_000_001])
def test_large_output_is_tagged_across_its_pieces(tmp_path: Path, size: int) -> None:
    """A line that ends where a piece ends gets no tag too many, and none too few."""
    data = (b"x\n" * size)[:size]
    out, _ = Screen(tag=True).show(told(1, stdout=stored(tmp_path / "x", data)))
    assert out == b"".join(b"in1\t" + line for line in data.splitlines(keepends=True))


# -- words ---------------------------------------------------------------------------------------------------------------


def test_a_failure_is_one_line_after_what_the_job_said() -> None:
    """How it ended and what was run."""
    assert Screen().show(told(5, FAILED, err=b"oh\n"))[1] == "oh\nmanyhands: job 5 failed with exit status 3: cmd in5\n"
    assert Screen().show(told(5, TIMEOUT, wall=2.0))[1] == "manyhands: job 5 timed out after 2.0 s: cmd in5\n"


def test_a_name_cannot_act_on_a_terminal() -> None:
    """Not in the failure line, not among what is running."""
    screen = Screen()
    _, err = screen.show(told(1, FAILED, b"\x1b[2J\n[red]"), began(2, 90.0, b"\x1b[2J\n"), Warned("a\x1b[2J"))
    assert err == "manyhands: job 1 failed with exit status 3: cmd $'\\x1b[2J\\x0a[red]'\nmanyhands: a^[[2J\n"
    assert screen.plain.running() == ["1 running", "  job 2 (pid 1002) for 10.0 s: ^[[2J␤"]


@pytest.mark.parametrize("status", [Status.OK, Status.CANCELLED, Status.SKIPPED])
def test_what_did_not_fail_is_no_failure(status: Status) -> None:
    """No word about it: the last line of the run counts it."""
    assert Screen().show(told(1, status)) == (b"", "")


def test_what_was_cut_or_left_behind_is_told() -> None:
    """Bytes dropped by the cap, processes that were stopped."""
    out, err = Output(b"ab", size=12347, dropped=12345), Output(b"", size=9, dropped=9)
    assert Screen().show(told(7, leftovers=2, stdout=out, stderr=err)) == (
        b"ab",
        "manyhands: job 7: 12,345 bytes of stdout dropped by --output-cap\n"
        "manyhands: job 7: 9 bytes of stderr dropped by --output-cap\n"
        "manyhands: job 7 left 2 processes behind, which were stopped\n",
    )


def test_quiet_leaves_only_what_the_jobs_said() -> None:
    """No failures, warnings or heartbeats of ours."""
    screen = Screen(quiet=True)
    screen.plain.event(told(1, FAILED, err=b"oh\n", leftovers=1))
    screen.clock.time += HEARTBEAT
    assert screen.show(Warned("careful"), Tick(0.0, 1)) == (b"", "oh\n")


# -- the heartbeat -------------------------------------------------------------------------------------------------------


def test_a_heartbeat_every_ten_seconds() -> None:
    """Driven by events, whichever come; with what is left and how long it takes when the number of inputs is known."""
    screen = Screen()
    screen.show(
        RunStarted("r", "cmd", 4, 1010), began(9, 100.0), told(1, FAILED), told(2), *[told(n) for n in range(10, 18)]
    )
    screen.clock.time += HEARTBEAT - 0.1
    screen.plain.event(Tick(0.0, 1))
    _, err = screen.show()
    assert err.count("\n") == 1  # the failure
    screen.clock.time += 0.1
    _, err = screen.show(Tick(0.0, 1), Tick(0.1, 1))
    assert err.splitlines()[1:] == [
        "10 of 1,010 done (0%), 1 failed, 1 running, 10.0 s elapsed, 1.0/s, 16 min 40 s to go; longest: job 9, 10.0 s: in9"
    ]
    screen.clock.time += HEARTBEAT
    _, err = screen.show(began(20, 110.0))
    assert err.splitlines()[2:] == [
        "10 of 1,010 done (0%), 1 failed, 2 running, 20.0 s elapsed, 0.5/s, 33 min 20 s to go; longest: job 9, 20.0 s: in9"
    ]


def test_a_failure_elsewhere_names_the_host() -> None:
    """Harmless, however it is called."""
    assert Screen().show(told(5, FAILED, host="web1\x1b"))[1] == (
        "manyhands: job 5 on web1^[ failed with exit status 3: cmd in5\n"
    )


def test_a_heartbeat_tells_of_retries_that_wait() -> None:
    """So that a log in which nothing happens says why."""
    screen = Screen()
    screen.show(RunStarted("r", "cmd", 4, 2), told(1), told(2, FAILED, retry_in=60.0))
    screen.clock.time += HEARTBEAT
    assert screen.show(Tick(0.0, 0))[1].splitlines()[1] == (
        "1 of 2 done (50%), 0 failed, 0 running, 1 to retry, next in 50.0 s, 10.0 s elapsed, 0.1/s, 50.0 s to go"
    )


def test_a_heartbeat_without_a_total_promises_nothing() -> None:
    """Inputs that are still coming cannot be counted."""
    screen = Screen()
    screen.show(RunStarted("r", "cmd", 4), told(1))
    screen.clock.time += HEARTBEAT
    assert screen.show(Tick(0.0, 0))[1] == "1 done, 0 failed, 0 running, 10.0 s elapsed, 0.1/s\n"


# -- when it is written --------------------------------------------------------------------------------------------------


def test_small_outputs_are_gathered_for_a_moment() -> None:
    """50 ms, whatever comes then; or 64 KiB; or a moment in which nothing happens."""
    screen = Screen()
    screen.plain.event(told(1, out=b"a"))
    screen.clock.time += 0.04
    screen.plain.event(told(2, out=b"b"))
    assert screen.out.getvalue() == b""
    screen.clock.time += 0.02
    screen.plain.event(began(3, 0.0))
    assert screen.out.getvalue() == b"ab"
    screen.plain.event(told(3, out=b"c"))
    screen.plain.event(Tick(0.0, 0))
    assert screen.out.getvalue() == b"abc"
    screen.plain.event(told(4, out=b"d" * (1 << 16)))
    assert len(screen.out.getvalue()) == 3 + (1 << 16)
    screen.plain.event(told(5, out=b"e"))
    screen.plain.event(Summary("r"))
    assert screen.out.getvalue().endswith(b"de")


def test_the_terminal_is_given_back_with_everything_on_it() -> None:
    """Before we are stopped, before what runs is printed, and at the end, as often as asked."""
    screen = Screen()
    screen.plain.event(told(1, out=b"a"))
    screen.plain.pause(True)
    assert screen.out.getvalue() == b"a"
    screen.plain.pause(False)
    screen.plain.event(told(2, out=b"b"))
    screen.plain.running()
    assert screen.out.getvalue() == b"ab"
    screen.plain.close()
    screen.plain.close()
    assert screen.out.getvalue() == b"ab"


def test_a_reader_that_has_left_is_told_to_the_caller_once(tmp_path: Path) -> None:
    """`head` has seen enough: BrokenPipeError from the event, and a close that does not fail again."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out, open(tmp_path / "err", "w") as err:
        plain = Plain(out, err)
        plain.event(told(1, out=b"a"))
        with pytest.raises(BrokenPipeError):
            plain.event(Tick(0.0, 0))
        plain.close()


def test_what_others_printed_before_comes_first(tmp_path: Path) -> None:
    """The buffer of sys.stdout is written out before ours."""
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "w") as err:
        out.write(b"before ")
        plain = Plain(out, err)
        plain.event(told(1, out=b"after"))
        plain.close()
    assert (tmp_path / "out").read_bytes() == b"before after"


# -- counting ------------------------------------------------------------------------------------------------------------


def test_a_job_that_is_held_back_is_counted_once_when_it_ends() -> None:
    """Not again when it is told, also when thousands are held back."""
    progress = Progress(Clock())
    for number in (3, 2, 20_000):
        progress.event(began(number, 0.0))
        progress.event(Held(end(number, FAILED if number == 3 else Status.OK)))
    assert (progress.done, progress.failed, progress.active) == (3, 1, {})
    for number in (1, 2, 3, 20_000):
        progress.event(Finished(end(number)))
    assert (progress.done, progress.failed) == (4, 1)


def test_what_was_done_before_is_neither_left_nor_rate() -> None:
    """A resumed run tells its own speed."""
    clock = Clock()
    progress = Progress(clock)
    progress.event(RunStarted("r", "cmd", 2, 100, 80))
    for number in range(81, 91):
        progress.event(told(number))
    clock.time += 10
    assert (progress.left, progress.rate, progress.eta) == (10, 1.0, 10.0)
    progress.event(told(91, Status.CANCELLED))
    progress.event(told(92, FAILED, retry_in=1.0))
    assert (progress.left, progress.failed) == (10, 0)


def test_no_more_are_running_than_there_are_slots() -> None:
    """The next attempt begins before the journal has the end of the last one in its slot; which one that was is known."""
    progress = Progress(Clock())
    progress.event(RunStarted("r", "cmd", 2))
    for number, slot in ((1, 1), (2, 2), (3, 1)):
        progress.event(began(number, 90.0 + number, slot=slot))
    assert [line.split()[1] for line in progress.running()] == ["running", "2", "3"]
    progress.event(told(1, FAILED, retry_in=1.0))
    progress.event(began(1, 99.0, tries=2, slot=2))
    progress.event(told(2))
    progress.event(began(4, 99.5, slot=1))
    assert sorted(progress.active) == [1, 4]


def test_a_job_that_has_gone_on_is_running_at_its_next_stage() -> None:
    """Also when the next stage tells of its beginning before the earlier one tells of its end."""
    progress = Progress(Clock())
    progress.event(began(1, 90.0, slot=1))
    progress.event(began(1, 91.0, slot=1)._replace(stage=2))
    progress.event(began(2, 91.0, slot=1))
    progress.event(Finished(end(1, final=False)))
    assert sorted(progress.active) == [1, 2]


def test_a_slot_outlives_a_job_that_has_ended_at_its_next_stage() -> None:
    """The job that ran in it has gone on, and its end there is told before anything else begins in the slot."""
    progress = Progress(Clock())
    progress.event(began(1, 90.0, slot=1))
    progress.event(began(1, 91.0, slot=1)._replace(stage=2))
    progress.event(Finished(end(1), stage=2))
    progress.event(began(2, 92.0, slot=1))
    assert sorted(progress.active) == [2]


def test_nothing_ages_while_it_is_paused() -> None:
    """After an hour in the background, ages and rates are those of the work."""
    clock = Clock()
    progress = Progress(clock)
    progress.event(began(1, 100.0))
    progress.event(told(2))
    clock.time += 1
    progress.pause(False)  # without having been paused: nothing
    progress.pause(True)
    clock.time += 3600
    progress.pause(False)
    assert (progress.running()[1], progress.rate) == ("  job 1 (pid 1001) for 1.0 s: in1", 1.0)
