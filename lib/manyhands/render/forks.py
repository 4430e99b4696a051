"""What ``fork-demo`` prints."""

from __future__ import annotations

from manyhands.processes.fork_demo import ForkEvent, ForkReport


def fork_line(event: ForkEvent) -> str:
    """``  0.001 s  child   pid 4711  fork returned 0: I am the child, and my parent is 4710``."""
    return f"{event.elapsed:7.3f} s  {event.who:6}  pid {event.pid}  {event.text}"


def fork_verdict(report: ForkReport) -> str:
    """What was seen, in a sentence."""
    count = len(report.exits)
    if not report.as_expected:
        return f"not as expected: parent {report.parent}, children saw {report.parents_seen}, reaped {report.exits}"
    children = "1 child" if count == 1 else f"{count} children"
    times = "once" if count == 1 else f"{count} times"
    return f"fork was called {times} and returned {2 * count} times: {children} of {report.parent}, all reaped"
