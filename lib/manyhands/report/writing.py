"""A report in each of its forms, as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from manyhands.ci.job_summary import JobSummary
from manyhands.core.events import Finished, Summary
from manyhands.report import charts, svg
from manyhands.report.look import Look
from manyhands.report.page import page
from manyhands.storage import runs
from manyhands.storage.stage_journals import Journals


def html_page(look: Look) -> Iterator[bytes]:
    """The page, in pieces."""
    return (piece.encode("utf-8", "backslashreplace") for piece in page(look, _parts(look)))


def _parts(look: Look) -> dict[str, str]:
    """Each picture for wide and for narrow screens."""
    found: dict[str, str] = {}
    if not len(look.attempts):
        return found
    for size, kind in ((charts.WIDE, "wide"), (charts.NARROW, "narrow")):
        drawn = {
            "lanes": charts.lanes_chart(look.attempts, look.clock, size),
            **charts.flow_charts(look.attempts, look.clock, size),
            **charts.time_charts(look.attempts, size),
        }
        for name, chart in drawn.items():
            found[name] = found.get(name, "") + svg.to_part(chart, f"{name}-{kind}", kind)
    return found


def picture(look: Look, *, png: bool) -> bytes:
    """Timeline and run times as SVG or PNG."""
    chart = charts.picture(look.attempts, look.clock, look.what, look.told)
    return svg.to_png(chart) if png else svg.to_svg(chart)


def markdown(found: runs.Run) -> bytes:
    """The summary that a CI system gets."""
    from manyhands.render.runs import summarise

    summary, work = JobSummary(), 0.0
    line = summarise(found)
    summary.what = line.template
    with closing(Journals.open(found)) as journals:
        tally = journals.tally()
        for history in journals.histories():
            work += sum(record.outcome.wall for record in history if record.outcome)
            end = history[-1].outcome
            if end is not None:
                summary.finished(Finished(end))
    total = Summary(
        found.id,
        tally.counts,
        left=tally.left,
        wall=line.took,
        work=work,
        total=line.total,
        unread=line.total is None and line.state != "complete",
    )
    return summary.text(total).encode()
