#!/usr/bin/env python3
"""Compress old logs, and remove older ones; shows what it would do, and asks, or does it with --yes.

$ scripts/admin/logs.py /var/log/app --remove-after 90d --yes
OK - 2 compressed (1.9 GiB, now 141 MiB), 1 removed (48.3 MiB), 1 kept
  action          size        age  file
  kept         3.8 KiB   3 d 00 h  /var/log/app/busy.log: open for writing by app (1291)
  compressed   1.2 GiB   1 d 06 h  /var/log/app/app.log.1
  compressed   702 MiB   2 d 06 h  /var/log/app/app.log.2
  removed     48.3 MiB  91 d 06 h  /var/log/app/app.log.91.gz
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.logs")
