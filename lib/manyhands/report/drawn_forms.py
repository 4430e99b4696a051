"""A `Drawing` in each of its forms, as bytes: a page, a picture in which all figures are, or Markdown with the tables alone."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Final

from manyhands.ci.job_summary import no_markdown
from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import one_line
from manyhands.report import svg
from manyhands.report.charts import MUTED, WIDE
from manyhands.report.drawing import Drawing
from manyhands.report.drawn_page import page

_CELL: Final = 300


def in_form(drawing: Drawing, form: str, made_by: str) -> bytes:
    """As html, svg, png or md. All but Markdown need the extra ``report``. Raises ManyhandsError if a picture would be empty."""
    if form == "md":
        return "".join(_markdown(drawing)).encode()
    if form == "html":
        return "".join(page(drawing, made_by)).encode("utf-8", "backslashreplace")
    if not drawing.figures:
        raise ManyhandsError(f"{drawing.told}: there is nothing to draw")
    chart = _picture(drawing)
    return svg.to_png(chart) if form == "png" else svg.to_svg(chart)


def _picture(drawing: Drawing) -> Any:
    """All figures in one, below each other or in pairs."""
    import altair as alt

    rows: list[Any] = []
    pair: list[Any] = []
    for figure in drawing.figures:
        title = alt.TitleParams(one_line(figure.title, 60), anchor="start", fontSize=13, offset=12, color=MUTED)
        chart = figure.draw(WIDE.half if figure.half else WIDE).properties(title=title)
        pair = [*pair, chart] if figure.half else pair
        if len(pair) == 2 or (pair and not figure.half):
            rows.append(alt.hconcat(*pair, spacing=40))
            pair = []
        if not figure.half:
            rows.append(chart)
    rows += [alt.hconcat(*pair)] if pair else []
    heading = alt.TitleParams(
        one_line(drawing.title, 110), subtitle=wrap(one_line(drawing.told, 450), 150), anchor="start", offset=14
    )
    return alt.vconcat(*rows, spacing=28).properties(title=heading)


def _markdown(drawing: Drawing) -> Iterator[str]:
    yield f"# {_plain(drawing.title)}\n\n{_plain(drawing.told)}\n"
    for name, value in drawing.facts:
        yield f"\n- {_plain(name)}: {_plain(value)}"
    yield "\n" if drawing.facts else ""
    for table in drawing.tables:
        yield f"\n## {_plain(table.title)}\n\n| {' | '.join(map(_plain, table.head))} |\n"
        yield "|" + "|".join("---:" if n in table.numbers else "---" for n in range(len(table.head))) + "|\n"
        for row in table.rows:
            yield f"| {' | '.join(map(_plain, row))} |\n"
        if table.left_out:
            yield f"\n... and {table.left_out:,} more\n"


def _plain(text: str) -> str:
    return no_markdown(text, _CELL)
