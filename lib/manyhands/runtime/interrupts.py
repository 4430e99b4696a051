"""Ctrl-C while the program is being loaded: it dies by the signal, without the traceback of an import.

This module is imported first, and so imports only what is built into Python: `signal` takes some milliseconds.
"""

import _signal


class _Loading:
    silent = False


def die_of_interrupts() -> None:
    """Let Ctrl-C kill the program until `raise_interrupts`, unless SIGINT was ignored, as by nohup(1)."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        _Loading.silent = True


def raise_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which tasks expect."""
    if _Loading.silent:
        _Loading.silent = False
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
