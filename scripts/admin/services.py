#!/usr/bin/env python3
"""Show which services have failed, with their last lines: as systemd knows them, else by syslog files.

$ scripts/admin/services.py --lines 2
CRITICAL - 1 unit failed, 1 more since 11-25 06:46
          unit           state   since        failures  why
CRITICAL  bad.service    failed  11-26 06:44         1  exit status 3
    11-26 06:44 sh: cannot open /etc/bad.conf: No such file
    11-26 06:44 systemd: bad.service: Failed with result 'exit-code'.
WARNING   flaky.service  active  11-26 06:44         1  exit-code
    11-26 06:44 sh: first time fails
    11-26 06:44 systemd: flaky.service: Failed with result 'exit-code'.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.services")
