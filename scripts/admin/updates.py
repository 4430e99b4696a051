#!/usr/bin/env python3
"""List packages with pending security updates (Debian, Ubuntu), as apt's lists of the last `apt-get update` know them.

$ scripts/admin/updates.py
CRITICAL - 2 security updates pending, 14 others
          package  installed          update             from
CRITICAL  libssl3  3.0.14-1~deb12u2   3.0.15-1~deb12u1   Debian-Security:12/stable-security
CRITICAL  openssl  3.0.14-1~deb12u2   3.0.15-1~deb12u1   Debian-Security:12/stable-security
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.updates")
