"""For people at a terminal: a bar and what is running at the bottom, failures and output scrolling above it.

    Finished --> lines gathered --eight times a second--> printed above the display, which is drawn anew below them

Drawn on stderr by events; nothing runs in the background. Only here rich is imported. Whatever a job or a name holds gets
to the terminal as text made harmless, never as markup.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO, Final, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Event, Finished, Printed, Summary, Warned
from manyhands.core.job import Job, Outcome, Output, Status
from manyhands.core.safe_text import cells, harmless, one_line
from manyhands.render.plain import remarks
from manyhands.render.progress import Progress, Running
from manyhands.render.returned import Raised, returned
from manyhands.render.stream import Stream, dressed
from manyhands.render.summary import command_of, input_of
from manyhands.render.words import duration
from manyhands.storage import output

_PAUSE: Final = 0.125
"""Seconds between two drawings."""
_TAIL: Final = 5
_ENOUGH: Final = 1 << 16
_WORTH: Final = 12
"""Columns; less of a command tells nothing."""
_PLAIN: Final = Style.null()
_QUIET: Final = Style(dim=True)
_CAREFUL: Final = Style(color="yellow")
_BAD: Final = Style(color="red")


class Live:
    """See the module's first lines."""

    def __init__(
        self,
        stdout: BinaryIO,
        stderr: TextIO,
        *,
        tag: bool,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress = Progress(clock)
        self._clock, self._drawn, self._tag, self._file = clock, 0.0, tag, stderr
        self._console = Console(
            file=stderr,
            force_terminal=True,
            no_color=bool(environ.get("NO_COLOR")),
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._out = Stream(stdout, tag=tag, clock=clock)
        self._same = _same_terminal(stdout, stderr)
        self._raised = Raised()
        self._above: list[Segment] = []
        self._size = 0
        self._live: RichLive | None = None
        self._held = False

    def event(self, event: Event) -> None:
        """Take it in, gather what is worth a line, and redraw if it is time."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Printed):
            self._printed(event)
        elif isinstance(event, Warned):
            self._say(harmless(event.text), _CAREFUL)
        if isinstance(event, Summary):
            self._out.flush()
            for line in self._raised.told():
                self._say(line, _BAD)
        now = self._clock()
        self._out.flush_if_due(now)
        if now - self._drawn >= _PAUSE or self._size >= _ENOUGH:
            self._drawn = now
            self._draw()

    def running(self) -> list[str]:
        """See `Renderer.running`; the display is taken away, and comes back below what is printed now."""
        self._erase()
        return self.progress.running()

    def pause(self, paused: bool) -> None:
        """See `Renderer.pause`."""
        self._held = paused
        self.progress.pause(paused)
        if paused:
            self._out.flush()
            self._erase()

    def close(self) -> None:
        """See `Renderer.close`."""
        try:
            self._out.flush()
        finally:
            self._erase()

    # -- drawing ---------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Print what was gathered, and the display below it, in one write; in the background, only what was gathered."""
        if self._held or not _in_foreground(self._file):
            self._erase()
            return
        with self._console:
            if self._live is None:  # a new one each time: it knows where it was drawn, and others have printed since
                self._live = RichLive(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                    vertical_overflow="crop",
                )
                self._live.start()
            self._print_above()
            self._live.update(self.screen(), refresh=True)

    def _erase(self) -> None:
        """Take the display away and give the cursor back; print what was gathered in its place."""
        with self._console:
            self._print_above()
            live, self._live = self._live, None
            if live:
                live.stop()

    def _print_above(self) -> None:
        above, self._above, self._size = self._above, [], 0
        if above:
            self._console.print(_Raw(above), crop=False)  # long lines are wrapped by the terminal

    def screen(self) -> RenderableType:
        """The live part: a bar, counts, and what is running, as far as half of the terminal holds it."""
        size = self._console.size
        rows = max(1, min(size.height - 4, max(6, size.height // 2)))
        active = self.progress.oldest()
        lanes = self.progress.hosts.lines(size.width, max(3, size.height // 6)) if self.progress.hosts else ()
        rows = max(1, rows - len(lanes))
        shown = active if len(active) <= rows else active[: rows - 1]
        lines = [self._bar(), self._counts(size.width)]
        lines += [Text(lane, "dim", no_wrap=True) for lane in lanes]
        lines += self._jobs(shown, size.width)
        if (more := len(active) - len(shown)) > 0:
            lines.append(Text(f"{'':8}  ... and {more:,} more that run", "dim"))
        return Group(*lines)

    def _jobs(self, shown: list[Running], width: int) -> Iterator[Text]:
        """A line for each: its age, its number, its input and its host, and as much of its command as there is room for."""
        now = self._clock()
        ages = [duration(now - one.at) for one in shown]
        numbers = [f"{one.attempt.job.number:,}" for one in shown]
        wide, long = max([8, *map(len, ages)]), max([0, *map(len, numbers)])
        room = max(10, width - wide - long - 4)
        named = [_named(one, room) for one in shown]
        column = min(room // 3, max([0, *map(cells, named)]))
        for one, age, number, name in zip(shown, ages, numbers, named, strict=True):
            padded = name + " " * (column - cells(name))
            rest = room - cells(padded) - 2
            command = command_of(one.filled, rest) if rest >= _WORTH else ""
            what = f"{padded}  " if command else name
            yield Text.assemble(
                (age.rjust(wide), "cyan"), "  ", (number.rjust(long), "dim"), "  ", what, (command, "dim"), no_wrap=True
            )

    def _bar(self) -> RenderableType:
        progress = self.progress
        done = progress.before + progress.done
        if progress.total is None:
            return Text(f"{done:,} done; how many inputs there are is not known yet", no_wrap=True)
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        style = "yellow" if progress.failed else "green"
        bar = ProgressBar(total=max(progress.total, 1), completed=done, complete_style=style, finished_style=style)
        row.add_row(bar, Text(f"{done:,}/{progress.total:,} {progress.percent:>3}%"))
        return row

    def _counts(self, width: int) -> Text:
        """How the jobs are doing; what does not fit into ``width`` is left out, the least important first."""
        progress = self.progress
        parts = [
            (f"{progress.done - progress.failed:,} ok", "green", 9),
            (f"{progress.failed:,} failed", "bold red" if progress.failed else "dim", 8),
            (f"{progress.running_now:,} running", "cyan", 4),
            (progress.retries(), "yellow", 7),
            (f"{progress.rate:,.1f}/s", "dim", 1),
            (f"{duration(progress.elapsed)} elapsed", "", 6),
            ("" if progress.eta is None else f"{duration(progress.eta)} to go", "", 5),
        ]
        parts = [part for part in parts if part[0]]
        while len(parts) > 1 and sum(len(text) + 2 for text, _, _ in parts) - 2 > width:
            parts.remove(min(parts, key=lambda part: part[2]))
        return Text("  ", no_wrap=True, overflow="ellipsis").join(Text(text, style) for text, style, _ in parts)

    # -- what stands above the display -----------------------------------------------------------------------------------

    def _finished(self, event: Finished) -> None:
        outcome = event.outcome
        job = outcome.attempt.job
        well = outcome.status in (Status.OK, Status.CANCELLED)
        try:
            for printed in (outcome.stdout, returned(outcome)):
                if outcome.final and printed and printed.size:
                    if self._same:
                        self._show(printed, job)
                    else:
                        self._out.show(printed, job)
            if outcome.final and well and outcome.stderr.size:
                self._show(outcome.stderr, job)
        except ManyhandsError as error:  # somebody removed the file: no reason to end the run
            self._say(f"job {job.number}: {error}", _BAD)
        for line in remarks(event, self._console.width):
            self._say(line, _CAREFUL if well or event.retry_in is not None else _BAD)
        for line in self._raised.traceback(outcome):
            self._say(line, _PLAIN)
        if outcome.final and not well:
            self._say_why(outcome)

    def _printed(self, event: Printed) -> None:
        """What a job that runs has printed meanwhile."""
        job = event.attempt.job
        if event.stdout.size:
            if self._same:
                self._show(event.stdout, job)
            else:
                self._out.show(event.stdout, job)
        if event.stderr.size:
            self._show(event.stderr, job)

    def _say_why(self, outcome: Outcome) -> None:
        """The last lines of what a failed job said; of its stdout if it said nothing and that is not on the screen anyhow."""
        said = outcome.stdout if not outcome.stderr.size and not self._same else outcome.stderr
        with suppress(ManyhandsError):
            lines = output.tail(said, _TAIL + 1)
            if len(lines) > _TAIL or sum(map(len, lines)) + len(lines) < said.size - said.dropped - _TAIL:
                self._say("  …", _QUIET)
            for line in lines[-_TAIL:]:
                self._say("  " + one_line(line, 3 * self._console.width), _PLAIN)

    def _show(self, printed: Output, job: Job) -> None:
        """All that a job printed, on this terminal; ended by a newline, because the display stands on lines of its own."""
        large = printed.path is not None
        if large:  # not gathered: it may be gigabytes
            self._erase()
        ends = "\n"
        for chunk in dressed(printed, job, tag=self._tag, terminal=True):
            text = chunk.decode()
            ends = text[-1:] or ends
            if large:
                self._file.write(text)
            else:
                self._gather(text, _PLAIN)
        if ends != "\n":
            self._file.write("\n") if large else self._gather("\n", _PLAIN)
        if large:
            self._file.flush()

    def _say(self, line: str, style: Style) -> None:
        self._gather(line, style)
        self._gather("\n", _PLAIN)

    def _gather(self, text: str, style: Style) -> None:
        self._above.append(Segment(text, style))
        self._size += len(text)


def _named(one: Running, width: int) -> str:
    """The input, the host if it is another than this one, and which attempt it is if it is not the first."""
    where = f" on {one_line(one.host, max(10, width // 3))}" if one.host else ""
    again = f" (attempt {one.attempt.number})" if one.attempt.number > 1 else ""
    return input_of(one.attempt, width - cells(where + again)) + where + again


class _Raw:
    """Text that rich passes on as it is: neither wrapped nor looked at, which is fast."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return self._segments


def _same_terminal(stdout: BinaryIO, stderr: TextIO) -> bool:
    """Whether both are one terminal, so that what is printed on one has to make room for the other."""
    if not stdout.isatty():
        return False
    try:
        return os.fstat(stdout.fileno()).st_rdev == os.fstat(stderr.fileno()).st_rdev
    except OSError:  # not real files, as in a test
        return True


def _in_foreground(terminal: TextIO) -> bool:
    """Whether the terminal is ours to draw on, not the shell's after ``bg`` or ``&`` (tcgetpgrp(3))."""
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # not our controlling terminal: no job control, nobody else draws
        return True
