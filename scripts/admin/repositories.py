#!/usr/bin/env python3
"""Show the git repositories below folders: what is changed, ahead, behind, stashed; fetched at once with --fetch.

$ scripts/admin/repositories.py ~/src --fetch
CRITICAL - 4 repositories: 1 changed, 1 ahead, 2 behind, 1 with a problem
          branch  ahead  behind  changed  new  stash   age  repository
CRITICAL  main                                        12 d  src/wiki: fetch: no end within 60
WARNING   main        1       1                        3 h  src/api
WARNING   topic               1        2    1          4 d  src/tools
          main        -       -                       90 d  src/website
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))  # a checkout, perhaps one that is not installed

from manyhands.cli.stand_alone import main

if __name__ == "__main__":
    main("admin.repositories")
