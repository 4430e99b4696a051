"""How busy this machine is, for all pages: looked at by one, and only while somebody watches."""

from __future__ import annotations

import os
from json import dumps

import psutil

from manyhands.posix.cores import usable_cores


class Machine:
    """The first look has no share of the CPUs to tell: that takes two."""

    def __init__(self) -> None:
        psutil.cpu_percent(None)

    def look(self) -> bytes:
        """The load of this machine as JSON; sizes in bytes."""
        memory = psutil.virtual_memory()
        swap = psutil.swap_memory()
        load = os.getloadavg()
        found = {
            "cpu": psutil.cpu_percent(None),
            "cores": usable_cores(),
            "load": [round(one, 2) for one in load],
            "memory": {"total": memory.total, "used": memory.total - memory.available},
            "swap": {"total": swap.total, "used": swap.used},
        }
        return dumps(found, separators=(",", ":")).encode()
