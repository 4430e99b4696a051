"""Lines as sha256sum, sha512sum and b2sum write and check them (GNU coreutils, "md5sum invocation").

Separate, because both directions must agree with these programs byte by byte.
"""

from __future__ import annotations

import re
from typing import Final

_LINE: Final = re.compile(rb"(?P<escaped>\\?)(?P<checksum>[0-9A-Fa-f]+) [ *](?P<name>[^\0]+)", re.DOTALL)
_ESCAPES: Final = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_MEANT: Final = {escape: byte for byte, escape in _ESCAPES.items()}


def line_of(checksum: str, name: bytes) -> bytes:
    """One line. A name with a backslash or the end of a line is escaped, which a backslash at the beginning of the line says."""
    if name == b"-":  # the programs take it for standard input
        name = b"./-"
    escaped = re.sub(rb"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)
    return (b"\\" if escaped != name else b"") + checksum.encode() + b"  " + escaped + b"\n"


def read_line(line: bytes) -> tuple[str, bytes] | None:
    """(checksum, name) of a line, in text mode or in binary mode (``*``); None if it is not one."""
    found = _LINE.fullmatch(line.removesuffix(b"\n").removesuffix(b"\r"))
    if not found:
        return None
    name = found["name"]
    if found["escaped"]:
        if re.sub(rb"\\[\\nr]", b"", name).count(b"\\"):
            return None
        name = re.sub(rb"\\[\\nr]", lambda one: _MEANT[one[0]], name)
    return found["checksum"].decode().lower(), name
