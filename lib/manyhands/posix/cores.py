"""How many cores this process may really use: affinity and cgroup quota, not the bare count.

Separate from `host`, because every batch reads this at its start, and nothing here needs psutil.
"""

from __future__ import annotations

import math
import os

from manyhands.posix.cgroup import cores_quota


def usable_cores() -> int:
    """The smaller one of the number of cores this process is bound to (sched_getaffinity(2)) and its cgroup's CPU quota; at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cores_quota()
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))
