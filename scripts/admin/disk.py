#!/usr/bin/env python3
"""Show what fills a disk: folders, files, ages, owners, or deleted files that are still open.

$ scripts/admin/disk.py /var --top 4
WARNING - / is 83% full, 40.1 GiB free; /var holds 68.0 GiB in 301234 files and folders
             size  share    count  what
WARNING   196 GiB    83%  1204311  /, the whole file system
         51.2 GiB    75%   188230  /var/lib/docker/overlay2
         11.9 GiB    18%      211  /var/log
          9.8 GiB    14%       16  /var/log/journal
          1.4 GiB     2%    30110  /var/cache
          2.1 GiB                3  deleted, but still open (--by open)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.disk")
