"""``--notify``: a command of the user that is run when a run has ended, with the sum on its standard input."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from typing import Final

from manyhands.core.encoding import json_line
from manyhands.core.errors import UsageError
from manyhands.core.events import Summary
from manyhands.render.event_lines import SCHEMA, summary_record

PATIENCE: Final = 60
"""Seconds that the command may take."""


def command_of(text: str | None) -> list[str] | None:
    """The command as arguments. Raises UsageError if it cannot be run, before anything else is."""
    if text is None:
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--notify {text!r}: {str(error).lower()}") from None
    if not words or shutil.which(words[0]) is None:
        raise UsageError(f"--notify {text!r}: there is no program {words[0] if words else ''!r}")
    return words


def notify(command: list[str], summary: Summary, status: int) -> str:
    """Run the command; returns what went wrong, or nothing. ``status``: the exit status of the batch, 128 + N if signal N ended it."""
    sum = json_line({"schema": SCHEMA, "event": "summary", **summary_record(summary), "exit": status})
    try:
        found = subprocess.run(command, input=sum, stdout=2, timeout=PATIENCE, check=False, env=os.environ)
    except OSError as error:
        return f"--notify {command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"--notify {command[0]}: it was stopped after {PATIENCE} s"
    if found.returncode:
        how = f"exit status {found.returncode}" if found.returncode > 0 else signal.strsignal(-found.returncode)
        return f"--notify {command[0]}: {how}"
    return ""
