"""How busy this machine is, for all pages: looked at by one, and only while somebody watches."""

from __future__ import annotations

import os
import time
from json import dumps

import psutil

from manyhands.posix.cores import usable_cores


class Machine:
    """The share of the CPUs is that since the look before, whichever thread looked."""

    def __init__(self) -> None:
        self._before = _cpu()

    def look(self) -> bytes:
        """The load of this machine as JSON; sizes in bytes."""
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
        load = os.getloadavg()
        before, self._before = self._before, _cpu()
        idle, whole = (new - old for new, old in zip(self._before, before, strict=True))
        found = {
            "at": round(time.time(), 2),
            "cpu": round(100 * (1 - idle / whole), 1) if whole > 0 else None,
            "cores": usable_cores(),
            "load": [round(one, 2) for one in load],
            "memory": {"total": memory.total, "used": memory.total - memory.available},
            "swap": {"total": swap.total, "used": swap.used},
        }
        return dumps(found, separators=(",", ":")).encode()


def _cpu() -> tuple[float, float]:
    """(seconds in which the CPUs had nothing to do, all seconds), since boot. `psutil.cpu_percent` remembers a look for each thread."""
    spent = psutil.cpu_times()._asdict()
    whole = sum(
        seconds for name, seconds in spent.items() if not name.startswith("guest")
    )  # which user includes, see proc(5)
    return spent["idle"] + spent.get("iowait", 0.0), whole
