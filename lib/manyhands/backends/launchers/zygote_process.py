"""The launcher's side of a zygote (`manyhands.backends.zygote.zygote`): started, heard, asked for jobs and for their ends.

    booting --"ready"--> ready --dies--> booting     jobs wait while it boots, but not for ever
            --"cold WHY", or dies--> cold            jobs are spawned

It speaks on one socket: each request is a kind, four bytes of length and fields that are divided by NUL, each answer is a line.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = os.fsencode(Path(__file__).parent.parent / "zygote" / "zygote.py")
_PATIENCE: Final = 20.0
"""Seconds that jobs wait for the imports; after that they are spawned until it is ready."""
_ANSWER: Final = 10.0
"""Seconds that a fork, or reaping a process that has ended, may take before the zygote is taken for stopped, and killed."""
_DEATHS: Final = 3
"""Deaths in a row, without a job in between, after which it is not started again."""
_ROOM: Final = b"-" * 1500
"""An argument that makes room for the command lines of jobs, see `manyhands.backends.zygote.zygote_job.Shown`."""
_TAG_ROOM: Final = 48

Usage = tuple[float, float, int]
"""User and system time in seconds, and peak memory in KiB."""


class Lost(ConnectionError):
    """The zygote was killed because it did not answer while it made a job, and a child neither: nobody knows whether that has begun."""


class Zygote:
    """See the module's first lines. ``spawn`` starts a program: (arguments, environment, descriptor that becomes its number 3) -> pid."""

    def __init__(
        self, warm: dict[str, Any], token: bytes, spawn: Callable[[list[bytes], dict[bytes, bytes], int], int]
    ) -> None:
        self._warm, self._token, self._spawn = warm, token, spawn
        self.socket: socket.socket | None = None
        """To be watched for `hear`."""
        self.pid = 0
        self.state = "cold"
        self.why: str | None = None
        """Why jobs run cold, once."""
        self.until = 0.0
        """When jobs stop waiting for it."""
        self._deaths = 0
        self.start()

    def start(self) -> None:
        """Start the process, unless it has died again and again."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        environment = {
            b"MH_TAG": self._token + b".zygote" + b"." * _TAG_ROOM,
            b"MH_JOB": b"",
            b"MH_ATTEMPT": b"",
            b"MH_SLOT": b"",
        }
        try:
            self.pid = self._spawn([*self._warm["python"], PROGRAM, _ROOM], environment, theirs.fileno())
        except (OSError, ValueError) as error:
            ours.close()
            self.state, self.why = "cold", f"cannot start {os.fsdecode(self._warm['python'][0])}: {error}"
            return
        finally:
            theirs.close()
        ours.settimeout(_ANSWER)
        self.socket, self.state, self.until = ours, "booting", time.monotonic() + _PATIENCE
        kind = b"module" if self._warm["module"] else b"script"
        python, preload = self._warm["python"], self._warm["preload"]
        with suppress(OSError):  # it is dead, which its socket says
            self._send(
                b"H", [self._token + b".zygote", kind, self._warm["target"], b"%d" % len(python), *python, *preload]
            )

    @property
    def awaited(self) -> bool:
        """Whether jobs wait for it."""
        return self.state == "booting" and time.monotonic() < self.until

    def hear(self) -> None:
        """It has something to say: it is ready, or is not going to be, or it is dead."""
        if self.state == "ready":
            self._again()
            return
        try:
            said, _, why = self._line().partition(" ")
        except OSError:
            said, why = "dead", ""
        if said == "ready":
            self.state = "ready"
            return
        self._stay_cold(why or "what it imports ends the interpreter ({})")

    def fork(self, fields: Sequence[bytes], arguments: Sequence[bytes], files: Sequence[int]) -> int | None:
        """Let it make a job; returns the pid, or None if the job has not begun because the zygote is dead.

        A child has the socket, too, until it has said its pid, and begins only then: so at the end of file nothing has begun. Raises
        OSError as fork(2) does, and Lost.
        """
        try:
            self._send(b"J", [*fields, *arguments], files)
            said = self._answer()
            if said.startswith("cold "):
                self._stay_cold(said[5:])
                return None
            pid = int(said)
        except (TimeoutError, ValueError):
            self._again()
            raise Lost from None
        except OSError:
            self._again()
            return None
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        self._deaths = 0
        return pid

    def _answer(self) -> str:
        """What it says; if it is stopped, what a child that it has made says after we have killed it."""
        try:
            return self._line()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            return self._line()

    def reap(self, pid: int, maker: int) -> tuple[int | None, Usage]:
        """The wait status and the usage of a child of ``maker`` that has ended; None: that zygote has died with them. Its other children
        are ours then."""
        if self.state == "ready" and maker == self.pid:
            try:
                self._send(b"R", [b"%d" % pid])
                status, user, system, peak = self._line().split()
                return int(status), (float(user), float(system), int(peak))
            except (OSError, ValueError):
                self._again()
        try:
            _, code, usage = os.wait4(pid, 0)
        except ChildProcessError:
            return None, (0.0, 0.0, 0)
        return code, (usage.ru_utime, usage.ru_stime, usage.ru_maxrss)

    def _again(self) -> None:
        """It is dead, or does not answer: start another."""
        how = self._bury()
        self._deaths += 1
        if self._deaths < _DEATHS:
            self.start()
        else:
            self.state, self.why = "cold", f"the process that makes the jobs has died again and again ({how})"

    def _stay_cold(self, why: str) -> None:
        """No job is forked from now on. ``why`` may have a place for how it died."""
        how = self._bury()
        self.state, self.why = "cold", why.replace("{}", how)

    def close(self) -> None:
        """Kill it; its children become ours."""
        if self.pid:
            self._bury()
        self.state = "cold"

    def _bury(self) -> str:
        """Kill it and wait for its death; returns how it died."""
        if self.socket:
            self.socket.close()
            self.socket = None
        pid, self.pid = self.pid, 0
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return f"status {code}" if code >= 0 else f"signal {-code}"

    def _send(self, kind: bytes, fields: Sequence[bytes], files: Sequence[int] = ()) -> None:
        if self.socket is None:
            raise BrokenPipeError
        body = b"\0".join(fields)
        data = kind + len(body).to_bytes(4, "big") + body
        sent = socket.send_fds(self.socket, [data], files) if files else self.socket.send(data)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def _line(self) -> str:
        """One answer. Raises OSError if there is none."""
        data = b""
        while not data.endswith(b"\n"):
            if self.socket is None or not (part := self.socket.recv(4096)):
                raise ConnectionResetError
            data += part
        return data.decode("utf-8", "backslashreplace").strip()
