"""Sets SIGCHLD to its default: while it is ignored, the kernel reaps children by itself, and their statuses are lost (wait(2)).

The program that started this one may have ignored it. We call the C library, because Python sets signals in the main thread only.
"""

from __future__ import annotations

import ctypes
import signal


class ChildSignal:
    """Keeps SIGCHLD from being ignored until `close`."""

    def __init__(self) -> None:
        self._ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        if self._ignored:
            _set(signal.SIG_DFL)

    def close(self) -> None:
        """Restore the former handling."""
        if self._ignored:
            self._ignored = False
            _set(signal.SIG_IGN)


def _set(handler: signal.Handlers) -> None:
    function = ctypes.CDLL(None).signal
    function.argtypes, function.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    function(signal.SIGCHLD, int(handler))
