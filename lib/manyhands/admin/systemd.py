"""What systemctl knows, in the forms that it writes for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from manyhands.admin.programs import ProgramError, failure, program
from manyhands.render.words import signal_name

_EXITED: Final = "1"
"""CLD_EXITED of waitid(2); 2 and 3 are ends by a signal."""


def systemctl_here() -> Any:
    """systemctl; None: systemd does not run here."""
    try:
        found = program("systemctl", package="systemd")
    except ProgramError:
        return None
    state = found("is-system-running", _ok_code=list(range(256))).strip()  # it fails for each state but running
    return None if state in ("offline", "") else found


def called(systemctl: Any, *arguments: str) -> str:
    """What it prints. Raises ProgramError."""
    import sh

    try:
        said: str = systemctl(*arguments)
    except sh.ErrorReturnCode as error:
        raise failure(error) from None
    return said


def listed_units(said: str) -> list[dict[str, Any]]:
    """The objects of a list. Raises ProgramError for an old systemctl."""
    try:
        found = json.loads(said)
    except ValueError:
        raise ProgramError("systemctl: it writes no JSON; that of systemd 246 or later does") from None
    return [one for one in found if isinstance(one, dict)]


def shown_units(systemctl: Any, names: Sequence[str], properties: str) -> list[dict[str, str]]:
    """The properties of each unit."""
    if not names:
        return []
    said = called(systemctl, "show", f"--property={properties}", "--no-pager", "--", *names)
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in said.split("\n\n")]
    if len(blocks) != len(names):
        raise ProgramError(f"systemctl: it shows {len(blocks)} units of {len(names)}")
    return blocks


def how_it_ended(shown: Mapping[str, str]) -> str:
    """Of a unit that has failed: its exit status, its signal, or what systemd calls it."""
    result, status = shown.get("Result", "?"), shown.get("ExecMainStatus", "")
    if result == "exit-code":
        return f"exit status {status}"
    if result in ("signal", "core-dump") and shown.get("ExecMainCode") != _EXITED and status.isdigit():
        return signal_name(int(status)) + (", core dumped" if result == "core-dump" else "")
    return result


def since_boot(microseconds: str) -> float | None:
    """The moment of a property such as ActiveEnterTimestampMonotonic, in seconds since the epoch; None: it never was."""
    if not microseconds.isdigit() or microseconds == "0":
        return None
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(microseconds) / 1e6
