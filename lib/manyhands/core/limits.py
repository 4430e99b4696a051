"""The limits of a batch, checked and frozen, and the parsers of what users type for them.

Every parser raises UsageError with one line that names the option.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Final, Literal

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass

MAX_JOBS: Final = 1024
"""The number of slots for ``--jobs 0``."""

MOST_BY_ITSELF: Final = 64
"""The most that ``--jobs auto`` climbs to."""

MAX_BACKOFF: Final = 300.0
"""Seconds; the longest wait before a retry, unless another limit is given."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = pattern(r"(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d|w)")
_SIZE = pattern(r"(\d+(?:\.\d+)?)\s*(?:([kKMGT])(iB|B)?)?B?")


def parse_jobs(text: str | int, cores: int) -> int:
    """The number of slots: ``8``; ``0`` (`MAX_JOBS`); ``50%``, ``+2``, ``-1`` of the usable cores, as in GNU parallel; or
    ``auto`` (`MOST_BY_ITSELF`, see `Limits.climb`)."""
    given = str(text).strip()
    if given == "auto":
        return MOST_BY_ITSELF
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", given):
        return max(1, round(cores * float(match[1]) / 100))
    if not re.fullmatch(r"[+-]?\d+", given) or given in ("-0", "+"):
        raise UsageError(
            f"{given_as('--jobs', repr(given))}: expected a number, 0, a percentage, +N or -N of the cores, or auto"
        )
    if given[0] in "+-":
        jobs = cores + int(given)
        if jobs < 1:
            raise UsageError(f"{given_as('--jobs', given)} leaves none of {cores} cores")
        return jobs
    return int(given) or MAX_JOBS


def parse_duration(text: str | float, option: str) -> float:
    """Seconds, from ``90``, ``1.5``, ``250ms``, ``2m``, ``1h30m``, ``2d``."""
    given = str(text).strip()
    try:
        seconds = float(given)
    except ValueError:
        if not re.fullmatch(f"(?:{_PART.pattern})+", given):
            raise UsageError(
                f"{given_as(option, repr(given))}: expected seconds, or a duration such as 250ms, 90s, 2m or 1h30m"
            ) from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(given))
    if not math.isfinite(seconds) or seconds < 0:
        raise UsageError(f"{given_as(option, given)}: a duration cannot be negative or endless")
    return seconds


def parse_size(text: str | int, option: str) -> int:
    """Bytes, from ``64k``, ``10M``, ``1GiB`` (powers of 1024) or ``10MB`` (powers of 1000), as in GNU coreutils."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise UsageError(f"{given_as(option, repr(text))}: expected a size in bytes such as 65536, 64k or 10M")
    power = "kMGT".find((match[2] or "").replace("K", "k")) + 1 if match[2] else 0
    return int(float(match[1]) * (1000 if match[3] == "B" else 1024) ** power)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed job waits before it is retried: ``first`` seconds, then ``growth`` times as long for each further retry, at
    most ``cap``. A random share of the wait, up to ``jitter`` (0 to 1), is left out, so that jobs that failed together are not
    retried together."""

    first: float = 1.0
    growth: float = 2.0
    cap: float = MAX_BACKOFF
    jitter: float = 0.0

    @classmethod
    def parse(cls, text: str | float, option: str = "--backoff") -> Backoff:
        """From seconds or a duration, then ``,growth=N``, ``,max=DURATION``, ``,jitter=N%``: ``2``, ``500ms,max=1m,jitter=50%``."""
        first, *further = str(text).split(",")
        given: dict[str, str] = {}
        for part in further:
            name, equals, value = part.strip().partition("=")
            if not equals or name not in ("growth", "max", "jitter") or name in given:
                raise UsageError(
                    f"{given_as(option, repr(text))}: expected a duration, then ,growth=N ,max=DURATION or ,jitter=N%, each once at most"
                )
            given[name] = value
        growth = _number(given.get("growth", "2"), f"{given_as(option, repr(text))}: growth")
        jitter = _number(given.get("jitter", "0").removesuffix("%"), f"{given_as(option, repr(text))}: jitter")
        if growth < 1:
            raise UsageError(
                f"{given_as(option, repr(text))}: growth=1 waits equally long each time; less than that cannot be"
            )
        if jitter > 100 or ("jitter" in given and not given["jitter"].endswith("%")):
            raise UsageError(f"{given_as(option, repr(text))}: jitter is a share of the wait, from 0% to 100%")
        seconds = parse_duration(first, option)
        cap = parse_duration(given["max"], f"{option} max") if "max" in given else max(MAX_BACKOFF, seconds)
        if cap < seconds:
            raise UsageError(
                f"{given_as(option, repr(text))}: the longest wait, {cap:g} s, is shorter than the first, {seconds:g} s"
            )
        return cls(seconds, growth, cap, jitter / 100)

    def wait(self, failures: int, draw: Callable[[], float] | None = None) -> float:
        """Seconds to wait after ``failures`` failed attempts; ``draw`` gives a number from 0 to 1, at random if it is not
        given."""
        if not self.first:
            return 0.0
        try:
            full = min(self.first * self.growth ** (failures - 1), self.cap)
        except OverflowError:
            full = self.cap
        if not self.jitter:
            return full
        if draw is None:
            from random import random  # here: it imports hashes and logarithms

            draw = random
        return full * (1 - self.jitter * draw())

    def __str__(self) -> str:
        parts = [f"{self.first!r}"]
        parts += [f"growth={self.growth!r}"] if self.growth != 2 else []
        parts += [f"max={self.cap!r}"] if self.cap != max(MAX_BACKOFF, self.first) else []
        parts += [f"jitter={self.jitter * 100!r}%"] if self.jitter else []
        return ",".join(parts)


def _number(text: str, where: str) -> float:
    if not re.fullmatch(r"\d+(?:\.\d+)?(?:e-?\d+)?", text):
        raise UsageError(f"{where}={text}: expected a number")
    return float(text)


_EXITS: Final = pattern(r"(\d{1,3})(?:-(\d{1,3}))?")
_EXCEPTION: Final = pattern(r"(?:[^\W\d]\w*\.)*[^\W\d]\w*")
_RAISED: Final = pattern(r"([\w.]+)(?: \(([\w., ]+)\))?(?=:|$)")


@dataclass(frozen=True, slots=True)
class RetryOn:
    """Which failures are retried: exit statuses, ends by a signal, time-outs, lost jobs, exceptions by name."""

    text: str
    exits: frozenset[int] = frozenset()
    signals: frozenset[int] = frozenset()
    words: frozenset[str] = frozenset()
    """Of ``timeout``, ``lost``."""
    exceptions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: str | int | type[BaseException] | Collection[object], option: str = "--retry-on") -> RetryOn:
        """From ``75,100-110,timeout,lost,signal,SIGSEGV,ConnectionError``, or from a list of such words, numbers and exceptions."""
        entries = given if isinstance(given, Collection) and not isinstance(given, str) else [given]
        words = [word for entry in entries for word in _words_of(entry, option)]
        if not words:
            raise UsageError(
                f"{given_as(option, repr(''))}: expected at least one failure to retry after, such as 75 or timeout"
            )
        exits: set[int] = set()
        signals: set[int] = set()
        for word in words:
            exits |= _exits(word, option)
            signals |= _signals(word)
        named = [word for word in words if not _EXITS.fullmatch(word) and not _signals(word) and word not in _ENDINGS]
        for word in named:
            last = word.rpartition(".")[2]
            if not _EXCEPTION.fullmatch(word) or ("." not in word and last[:1] == last[:1].lower()):
                raise UsageError(
                    f"{given_as(option, repr(word))}: expected an exit status, a range such as 1-9, timeout, lost, signal, a signal such as "
                    "SIGSEGV, or the name of an exception such as ConnectionError"
                )
        return cls(
            ",".join(words),
            frozenset(exits),
            frozenset(signals),
            frozenset(words) & _ENDINGS,
            tuple(dict.fromkeys(named)),
        )

    def covers(self, status: str, exit: int | None, signal: int | None, error: str | None) -> bool:
        """Whether such an end is retried. ``status``: as `manyhands.core.job.Status`; ``error`` begins with the exception's name, and
        has in parentheses the names of its base classes that are in ``exceptions``."""
        if status in _ENDINGS:
            return status in self.words
        if signal is not None:
            return signal in self.signals
        if self.exceptions and (raised := _RAISED.match(error or "")):
            names = {raised[1], *(raised[2] or "").split(", ")}
            if not names.isdisjoint(self.exceptions):
                return True
        return exit in self.exits

    def __str__(self) -> str:
        return self.text


_ENDINGS: Final = frozenset({"timeout", "lost"})


def _words_of(entry: object, option: str) -> list[str]:
    if isinstance(entry, type) and issubclass(entry, BaseException):
        found = f"{entry.__module__}.{entry.__qualname__}"  # a worker imports the main script under another name
        return [entry.__name__ if entry.__module__ in ("builtins", "__main__") or "<" in found else found]
    if isinstance(entry, str | int) and not isinstance(entry, bool):
        return [word for part in str(entry).split(",") if (word := part.strip())]
    raise UsageError(f"{given_as(option, repr(entry)[:80])}: expected text, a number or an exception class")


def _exits(word: str, option: str) -> set[int]:
    """The exit statuses of ``75`` or ``100-110``, none for other words."""
    if not (match := _EXITS.fullmatch(word)):
        return set()
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 255:
        raise UsageError(
            f"{given_as(option, word)}: exit statuses of failures are 1 to 255, the smaller one of a range first"
        )
    return set(range(first, last + 1))


def _signals(word: str) -> set[int]:
    """The numbers of ``signal`` (all) or ``SIGTERM``, none for other words."""
    if word == "signal":
        return set(range(1, signal.NSIG))
    return {int(signal.Signals[word])} if word in signal.Signals.__members__ else set()


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
    given = str(text).strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", given):
        timeout = Timeout(percent=float(match[1]))
    else:
        timeout = Timeout(seconds=parse_duration(given, "--timeout"))
    if not (timeout.seconds or timeout.percent):
        raise UsageError(f"{given_as('--timeout', given)}: expected more than 0 seconds")
    return timeout


class HaltWhen(StrEnum):
    """What a halt rule does when it is met."""

    NEVER = "never"
    SOON = "soon"
    NOW = "now"


_OLD_HALT: Final = {
    "0": "never",
    "1": "soon,fail=1",
    "2": "now,fail=1",
    "-1": "soon,success=1",
    "-2": "now,success=1",
}


@dataclass(frozen=True, slots=True)
class Halt:
    """When a run stops early because enough jobs have failed or succeeded: GNU parallel's ``--halt`` (parallel(1))."""

    when: HaltWhen = HaltWhen.NEVER
    on: Literal["fail", "success", "done"] = "fail"
    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Halt:
        """``never``, or ``soon|now,fail|success|done=N|N%``; also GNU parallel's old ``0``, ``1``, ``2``, ``-1``,
        ``-2`` and ``N%``."""
        given = text.strip()
        given = _OLD_HALT.get(given, f"soon,fail={given}" if given.endswith("%") and "," not in given else given)
        if given == "never":
            return cls()
        match = re.fullmatch(r"(soon|now),(fail|success|done)=(\d+(?:\.\d+)?)(%)?", given)
        if not match or not float(match[3]) or (not match[4] and "." in match[3]):
            raise UsageError(
                f"{given_as('--halt', repr(text))}: expected never, or soon or now, then ,fail= or ,success= or ,done= and N or N%"
            )
        number = float(match[3])
        on: Literal["fail", "success", "done"] = match[2]  # type: ignore[assignment]  # the pattern says so
        return cls(HaltWhen(match[1]), on, None if match[4] else int(number), number if match[4] else None)

    def reached(self, done: int, failed: int, succeeded: int, total: int | None) -> bool:
        """Whether these numbers of jobs meet the rule. A percentage is of all jobs, as in GNU parallel, and so is not reached while
        their ``total`` is not known."""
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
    """What a batch may use, and how it handles failures. Durations in seconds."""

    jobs: int
    climb: bool = False
    """Begin with as many jobs as cores, and find the best number, up to ``jobs``."""
    timeout: Timeout | None = None
    grace: float = 5.0
    """The time between TERM and KILL."""
    retries: int = 0
    delay: float = 0.0
    """The least time between two starts."""
    backoff: Backoff = Backoff()
    retry_on: RetryOn | None = None
    """Which failures are retried; None: all that can be."""
    halt: Halt = Halt()
    keep_order: bool = True
    output_cap: int | None = None
    """Bytes of each stream of each job that are kept; None: all."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"{given_as('--jobs', self.jobs)}: at least one is needed")
        if self.retries < 0:
            raise UsageError(f"{given_as('--retries', self.retries)}: cannot be negative")
        if self.retry_on and not self.retries:
            raise UsageError(f"{given_as('--retry-on', self.retry_on)}: how often? add {given_as('--retries', 'N')}")
