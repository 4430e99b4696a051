"""A process that has imported the program, and becomes it, in a child, whenever a test asks: see `warm`.

It imports nothing of the tests, starts no thread, and runs nothing itself, so that each child is as the program is after its imports.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import runpy
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PLAIN = ["invoke", "asyncio", "manyhands.runtime.start", "manyhands.core.safe_text"]
"""What plain `invoke`, and a program of a user's own, import at each start: all but `manyhands.cli`, which does something then."""
OURS = [
    "manyhands.cli",
    "manyhands.handlers.batch_options",
    "manyhands.handlers.batch",
    "manyhands.backends.launchers.launcher",
    "manyhands.tour.handlers",
]
"""What nearly every start of `manyhands` imports."""


def main() -> None:
    """Serve the socket that argument 1 names; a child returns from that as the program that it is to be."""
    searched = sys.path[1:]
    if os.fork():  # nobody's child: tests look at their children
        os._exit(0)
    if sys.argv[2] == "ours":
        _load_ours()
    else:
        for name in PLAIN:
            importlib.import_module(name)
    sys.path[1:] = searched  # our tasks file puts the checkout's library first, where it is already
    gc.collect()
    gc.freeze()
    program = _serve(socket.socket(fileno=int(sys.argv[1])))
    place = vars(sys.modules["__main__"])
    del place["warm_server"], sys.modules["warm_server"]
    if program[0] == "-m":
        runpy._run_module_as_main(program[1])  # type: ignore[attr-defined]  # what `python -m` does
    else:
        place["__file__"] = program[0]
        exec(compile(Path(program[0]).read_bytes(), program[0], "exec"), place)


def _load_ours() -> None:
    importlib.import_module("manyhands.runtime.lean_invoke").import_invoke()
    importlib.import_module("manyhands.cli.loaded_tasks").load_tasks()
    for name in OURS:
        importlib.import_module(name)


def _serve(server: socket.socket) -> list[str]:
    """Make a child for each request and tell how it ended, while somebody asks; returns in a child: what it is to run."""
    running: dict[int, tuple[int, int]] = {}  # by pidfd: (pid, where its end is told)
    poll = select.poll()
    poll.register(server, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != server.fileno():
                pid, told = running.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(BrokenPipeError):  # the test has waited long enough
                    os.write(told, b"%d\n" % status)
                os.close(told)
                continue
            message, given, *_ = socket.recv_fds(server, 1 << 20, 4)
            if not message:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                server.detach()  # or it would close its number again, whatever has that by then
                words, cwd, env = json.loads(message)
                return _become(words, cwd, env, given[:3])
            for descriptor in given[:3]:
                os.close(descriptor)
            os.write(given[3], b"%d\n" % pid)
            watched = os.pidfd_open(pid)
            running[watched] = pid, given[3]
            poll.register(watched, select.POLLIN)


def _become(words: list[str], cwd: str, env: dict[str, str], given: list[int]) -> list[str]:
    """Take over what the caller would have given to a new process: arguments, folder, environment, standard descriptors."""
    for number, descriptor in enumerate(given):
        os.dup2(descriptor, number)
    os.closerange(3, max(given) + 100)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    program, args = (words[:2], words[2:]) if words[0] == "-m" else (words[:1], words[1:])
    sys.argv = [program[0], *args]
    sys.orig_argv = [sys.executable, *words]
    sys.path[0] = os.getcwd() if program[0] == "-m" else os.path.dirname(os.path.realpath(program[0]))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return program


def _stream(number: int, usual: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard stream as Python makes it at its start."""
    mode, unbuffered = "w" if number else "r", usual.write_through
    raw: Any = open(number, f"{mode}b", buffering=0 if unbuffered and number else -1, closefd=False)  # noqa: SIM115
    getattr(raw, "raw", raw).name = usual.name
    by_line = not unbuffered and (number == 2 or raw.isatty())
    stream = io.TextIOWrapper(raw, usual.encoding, usual.errors, "\n" if number else None, by_line, unbuffered)
    vars(stream)["mode"] = mode
    return stream
