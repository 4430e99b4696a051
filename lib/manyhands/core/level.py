"""How bad a finding is, as monitors count it: the exit statuses of the Monitoring Plugins Development Guidelines."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Level(IntEnum):
    """Exit statuses of a plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_ORDER = (Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL)


def severity(level: Level) -> int:
    """For sorting: an alarm is worst, then what could not be known, then a warning."""
    return _ORDER.index(level)


def worst(levels: Iterable[Level]) -> Level:
    """The worst of all; OK if there are none."""
    return max(levels, key=severity, default=Level.OK)
