"""The entry point of a worker process: `manyhands.backends.workers.worker` is imported only there, not in the process that starts it."""

from __future__ import annotations

import socket
from typing import Any, Final

WORKER: Final = "manyhands.backends.workers.worker"


def main(sock: socket.socket, config: dict[str, Any], page: Any, keep_open: tuple[object, ...]) -> None:
    """See `manyhands.backends.workers.worker.main`."""
    from manyhands.backends.workers import worker

    worker.main(sock, config, page, keep_open)
