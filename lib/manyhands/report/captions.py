"""What there is to see in each picture, in words: for whoever cannot see it, and for whoever wants the number."""

from __future__ import annotations

from manyhands.core.lean import NamedTuple
from manyhands.render.words import duration, size
from manyhands.report.attempts import BAD, RUNNING, Attempts
from manyhands.report.bins import quantile
from manyhands.report.clock import Clock
from manyhands.report.lanes import is_single


class Caption(NamedTuple):
    """``title`` may be empty."""

    title: str
    told: str


def captions(attempts: Attempts, clock: Clock) -> dict[str, Caption]:
    """Of each picture, by its name."""
    span, many, cpu = clock.span, len(attempts), sum(attempts.cpu)
    width = f"Attempts that ran at the same time: {sum(attempts.wall) / span:,.1f} on average."
    rate = f"Attempts that ended each second: {_number(many / span)} on average; those that were not ok are on top, in another colour."
    cores = f"Cores at work: {cpu / span:,.2f} on average; {duration(cpu)} of CPU time in all."
    return {
        "lanes": Caption("", _timeline(attempts, clock)),
        "width": Caption("Width", width),
        "throughput": Caption("Throughput", rate),
        "cores": Caption("CPU", cores),
        "memory": Caption("Memory", _memory(attempts)),
        **_times(attempts),
    }


def _timeline(attempts: Attempts, clock: Clock) -> str:
    many, lanes = len(attempts), len(attempts.lanes)
    bad = sum(state in BAD for state in attempts.state)
    text = f"{many:,} attempt{'' if many == 1 else 's'} on {lanes:,} slot{'' if lanes == 1 else 's'}"
    if attempts.retries:
        text += f", {attempts.retries:,} of them retries"
    text += f"; {duration(clock.span)} in all, {bad:,} not ok."
    if not is_single(attempts):
        text += " There are too many to draw each: a band is as high as the slot was busy, and in another colour at its foot where attempts were not ok."
    elif attempts.retries:
        text += " A dark line begins a retry."
    if clock.pauses:
        pauses = ", ".join(duration(one.seconds) for one in clock.pauses[:5])
        text += f" Time in which nothing ran is left out: {pauses}."
    return text


def _memory(attempts: Attempts) -> str:
    peaks = sorted(filter(None, attempts.rss))
    if not peaks:
        return "It is not known."
    return f"The most that each attempt had: half of them at most {size(int(quantile(peaks, 0.5)))}, the largest {size(peaks[-1])}."


def _times(attempts: Attempts) -> dict[str, Caption]:
    walls = sorted(wall for wall, state in zip(attempts.wall, attempts.state, strict=True) if state != RUNNING)
    if not walls:
        return {"times": Caption("Run times", "No attempt has ended."), "distribution": Caption("", "")}
    half, most, longest = (duration(quantile(walls, share)) for share in (0.5, 0.95, 1.0))
    return {
        "times": Caption("How many took how long", f"Half of the attempts took at most {half}, the longest {longest}."),
        "distribution": Caption(
            "How many took at most so long", f"50% within {half}, 95% within {most}, all within {longest}."
        ),
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
