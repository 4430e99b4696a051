"""Whether gevent has patched this process. Separate, because both signals and backends have to know."""

from __future__ import annotations

import sys


def threads_are_patched() -> bool:
    """Whether its threads are greenlets (gevent.monkey): one that waits in the kernel would hold up all others."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
