"""Durations, sizes and signals in words."""

from __future__ import annotations

import signal


def duration(seconds: float) -> str:
    """``0.4 ms``, ``12 ms``, ``0.3 s``, ``12.1 s``, ``2 min 05 s``, ``1 h 02 min``, ``3 d 04 h``."""
    if 0.00005 <= seconds < 0.05:
        return f"{1000 * seconds:.{int(seconds < 0.00995)}f} ms"
    if seconds < 99.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600:02d} h"


def span(seconds: float) -> str:
    """A duration as one would say it: ``1 minute``, ``30 days``, ``90 seconds``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:,.0f} {unit}{'' if seconds == length else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def memory(peak: int) -> str:
    """A peak of memory; ``-`` when it is not known."""
    return size(peak) if peak else "-"


def size(count: int) -> str:
    """Bytes in binary units: ``14.2 MiB``."""
    number, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.1f} {unit}"
