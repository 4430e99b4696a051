"""The end of the control socket that tells a run what to do."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from json import dumps, loads
from pathlib import Path
from typing import Any, Final, Protocol

from manyhands.control.endpoint import address, is_trusted, read_line
from manyhands.core.errors import ManyhandsError, NotRunningError, UsageError
from manyhands.core.safe_text import one_line

_PATIENCE: Final = 30.0
"""Seconds to wait for an answer: the engine may just be writing to a slow disk."""


class Running(Protocol):
    """A run on disk."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...


def ask(run: Running, request: Mapping[str, Any]) -> dict[str, Any]:
    """Have a run do something, and return its answer: ``{"do": "stop", "how": "term" | "now" | "soon"}``, ``{"do": "stop", "job": 5}``,
    ``{"do": "pause"}``, ``{"do": "continue"}``, ``{"do": "set", "jobs": [4]}``, ``{"do": "set", "halt": "now,fail=3"}``.

    Raises NotRunningError if nobody carries the run out who listens, UsageError if it refuses, ManyhandsError if it does not answer.
    """
    try:
        answer = loads(_exchange(run.path, dumps(request).encode() + b"\n"))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise NotRunningError(f"the run {run.id} is not being carried out") from None
    except (OSError, ValueError) as error:
        why = "it does not answer" if isinstance(error, (TimeoutError, ValueError)) else error
        raise ManyhandsError(f"the run {run.id} cannot be reached: {why}") from error
    if not answer.get("ok"):
        kind = UsageError if answer.get("running", True) else NotRunningError
        raise kind(f"the run {run.id}: {one_line(str(answer.get('error', 'refused')), 400)}")
    return dict(answer)


def _exchange(folder: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, address(folder) as path:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        if not is_trusted(connection):
            raise PermissionError("another user's process listens there")
        connection.sendall(request)
        return read_line(connection)
