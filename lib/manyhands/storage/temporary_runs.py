"""Runs of which nothing is kept: in a folder of their own below the system's temporary one."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from types import MappingProxyType

from manyhands.core.errors import CannotCreateError
from manyhands.storage.runs import Store, delete_folder


class TemporaryStore(Store):
    """Temporary runs: in a folder of our own, which `close` removes with everything in it."""

    _more = MappingProxyType({"kept": False})

    def __init__(self) -> None:
        try:
            super().__init__(Path(tempfile.mkdtemp(prefix="manyhands-")))
            self.root.mkdir(mode=0o700)
        except OSError as error:
            raise CannotCreateError(f"cannot make a temporary folder: {error.strerror}: {error.filename}") from error
        self.close = weakref.finalize(self, _remove, self.state, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, but not in a forked child: it belongs to the parent."""
    if os.getpid() == owner:
        delete_folder(folder)
