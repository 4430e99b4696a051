"""The user's home folder, and paths that begin with it.

Separate from os.path.expanduser, which takes an empty ``HOME`` as the root folder, and a relative one as a folder below the working
folder: neither is a home, so both are ignored (XDG Base Directory Specification, on relative paths).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping


def home_folder(env: Mapping[str, str]) -> str | None:
    """``HOME`` if it is an absolute path, else the home in the user database; None if there is none."""
    home = env.get("HOME", "")
    if home.startswith("/"):
        return home
    try:
        found = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None
    return found if found.startswith("/") else None


def expanded(path: str) -> str:
    """``path`` with a ``~`` or ``~user`` at its beginning replaced, if that has a home."""
    first, slash, rest = path.partition("/")
    if first == "~" and (home := home_folder(os.environ)):
        return (home.rstrip("/") + slash + rest) or "/"
    return path if first == "~" else os.path.expanduser(path)
