"""How a scene is shown: a line for each event, its verdict, what ran when as bars, its own code; or JSON lines."""

from __future__ import annotations

import io
import json
import math
import sys
from contextlib import redirect_stdout
from itertools import cycle
from typing import Any, Final

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from manyhands.core.hints import typed_as_here
from manyhands.core.safe_text import cells, one_line
from manyhands.tour.contents import Scene
from manyhands.tour.pasting import program_of
from manyhands.tour.seen import Event, Seen, Span
from manyhands.tour.showing import NOT_POSSIBLE, SEEN, Performance

_COLOURS: Final = (
    "cyan",
    "yellow",
    "green",
    "magenta",
    "blue",
    "bright_red",
    "bright_cyan",
    "bright_yellow",
    "bright_green",
    "bright_magenta",
)
_WORDS: Final = {
    (SEEN, None): ("seen", "bold green"),
    (NOT_POSSIBLE, "missing"): ("not possible here", "bold yellow"),
    (NOT_POSSIBLE, "busy"): ("not seen", "bold yellow"),
}
_NOT: Final = ("not seen", "bold red")
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
SCHEMA: Final = "manyhands.scene/1"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """rich would end the program with 1; we end as everywhere else when nobody reads (`manyhands.cli.exits`)."""
        raise


def console() -> Console:
    """Where people read: colours on a terminal unless NO_COLOR is set, none elsewhere; no line is broken."""
    return _Console(file=sys.stdout, highlight=False, soft_wrap=True)


class Narrator:
    """Tells a scene to people."""

    def __init__(self, to: Console) -> None:
        self._to = to
        self._width = to.width if to.is_terminal else 10_000
        self._name = 12 if self._width < 100 else 18
        self._colours: dict[tuple[int, str], str] = {}
        self._next = cycle(_COLOURS)
        self._begun: dict[tuple[Any, ...], float] = {}

    def colour(self, event: Event) -> str:
        """The colour of who speaks."""
        if event.lane not in self._colours:
            self._colours[event.lane] = next(self._next)
        return self._colours[event.lane]

    def title(self, scene: Scene, *, broken: bool = False) -> None:
        """What is shown."""
        self._to.print(Text(title_of(scene, broken=broken), style="bold red" if broken else "bold"))

    def told(self, event: Event) -> None:
        """One line: seconds, process, who, what."""
        said, key = event.said, (*event.lane, event.text, str(event.data))
        if event.kind == "begin":
            said, self._begun[key] = f"▶ {said}", event.at
        elif event.kind == "end":
            said = f"■ {said} ({event.at - self._begun.get(key, event.at):.3f} s)"
        at = max(event.at, 0.0)  # another process may have told first what came later
        head = f"{at:7.3f} s {event.pid:>7} {fitting(event.actor, self._name)} "
        if self._to.is_terminal:
            self._to.file.write("\r\x1b[K")  # an animation may have left something there
        self._to.print(
            Text(head, style=self.colour(event)) + Text(one_line(said, self._width - cells(head)), style="default")
        )

    def verdict(self, performance: Performance) -> None:
        """What came of it."""
        word, style = _WORDS.get((performance.status, performance.reason), _NOT)
        said = Text(f"{word}: ", style=style) + Text(one_line(performance.verdict, 2000))
        self._to.print(said, soft_wrap=not self._to.is_terminal)

    def timeline(self, seen: Seen) -> None:
        """Bars: one lane for each process, thread or task that did something for a while."""
        width = min(self._to.width if self._to.is_terminal else 100, 160)
        lanes: dict[tuple[int, str], list[Span]] = {}
        for span in seen.spans():
            lanes.setdefault(span.event.lane, []).append(span)
        if not lanes:
            self._to.print(Text("nothing of it took a while: there is no timeline", style="dim"))
            return
        end = max(span.end for spans in lanes.values() for span in spans)
        room = width - self._name - 11
        for (pid, actor), spans in lanes.items():
            self._to.print(
                Text(f"{pid:>8} {fitting(actor, self._name)} ", style="dim")
                + Text(bars(spans, end, room), style=self.colour(spans[0].event))
            )
        scale = f"0{f'{end:.2f} s':>{room - 1}}"
        self._to.print(Text(" " * (self._name + 10) + scale, style="dim"))


def title_of(scene: Scene, *, broken: bool) -> str:
    """What is shown; of a mistake, that it is one."""
    return f"{scene.name} --broken: this is the mistake. {scene.broken}" if broken else f"{scene.name}: {scene.title}"


def fitting(name: str, width: int) -> str:
    """A name in exactly so many columns; what is cut out is in the middle, because names end in numbers."""
    name = one_line(name, 200)
    if cells(name) > width:
        name = f"{name[: width - 6]}…{name[-5:]}"
    return name + " " * (width - cells(name))


def bars(spans: list[Span], end: float, room: int) -> str:
    """What one lane did, in ``room`` columns that stand for ``end`` seconds; a bar is exact to an eighth of a column at its end."""
    line = [" "] * room
    each = room / end if end else 0.0
    for span in spans:
        first = min(round(span.begin * each), room - 1)
        last = min(max(span.end * each, first + 0.125), room)
        for column in range(first, min(math.ceil(last), room)):
            shown = _BLOCKS[max(1, min(8, round((last - column) * 8)))]
            line[column] = shown if line[column] == " " else "█"
    return "".join(line).rstrip()


class JsonTeller:
    """Tells a scene to programs."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def told(self, event: Event) -> None:
        """One object: when (seconds since the first), who, what."""
        self._print(
            {
                "event": event.kind,
                "at": round(event.at, 6),
                "pid": event.pid,
                "process": event.process,
                "thread": event.thread,
                "task": event.task,
                "text": event.said,
                "template": event.text,
                "data": dict(event.data),
            }
        )

    def verdict(self, performance: Performance) -> None:
        """The last object."""
        told = {"status": performance.status, "verdict": performance.verdict, "reason": performance.reason}
        self._print({"event": "verdict", **told})

    def _print(self, record: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"schema": SCHEMA, "scene": self._scene.name, **record}) + "\n")
        sys.stdout.flush()


def trace(seen: Seen) -> dict[str, Any]:
    """What ran when, as Chrome's trace format has it (times in microseconds); Perfetto and chrome://tracing draw it."""
    threads: dict[tuple[int, str], int] = {}
    found: list[dict[str, Any]] = []

    def place(event: Event) -> dict[str, Any]:
        if event.lane not in threads:
            threads[event.lane] = len(threads) + 1
            names = (("process_name", f"{event.process} {event.pid}"), ("thread_name", event.actor))
            found.extend(
                {"ph": "M", "name": kind, "pid": event.pid, "tid": threads[event.lane], "args": {"name": name}}
                for kind, name in names
            )
        return {"pid": event.pid, "tid": threads[event.lane]}

    for span in seen.spans():
        times = {"ts": span.begin * 1e6, "dur": span.took * 1e6}
        found.append({"ph": "X", "name": span.event.said, **times, **place(span.event), "args": dict(span.event.data)})
    told = [one for one in seen.events if one.kind == "tell"]
    found += [
        {"ph": "i", "s": "t", "name": one.said, "ts": one.at * 1e6, **place(one), "args": dict(one.data)} for one in told
    ]
    return {"traceEvents": found, "displayTimeUnit": "ms"}


def show_source(scene: Scene, to: Console, *, broken: bool) -> None:
    """The code in colours, and what does the same in production."""
    with redirect_stdout(io.StringIO()):  # a scene may tell that its module is imported
        code = program_of(scene, broken=broken)
    if to.is_terminal and not to.no_color:
        to.print(Syntax(code, "python", background_color="default", word_wrap=False))
    else:
        to.file.write(code + "\n")
    to.print(Text(f"# in production: {typed_as_here(scene.instead)}", style="dim"))
