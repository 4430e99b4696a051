"""The zygote: a process of the user's own interpreter that has imported what a script imports, and forks a clean child for each job.

    launcher --job, three descriptors--> zygote --fork--> a child that becomes the job: the script is its __main__
             <--"PID"------------------------------------ the child, as soon as it has a session of its own
             --reap PID-----------------> zygote --"status, times, peak"--> launcher, when nothing is left of the job

It is a program of its own: any Python from 3.9 on runs it by its path, so it imports nothing of ours but the files beside it, and little
of the standard library. The other side is `manyhands.backends.launchers.zygote_process`.

A child of fork(2), not of clone(2) with CLONE_PARENT, because only fork runs the handlers by which libraries stop their threads; and one
fork, not two of which the first gives the child to the launcher, because the second costs as much as the first. So the zygote is the
parent, and reaps each job when the launcher, which watches it by a pidfd, asks for that.
"""

from __future__ import annotations

import sys

_NAMES = [name for name in globals() if name.startswith("__")]
"""What a ``__main__`` has in this version, in its order."""
_AT_START = frozenset(sys.modules)
"""What an interpreter has imported before its script begins."""

import _signal as signals
import _socket
import gc
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manyhands.backends.zygote.zygote_end import End, libc, reap
    from manyhands.backends.zygote.zygote_imports import Cold, Imports, Lessons, Nursery
    from manyhands.backends.zygote.zygote_job import Script, Shown, become, new_main, renew
elif __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from zygote_end import End, libc, reap
    from zygote_imports import Cold, Imports, Lessons, Nursery
    from zygote_job import Script, Shown, become, new_main, renew

    del sys.path[0]

_SOCKET = 3
"""Our end of the launcher's socket."""
_STREAMS = 3
"""Descriptors that come with a job."""
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Launcher:
    """The launcher, as seen from here."""

    def __init__(self) -> None:
        os.set_inheritable(_SOCKET, False)  # its end tells the launcher that nobody is left who makes a job
        self._socket = _socket.socket(fileno=_SOCKET)

    def receive(self) -> tuple[bytes, list[bytes], list[int]]:
        """The next request: its kind, its fields, its descriptors. Ends the process if the launcher is gone."""
        head, carried, _, _ = self._socket.recvmsg(
            5, _socket.CMSG_LEN(_STREAMS * 4), _socket.MSG_WAITALL | _socket.MSG_CMSG_CLOEXEC
        )
        size = int.from_bytes(head[1:], "big")
        body = self._read(size)
        if len(head) < 5 or len(body) < size:
            os._exit(0)
        data = b"".join(data for _, _, data in carried)
        files = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)]
        return head[:1], body.split(b"\0"), files

    def _read(self, size: int) -> bytes:
        parts = []
        while size and (part := self._socket.recv(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def say(self, text: str) -> None:
        """Answer with a line."""
        self._socket.sendall(text.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        """In a child: it is no business of the job."""
        self._socket.close()


class Zygote:
    """The process before a fork: what it has imported, and what is known of it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        libc.prctl(
            _PR_SET_PDEATHSIG, signals.SIGKILL, 0, 0, 0
        )  # while we import, we do not see that the launcher is gone
        _, (tag, kind, target, count, *words), _ = launcher.receive()
        self.script = Script(words[: int(count)], target, module=kind == b"module", path=sys.path)
        self._preloaded = [os.fsdecode(word) for word in words[int(count) :]]
        self._shown = Shown()
        self._shown.write(tag, b"manyhands: has imported what is needed by " + target)
        self._nursery = Nursery(self.script.folder, _AT_START)
        self._lessons: Lessons | None = Lessons()

    def prepare(self) -> None:
        """Import what the script imports, and tell the launcher; ends the process if no job may be forked."""
        script, imports = self.script, Imports(self.script.folder)
        try:
            if script.module:
                self._nursery.bring("runpy")
                imports.read_module(script.target)
            else:
                imports.read(script.file)
            for module, names in imports.found:
                self._nursery.bring(module, names)
            for name in self._preloaded:
                self._nursery.bring(name, folder=script.folder)
            self._nursery.check_names()
        except Cold as error:
            self._launcher.say(f"cold {error}")
            os._exit(0)
        except Exception as error:  # such as a standard stream that was closed
            self._launcher.say(f"cold what it imports breaks the interpreter ({type(error).__name__}: {error})")
            os._exit(0)
        self._freeze()
        self._launcher.say("ready")

    def _freeze(self) -> None:
        """Make children cheap: their garbage collections leave alone what there is now, so that its memory stays shared."""
        self._end = End(module=self.script.module)
        gc.collect()
        gc.disable()
        gc.freeze()

    def serve(self) -> tuple[list[str], End]:
        """Fork a child for each job; returns in the child, with the job's arguments, and what ends it."""
        while True:
            kind, fields, files = self._launcher.receive()
            if kind == b"R":
                self._launcher.say(reap(int(fields[0])))
            elif len(files) < _STREAMS:
                self._launcher.say(
                    "cold what it imports leaves no room for the standard streams of a job (RLIMIT_NOFILE)"
                )
            elif self._learn() and self._fork() == 0:
                return self._become(fields, files), self._end
            for file in files:
                os.close(file)

    def _learn(self) -> bool:
        """Import what the first job has imported besides; return whether a child may be forked after that."""
        if self._lessons is None or (names := self._lessons.read()) is None:
            return True
        self._lessons = None
        try:
            for name in names:
                self._nursery.bring_if_related(name)
            self._nursery.check_names()
        except Cold as error:
            self._launcher.say(f"cold {error}")
            return False
        self._freeze()
        return True

    def _fork(self) -> int:
        self.script.compile()
        try:
            return os.fork()
        except Warning:  # with -W error, of threads that do no harm: the child is there
            return -1
        except OSError as error:
            self._launcher.say(f"-{error.errno}")
            return -1

    def _become(self, fields: list[bytes], files: list[int]) -> list[str]:
        """In a child: be the process of a job, and tell the launcher."""
        arguments = become(self.script, fields, files, self._shown)
        self._launcher.say(str(os.getpid()))
        self._launcher.close()
        renew()
        if self._lessons is not None:
            self._end.lessons = self._lessons.write
        gc.enable()
        return arguments


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]  # this file's folder
    _self = sys.modules["__main__"]  # it would go when the job has a __main__ of its own, and all of this with it
    _zygote = Zygote(Launcher())
    _zygote.prepare()
    _arguments, _end = _zygote.serve()
    _call, _given = new_main(_zygote.script, _arguments, _NAMES)
    _error = None
    try:
        _call(*_given)  # here and not in a function, so that there is but one frame below the script's
    except BaseException as _caught:
        _error = _caught
    del _call, _given
    _last = _error or SystemExit(0)
    try:
        _status = _end.status_of(_error)
        _error, _last = None, SystemExit(_status)
        _last = _end.finish(_status)
    except BaseException:
        # It cannot be done with what the script has made of builtins, sys and so on: the interpreter does what it can.
        _error = None
    raise _last
