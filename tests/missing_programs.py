"""A test that starts a program of the system which is not installed is skipped, with the program's name; a plugin of pytest.

Only for programs that a bare Debian does without. Where CI has to have them, `allowed_skips` makes a failure of the skip.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator

import pytest

OPTIONAL = frozenset(
    [
        "b2sum",
        "df",
        "fdupes",
        "fish",
        "free",
        "gcc",
        "git",
        "groff",
        "ip",
        "less",
        "lsof",
        "make",
        "man",
        "openssl",
        "parallel",
        "perl",
        "pgrep",
        "pkill",
        "ps",
        "pstree",
        "rsync",
        "script",
        "setpriv",
        "setsid",
        "sha256sum",
        "sha512sum",
        "ss",
        "strace",
        "taskset",
        "tmux",
        "top",
        "unshare",
        "uptime",
        "valgrind",
        "w",
        "zsh",
    ]
)
_SHELL = re.compile(r"(?:^|[ :])(\S+): (?:command )?not found$", re.MULTILINE)


def missing(error: BaseException) -> str | None:
    """The program for want of which a test failed: it could not be started, by Python or by a shell."""
    if isinstance(error, FileNotFoundError):
        names = [error.filename]
    else:
        names = _SHELL.findall(f"{getattr(error, 'stderr', '')}\n{error}")
    return next((name for name in names if name in OPTIONAL and shutil.which(name) is None), None)


def _skipping() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        if name := missing(error):
            pytest.skip(f"{name} is not installed")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Fixtures."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """The test itself."""
    return (yield from _skipping())
