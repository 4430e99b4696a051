"""Yields results in the order of the inputs, and holds a bounded number of them back in memory.

    results as they end --> held in memory, or only remembered by number --their turn--> results in order

Separate, because it only looks at finished events: the loop yields results as they end, and this wraps it if order is requested.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from manyhands.core.events import Event, Finished, Held, Summary
from manyhands.core.number_set import Numbers

HOLD: Final = 2_000
"""How many results are held in memory while an earlier one is missing; further ones are read from the journal in their turn."""
HOLD_BYTES: Final = 1 << 24
"""Bytes of outputs and results that they may hold altogether."""


def in_order(
    events: Iterable[Event], issued: deque[int], recall: Callable[[int], Finished | None], *, hold: int = HOLD
) -> Iterator[Event]:
    """Yield ``events``, but final results in the order of ``issued``, to which the job numbers are appended as they begin.

    A result that has to wait is announced by Held. ``recall(number)`` reads a result that came too early to be held in memory.
    Other events are yielded at once. Jobs that never get a result (the run was stopped, or ``events`` raised) are skipped at the end.
    """
    waiting = _Waiting(recall, hold)
    try:
        for event in events:
            if isinstance(event, Finished) and event.outcome.final:
                if issued and event.outcome.attempt.job.number == issued[0]:
                    issued.popleft()
                    yield event
                else:
                    waiting.add(event)
                    yield Held(event.outcome)
                while issued and (due := waiting.take(issued[0])):
                    issued.popleft()
                    yield due
                continue
            if isinstance(event, Summary):
                yield from waiting.rest(issued)
            yield event
    except Exception:
        yield from waiting.rest(issued)
        raise


class _Waiting:
    """Results that came before their turn."""

    def __init__(self, recall: Callable[[int], Finished | None], hold: int) -> None:
        self._recall, self._hold = recall, hold
        self._held: dict[int, Finished] = {}
        self._bytes = 0
        self._beyond = Numbers()  # results that came and are not in memory

    def add(self, event: Finished) -> None:
        number = event.outcome.attempt.job.number
        if len(self._held) < self._hold and self._bytes < HOLD_BYTES:
            self._held[number] = event
            self._bytes += _size(event)
        else:
            self._beyond.add(number)

    def take(self, number: int) -> Finished | None:
        """The result of this job, if it came."""
        if found := self._held.pop(number, None):
            self._bytes -= _size(found)
            return found
        return self._recall(number) if self._beyond.discard(number) else None

    def rest(self, issued: deque[int]) -> Iterator[Finished]:
        """The results of the jobs in ``issued``, as far as they came; ``issued`` is empty afterwards."""
        while issued:
            if found := self.take(issued.popleft()):
                yield found


def _size(event: Finished) -> int:
    outcome = event.outcome
    return len(outcome.stdout.data) + len(outcome.stderr.data) + len(outcome.result or b"")
