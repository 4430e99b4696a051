"""Starts of ``python -m manyhands``, of ``python -m invoke`` and of users' programs that cost a tenth: in a child of a process that has imported the program already.

What a test sees is the same: a process with the given arguments, folder, environment and descriptors, that runs `__main__` from its
first line, with no state but imported modules, and ends as processes end. A few things are not, and where a test is about one of
them it starts Python itself: /proc has the server's command line and environment, and the process is no descendant of the test.

    test --request and descriptors--> warm_server --fork--> the program
         <--its number, its end------
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

HERE = Path(__file__).parent
ROOM: Final = 100_000
"""Bytes of a request beyond which the kernel may not take it in one piece."""
KNOWN: Final = {"cwd", "env", "input", "stdin", "timeout", "check", "capture_output", "text"}
SHOWS_PROCESSES: Final = ("proc.", "host.")
"""Tasks that leave out, or count, those that have started them."""


class Warm:
    """Starts the program as `subprocess.run` does with captured text; what it cannot give, it leaves to that."""

    def __init__(self, environment: dict[str, str], kind: Literal["ours", "plain"]) -> None:
        self._outside = read_at_start(environment)
        self._server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-c", "import warm_server; warm_server.main()", str(theirs.fileno()), kind]
        with theirs:
            subprocess.run(
                command,
                cwd=HERE,
                env=environment,
                pass_fds=[theirs.fileno()],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def close(self) -> None:
        """Let the server go."""
        self._server.close()

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``python -m MODULE ARGS`` or ``python SCRIPT ARGS`` to its end."""
        message = json.dumps([command[1:], os.fspath(options["cwd"]), options["env"]]).encode()
        if len(message) > ROOM or not self._can_give(command, options):
            return subprocess.run(command, **options)
        with ThreadPoolExecutor(3) as pool:
            (given, write), (out, out_end), (err, err_end), (told, told_end) = (os.pipe() for _ in range(4))
            ends = [given, out_end, err_end, told_end]
            if options.get("stdin") is not None:
                ends[0] = (
                    os.open(os.devnull, os.O_RDONLY)
                    if options["stdin"] == subprocess.DEVNULL
                    else os.dup(options["stdin"])
                )
                os.close(given)
            socket.send_fds(self._server, [message], ends)
            for end in ends:
                os.close(end)
            pool.submit(feed, write, options.get("input") or "")
            texts = pool.submit(read, out), pool.submit(read, err)
            status = wait(told, command, options.get("timeout", 60))
            return subprocess.CompletedProcess(command, status, *(text.result() for text in texts))

    def _can_give(self, command: list[str], options: dict[str, Any]) -> bool:
        if not hasattr(os, "pidfd_open") or not set(options) <= KNOWN or read_at_start(options["env"]) != self._outside:
            return False
        return not any(one.startswith(SHOWS_PROCESSES) for one in command[1:6])


def read_at_start(environment: dict[str, str]) -> dict[str, str]:
    """The variables that Python looks at before it runs anything."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG", "LD_"))}


def feed(end: int, text: str) -> None:
    with suppress(BrokenPipeError), open(end, "w") as file:
        file.write(text)


def read(end: int) -> str:
    with open(end) as file:
        return file.read()


def wait(told: int, command: list[str], seconds: float) -> int:
    """The return code that the server tells; kills the process when its time is over, and raises as `subprocess.run` does."""
    with open(told) as file:
        pid = int(file.readline())
        ready, _, _ = select.select([file], [], [], seconds)
        if ready:
            return int(file.readline())
        os.kill(pid, signal.SIGKILL)
    raise subprocess.TimeoutExpired(command, seconds)
