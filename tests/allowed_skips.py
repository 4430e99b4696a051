"""In CI a skip is a failure unless `allowed_skips.txt` lists it; a plugin of pytest, which conftest.py takes in."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

LIST = Path(__file__).with_suffix(".txt")


def allowed(reason: str, lines: Sequence[str], platform: str = sys.platform) -> bool:
    """Whether one of the list's lines is for this platform and this reason."""
    for line in lines:
        where, _, pattern = line.strip().partition(" ")
        if where in ("any", platform) and fnmatchcase(reason, pattern.strip()):
            return True
    return False


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip that is not listed; what is expected to fail is no skip."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not allowed(reason.removeprefix("Skipped: "), LIST.read_text(encoding="utf-8").splitlines()):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which {LIST.name} does not list: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Each test, and each part of it."""
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Whole modules."""
    report = yield
    judge(report)
    return report
