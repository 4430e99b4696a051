"""Checks for monitoring: measured values against thresholds, as Nagios plugins do (Monitoring Plugins Development Guidelines).

--load 4         critical above 4             --disk /=90%,95%     a warning above 90%, critical above 95%
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.level import Level
from manyhands.core.records import dataclass
from manyhands.options.host import CheckHostOptions

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(%?)")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value above ``warning`` or ``critical`` is one; ``percent``: they are percents. None: nothing is."""

    warning: float | None
    critical: float
    percent: bool

    @classmethod
    def parse(cls, text: str, option: str, *, percent: bool) -> Threshold:
        """``CRIT`` or ``WARN,CRIT``, with or without % as the option wants it. Raises UsageError."""
        unit = "a percentage such as 90%" if percent else "a number such as 4"
        parts = [_NUMBER.fullmatch(part.strip()) for part in text.split(",")]
        if len(parts) > 2 or not all(parts) or any(part and bool(part[2]) != percent for part in parts):
            raise UsageError(
                f"{given_as(option, repr(text))}: expected {unit}, or two of them: a warning above the first"
            )
        *warning, critical = (float(part[1]) for part in parts if part)
        if warning and warning[0] > critical:
            raise UsageError(f"{given_as(option, repr(text))}: the warning comes at a higher value than the alarm")
        if percent and critical > 100:
            raise UsageError(f"{given_as(option, repr(text))}: a percentage is at most 100%")
        return cls(warning[0] if warning else None, critical, percent)

    def level(self, value: float) -> Level:
        """What ``value`` is."""
        if value > self.critical:
            return Level.CRITICAL
        return Level.WARNING if self.warning is not None and value > self.warning else Level.OK


@dataclass(frozen=True, slots=True)
class Checked:
    """One value that was looked at. ``value`` None: it could not be had, ``text`` says why."""

    name: str
    value: float | None
    text: str
    level: Level
    threshold: Threshold

    @property
    def perfdata(self) -> str | None:
        """``/=21.4%;90;95;0;100``: label, value, unit, thresholds, least, most. A label holds neither ``=`` nor quotes."""
        if self.value is None:
            return None
        label = re.sub("[='|\\s]", "_", self.name)
        unit, most = ("%", "100") if self.threshold.percent else ("", "")
        warning = "" if self.threshold.warning is None else f"{self.threshold.warning:g}"
        value = f"{self.value:.2f}".rstrip("0").rstrip(".")
        return f"{label}={value}{unit};{warning};{self.threshold.critical:g};0;{most}"


def check(wanted: CheckHostOptions) -> list[Checked]:
    """Look at all that is wanted. Raises UsageError for a threshold that is none, and if nothing is wanted."""
    looks = _looks(wanted)
    if not looks:
        *names, last = map(
            option_name, ("--load", "--memory", "--swap", "--disk", "--inodes", "--processes", "--zombies")
        )
        raise UsageError(f"nothing to check: give {', '.join(names)} or {last}")
    return [_look(name, threshold, measure) for name, threshold, measure in looks]


Measure = Callable[[], tuple[float, str]]
"""Measures, and tells the value and what it means."""


def _looks(wanted: CheckHostOptions) -> list[tuple[str, Threshold, Measure]]:
    """What to measure, all texts checked before anything is."""
    plain: list[tuple[str, str | None, bool, Measure]] = [
        ("load", wanted.load, False, _load),
        ("memory", wanted.memory, True, _memory),
        ("swap", wanted.swap, True, _swap),
        ("processes", wanted.processes, False, _processes),
        ("zombies", wanted.zombies, False, _zombies),
    ]
    looks = [
        (name, Threshold.parse(text, f"--{name}", percent=percent), measure)
        for name, text, percent, measure in plain
        if text is not None
    ]
    for option, texts, of in (("--disk", wanted.disk, _space), ("--inodes", wanted.inodes, _inodes)):
        for text in texts:
            path, equals, threshold = text.rpartition("=")
            if not (path and equals):
                raise UsageError(f"{given_as(option, repr(text))}: expected PATH=90% or PATH=80%,90%")
            name = path if option == "--disk" else f"{path} inodes"
            looks.append((name, Threshold.parse(threshold, option, percent=True), of(path)))
    return looks


def _look(name: str, threshold: Threshold, measure: Measure) -> Checked:
    try:
        value, text = measure()
    except OSError as error:
        return Checked(name, None, f"{name} {os.strerror(error.errno or 0)}", Level.UNKNOWN, threshold)
    return Checked(name, value, text, threshold.level(value), threshold)


def _load() -> tuple[float, str]:
    one, five, fifteen = os.getloadavg()
    return one, f"load {one:.2f} {five:.2f} {fifteen:.2f}"


def _memory() -> tuple[float, str]:
    from manyhands.host.metrics import memory

    seen = memory()
    percent = 100 * seen.used / seen.total
    return percent, f"memory {percent:.1f}%"


def _swap() -> tuple[float, str]:
    from manyhands.host.metrics import swap

    seen = swap()
    percent = 100 * seen.used / seen.total if seen.total else 0.0
    return percent, f"swap {percent:.1f}%" if seen.total else "no swap"


def _processes() -> tuple[float, str]:
    from manyhands.processes.listing import list_processes

    count = len(list_processes())
    return count, f"{count} processes"


def _zombies() -> tuple[float, str]:
    from manyhands.processes.listing import zombies

    count = len(zombies())
    return count, f"{count} zombies"


def _space(path: str) -> Measure:
    def measure() -> tuple[float, str]:
        from manyhands.host.metrics import disk

        seen = disk(path)
        return seen.percent, f"{path} {seen.percent:.1f}%"

    return measure


def _inodes(path: str) -> Measure:
    def measure() -> tuple[float, str]:
        from manyhands.host.metrics import disk

        seen = disk(path)
        if not seen.inodes:
            return 0.0, f"{path} has no fixed number of inodes"
        percent = 100 * (seen.inodes - (seen.inodes_free or 0)) / seen.inodes
        return percent, f"{path} inodes {percent:.1f}%"

    return measure
