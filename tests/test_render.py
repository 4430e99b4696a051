"""What is shown: exact bytes in pipes, harmless text on terminals, one line that says it all."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import LIB
from manyhands import output
from manyhands.errors import ManyhandsError
from manyhands.events import Began, Finished, Held, RunStarted, Summary, Tick, Warned
from manyhands.job import NOTHING, Attempt, Job, Outcome, Output, Status
from manyhands.render import choose
from manyhands.render.plain import HEARTBEAT, Plain
from manyhands.render.runs import size
from manyhands.render.safe import Harmless, harmless, one_line
from manyhands.render.summary import describe, duration, summary_line


def end(number: int = 1, status: Status = Status.OK, out: bytes = b"", err: bytes = b"", **more: object) -> Finished:
    def kept(data: bytes) -> Output:
        return Output(data, size=len(data)) if data else NOTHING

    attempt = Attempt(Job(number, b"", (b"in%d" % number,)), 1, (b"cmd", b"in%d" % number))
    fields = {"exit": 0 if status is Status.OK else 3, "stdout": kept(out), "stderr": kept(err), **more}
    return Finished(Outcome(attempt, status, **fields))  # type: ignore[arg-type]


class Screen:
    """A plain renderer, its two streams, and a clock that stands still."""

    def __init__(self, **options: bool) -> None:
        self.time = 0.0
        self.out, self.raw = io.BytesIO(), io.BytesIO()
        self.plain = Plain(
            self.out, io.TextIOWrapper(self.raw, "utf-8", write_through=True), clock=lambda: self.time, **options
        )

    def show(self, *events: object) -> tuple[bytes, str]:
        for event in events:
            self.plain.event(event)  # type: ignore[arg-type]
        self.plain.close()
        return self.out.getvalue(), self.raw.getvalue().decode()


def test_output_is_passed_on_as_it_is() -> None:
    """Every byte, and nothing else on stdout."""
    assert Screen().show(end(1, out=b"a\0\xff"), end(2, out=b"\x1b[31m")) == (b"a\0\xff\x1b[31m", "")


def test_a_failure_is_one_line_beside_what_the_job_said() -> None:
    """stderr of the job, then how it ended and what was run; quiet leaves out our own words."""
    assert (
        Screen().show(end(1, Status.FAILED, err=b"oh\n"))[1]
        == "oh\nmanyhands: job 1 failed with exit status 3: cmd in1\n"
    )
    assert Screen(quiet=True).show(end(1, Status.FAILED, err=b"oh\n"))[1] == "oh\n"


def test_tags_stand_before_every_line() -> None:
    """Also of empty ones; a last line without newline stays without."""
    assert Screen(tag=True).show(end(1, out=b"a\n\nb"), end(2, out=b"c\n"))[0] == b"in1\ta\nin1\t\nin1\tbin2\tc\n"


def test_output_in_files_is_read_and_tagged_whole(tmp_path: Path) -> None:
    """However large it is."""
    path = tmp_path / "out"
    path.write_bytes(b"x\n" * 1_500_000)
    big = Output(b"", str(path), 3_000_000, 0)
    event = Finished(end(1).outcome._replace(stdout=big))
    assert Screen(tag=True).show(event)[0] == b"in1\tx\n" * 1_500_000


def test_a_retry_says_when_and_which(tmp_path: Path) -> None:
    """A failure that is tried again shows none of its output."""
    event = Finished(end(1, Status.FAILED, out=b"half", final=False).outcome, retry_in=2.0)
    out, err = Screen().show(event)
    assert out == b""
    assert err == "manyhands: job 1 failed with exit status 3; trying again in 2.0 s (attempt 2): cmd in1\n"


def test_what_was_cut_or_left_behind_is_told() -> None:
    """Bytes that were dropped, processes that were stopped."""
    cut = end(1).outcome._replace(stdout=Output(b"ab", size=10, dropped=8), leftovers=2)
    assert Screen().show(Finished(cut))[1].splitlines() == [
        "manyhands: job 1: 8 bytes of stdout dropped by --output-cap",
        "manyhands: job 1 left 2 processes behind, which were stopped",
    ]


def test_a_heartbeat_every_ten_seconds() -> None:
    """One line on stderr with what is done, failed, running and left."""
    screen = Screen()
    attempt = end(9).outcome.attempt
    screen.show(RunStarted("r", "cmd", 2, 10), Began(attempt, 0.0, 1, 77), end(1), Held(end(2, Status.FAILED).outcome))
    screen.time = HEARTBEAT
    _, err = screen.show(Tick(10.0, 1), Tick(10.1, 1))
    assert err == "2 done, 1 failed, 1 running, 8 left, 0.2/s, 40.0 s to go\n"
    assert screen.plain.running() == ["1 running", "  job 9 (pid 77) for 10.0 s: in9"]
    assert Screen(quiet=True).show(Warned("careful"))[1] == ""
    assert Screen().show(Warned("careful"))[1] == "manyhands: careful\n"


@given(st.binary())
def test_nothing_that_moves_a_cursor_gets_through(data: bytes) -> None:
    """Control characters and stray bytes become visible; in pieces the same as at once."""
    shown = harmless(data)
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    pieces = Harmless()
    if b"\r" not in data:
        assert "".join(pieces.feed(data[i : i + 1]) for i in range(len(data))) + pieces.feed(b"", final=True) == shown


def test_plain_text_is_not_changed() -> None:
    """Letters of every script stay; escapes, bidi controls and stray bytes do not."""
    assert harmless("grüße 世界\t\n") == "grüße 世界\t\n"
    assert harmless(b"\x1b[2J\x07\x9b\xff") == r"^[[2J^G\x9b\xff"
    assert harmless("a\u202eb\x85") == r"a\u202eb\x85"
    assert one_line("a\nb" + "c" * 50, 10) == "a␤bcccccc…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (12.06, "12.1 s"), (99.9, "99.9 s"), (125, "2 min 05 s"), (3725, "1 h 02 min"), (273_600, "3 d 04 h")],
)
def test_durations(seconds: float, text: str) -> None:
    """In the units people use."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            Summary("r", {Status.OK: 1997, Status.FAILED: 3}, wall=12.1, work=41.2),
            "2,000 jobs: 1,997 ok, 3 failed in 12.1 s (41.2 s of work, 3.4x); again: invoke batch.retry 7f3a",
        ),
        (Summary("r", {Status.OK: 1}, wall=0.3), "1 job: 1 ok in 0.3 s"),
        (
            Summary("r", {Status.OK: 1, Status.TIMEOUT: 2}, left=3, wall=1.0, stopped_by=signal.SIGINT),
            "6 jobs: 1 ok, 2 timed out, 3 left in 1.0 s; stopped by SIGINT; the rest: invoke batch.resume 7f3a",
        ),
        (
            Summary("r", {Status.FAILED: 1}, unread=True, wall=1.0, halted="now,fail=1"),
            "1 job: 0 ok, 1 failed in 1.0 s; halted by now,fail=1; the rest: invoke batch.resume 7f3a",
        ),
    ],
)
def test_the_last_line(summary: Summary, line: str) -> None:
    """What it came to and what to type next."""
    assert summary_line(summary, program="invoke", again="7f3a") == line


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"status": Status.OK}, "is ok"),
        ({"status": Status.FAILED}, "failed with exit status 3"),
        ({"status": Status.FAILED, "exit": None, "signal": 9}, "was ended by SIGKILL"),
        ({"status": Status.FAILED, "error": "cannot start x"}, "cannot start x"),
        ({"status": Status.TIMEOUT, "wall": 2.0}, "timed out after 2.0 s"),
        ({"status": Status.TIMEOUT, "still_running": True}, "is still running"),
        ({"status": Status.CANCELLED}, "was not begun"),
        ({"status": Status.CANCELLED, "started": 1.0}, "was stopped"),
        ({"status": Status.FAILED, "exit": None, "signal": 60}, "signal 60"),
    ],
)
def test_words_for_ends(more: dict[str, object], words: str) -> None:
    """Each way to end has its own."""
    assert words in describe(end(1, **more).outcome)  # type: ignore[arg-type]


def test_sizes() -> None:
    """Binary units."""
    assert [size(n) for n in (0, 1023, 1536, 10 << 20, 1 << 40)] == ["0 B", "1023 B", "1.5 KiB", "10.0 MiB", "1024 GiB"]


def test_output_can_be_read_in_parts(tmp_path: Path) -> None:
    """From memory or file, from the front or the end; a file that is gone is told."""
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\nthree")
    kept, memory = Output(b"", str(path), 13), Output(b"one\ntwo\nthree", size=13)
    for one in (kept, memory):
        assert output.read(one) == b"one\ntwo\nthree"
        assert output.read(one, 5) == b"one\nt"
        assert output.tail(one, 2) == [b"two", b"three"]
    assert output.read(NOTHING) == b""
    path.unlink()
    with pytest.raises(ManyhandsError, match="is gone"):
        output.read(kept)


def test_the_renderer_fits_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON if asked for, the live display only on a terminal that can do it, else plain."""

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    def name(json: bool = False, quiet: bool = False, terminal: bool = True, term: str = "xterm") -> str:
        err = io.TextIOWrapper(Terminal() if terminal else io.BytesIO())
        shown = choose(json=json, quiet=quiet, tag=False, stdout=io.BytesIO(), stderr=err, environ={"TERM": term})
        shown.close()
        return type(shown).__name__

    assert name() == "Live"
    assert name(json=True) == "JsonLines"
    assert name(quiet=True) == name(terminal=False) == name(term="dumb") == "Plain"


@pytest.mark.parametrize("no_color", [False, True])
def test_the_live_display(tmp_path: Path, no_color: bool, environment: dict[str, str]) -> None:
    """On a terminal of 80 columns: a bar, what runs, failures above it with what they said; all cleared at the end."""
    leader, follower = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    script = 'sleep 0.6; [ "$1" != 2 ] || { echo "oh no" >&2; exit 5; }; echo "done $1"'
    (tmp_path / "job.sh").write_text(script)
    more = {"NO_COLOR": "1"} if no_color else {}
    command = [sys.executable, "-m", "manyhands", "batch", "sh job.sh {}", "-j2", "--", "1", "2", "3"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(LIB), **more},
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            seen += os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
    os.close(leader)
    assert process.wait(timeout=10) == 1
    text = seen.decode()
    assert "2 running" in text
    assert "sh job.sh 1" in text
    assert text.index("failed with exit status 5") < text.index("oh no")
    assert "done 1\r\n" in text
    assert text.rstrip().splitlines()[-1].startswith("again: ") or "batch.retry" in text
    assert ("\x1b[31m" in text) is not no_color
    assert text.rindex("\x1b[?25h") > text.rindex("running")  # the cursor is back
