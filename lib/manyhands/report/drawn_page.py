"""The page of a `Drawing`: as that of a run (`manyhands.report.page`) one file, without a network; it runs no script at all."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from manyhands.core.safe_text import one_line
from manyhands.report.charts import NARROW, WIDE
from manyhands.report.drawing import Drawing, Figure, Table
from manyhands.report.page import figure, footer, hash_of, head, part
from manyhands.report.svg import to_part

_CELL: Final = 1000


def page(drawing: Drawing, made_by: str) -> Iterator[str]:
    """The whole page, in pieces."""
    style = part("page.css")
    policy = f"default-src 'none'; style-src {hash_of(style)}; base-uri 'none'; form-action 'none'"
    yield head(one_line(drawing.title, 120), policy, style)
    yield f'<header class="top"><h1>{_text(drawing.title)}</h1>\n'
    yield f'<p class="verdict">{_text(drawing.told)}</p></header>\n<main>\n'
    if drawing.facts:
        yield '<section aria-labelledby="h-facts"><h2 id="h-facts">What, when, where</h2><dl class="facts">'
        for name, value in drawing.facts:
            yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
        yield "</dl></section>\n"
    yield '<section aria-labelledby="h-pictures"><h2 id="h-pictures">Pictures</h2>\n'
    for half, some in groupby(drawing.figures, key=lambda one: one.half):
        shown = "".join(figure(one_line(one.title, _CELL), one_line(one.told, _CELL), _both(one)) for one in some)
        yield f'<div class="pair">{shown}</div>\n' if half else shown
    yield "</section>\n"
    for number, table in enumerate(drawing.tables):
        yield from _table(table, f"h-table-{number}")
    yield f"</main>\n{footer(made_by)}</body>\n</html>\n"


def _both(one: Figure) -> str:
    """For wide and for narrow screens."""
    wide = WIDE.half if one.half else WIDE
    return "".join(
        to_part(one.draw(size), f"{one.name}-{kind}", kind) for size, kind in ((wide, "wide"), (NARROW, "narrow"))
    )


def _table(table: Table, name: str) -> Iterator[str]:
    yield f'<section aria-labelledby="{name}"><h2 id="{name}">{_text(table.title)}</h2>\n'
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}, table"><table><thead><tr>'
    yield "".join(f'<th scope="col"{_aligned(table, n)}>{_text(one)}</th>' for n, one in enumerate(table.head))
    yield "</tr></thead><tbody>\n"
    yield from (f"<tr>{_cells(table, row)}</tr>\n" for row in table.rows)
    yield "</tbody></table></div>\n"
    if table.left_out:
        yield f'<p class="note">... and {table.left_out:,} more</p>\n'
    yield "</section>\n"


def _cells(table: Table, row: Sequence[str]) -> str:
    return "".join(f"<td{_aligned(table, n)}>{_text(one)}</td>" for n, one in enumerate(row))


def _aligned(table: Table, column: int) -> str:
    return ' class="n"' if column in table.numbers else ""


def _text(text: str) -> str:
    return html.escape(one_line(text, _CELL))
