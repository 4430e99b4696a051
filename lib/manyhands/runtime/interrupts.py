"""Ctrl-C while the program is loaded: it dies by the signal, without the traceback of an import.

The first thing that is imported, and so it imports only what is built into Python: `signal` takes some milliseconds.
"""

import _signal


class _Loading:
    silent = False


def die_of_interrupts() -> None:
    """Until `raise_interrupts`; not if SIGINT was ignored, as nohup(1) does."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        _Loading.silent = True


def raise_interrupts() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt again, which tasks expect."""
    if _Loading.silent:
        _Loading.silent = False
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
