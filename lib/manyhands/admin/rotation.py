"""Which backups are kept: the newest ones, and the last one of each of the last days, weeks and months that have any.

Separate and pure, so that it can be proven before anything is deleted by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from datetime import datetime
from typing import NamedTuple

from manyhands.core.errors import UsageError


class Rotation(NamedTuple):
    """How many are kept of each kind; None: none for that reason, and if all are None, all are kept."""

    keep: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None

    def check(self) -> None:
        """Raise UsageError for a number that would keep nothing."""
        for name, count in self._asdict().items():
            if count is not None and count < 1:
                raise UsageError(f"--{name} {count}: expected 1 or more")

    @property
    def deletes(self) -> bool:
        """Whether there is anything that it would not keep."""
        return any(count is not None for count in self)

    def kept(self, moments: Collection[datetime]) -> dict[datetime, list[str]]:
        """Those that are kept, each with the reasons; the newest one always is."""
        if not self.deletes or not moments:
            return {moment: [] for moment in moments}
        found: dict[datetime, list[str]] = {max(moments): []}
        for name, count, period in self._rules():
            last: dict[Hashable, datetime] = {}
            for moment in sorted(moments, reverse=True):
                last.setdefault(period(moment), moment)
            for moment in list(last.values())[:count]:
                found.setdefault(moment, []).append(name)
        return found

    def _rules(self) -> Iterator[tuple[str, int, Callable[[datetime], Hashable]]]:
        if self.keep is not None:
            yield "newest", self.keep, lambda moment: moment
        if self.daily is not None:
            yield "daily", self.daily, datetime.date
        if self.weekly is not None:
            yield "weekly", self.weekly, lambda moment: tuple(moment.isocalendar())[:2]  # weeks of ISO 8601: from Monday
        if self.monthly is not None:
            yield "monthly", self.monthly, lambda moment: (moment.year, moment.month)
