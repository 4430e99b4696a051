#!/usr/bin/env python3
"""Show cron jobs and timers: what ran last, what failed or did not begin, what is next; of systemd, cron and anacron.

$ scripts/admin/timers.py
CRITICAL - 2 of 6 jobs failed, 2 more with a problem, the next begins 11-26 07:03
          last         next         problem             user  job
CRITICAL  11-26 07:02  11-26 07:03  exit status 1       root  /etc/cron.d/ours:2: /usr/local/bin/sync
CRITICAL  11-26 07:00  11-26 08:00  exit status 1             backup.timer
WARNING                             bad minute          root  /etc/cron.d/broken:2: /usr/local/bin/x
WARNING   11-22 00:00               not run for 4 days  root  cron.daily: run-parts /etc/cron.daily
          11-26 07:02  11-26 07:03                      www   /var/spool/cron/crontabs/www:4: ./poll
                       11-27 00:00                            logrotate.timer
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.timers")
