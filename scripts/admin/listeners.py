#!/usr/bin/env python3
"""Show who listens where, since when, and what is new since it was remembered.

$ scripts/admin/listeners.py
WARNING - 4 listeners, 2 on all addresses; 1 new since 2026-11-25 06:41
         listens on          bound to  program     pid  user      since        seen
WARNING  tcp 0.0.0.0:8080    all       python3   30252  www-data  11-26 03:12  new
         tcp 0.0.0.0:22      all       sshd        812  root      11-02 06:22
         tcp 127.0.0.1:25    loopback  master      963  root      11-02 06:22
         tcp 127.0.0.1:5432  loopback  postgres   1120  postgres  11-02 06:22
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.listeners")
