#!/usr/bin/env python3
"""Find files with the same content, and how much could be saved without the copies; nothing is changed.

$ scripts/admin/duplicates.py /srv/photos --min-size 1M
OK - 3 copies, 5.3 GiB could be saved; 5,003 files looked at
     saves     size  path
   4.0 GiB  2.0 GiB  /srv/photos/2024/wedding.mov
                     /srv/photos/new/wedding.mov
                     /srv/photos/wedding (1).mov
   1.3 GiB  1.3 GiB  /srv/photos/2023/party.mov
                     /srv/photos/new/party.mov
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.duplicates")
