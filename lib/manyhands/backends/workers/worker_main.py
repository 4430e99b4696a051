"""The entry point of a worker process, and what it is given: `manyhands.backends.workers.worker` is imported only there, not in the
process that starts it, and what that process has imported is not imported there."""

from __future__ import annotations

import os
import socket
from multiprocessing import reduction
from typing import Any


def main(sock: socket.socket, config: dict[str, Any], page: Any, keep_open: tuple[object, ...]) -> None:
    """See `manyhands.backends.workers.worker.main`."""
    from manyhands.backends.workers import worker

    worker.main(sock, config, page, keep_open)


class Inherited:
    """A descriptor of which another process gets a copy when this object is pickled for it (`multiprocessing.reduction`)."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherit, (reduction.DupFd(self.descriptor),)


def _inherit(handle: Any) -> Inherited:
    descriptor = handle.detach()
    os.set_inheritable(descriptor, False)
    return Inherited(descriptor)
