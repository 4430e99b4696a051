"""What the slots of one execution have done, and how many jobs ended when: of few attempts each one, of many how busy each slot was.

It takes the same memory however many jobs there are and however long they take: time is cut into at most `COLUMNS` columns, which become
twice as wide whenever there would be more.
"""

from __future__ import annotations

from typing import Any, Final

from manyhands.core.safe_text import one_line
from manyhands.web.journal_tail import EndedAttempt

COLUMNS: Final = 240
ROWS: Final = 64
"""Slots that are drawn."""
BARS: Final = 1500
"""Attempts that are drawn one by one."""
_FINEST: Final = 0.05
"""Seconds of a column at first."""


class _Row:
    """One slot: its busy seconds, and the attempts that failed, in each column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = [0.0] * COLUMNS
        self.bad = [0] * COLUMNS


class Timeline:
    """``start``: seconds since the epoch."""

    def __init__(self, start: float, *, stages: bool) -> None:
        self.start, self._stages = start, stages
        self.width = _FINEST
        self.more = 0
        """Attempts in slots that are not drawn."""
        self._used = 0
        self._rows: dict[tuple[int, str, int], tuple[int, _Row]] = {}
        self._bars: list[tuple[int, float, float, str, int, int]] | None = []
        self._ok = [0] * COLUMNS
        self._bad = [0] * COLUMNS

    def add(self, row: EndedAttempt, stage: int) -> None:
        """Take one attempt into account; what began before the start is of an earlier execution."""
        if row.started is None or row.started < self.start - 1:
            return
        began = max(row.started - self.start, 0.0)
        first, last = self._column(began), self._column(began + row.wall)
        first = self._column(began)  # the columns may have become wider
        well = row.status == "ok"
        (self._ok if well else self._bad)[last] += 1
        place = self.place(stage, row.host, row.slot)
        if place is None:
            self.more += 1
            return
        number, slot = place
        if first == last:
            slot.busy[first] += row.wall
        else:
            self._spread(slot.busy, first, last, began, began + row.wall)
        if not well:
            slot.bad[last] += 1
        if self._bars is not None:
            self._bars.append((number, round(began, 3), round(row.wall, 3), row.status, row.job, row.attempt))
            if len(self._bars) > BARS:
                self._bars = None

    def place(self, stage: int, host: str | None, slot: int) -> tuple[int, _Row] | None:
        """The row of a slot; None if there are too many."""
        key = stage, host or "", slot
        found = self._rows.get(key)
        if found is None and len(self._rows) < ROWS:
            name = f"{one_line(host, 24)} {slot}" if host else f"slot {slot}"
            found = self._rows[key] = len(self._rows), _Row(f"{stage}: {name}" if self._stages else name)
        return found

    def _spread(self, busy: list[float], first: int, last: int, began: float, ended: float) -> None:
        width = self.width
        busy[first] += (first + 1) * width - began
        for column in range(first + 1, last):
            busy[column] += width
        busy[last] += ended - last * width

    def _column(self, moment: float) -> int:
        while (column := int(moment / self.width)) >= COLUMNS:
            self._widen()
        self._used = max(self._used, column + 1)
        return column

    def _widen(self) -> None:
        self.width *= 2
        self._used = (self._used + 1) // 2
        self._ok, self._bad = _halved(self._ok), _halved(self._bad)
        for _, row in self._rows.values():
            row.busy, row.bad = _halved(row.busy), _halved(row.bad)

    def to_json(self) -> dict[str, Any]:
        """What the page draws: ``busy`` in percent of each column."""
        used, width = self._used, self.width
        rows = sorted(self._rows.items())
        order = {number: at for at, (_, (number, _)) in enumerate(rows)}
        whole = self._bars is None
        return {
            "start": self.start,
            "width": width,
            "columns": used,
            "ok": self._ok[:used],
            "bad": self._bad[:used],
            "more": self.more,
            "rows": [
                {
                    "key": list(key),
                    "name": row.name,
                    "busy": [min(100, round(100 * one / width)) for one in row.busy[:used]] if whole else None,
                    "bad": row.bad[:used] if whole else None,
                }
                for key, (_, row) in rows
            ],
            "bars": None if self._bars is None else [[order[row], *rest] for row, *rest in self._bars],
        }


def _halved(values: list[Any]) -> list[Any]:
    pairs = [values[at] + values[at + 1] for at in range(0, COLUMNS, 2)]
    return pairs + [type(values[0])(0)] * (COLUMNS - len(pairs))
