"""Results in the order of the inputs, with a bounded hold-back.

Separate, because it only looks at finished events: the loop tells as things end, whoever wants order wraps it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from manyhands.events import Event, Finished, Held, Summary

HOLD = 2_000
"""How many results are kept in memory while an earlier one is missing; what is beyond is read from the journal in its turn."""


def in_order(
    events: Iterable[Event], issued: deque[int], recall: Callable[[int], Finished | None], *, hold: int = HOLD
) -> Iterator[Event]:
    """Yield ``events``, but the final results in the order of ``issued``, which whoever hands out the jobs appends to.

    A result that has to wait is announced by Held. ``recall(number)`` reads one that was too far ahead to be held,
    None while there is none. Other events pass at once. Jobs that never get a result (the run was stopped) are passed over at the end.
    """
    held: dict[int, Finished] = {}
    beyond = False  # whether there was one that was not held
    for event in events:
        if isinstance(event, Finished) and event.outcome.final:
            number = event.outcome.attempt.job.number
            if number == issued[0]:
                issued.popleft()
                yield event
            else:
                yield Held(event.outcome)
                if len(held) < hold:
                    held[number] = event
                else:
                    beyond = True
            while issued and (due := held.pop(issued[0], None) or (recall(issued[0]) if beyond else None)):
                issued.popleft()
                yield due
            continue
        if isinstance(event, Summary):
            late = (held.pop(number, None) or (recall(number) if beyond else None) for number in issued)
            yield from (one for one in late if one)
            issued.clear()
        yield event
