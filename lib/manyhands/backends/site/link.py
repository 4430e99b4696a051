"""One connection to a far end: the process that carries it, its streams, and the frames on them. Nothing but its end is waited for."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.site import frames
from manyhands.backends.site.frames import BrokenFrameError, Frame, Unpacker, packed
from manyhands.backends.site.parcel import OLDEST, boot, parcel

Carrier = Callable[[Sequence[str]], Sequence[str]]
"""Makes of the command that starts a far end the command that starts it there: by ssh, or as it is."""

_BLOCK: Final = 1 << 18
_READS: Final = 16
"""Blocks that are read at once: one that sends much does not keep us from the others."""
_UNSENT: Final = 1 << 20
"""Bytes of files that wait for the stream at most, about."""
_NOISE: Final = 1 << 20
"""Bytes that start-up files may print before the far end."""
_WORDS: Final = 4096
"""Bytes of stderr that are kept for an explanation."""
_BURIAL: Final = 2.0
"""Seconds that the carrier has to end by itself, after its streams are closed."""


class LinkLostError(Exception):
    """The connection is gone, or has never come about; says why."""


class Link:
    """See the module's first lines. Raises OSError if the carrier cannot be started."""

    def __init__(
        self, carrier: Carrier, python: str = "python3", environment: Mapping[bytes, bytes] | None = None
    ) -> None:
        self._marker = f"manyhands-{secrets.token_hex(8)}"
        self.process = subprocess.Popen(
            carrier(boot(python, self._marker)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=environment,
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr  # noqa: S101 - for mypy
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.errors = self.process.stderr.fileno()
        for descriptor in (self.input, self.output, self.errors):
            os.set_blocking(descriptor, False)
        self._unpacker = Unpacker()
        self._noise = bytearray()
        self._unsent = bytearray()
        """What is queued; nothing of it is sent before the parcel, for which the far end has to be known."""
        self._said = b""
        self.python: str | None = None
        """The version of Python there, once it is known."""
        self.heard = time.monotonic()
        self._broken: str | None = None
        self._mute = False
        self._hung_up = 0.0

    def watched(self) -> list[int]:
        """The descriptors on which something may arrive."""
        return [self.output] if self._mute else [self.output, self.errors]

    # -- sent ------------------------------------------------------------------------------------------------------------

    def send(self, kind: int, head: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Queue a frame, and send what the stream takes."""
        self._unsent += packed(kind, head, body)
        self.flush()

    def put(self, frame: bytes) -> bool:
        """Send a frame that is packed; return whether there is room for another: what waits here is little."""
        self._unsent += frame
        self.flush()
        return self.has_room

    @property
    def has_room(self) -> bool:
        """Whether little waits."""
        return len(self._unsent) < _UNSENT

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` is needed when the stream takes more."""
        return bool(self._unsent) and self.python is not None

    def flush(self) -> None:
        """Send what the stream takes. That it is broken is noticed by `receive`, which has the reason."""
        try:
            while self.has_unsent:
                del self._unsent[: os.write(self.input, self._unsent[:_BLOCK])]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()

    # -- received --------------------------------------------------------------------------------------------------------

    def receive(self) -> list[Frame]:
        """The frames that have arrived. Raises LinkLostError when the stream ends or is not ours, after all that came before."""
        found: list[Frame] = []
        for _ in range(_READS):
            if self._broken is not None:
                break
            try:
                found += self._received(os.read(self.output, _BLOCK))
            except BlockingIOError:
                return found
            except (OSError, BrokenFrameError) as error:
                self._broken = f"what it says is not of manyhands: {error}"
            except LinkLostError as error:
                self._broken = str(error)
        if found or self._broken is None:
            return found
        raise LinkLostError(self._broken)

    def _received(self, piece: bytes) -> list[Frame]:
        if not piece:
            raise LinkLostError(self._why())
        self.heard = time.monotonic()
        return self._unpacker.feed(self._greeted(piece) if self.python is None else piece)

    def _greeted(self, piece: bytes) -> bytes:
        """What follows the line with the marker; nothing until it is whole."""
        self._noise += piece
        match = re.search(rb"\n%s ([0-9a-f]+) ([0-9 ]+)\n" % self._marker.encode(), self._noise)
        if match is None:
            if len(self._noise) > _NOISE:
                raise LinkLostError("its start-up files print without end")
            return b""
        version = tuple(map(int, match[2].split()))
        self.python = ".".join(map(str, version))
        if version < OLDEST:
            raise LinkLostError(f"its python3 is {self.python}, and {'.'.join(map(str, OLDEST))} or later is needed")
        self._unsent[:0] = parcel(match[1].decode())
        self.flush()
        return bytes(self._noise[match.end() :])

    def read_errors(self) -> None:
        """Keep the end of what the carrier says on stderr."""
        try:
            while said := os.read(self.errors, _BLOCK):
                self._said = (self._said + said)[-_WORDS:]
            self._mute = True
        except BlockingIOError:
            return
        except OSError:
            self._mute = True

    def _why(self) -> str:
        """Why the stream has ended: what the carrier said last, and its status."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_BURIAL)
        self.read_errors()
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").splitlines() if line.strip()]
        code = self.process.returncode
        if self.python is None and code == 127:
            return "there is no python3"
        said = lines[-1] if lines else ""
        return said or ("the connection has ended" if code in (0, None) else f"the connection has ended (status {code})")

    # -- the end ---------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hang up, and wait for the carrier, which is killed if it does not end. May be called twice."""
        self.hang_up()
        try:
            self.process.wait(max(0.0, self._hung_up + _BURIAL - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def hang_up(self) -> None:
        """Close the streams, which ends the far end."""
        self._hung_up = self._hung_up or time.monotonic()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file:
                with suppress(OSError):
                    file.close()

    def abandon(self) -> None:
        """Close the streams in a forked child: the carrier belongs to the parent."""
        self.process.returncode = 0  # not ours to wait for
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file:
                file.close()

    def quit(self) -> None:
        """Ask the far end to end."""
        self.send(frames.QUIT)
