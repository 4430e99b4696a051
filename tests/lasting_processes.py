"""Processes that live longer than a test: which ones tests share, and what a process is called. For tests and their servers."""

from __future__ import annotations

from pathlib import Path

LASTING: set[int] = set()
"""Children that tests share: no test has left them behind."""


def command_of(pid: int) -> str:
    """The command line of a process, or what it calls itself; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
