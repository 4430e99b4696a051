"""Pages whose commands are typed by the tests: what is to be typed, and what it is said to show."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One block: its text, and what is shown below it (None: not told)."""

    language: str
    text: str
    shown: str | None


def steps(page: str) -> list[Step]:
    """Every block of a shell or of Python, in the order of the page."""
    return [Step(language, text, shown or None) for language, text, shown in _BLOCK.findall(page)]


def matches(shown: str, said: str) -> bool:
    """Whether it is what is printed; ``...`` stands for anything, a line of only that for any lines, and ``0.5 s`` for any seconds."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else ".*?".join(map(re.escape, line.split("..."))) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(re.sub(r"\d+\\\.\d+\\ s\b", r"[\\d.]+ s", pattern), said) is not None
