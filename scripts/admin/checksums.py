#!/usr/bin/env python3
"""Write or verify the checksums of all files of a folder, in parallel, as sha256sum prints and checks them.

$ scripts/admin/checksums.py /srv/archive --write archive.sha256
OK - 5,003 files, 1.2 GiB, written to archive.sha256
$ scripts/admin/checksums.py /srv/archive --verify archive.sha256
CRITICAL - 1 changed, 1 missing; 5,002 files, 1.2 GiB read
          state    problem  path
CRITICAL  changed           2023/invoices.tar
CRITICAL  missing           notes.txt
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.checksums")
