"""Whether gevent has patched this process. Separate, because both signal handling and backends use it."""

from __future__ import annotations

import sys


def threads_are_patched() -> bool:
    """Whether its threads are greenlets (gevent.monkey): one that waits in the kernel would block all others."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
