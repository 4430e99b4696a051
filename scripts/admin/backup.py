#!/usr/bin/env python3
"""Back up a folder by rsync, with hard links to what has not changed; restore a sample, and delete old backups by rule.

$ scripts/admin/backup.py /home /backup/home --keep 2
OK - 2026-11-26T063000: 5,003 files, 1.2 GiB, 12.1 MiB new; 20 of 20 restored the same; 1 deleted, 2 kept
  state    path                            why
  made     /backup/home/2026-11-26T063000
  deleted  /backup/home/2026-11-24T063000
  kept     /backup/home/2026-11-25T063000  newest
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.backup")
