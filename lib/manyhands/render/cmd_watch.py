"""The looks of a ``watch``: in place on a terminal, with what has changed in reverse video; on paper as differences."""

from __future__ import annotations

import difflib
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from manyhands.commands.retry import Look
from manyhands.core.encoding import iso
from manyhands.core.safe_text import Harmless, one_line
from manyhands.render.words import duration
from manyhands.storage import output

if TYPE_CHECKING:
    from rich.text import Text


class Paper:
    """Looks one after another: the first as it is, then only what has changed, as a unified diff (diff(1), -u)."""

    def __init__(self, descriptor: int) -> None:
        self._to = descriptor
        self._before: Look | None = None

    def show(self, look: Look) -> None:
        """Write what is new in this look."""
        before, self._before = self._before, look
        if before is None:
            output.write(self._to, look.output)
        elif look.changed:
            output.write(self._to, differences(before, look))


def differences(before: Look, look: Look) -> bytes:
    """A unified diff between two looks, their times in its head."""
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        before.output.splitlines(True),
        look.output.splitlines(True),
        (iso(before.at) or "").encode(),
        (iso(look.at) or "").encode(),
    )
    return b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)


class Screen:
    """One screen, drawn anew at each look, as watch(1) does; on the terminal's second page, so that the first comes back."""

    def __init__(self, line: str, every: float) -> None:
        from rich.console import Console
        from rich.live import Live

        self._line, self._every = line, every
        self._before: list[Text] = []
        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Screen:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._before:  # the last look stays on the first page
            for line in self._before:
                self._console.print(line, soft_wrap=True)

    def show(self, look: Look) -> None:
        """Draw it."""
        from rich.text import Text

        width, height = os.get_terminal_size(sys.stdout.fileno())
        lines = coloured(look.output, width)[: height - 2]
        now = time.strftime("%H:%M:%S", time.localtime(look.at))
        end = f"look {look.number}  status {look.result.returncode}  {now}"
        head = f"every {duration(self._every)}: {self._line}"
        text = Text(one_line(head, max(1, width - len(end) - 2)).ljust(width - len(end)) + end + "\n\n")
        for number, line in enumerate(lines):
            old = self._before[number].plain if number < len(self._before) else None
            text.append_text(_marked(line, old) if look.number > 1 else line)
            text.append("\n")
        self._before = lines
        text.no_wrap = True
        self._live.update(text, refresh=True)


def coloured(output: bytes, width: int) -> list[Text]:
    """Its lines in the colours that it asks for, and harmless otherwise; what is wider ends with an ellipsis."""
    from rich.ansi import AnsiDecoder

    decoder = AnsiDecoder()  # a colour holds until it is ended, on further lines, too
    lines = [decoder.decode_line(line) for line in Harmless(colours=True).feed(output, final=True).splitlines()]
    for line in lines:
        line.expand_tabs(8)
        line.truncate(width, overflow="ellipsis")
    return lines


def _marked(line: Text, old: str | None) -> Text:
    """``line`` with what is not as in ``old`` in reverse video, character by character in its place."""
    text = line.copy()
    for place, character in enumerate(line.plain):
        if old is None or place >= len(old) or old[place] != character:
            text.stylize("reverse", place, place + 1)
    return text
