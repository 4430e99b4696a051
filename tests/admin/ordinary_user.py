"""What a program sees that has no more rights than any user, also where the tests run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def as_ordinary_user(folder: Path) -> Iterator[None]:
    """Meanwhile this process may do what any user may, in ``folder``; paths are to be relative, since folders above may be root's alone."""
    folder.chmod(0o755)
    with chdir(folder):
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
