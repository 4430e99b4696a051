#!/usr/bin/env python3
"""Try which hosts answer, and how fast: TCP connections, which need no privileges.

$ scripts/admin/reach.py --warn 50ms --file hosts.txt
CRITICAL - 2 of 3 answer, 1 of them slowly or not always
          host           ms  failed  problem
CRITICAL  db1:5432              3/3  connection refused
WARNING   web2:443     81.0     0/3
          web1:443      1.2     0/3
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.reach")
