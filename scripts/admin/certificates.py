#!/usr/bin/env python3
"""Show which certificates expire soon, of hosts and of files, and which hosts a careful client would not trust.

$ scripts/admin/certificates.py www.example.org mail.example.org:25 /etc/letsencrypt/live
CRITICAL - 4 certificates: 1 is not trusted, 1 expires within 30d
          days  expires     name              where
CRITICAL   301  2027-09-23  mx.example.org    mail.example.org:25: not for this name
WARNING     12  2026-12-08  wiki.example.org  /etc/letsencrypt/live/wiki/cert.pem
            70  2027-02-04  www.example.org   www.example.org:443
           470  2028-03-12  R13               /etc/letsencrypt/live/wiki/chain.pem
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.certificates")
