"""The limits of a batch, checked and frozen, and the parsers of what users type for them.

Every parser raises UsageError with one line that names the option.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from manyhands.errors import UsageError

MAX_JOBS: Final = 1024
"""What ``--jobs 0`` means: as many as the inputs allow, up to this."""

MOST_BY_ITSELF: Final = 64
"""The most that ``--jobs auto`` climbs to."""

MAX_BACKOFF: Final = 300.0
"""Seconds; the wait before a retry grows no further."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kKMGT])(iB|B)?)?B?")


def parse_jobs(text: str | int, cores: int) -> int:
    """The number of slots: ``8``; ``0`` (`MAX_JOBS`); ``50%``, ``+2``, ``-1`` of the usable cores, as in GNU parallel; or
    ``auto`` (`MOST_BY_ITSELF`, see `Limits.climb`)."""
    asked = str(text).strip()
    if asked == "auto":
        return MOST_BY_ITSELF
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", asked):
        return max(1, round(cores * float(match[1]) / 100))
    if not re.fullmatch(r"[+-]?\d+", asked) or asked in ("-0", "+"):
        raise UsageError(f"--jobs {asked!r}: expected a number, 0, a percentage, +N or -N of the cores, or auto")
    if asked[0] in "+-":
        jobs = cores + int(asked)
        if jobs < 1:
            raise UsageError(f"--jobs {asked} leaves none of {cores} cores")
        return jobs
    return int(asked) or MAX_JOBS


def parse_duration(text: str | float, option: str) -> float:
    """Seconds, from ``90``, ``1.5``, ``250ms``, ``2m``, ``1h30m``, ``2d``."""
    asked = str(text).strip()
    try:
        seconds = float(asked)
    except ValueError:
        if not re.fullmatch(f"(?:{_PART.pattern})+", asked):
            raise UsageError(
                f"{option} {asked!r}: expected seconds, or a duration such as 250ms, 90s, 2m or 1h30m"
            ) from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(asked))
    if not math.isfinite(seconds) or seconds < 0:
        raise UsageError(f"{option} {asked}: a duration cannot be negative or endless")
    return seconds


def parse_size(text: str | int, option: str) -> int:
    """Bytes, from ``64k``, ``10M``, ``1GiB`` (powers of 1024) or ``10MB`` (powers of 1000), as in GNU coreutils."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise UsageError(f"{option} {text!r}: expected a size in bytes such as 65536, 64k or 10M")
    power = "kMGT".find((match[2] or "").replace("K", "k")) + 1 if match[2] else 0
    return int(float(match[1]) * (1000 if match[3] == "B" else 1024) ** power)


def retry_wait(backoff: float, failures: int) -> float:
    """Seconds to wait after so many failed tries: ``backoff``, doubled for each further one, up to `MAX_BACKOFF`."""
    return min(backoff * 2.0 ** min(failures - 1, 60), MAX_BACKOFF) if backoff else 0.0


@dataclass(frozen=True, slots=True)
class Timeout:
    """A limit for one attempt: ``seconds``, or ``percent`` of the median wall time of the jobs that have finished."""

    seconds: float | None = None
    percent: float | None = None

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else f"{self.seconds:g}"


def parse_timeout(text: str | float | None) -> Timeout | None:
    """None for no limit; ``30``, ``2m``, or ``300%``."""
    if text is None or text == "":
        return None
    asked = str(text).strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", asked):
        timeout = Timeout(percent=float(match[1]))
    else:
        timeout = Timeout(seconds=parse_duration(asked, "--timeout"))
    if not (timeout.seconds or timeout.percent):
        raise UsageError(f"--timeout {asked}: nothing can be done in no time")
    return timeout


class HaltWhen(StrEnum):
    """What a halt rule does when it comes true."""

    NEVER = "never"
    SOON = "soon"
    NOW = "now"


_OLD_HALT: Final = {
    "0": "never", "1": "soon,fail=1", "2": "now,fail=1", "-1": "soon,success=1", "-2": "now,success=1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Halt:
    """When to give up, or to be content: GNU parallel's ``--halt`` (parallel(1))."""

    when: HaltWhen = HaltWhen.NEVER
    on: Literal["fail", "success", "done"] = "fail"
    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Halt:
        """``never``, or ``soon|now,fail|success|done=N|N%``; also GNU parallel's old ``0``, ``1``, ``2``, ``-1``,
        ``-2`` and ``N%``."""
        asked = text.strip()
        asked = _OLD_HALT.get(asked, f"soon,fail={asked}" if asked.endswith("%") and "," not in asked else asked)
        if asked == "never":
            return cls()
        match = re.fullmatch(r"(soon|now),(fail|success|done)=(\d+(?:\.\d+)?)(%)?", asked)
        if not match or not float(match[3]) or (not match[4] and "." in match[3]):
            raise UsageError(
                f"--halt {text!r}: expected never, or soon or now, then ,fail= or ,success= or ,done= and N or N%"
            )
        number = float(match[3])
        on: Literal["fail", "success", "done"] = match[2]  # type: ignore[assignment]  # the pattern says so
        return cls(HaltWhen(match[1]), on, None if match[4] else int(number), number if match[4] else None)

    def reached(self, done: int, failed: int, succeeded: int, total: int | None) -> bool:
        """Whether the rule is true of so many jobs. A percentage is of all jobs, as GNU parallel counts it, and so never
        reached while their ``total`` is not known."""
        if self.when is HaltWhen.NEVER:
            return False
        number = {"fail": failed, "success": succeeded, "done": done}[self.on]
        if self.count is not None:
            return number >= self.count
        return total is not None and number * 100 >= (self.percent or 0.0) * total

    def __str__(self) -> str:
        if self.when is HaltWhen.NEVER:
            return "never"
        return f"{self.when},{self.on}=" + (f"{self.percent:g}%" if self.percent is not None else str(self.count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a batch may use and how it copes with failure. Durations in seconds."""

    jobs: int
    climb: bool = False
    """Begin with as many as cores, and find out how many of ``jobs`` are worth it."""
    timeout: Timeout | None = None
    grace: float = 5.0
    """Between TERM and KILL."""
    retries: int = 0
    delay: float = 0.0
    """At least so long between two starts."""
    backoff: float = 1.0
    """Before the first retry; doubled for each further one, up to `MAX_BACKOFF`."""
    halt: Halt = Halt()
    keep_order: bool = True
    output_cap: int | None = None
    """Bytes kept of each stream of each job; None: all."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: at least one is needed")
        if self.retries < 0:
            raise UsageError(f"--retries {self.retries}: cannot be negative")

    def retry_wait(self, failures: int) -> float:
        """Seconds to wait after so many failed tries."""
        return retry_wait(self.backoff, failures)
