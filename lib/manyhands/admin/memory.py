"""What a program remembers until its next look: one JSON file a program and host in the state folder, readable by its owner only."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from pathlib import Path
from typing import Any

from manyhands.core.errors import CannotCreateError, ManyhandsError
from manyhands.posix.durable_files import replacing
from manyhands.storage.runs import default_state_dir, own_folder


class Memory:
    """``name``: what it is of, such as ``listeners``. Homes may be on many hosts, so each has a file of its own."""

    def __init__(self, name: str, state_dir: str | None) -> None:
        folder = default_state_dir(os.environ) if state_dir is None else Path(state_dir)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())
        self.path = folder / f"{name}-{host}.json"
        self.schema = f"manyhands.kept-{name}/1"

    def load(self) -> dict[str, Any] | None:
        """What was kept; None: nothing was. Raises ManyhandsError for a file that is damaged, or that others may have written."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with open(file, "rb") as kept:
            found = os.fstat(kept.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ManyhandsError(f"{self.path}: others may have written it; look at it, and remove it")
            try:
                value: dict[str, Any] = json.loads(kept.read())
                if value["schema"] == self.schema:
                    return value
            except (ValueError, TypeError, KeyError, IndexError):
                pass
        raise ManyhandsError(f"{self.path}: damaged, or of another version; remove it")

    def keep(self, value: dict[str, Any]) -> None:
        """Replace what was kept, at once or not at all. Raises CannotCreateError."""
        own_folder(self.path.parent)
        try:
            with replacing(self.path, mode=0o600) as file:
                file.write(json.dumps({"schema": self.schema, **value}).encode() + b"\n")
        except OSError as error:
            raise CannotCreateError(f"{self.path}: {error.strerror}") from None
