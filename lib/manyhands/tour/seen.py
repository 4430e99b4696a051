"""What was seen of a scene: its events, and the questions that a verdict asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from manyhands.posix.cpu_wait import BUSY


class NotSeen(Exception):
    """What a scene was to show has not been seen; the message says what."""


def expect(condition: object, otherwise: str) -> None:
    """Raise NotSeen unless ``condition`` is true."""
    if not condition:
        raise NotSeen(otherwise)


class Event(NamedTuple):
    """Something that a scene told. ``at`` in seconds since the scene began; ``kind``: tell, begin or end."""

    kind: str
    at: float
    pid: int
    process: str
    thread: str
    task: str | None
    text: str
    data: Mapping[str, Any]

    @property
    def actor(self) -> str:
        """Who told it: the task, else the thread, else the process."""
        if self.task:
            return self.task
        return self.thread if self.thread != "MainThread" else self.process

    @property
    def lane(self) -> tuple[int, str]:
        """What tells one actor from all others."""
        return self.pid, self.actor

    @property
    def said(self) -> str:
        """In words."""
        return self.text.format(**self.data)


class Span(NamedTuple):
    """Something that took a while: from ``begin`` to ``end``, in seconds; ``event`` is its beginning."""

    event: Event
    begin: float
    end: float

    @property
    def took(self) -> float:
        """Seconds."""
        return self.end - self.begin


class Seen:
    """The events of one scene, in the order in which they happened, and the options it was played with; ``busy``: others have
    used the machine so much that what took long may have waited for a CPU."""

    def __init__(self, events: list[Event], options: Mapping[str, Any], *, busy: bool = False) -> None:
        self.events = sorted(events, key=lambda one: one.at)
        self.options, self.busy = options, busy

    def timed(self, verdict: str) -> str:
        """A verdict that rests on times, with what is to be said of them on a busy machine."""
        return verdict + BUSY.format(again="play it again") * self.busy

    def all(self, begins: str, count: int | None = None) -> list[Event]:
        """What was told with a text that begins so (the text as it is written in the scene), ``count`` times. Raises NotSeen."""
        found = [one for one in self.events if one.kind == "tell" and one.text.startswith(begins)]
        expect(count in (None, len(found)), f"{begins!r} was told {times(len(found))}, not {times(count or 0)}")
        return found

    def one(self, begins: str) -> Event:
        """The same where there is exactly one. Raises NotSeen."""
        return self.all(begins, 1)[0]

    def data(self, begins: str, name: str) -> list[Any]:
        """One field of each of them."""
        return [one.data[name] for one in self.all(begins)]

    def spans(self, begins: str = "", count: int | None = None) -> list[Span]:
        """What took a while and has ended, in the order in which it began, ``count`` times. Raises NotSeen."""
        open_: dict[tuple[object, ...], list[Event]] = {}
        found = []
        for one in self.events:
            if one.kind not in ("begin", "end") or not one.text.startswith(begins):
                continue
            key = (*one.lane, one.text, *sorted((k, str(v)) for k, v in one.data.items()))
            if one.kind == "begin":
                open_.setdefault(key, []).append(one)
            elif open_.get(key):
                first = open_[key].pop()
                found.append(Span(first, first.at, one.at))
        expect(count in (None, len(found)), f"{begins!r} was done {times(len(found))}, not {times(count or 0)}")
        return sorted(found, key=lambda span: span.begin)

    @property
    def wall(self) -> float:
        """Seconds from the first event to the last."""
        return self.events[-1].at - self.events[0].at if self.events else 0.0


def times(count: int) -> str:
    """In words."""
    return "once" if count == 1 else f"{count} times"


def most_at_once(spans: list[Span]) -> int:
    """How many of them there were at the same moment, at most."""
    moments = sorted([(one.begin, 1) for one in spans] + [(one.end, -1) for one in spans], key=lambda m: (m[0], m[1]))
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def covered(spans: list[Span]) -> float:
    """Seconds from the first beginning to the last end."""
    return max(one.end for one in spans) - min(one.begin for one in spans) if spans else 0.0
