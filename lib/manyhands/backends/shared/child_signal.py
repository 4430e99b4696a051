"""SIGCHLD as it is by default: while it is ignored the kernel reaps children by itself, and their statuses are lost (wait(2)).

Whoever started this program may have ignored it. It is set in the C library, because Python sets signals in the main thread only.
"""

from __future__ import annotations

import ctypes
import signal


class ChildSignal:
    """Not ignored from now on, until `close`."""

    def __init__(self) -> None:
        self._ignored = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        if self._ignored:
            _set(signal.SIG_DFL)

    def close(self) -> None:
        """As it was."""
        if self._ignored:
            self._ignored = False
            _set(signal.SIG_IGN)


def _set(handler: signal.Handlers) -> None:
    function = ctypes.CDLL(None).signal
    function.argtypes, function.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    function(signal.SIGCHLD, int(handler))
