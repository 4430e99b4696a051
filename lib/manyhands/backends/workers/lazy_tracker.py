"""Stands for multiprocessing's resource tracker until there is a resource: most batches have none, and it takes long to import.

The coordinator and its workers send it a line for each shared memory or semaphore that is made or removed, and a probe before each start
of a process. At the first line that is no probe, this process becomes the real tracker (Lib/multiprocessing/resource_tracker.py).
"""

from __future__ import annotations

import os

from manyhands.core.lean import TYPE_CHECKING, signal

if TYPE_CHECKING:
    from collections.abc import Iterable

_IGNORED = (signal.SIGINT, signal.SIGTERM)


def main(descriptor: int) -> None:
    """Read lines until all who may write some have ended."""
    for one in _IGNORED:
        signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # nobody waits for the end of our output
        os.dup2(null, stream)
    os.close(null)
    lines = open(descriptor, "rb")  # noqa: SIM115 - it is closed with the process
    first = about_a_resource(lines)
    if first is None:
        os._exit(0)
    from contextlib import nullcontext
    from itertools import chain
    from multiprocessing import resource_tracker

    resource_tracker.open = lambda *_: nullcontext(chain([first], lines))  # type: ignore[attr-defined]
    resource_tracker.main(descriptor)


def about_a_resource(lines: Iterable[bytes]) -> bytes | None:
    """The first line that is no probe, if one comes."""
    return next((line for line in lines if not line.startswith(b"PROBE:")), None)
