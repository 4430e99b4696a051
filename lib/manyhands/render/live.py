"""For people at a terminal: a bar and what is running at the bottom, failures and output scrolling above it.

Drawn on stderr by events, at most eight times a second; nothing runs in the background. Only here rich is imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import BinaryIO, Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from manyhands import output
from manyhands.events import Event, Finished, Warned
from manyhands.job import Outcome, Status
from manyhands.render.plain import Stream, remarks
from manyhands.render.progress import Progress
from manyhands.render.safe import harmless, one_line
from manyhands.render.summary import duration
from manyhands.template import display

_PAUSE: Final = 0.125
_TAIL: Final = 5


class Live:
    """See the module's first lines."""

    def __init__(
        self, stdout: BinaryIO, stderr: TextIO, *, tag: bool, environ: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.progress = Progress(clock)
        self._clock, self._drawn = clock, 0.0
        self._console = Console(file=stderr, force_terminal=True, no_color="NO_COLOR" in environ, highlight=False)
        self._out = Stream(stdout, tag=tag)
        self._same = stdout.isatty()
        self._live = RichLive(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False,
                              redirect_stderr=False, vertical_overflow="crop")  # fmt: skip
        self._live.start()

    def event(self, event: Event) -> None:
        """Take it in, show what is worth a line, and redraw if it is time."""
        self.progress.event(event)
        if isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Warned):
            self._say(Text(f"manyhands: {event.text}", "yellow"))
        if self._clock() - self._drawn >= _PAUSE:
            self._drawn = self._clock()
            self._out.flush() if not self._same else None
            self._live.update(self.screen(), refresh=True)

    def running(self) -> list[str]:
        """The display shows it already."""
        return []

    def pause(self, paused: bool) -> None:
        """Give the terminal back, take it again."""
        if paused:
            self._live.stop()
        else:
            self._live.start()

    def close(self) -> None:
        """Write what is held, take the display away."""
        self._out.flush()
        self._live.update(Text(""))
        self._live.stop()

    def screen(self) -> RenderableType:
        """The live part: bar, counts, and the running jobs that fit."""
        rows = max(1, min(self._console.height - 4, 12))
        active = sorted(self.progress.active.values(), key=lambda one: one[1])
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis")
        now = self._clock()
        for attempt, at, _ in active[:rows]:
            again = f" (attempt {attempt.number})" if attempt.number > 1 else ""
            command = one_line(display(attempt.argv), self._console.width)
            table.add_row(Text(duration(now - at), "cyan"), Text(f"{attempt.job.number}{again}  {command}"))
        if len(active) > rows:
            table.add_row("", Text(f"... and {len(active) - rows:,} more", "dim"))
        return Group(self._bar(), table)

    def _bar(self) -> RenderableType:
        progress = self.progress
        counts = Text.assemble(
            (f"{progress.done - progress.failed:,} ok", "green"), "  ",
            (f"{progress.failed:,} failed", "bold red" if progress.failed else "dim"), "  ",
            f"{len(progress.active):,} running",
        )  # fmt: skip
        if progress.total is not None:
            counts.append(f"  {progress.total - progress.done:,} left")
        counts.append(f"  {progress.rate:,.1f}/s", "dim")
        if progress.eta is not None:
            counts.append(f"  {duration(progress.eta)} to go", "dim")
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        bar = ProgressBar(total=progress.total or None, completed=progress.done, pulse=progress.total is None)
        row.add_row(bar, counts)
        return row

    def _finished(self, event: Finished) -> None:
        outcome = event.outcome
        if outcome.final and outcome.stdout.size:
            if self._same:
                self._say(Text(harmless(output.read(outcome.stdout)).removesuffix("\n")))
            else:
                self._out.write(outcome.stdout, outcome)
        if outcome.status in (Status.OK, Status.CANCELLED):
            self._stderr(outcome, len(outcome.stderr.data) + 1)
        for line in remarks(event):
            self._say(Text(line, "yellow" if event.retry_in is not None else "red"))
        if outcome.final and outcome.status not in (Status.OK, Status.CANCELLED):
            self._stderr(outcome, _TAIL)

    def _stderr(self, outcome: Outcome, lines: int) -> None:
        """The last lines of what the job said; of its stdout if it said nothing and that is not on the screen anyhow."""
        said = output.tail(outcome.stderr, lines)
        if not said and outcome.status is not Status.OK and not self._same:
            said = output.tail(outcome.stdout, lines)
        for line in said:
            self._say(Text("  " + harmless(line)))

    def _say(self, text: Text) -> None:
        self._live.console.print(text, soft_wrap=True)
