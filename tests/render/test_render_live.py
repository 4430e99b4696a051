"""The display on a terminal, as a person sees it: the bytes go through a pty into a small terminal of our own."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from conftest import wait_for
from made_events import Clock, began, told
from manyhands.core.events import Began, Counted, Event, RunStarted, Summary, Tick, Warned
from manyhands.core.job import Attempt, Job, Output, Status
from manyhands.core.safe_text import cells
from manyhands.render.live import Live

FAILED = Status.FAILED
MARK = "\x00all of it\x00"
TOKEN = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b.|[\r\n]|[^\x1b\r\n]+", re.DOTALL)


class Terminal:
    """What of a terminal the display uses, without an end at the bottom: lines, a cursor, colours that are only noted."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0
        self.cursor_hidden = False
        self.colors: set[str] = set()
        self.unknown: list[str] = []
        self.was_hidden = False

    def feed(self, text: str) -> None:
        for match in TOKEN.finditer(text):
            token = match[0]
            if token == "\r":
                self.column = 0
            elif token == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif token[0] != "\x1b":
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + token + line[self.column + len(token) :]
                self.column += len(token)
            else:
                self._control(match[1] + (match[3] or ""), match[2] or "", token)

    def _control(self, kind: str, number: str, token: str) -> None:
        if kind == "A":
            self.row -= int(number or 1)
            assert self.row >= 0
        elif kind == "K" and number == "2":
            self.lines[self.row] = ""
        elif kind in ("?h", "?l") and number == "25":
            self.cursor_hidden = kind == "?l"
            self.was_hidden = self.was_hidden or self.cursor_hidden
        elif kind == "m":
            self.colors |= {one for one in number.split(";") if one[:1] in "349" and len(one) > 1}
        else:
            self.unknown.append(token)

    def screen(self) -> list[str]:
        """The lines, without what is blank at the end."""
        assert self.unknown == []
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n").split("\n")


class Shown:
    """A live display on a pty of 80 columns, and its clock; ``stdout`` is the same terminal unless another is given."""

    def __init__(self, *, stdout: BinaryIO | None = None, tag: bool = False, **environ: str) -> None:
        self.clock, self.terminal = Clock(), Terminal()
        self.leader, follower = pty.openpty()
        self.err = os.fdopen(follower, "w")
        self.out = stdout or os.fdopen(os.dup(follower), "wb")
        self.seen: list[bytes] = []
        self.reader = threading.Thread(target=_read_all, args=(self.leader, self.seen))
        self.reader.start()
        self.live = Live(self.out, self.err, tag=tag, environ={"TERM": "xterm", **environ}, clock=self.clock)
        self.raw = ""

    def show(self, *events: Event, after: float = 0.2) -> list[str]:
        """The screen when ``events`` have come and the time to redraw, too."""
        for event in events:
            self.live.event(event)
        self.clock.time += after
        self.live.event(Tick(self.clock.time, 0))
        return self.screen()

    def screen(self) -> list[str]:
        """What is to be seen when all that was written has arrived."""
        self.err.write(MARK)
        self.err.flush()
        wait_for(lambda: MARK.encode() in b"".join(self.seen))
        raw, self.seen[:] = b"".join(self.seen).replace(MARK.encode(), b"").decode(), []
        self.raw += raw
        self.terminal.feed(raw)
        return self.terminal.screen()

    def end(self) -> list[str]:
        self.live.close()
        return self.screen()

    def release(self) -> None:
        self.live.close()
        self.out.close()
        self.err.close()
        self.reader.join()
        os.close(self.leader)


@pytest.fixture(autouse=True)
def of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the terminal, as rich takes it where a test has none; none of the variables that change its mind."""
    for name, value in {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shown() -> Iterator[Shown]:
    """A display whose stdout is the same terminal."""
    one = Shown()
    yield one
    one.release()


@pytest.fixture
def piped(tmp_path: Path) -> Iterator[Shown]:
    """A display whose stdout is a file, ``out``."""
    with open(tmp_path / "out", "wb") as out:
        one = Shown(stdout=out)
        yield one
        one.release()


# -- the display itself --------------------------------------------------------------------------------------------------


def test_a_bar_counts_and_what_is_running(shown: Shown) -> None:
    """The longest-running first, with age, number and command."""
    screen = shown.show(
        RunStarted("r", "cmd {}", 4, 2010, 10),
        began(1, 97.0),
        told(1, FAILED),
        *[told(n) for n in range(2, 11)],
        began(1200, 98.5),
        began(11, 97.5, tries=2),
        after=1.0,
    )
    bar, counts, first, second = screen[-4:]
    assert re.fullmatch(r"[━╸╺]+ 20/2,010   0%", bar)
    assert len(bar) == 80
    assert counts == "9 ok  1 failed  2 running  10.0/s  1.0 s elapsed  3 min 19 s to go"
    assert first == "   3.5 s     11  in11 (attempt 2)  cmd in11"
    assert second == "   2.5 s  1,200  in1200            cmd in1200"


def test_hosts_have_lanes_of_counts(shown: Shown) -> None:
    """Below the counts of the run, if jobs run on other hosts than this one; what runs says where."""
    begun = began(1, 97.0, host="web1"), began(2, 97.0, host="web2")
    ended = told(2, host="web2"), told(3, FAILED, host="web2")
    *_, lane, running = shown.show(RunStarted("r", "cmd {}", 4, 9), *begun, *ended, after=1.0)
    assert lane == "web1  1 running        web2  1 ok, 1 failed"
    assert running == "   4.0 s  1  in1 on web1  cmd in1"


def test_many_hosts_leave_room_for_what_runs(shown: Shown) -> None:
    """At 24 lines: four for the hosts, and the display is not larger than without them."""
    screen = shown.show(RunStarted("r", "cmd", 99), *[began(n, 50.0 + n, host=f"web{n:03}") for n in range(1, 100)])
    legend, *_, more = screen[2:6]
    assert legend == "ok/failed/running of 99 hosts:"
    assert re.fullmatch(r"\.\.\. and \d+ more hosts: \d+ running", more)
    assert len(screen) == 14
    assert all(len(line) <= 80 for line in screen)


def test_without_a_total_nothing_is_promised(shown: Shown) -> None:
    """Inputs that still come: no bar, no percentage, nothing to go."""
    bar, counts = shown.show(RunStarted("r", "cmd", 4), told(1), after=2.0)[-2:]
    assert bar == "1 done; how many inputs there are is not known yet"
    assert counts == "1 ok  0 failed  0 running  0.5/s  2.0 s elapsed"


def test_a_total_that_is_counted_later_brings_the_bar(shown: Shown) -> None:
    """A pipe that has ended; when there come more than were counted, as from a file that grows, there is none again."""
    shown.show(RunStarted("r", "cmd", 4), told(1))
    assert shown.show(Counted(2))[-2].endswith(" 1/2  50%")
    assert "not known" in shown.show(told(2), told(3))[-2]


def test_retries_that_wait_are_seen(shown: Shown) -> None:
    """How many, when the next one comes, and that it is not over before."""
    events = (
        RunStarted("r", "cmd", 4, 4),
        told(1, FAILED, retry_in=20.2),
        told(2, FAILED, retry_in=30.0),
        told(3),
        told(4),
    )
    counts = shown.show(*events)[-1]
    assert counts == "2 ok  0 failed  2 to retry, next in 20.0 s  0.2 s elapsed  20.0 s to go"
    assert "2 to retry, next at once" in shown.show(after=20.0)[-1]


def test_only_what_runs_is_listed(shown: Shown) -> None:
    """The next attempt begins in a slot before the end of the last one there is in the journal, and told."""
    screen = shown.show(RunStarted("r", "cmd", 1, 9), began(1, 99.0, slot=1), began(2, 99.5, slot=1))
    assert (len(screen), screen[-1]) == (3, "   0.7 s  2  in2  cmd in2")
    assert "1 running" in screen[1]


def test_of_a_shell_line_the_input_and_the_line_are_shown(shown: Shown) -> None:
    """Not the shell; the input first, so that it is there when the line is cut."""
    argv = b"/bin/bash", b"-c", b"gzip -k file.log && echo " + b"x" * 80
    line = shown.show(Began(Attempt(Job(7, b"", (b"file.log",)), 1, argv), 99.0, 1, 9))[-1]
    assert line == "   1.2 s  7  file.log  gzip -k file.log && echo " + "x" * 31 + "…"


def test_what_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate first, what is ok and failed never."""
    monkeypatch.setenv("COLUMNS", "40")
    one = Shown()
    counts = one.show(RunStarted("r", "cmd", 4, 4000), told(1, FAILED, retry_in=20.0), told(2))[-1]
    assert counts == "1 ok  0 failed"
    assert one.show(told(1, tries=2))[-1] == "2 ok  0 failed  0.4 s elapsed"
    one.release()


def test_more_jobs_than_lines_are_counted(shown: Shown) -> None:
    """Half of the terminal is for what scrolls above."""
    screen = shown.show(RunStarted("r", "cmd", 50), *[began(n, 50.0 + n) for n in range(1, 41)])
    assert len(screen) == 2 + 12
    assert screen[2].endswith("  1  in1   cmd in1")
    assert screen[-1].strip() == "... and 29 more that run"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"a/" * 40, "a/" * 33 + "…"),
        ("世界".encode() * 20, "世界" * 16 + "世…"),
        (b"\x1b[2J\n[red]x", "^[[2J␤[red]x  cmd $'\\x1b[2J\\x0a[red]x'"),
    ],
)
def test_names_fit_and_are_harmless(shown: Shown, value: bytes, name: str) -> None:
    """A long input leaves no room for the command, and is cut; columns count, not characters."""
    line = shown.show(began(1, 99.0, value))[-1]
    assert line.endswith(f"  1  {name}")
    assert cells(line) <= 80


def test_it_is_drawn_at_most_eight_times_a_second(shown: Shown) -> None:
    """However many events come; and after a moment without any, too."""
    shown.show()
    assert shown.raw.count(" running") == 1
    for number in range(1, 1001):
        shown.clock.time += 0.001
        shown.live.event(told(number))
    shown.screen()
    assert shown.raw.count(" running") == 1 + 8
    assert shown.show()[-1].startswith("1,000 ok")


def test_at_the_end_only_what_happened_stays(shown: Shown) -> None:
    """The display is gone, the cursor is back, however often it is closed."""
    shown.show(RunStarted("r", "cmd", 4, 10), began(1, 99.0), told(2, out=b"two\n"))
    assert shown.terminal.cursor_hidden
    shown.show(told(1, out=b"one\n"), Summary("r"), after=0.0)
    assert shown.end() == ["two", "one"]
    assert not shown.terminal.cursor_hidden
    assert shown.end() == ["two", "one"]


def test_no_color_means_none() -> None:
    """NO_COLOR (no-color.org); an empty one does not count."""
    colors = []
    for value in ("1", ""):
        one = Shown(NO_COLOR=value)
        one.show(RunStarted("r", "cmd", 4, 10), began(1, 99.0), told(2, FAILED), Warned("careful"))
        colors.append(one.terminal.colors)
        one.release()
    assert colors[0] == set()
    assert {"31", "32", "33", "36"} <= colors[1]


# -- above it ------------------------------------------------------------------------------------------------------------


def test_output_of_the_jobs_scrolls_above(shown: Shown) -> None:
    """Whole, in the order of the events, each on lines of its own; the display stays below."""
    shown.show(told(1, out=b"one"), told(2, out=b"two\nlines\n"), told(3, err=b"three\n"))
    screen = shown.show(told(4, out=b"four\n", err=b"4\n"))
    assert screen[:6] == ["one", "two", "lines", "three", "four", "4"]
    assert screen[7].startswith("4 ok")


def test_a_failure_comes_with_the_end_of_what_the_job_said(shown: Shown) -> None:
    """How it ended, and the last five lines of its stderr."""
    err = b"".join(b"line %d\n" % number for number in range(1, 8))
    shown.show(told(1, FAILED, out=b"out\n", err=err), told(2, FAILED, err=b"short\n"))
    assert shown.end() == [
        "out",
        "job 1 failed with exit status 3: cmd in1",
        "  …",
        "  line 3",
        "  line 4",
        "  line 5",
        "  line 6",
        "  line 7",
        "job 2 failed with exit status 3: cmd in2",
        "  short",
    ]


def test_a_failure_is_one_line_of_the_terminal(shown: Shown) -> None:
    """A command that does not fit gives way to the input."""
    shown.show(told(1, FAILED, b"x" * 200), told(2, FAILED, b"y" * 200, retry_in=1.0))
    first, second = shown.end()
    assert first == "job 1 failed with exit status 3: " + "x" * 46 + "…"
    assert second == "job 2 failed with exit status 3; trying again in 1.0 s (attempt 2): " + "y" * 19 + "…"


def test_without_stderr_the_end_of_stdout_explains_a_failure(piped: Shown, tmp_path: Path) -> None:
    """When stdout goes elsewhere; on the same terminal it has just been shown."""
    piped.show(told(1, FAILED, out=b"a\nb\nc\nd\ne\nf\n"))
    assert piped.end() == ["job 1 failed with exit status 3: cmd in1", "  …", "  b", "  c", "  d", "  e", "  f"]


def test_on_the_same_terminal_stdout_is_not_repeated(shown: Shown) -> None:
    """It stands right above the failure."""
    shown.show(told(1, FAILED, out=b"why\n"))
    assert shown.end() == ["why", "job 1 failed with exit status 3: cmd in1"]


def test_where_an_exception_came_from_is_shown(shown: Shown) -> None:
    """Once for each kind of error."""
    place = 'Traceback (most recent call last):\n  File "/a/x.py", line 3, in go\n    boom\nValueError: no\n'
    shown.show(*(told(n, FAILED, exit=None, error="ValueError: no", traceback=place) for n in (1, 2)))
    lines = shown.end()
    assert [line for line in lines if "/a/x.py" in line] == ['    File "/a/x.py", line 3, in go']
    assert sum("ValueError: no" in line for line in lines) == 2


def test_escapes_and_markup_are_only_text(shown: Shown) -> None:
    """In output, in errors, in names, in warnings."""
    evil = b"\x1b[2J\x1b]0;t\x07[red]x[/red] :smile:"
    seen = "^[[2J^[]0;t^G[red]x[/red] :smile:"
    shown.show(told(1, out=evil), told(2, FAILED, err=evil), Warned(evil.decode()))
    assert shown.end() == [seen, "job 2 failed with exit status 3: cmd in2", "  " + seen, seen]


def test_long_lines_are_wrapped_by_the_terminal_not_cut(shown: Shown) -> None:
    """All of it can be selected and copied."""
    shown.show(told(1, out=b"x" * 300))
    assert shown.end() == ["x" * 300]


def test_tags_are_there_too() -> None:
    """As in plain output."""
    one = Shown(tag=True)
    one.show(told(1, out=b"a\nb\n"))
    assert one.end() == ["in1\ta", "in1\tb"]
    one.release()


def test_large_output_is_not_gathered(shown: Shown, tmp_path: Path) -> None:
    """It goes to the terminal piece by piece, in its turn, and the display comes back below it."""
    path = tmp_path / "big"
    path.write_bytes(b"\x1b0123456\n" * 200)
    big = Output(b"", str(path), path.stat().st_size)
    shown.show(began(9, 99.0), told(1, out=b"before\n"))
    screen = shown.show(told(2, stdout=big), told(3, out=b"after\n"))
    assert screen[:202] == ["before", *["^[0123456"] * 200, "after"]
    assert screen[-1].endswith("cmd in9")
    assert shown.end() == screen[:202]


def test_output_that_somebody_removed_is_told(shown: Shown, tmp_path: Path) -> None:
    """The run goes on."""
    gone = Output(b"", str(tmp_path / "gone"), 9)
    shown.show(told(1, stdout=gone), told(2, FAILED, stderr=gone), told(3, out=b"next\n"))
    first, second, third = shown.end()
    assert first.startswith("job 1: the output kept in")
    assert (second, third) == ("job 2 failed with exit status 3: cmd in2", "next")


def test_stdout_in_a_pipe_gets_the_bytes(piped: Shown, tmp_path: Path) -> None:
    """Exactly, and none of them goes to the terminal."""
    piped.show(told(1, out=b"\x1b[31m\xff\0no newline"), told(2, out=b"two\n"))
    assert (tmp_path / "out").read_bytes() == b"\x1b[31m\xff\0no newlinetwo\n"
    assert piped.end() == [""]


def test_what_was_dropped_or_left_behind_is_told(shown: Shown) -> None:
    """As in plain output."""
    shown.show(told(1, leftovers=1, stdout=Output(b"ab", size=1002, dropped=1000)))
    assert shown.end() == [
        "ab",
        "job 1: 1,000 bytes of stdout dropped by --output-cap",
        "job 1 left 1 process behind, which was stopped",
    ]


# -- the terminal is not only ours ---------------------------------------------------------------------------------------


def test_the_terminal_is_given_back_for_a_pause(shown: Shown) -> None:
    """The display goes, what others print meanwhile stays, the display comes back below it."""
    shown.show(began(1, 99.0))
    shown.live.pause(True)
    assert shown.screen() == [""]
    assert not shown.terminal.cursor_hidden
    shown.terminal.feed("$ fg\r\n")
    assert shown.show(told(2, out=b"two\n")) == ["$ fg", "two"]  # still held
    shown.live.pause(False)
    screen = shown.show()
    assert screen[:2] == ["$ fg", "two"]
    assert screen[-1].endswith("cmd in1")
    assert shown.end() == ["$ fg", "two"]


def test_what_runs_can_be_printed_by_the_caller(shown: Shown) -> None:
    """USR1: the display makes room and comes back below."""
    shown.show(began(1, 90.0))
    assert shown.live.running() == ["1 running", "  job 1 (pid 1001) for 10.2 s: in1"]
    assert shown.screen() == [""]
    shown.terminal.feed("1 running\r\n")
    screen = shown.show()
    assert (screen[0], len(screen)) == ("1 running", 4)


def test_in_the_background_nothing_is_drawn(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``bg`` the terminal is the shell's: what happened is still told, the display waits for ``fg``."""
    shown.show(began(1, 99.0))
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert shown.show(told(2, out=b"two\n")) == ["two"]
    assert not shown.terminal.cursor_hidden
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    assert shown.show()[-1].endswith("cmd in1")


def test_the_terminal_is_restored_when_the_reader_of_stdout_has_left() -> None:
    """`| head -1`: BrokenPipeError for the caller, and a cursor for the user."""
    reader, writer = os.pipe()
    os.close(reader)
    one = Shown(stdout=os.fdopen(writer, "wb"))
    one.show(began(1, 99.0))
    one.live.event(told(2, out=b"two\n"))
    with pytest.raises(BrokenPipeError):
        one.live.event(Summary("r"))
    assert one.end() == [""]
    assert not one.terminal.cursor_hidden
    one.release()


def test_streams_that_are_no_files_will_do() -> None:
    """A test, or a program that keeps the display for itself."""

    class Pretender(io.BytesIO):
        def isatty(self) -> bool:
            return True

    out = Pretender()
    live = Live(out, io.TextIOWrapper(out, "utf-8", write_through=True), tag=False, environ={})
    live.event(told(1, out=b"one\n"))
    live.close()
    assert b"one\n" in out.getvalue()


# -- for real ------------------------------------------------------------------------------------------------------------

SCRIPT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from conftest import wait_for
from made_events import began, told
from manyhands.core.events import RunStarted, Tick
from manyhands.core.job import Status
from manyhands.render import choose

shown = choose(json=False, quiet=False, tag=False, stdout=sys.stdout.buffer, stderr=sys.stderr, environ=os.environ)
try:
    shown.event(RunStarted("r", "cmd {}", 2, 3))
    for number in (1, 2, 3):
        shown.event(began(number, time.monotonic()))
        for _ in range(3):
            time.sleep(0.07)
            shown.event(Tick(time.monotonic(), 1))
        status = Status.FAILED if number == 2 else Status.OK
        shown.event(told(number, status, out=b"out %d\\n" % number, err=b"oh no\\n" if number == 2 else b""))
finally:
    shown.close()
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_process_of_its_own(environment: dict[str, str], columns: int) -> None:
    """As wide as the terminal is; what happened stays, the display goes, the cursor is back."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1])],
        env=settings,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        seen: list[bytes] = []
        thread = threading.Thread(target=_read_all, args=(leader, seen))
        thread.start()
        assert process.wait(timeout=20) == 0
        thread.join()
    os.close(leader)
    text = b"".join(seen).decode()
    terminal = Terminal()
    terminal.feed(text)
    assert terminal.screen() == ["out 1", "out 2", "job 2 failed with exit status 3: cmd in2", "  oh no", "out 3"]
    assert terminal.was_hidden
    assert not terminal.cursor_hidden
    bars = [len(bar) for bar in re.findall(r"[━╸╺]+ \d/3 +\d+%", re.sub(r"\x1b\[[\d;]*m", "", text))]
    assert set(bars) == {columns}


def _read_all(leader: int, seen: list[bytes]) -> None:
    while True:
        try:
            data = os.read(leader, 1 << 16)
        except OSError:  # EIO: the last one who had the other side open has left
            return
        if not data:
            return
        seen.append(data)
