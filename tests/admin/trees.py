"""Folders with files, as the programs that look at all files of a tree are tested with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

HOSTILE = [
    b"plain",
    b"a b",
    b"-",
    b"--help",
    b"*star",
    b"back\\slash",
    b"new\nline",
    b"car\rriage",
    b"end\r",
    b"\\n",
    b"\x1b[31mred",
    b"caf\xc3\xa9",
]
if os.uname().sysname == "Linux":
    HOSTILE.append(b"\xff\xfe not text")  # macOS has no such names
"""Names that a program must neither interpret nor break on."""


def tree(folder: Path, files: Mapping[bytes | str, bytes]) -> Path:
    """Make files by their names, which may have folders in them."""
    for name, content in files.items():
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    return folder


def hostile_tree(folder: Path) -> Path:
    """A file of each hostile name, also in a folder of each such name; a link out of the folder, a link to a folder, a pipe."""
    tree(folder, {name: b"of " + name for name in HOSTILE})
    tree(folder, {b"folder " + name + b"/" + name: b"in " + name for name in HOSTILE})
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "round").symlink_to(".", target_is_directory=True)
    os.mkfifo(folder / "pipe")
    return folder


def restricted() -> list[str]:
    """What to put before a command, so that it may not read what permissions forbid, although we may be root."""
    if os.geteuid() or sys.platform != "linux":
        return []
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
