"""The work of the kill lab (`kill_lab`): a job says in the ledger that it begins and how it ends, and behaves as its name says.

    begin STAGE NAME PID        end STAGE NAME PID ok|bad        one write each (O_APPEND), so that lines have an order

A name is a behaviour and a number: ``ok`` ends well, ``bad`` never, ``flaky`` not at the first time, ``slow`` not before its
limit, ``bare`` in an emptied environment, ``daemon`` leaves a process behind. `SCRIPT` does the same as a command.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

MARK = "KILL_LAB"
"""In the environment of everything that a trial starts."""
ALLOWED = "KILL_LAB_DAEMON"
"""In that of what may outlive its job."""

SCRIPT = r"""
stage=$1 name=$2
case $name-$KILL_BARE in bare*-) exec env -i KILL_BARE=1 LEDGER="$LEDGER" WORK="$WORK" PATH="$PATH" sh "$0" "$@" ;; esac
echo "begin $stage $name $$" >> "$LEDGER"
case $name in
slow*) sleep 300 ;;
daemon*) KILL_LAB_DAEMON=1 setsid sleep 97 > /dev/null 2>&1 & ;;
esac
[ "$WORK" = 0 ] || sleep "$WORK"
end=ok
case $name in
bad*) end=bad ;;
flaky*) [ -e "$LEDGER.$stage.$name" ] || end=bad ;;
esac
[ $end = ok ] || : > "$LEDGER.$stage.$name"
echo "end $stage $name $$ $end" >> "$LEDGER"
[ $end = ok ] || exit 3
"""


def say(line: str) -> None:
    """Write one line to the ledger."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, f"{line}\n".encode())
    os.close(ledger)


def _ends_badly(stage: str, name: str) -> bool:
    """Whether this attempt fails; the next one of a ``flaky`` job will not."""
    failed = Path(f"{os.environ['LEDGER']}.{stage}.{name}")
    bad = name.startswith("bad") or (name.startswith("flaky") and not failed.exists())
    if bad:
        failed.touch()
    return bad


def _begin(stage: str, name: str) -> float:
    """Say so; returns the seconds to work."""
    say(f"begin {stage} {name} {os.getpid()}")
    if name.startswith("daemon"):
        subprocess.Popen(["sleep", "97"], start_new_session=True, env={**os.environ, ALLOWED: "1"})
    return 300.0 if name.startswith("slow") else float(os.environ["WORK"])


def _end(stage: str, name: str) -> str:
    bad = _ends_badly(stage, name)
    say(f"end {stage} {name} {os.getpid()} {'bad' if bad else 'ok'}")
    if bad:
        raise ValueError(name)
    return name


def first(name: str) -> str:
    """The job of the first stage."""
    time.sleep(_begin("1", name))
    return _end("1", name)


def second(name: str) -> str:
    """The job of the second stage."""
    time.sleep(_begin("2", name))
    return _end("2", name)


async def async_first(name: str) -> str:
    """The same as a coroutine."""
    await asyncio.sleep(_begin("1", name))
    return _end("1", name)


async def async_second(name: str) -> str:
    """The same as a coroutine."""
    await asyncio.sleep(_begin("2", name))
    return _end("2", name)
