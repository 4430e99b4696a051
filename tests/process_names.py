"""What processes are called: for tests and their servers."""

from __future__ import annotations

from pathlib import Path


def command_of(pid: int) -> str:
    """The command line of a process, or what it calls itself; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
