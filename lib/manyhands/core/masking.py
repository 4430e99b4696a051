"""Finds environment variables that look like secrets, which are neither shown nor stored. One pattern for the whole program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from manyhands.core.patterns import pattern

_NAMES: Final = pattern(
    r"passw|passphrase|passcode|pass(?![a-z])|pwd(?<!^pwd)(?<!^oldpwd)|secret|token|credential|cookie|private|signature"
    r"|key(?:s|_?id)?(?![a-z])|auth(?!or(?!iz))",
    re.IGNORECASE,
)
_IN_URL: Final = pattern(r"(?<=://)([^/@:\s]*):[^/@\s]+@")


def is_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by its name or because its value is a URL with a password."""
    return _NAMES.search(name) is not None or _IN_URL.search(value) is not None


def masked(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without its secrets: values of variables with such names, and passwords in URLs, become ``***``."""
    return {
        name: "***" if value and _NAMES.search(name) else _IN_URL.sub(r"\1:***@", value)
        for name, value in sorted(environment.items())
    }
