"""BLAKE2b alone: `hashlib`, which has it from the same place, loads OpenSSL, two megabytes in each process and milliseconds of a start."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another Python than CPython may keep it elsewhere
    from hashlib import blake2b

__all__ = ["blake2b"]
