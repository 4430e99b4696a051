"""Results in the order of the inputs, with a bounded hold-back.

Separate, because it only looks at finished events: the loop tells as things end, whoever wants order wraps it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from manyhands.events import Event, Finished, Summary

HOLD = 2_000
"""How many results are kept in memory while an earlier one is missing; what is beyond is read from the journal in its turn."""


def in_order(
    events: Iterable[Event], issued: deque[int], recall: Callable[[int], Finished | None], *, hold: int = HOLD
) -> Iterator[Event]:
    """Yield ``events``, but the final results in the order of ``issued``, which whoever hands out the jobs appends to.

    ``recall(number)`` reads a result that was too far ahead to be held, None while there is none. Other events pass at
    once. Jobs that never get a result (the run was stopped) are passed over at the end.
    """
    held: dict[int, Finished] = {}
    beyond: set[int] | int = 0  # results that were not held
    for event in events:
        if isinstance(event, Finished) and event.outcome.final:
            number = event.outcome.attempt.job.number
            if len(held) < hold or number == issued[0]:
                held[number] = event
            else:
                beyond += 1
        elif isinstance(event, Summary):
            while issued:
                number = issued.popleft()
                if late := held.pop(number, None) or (recall(number) if beyond else None):
                    yield late
            yield event
            continue
        else:
            yield event
            continue
        while issued and (due := held.pop(issued[0], None) or (recall(issued[0]) if beyond else None)):
            issued.popleft()
            yield due
