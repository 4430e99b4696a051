"""Plain tables: columns as wide as what is in them, two blanks between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from manyhands.core.safe_text import one_line


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Iterator[str]:
    """The lines of a table, harmless on a terminal; the columns in ``right`` are aligned there. The last column may be as long
    as it likes."""
    cells = [tuple(header), *(tuple(one_line(str(cell), 1000) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()
