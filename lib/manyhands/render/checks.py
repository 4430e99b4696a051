"""What ``host.check`` and ``host.doctor`` print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from manyhands.core.level import Level, worst
from manyhands.core.safe_text import one_line
from manyhands.host.checks import Checked
from manyhands.host.finding import Finding, Health


def check_line(checked: Sequence[Checked]) -> str:
    """``WARNING - load 4.20 (above 4), memory 34.0% | load=4.20;4;8;0;``: the worst first, then the numbers for graphs."""
    worst_first = sorted(checked, key=lambda one: one.level is Level.OK)
    said = ", ".join(one_line(one.text, 200) + _above(one) for one in worst_first)
    perfdata = " ".join(data for one in checked if (data := one.perfdata))
    return f"{worst(one.level for one in checked).name} - {said}" + (f" | {perfdata}" if perfdata else "")


def _above(one: Checked) -> str:
    if one.level in (Level.OK, Level.UNKNOWN):
        return ""
    limit = one.threshold.critical if one.level is Level.CRITICAL else one.threshold.warning
    return f" (above {limit:g}{'%' if one.threshold.percent else ''})"


def checked_record(checked: Sequence[Checked]) -> dict[str, Any]:
    """The same as a JSON object."""
    checks = [
        {
            "name": one.name,
            "level": one.level.name,
            "value": one.value,
            "text": one.text,
            "unit": "percent" if one.threshold.percent else "count",
            "warning": one.threshold.warning,
            "critical": one.threshold.critical,
        }
        for one in checked
    ]
    return {"schema": "manyhands.check/1", "level": worst(one.level for one in checked).name, "checks": checks}


def finding_lines(finding: Finding) -> Iterator[str]:
    """A line for what is well; for what is not, what follows from it, and what to do."""
    yield f"{finding.health.value:8} {finding.name:14} {one_line(finding.seen, 1000)}"
    if finding.so:
        yield f"{'':8}   so: {finding.so}"
    if finding.fix:
        yield f"{'':8}   do: {finding.fix}"


def verdict(findings: Sequence[Finding]) -> str:
    """One sentence about the whole."""
    counts = {health: sum(one.health is health for one in findings) for health in Health}
    if counts[Health.BROKEN]:
        return f"{counts[Health.BROKEN]} of {len(findings)} things that manyhands needs do not work here"
    if counts[Health.LIMITED]:
        return f"all that manyhands needs works here, {counts[Health.LIMITED]} of {len(findings)} things with less than there could be"
    return "all that manyhands needs works here"
