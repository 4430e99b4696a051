"""What CI systems make of a log: a reader for each, which obeys what the system would obey."""

from __future__ import annotations

import re
from typing import NamedTuple


class Seen(NamedTuple):
    """What a system was told (command, its text), and the lines that people see, with the groups closed."""

    commands: list[tuple[str, str]]
    text: list[str]


def github(log: str) -> Seen:
    """As the runner reads lines: ``::command properties::data`` at the beginning of one, ``##[command]data`` anywhere in one; nothing
    between ``::stop-commands::TOKEN`` and ``::TOKEN::``."""
    commands, text = [], []
    stopped, grouped = None, False
    for line in log.split("\n"):
        new = re.match(r"\s*::([\w-]+)(?: ([^:]*))?::(.*)", line)
        old = re.search(r"##\[([\w-]+)[^\]]*\](.*)", line)
        if stopped:
            if line.strip() == f"::{stopped}::":
                stopped = None
            else:
                assert old is None, "the page would show it in another way"
                text += [] if grouped else [line]
        elif found := new or old:
            name, data = found[1], found[found.re.groups]
            stopped = data if name == "stop-commands" else None
            grouped = name == "group" or (grouped and name != "endgroup")
            if not stopped:
                commands.append((name, data))
        else:
            text += [] if grouped else [line]
    assert not stopped
    assert not grouped
    return Seen(commands, text)


def gitlab(log: str) -> Seen:
    """Sections begin and end wherever their mark stands, with ``\\r ESC[0K`` after it."""
    log = re.sub(r"(section_(?:start|end):[^\n]*)\n(?=\x1b)", r"\1\r", log)  # who reads text takes a CR for a newline
    commands = re.findall(r"section_(start|end):\d+:([\w.-]+)(?:\[[^\]]*\])?\r\x1b\[0K", log)
    closed = r"\x1b\[0Ksection_start:\d+:([\w.-]+).*?section_end:\d+:\1\r\x1b\[0K\n?"
    return Seen(commands, re.sub(closed, "", log, flags=re.DOTALL).split("\n"))


def azure(log: str) -> Seen:
    """``##vso[command properties]data`` anywhere in a line, ``##[command]data`` at the beginning of one."""
    commands, text = [], []
    grouped = False
    for line in log.split("\n"):
        if found := re.search(r"##vso\[([\w.]+)[^\]]*\](.*)", line, re.IGNORECASE) or re.search(r"##\[(\w+)\](.*)", line):
            commands.append((found[1], found[2]))
            grouped = found[1] == "group" or (grouped and found[1] != "endgroup")
        else:
            text += [] if grouped else [line]
    return Seen(commands, text)


def plain(log: str) -> Seen:
    """No commands."""
    return Seen([], log.split("\n"))


READERS = {"github": github, "gitlab": gitlab, "azure": azure, "plain": plain}
