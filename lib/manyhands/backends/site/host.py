"""One host as the coordinator sees it: its link, the attempts that it was given, and what it has reported of them.

`manyhands.backends.sites` decides which attempts it is given, and what follows if it is lost.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.settings import CommandSettings
from manyhands.backends.shared.large_output import LargeOutput
from manyhands.backends.site import frames
from manyhands.backends.site.clock import FarClock
from manyhands.backends.site.frames import Frame, as_text
from manyhands.backends.site.link import Carrier, Link, LinkLostError
from manyhands.backends.site.moved_files import FAILED
from manyhands.backends.site.near_files import FileMoves, NearFiles
from manyhands.core.attempt import Attempt, AttemptId, Ending, Output
from manyhands.core.records import dataclass

_DEPTH: Final = 64
"""Attempts that wait at a host at most, so that a free slot does not wait for the network."""
_WORTH: Final = 0.02
"""Seconds of work that may wait there; with longer jobs none waits, and the next goes to a host that is free."""
_PINGS: Final = 4
"""Pings in the time of a lease."""
_SUFFIX: Final = ("out", "err")


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host to be used. ``slots``: None: as many as it has usable cores."""

    name: str
    carrier: Carrier
    slots: int | None = None
    python: str = "python3"


class Host:
    """See the module's first lines. Raises OSError if the carrier cannot be started."""

    def __init__(
        self, spec: HostSpec, settings: CommandSettings, *, lease: float, patience: float, moves: FileMoves | None = None
    ) -> None:
        self.spec, self.name, self._settings = spec, spec.name, settings
        self._lease, self._patience = lease, time.monotonic() + patience
        self._waited = f"it did not answer within {patience:g} s"
        self.link = Link(spec.carrier, spec.python)
        self.cores: int | None = None
        self.ready = False
        self.slots = 0
        self.flying: dict[AttemptId, Attempt] = {}
        self.begun: set[AttemptId] = set()
        self._stops: dict[AttemptId, float] = {}
        """When attempts were first asked to end."""
        self.ended = 0
        """Attempts that have ended there since it was connected."""
        self._clock = FarClock()
        self._pings: dict[int, float] = {}
        self._pinged = 0.0
        self._next_ping = 0
        self._wall = 0.0
        self._files: dict[tuple[AttemptId, int], LargeOutput] = {}
        self.moved = NearFiles(moves, settings.token) if moves else None
        self._cleanup = bool(moves and moves.cleanup)

    # -- told ------------------------------------------------------------------------------------------------------------

    def configure(self, slots: int, first_slot: int) -> None:
        """Send the settings, once it has greeted."""
        self.slots, given = slots, self._settings
        environment = {**given.environment, b"MH_HOST": os.fsencode(self.name)}
        self.link.send(
            frames.CONFIG,
            {
                "slots": slots,
                "first_slot": first_slot,
                "token": given.token,
                "environment": {as_text(name): as_text(value) for name, value in environment.items()},
                "workdir": as_text(os.fsencode(given.workdir)),
                "stdin": None if given.stdin is None else as_text(os.fsencode(given.stdin)),
                "grace": given.grace,
                "output_cap": given.output_cap,
                "nice": given.nice,
                "allow_daemons": given.allow_daemons,
                "lease": self._lease,
                "files": self.moved is not None,
                "cleanup": self._cleanup,
            },
        )

    @property
    def room(self) -> int:
        """How many more attempts it should be given now."""
        depth = min(_DEPTH, int(_WORTH * self.slots / self._wall)) if self._wall else 0
        return self.slots + depth - len(self.flying)

    def start(self, attempts: Iterable[Attempt]) -> None:
        """Send attempts."""
        told = []
        for one in attempts:
            self.flying[one.id] = one
            told.append([*one.id, [as_text(arg) if isinstance(arg, bytes) else [*map(as_text, arg)] for arg in one.argv]])
            if self.moved:
                self.moved.send(one, {"attempts": [told.pop()]})
        if told:
            self.link.send(frames.START, {"attempts": told})

    def pump(self) -> Iterator[Ended]:
        """Send more of the files, as far as the stream takes them; yields the ends of attempts whose files cannot be sent."""
        if self.moved and self.moved.has_more and self.ready and self.link.has_room:
            for attempt, why in self.moved.pump(self.link.put):
                self.flying.pop(attempt.id, None)
                yield Ended(attempt, time.monotonic(), Ending(FAILED, error=why, host=self.name))

    def withdraw(self, id: AttemptId) -> Attempt | None:
        """Take back an attempt whose files are still being sent; None if it has been sent."""
        frame = self.moved.cancel(id) if self.moved else None
        if frame is None:
            return None
        self.link.put(frame)
        return self.flying.pop(id)

    def stop(self, ids: Collection[AttemptId], *, kill: bool) -> None:
        """Have attempts ended."""
        now = time.monotonic()
        for id in ids:
            self._stops.setdefault(id, now)
        self.link.send(frames.STOP, {"ids": [*ids], "kill": kill})

    def recall(self, ids: Collection[AttemptId]) -> None:
        """Have attempts that have not begun given back."""
        self.link.send(frames.RECALL, {"ids": [*ids]})

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts."""
        self.link.heard = time.monotonic()  # it was not asked to answer meanwhile
        self.link.send(frames.PAUSE, {"paused": paused})

    # -- heard -----------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> float:
        """Ask for a sign of life when it is time; return when to look next. Raises LinkLostError if there was none for a lease, or,
        of one that has never answered, for as long as the patience lasts."""
        period, silence = self._lease / _PINGS, now - self.link.heard
        if self.cores is None:
            if now >= self._patience:
                raise LinkLostError(self._waited)
            return self._patience
        if silence > self._lease + period + self._settings.grace:
            raise LinkLostError(f"it did not answer for {silence:.0f} s")
        if now >= self._pinged + period:
            self._pinged = now
            self._next_ping += 1
            self._pings[self._next_ping] = now
            self.link.send(frames.PING, {"number": self._next_ping})
        return self._pinged + period

    def hear(self) -> Iterator[Report]:
        """What it has reported. Raises LinkLostError, also for what cannot be."""
        for frame in self.link.receive():
            try:
                yield from self._understood(frame)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise LinkLostError(f"what it says is not of manyhands: {error!r}") from None

    def _understood(self, frame: Frame) -> Iterator[Report]:
        kind, head = frame.kind, frame.head
        if kind == frames.REPORTS:
            yield from self._reports(frame)
        elif kind == frames.PIECE:
            self._piece((head["id"][0], head["id"][1]), int(head["stream"]), frame.body)
        elif kind in frames.FETCHES:
            if self.moved and (attempt := self.flying.get((head["id"][0], head["id"][1]))):
                self.moved.take(attempt, frame)
        elif kind == frames.PONG:
            if (sent := self._pings.pop(head["number"], None)) is not None:
                self._clock.answered(sent, time.monotonic(), float(head["at"]))
        elif kind == frames.HELLO:
            self._clock.greeted(time.monotonic(), float(head["at"]))
            self.cores = max(1, int(head["cores"]))
        elif kind == frames.READY:
            self.ready = True
        elif kind == frames.REFUSED:
            raise LinkLostError(str(head["why"]))

    def _reports(self, frame: Frame) -> Iterator[Report]:
        at = 0
        for report in frame.head["reports"]:
            if report[0] == "ended":
                sizes = [report[-2][0] or 0, report[-1][0] or 0]
                pieces = frame.body[at : at + sizes[0]], frame.body[at + sizes[0] : at + sum(sizes)]
                at += sum(sizes)
                yield from self._end(report, pieces)
            else:
                yield from self._news(report)

    def _news(self, report: list[Any]) -> Iterator[Report]:
        if report[0] == "noted":
            yield Noted(f"{self.name}: {report[1]}")
        elif report[0] == "started":
            _, job, number, at, slot, pid = report
            if (attempt := self.flying.get((job, number))) is not None:
                self.begun.add(attempt.id)
                yield Started(attempt, self._here(at), slot, pid, self.name)

    def _here(self, at: float) -> float:
        return min(self._clock.here(at), time.monotonic())

    def _end(self, report: list[Any], pieces: tuple[bytes, bytes]) -> Iterator[Report]:
        _, job, number, at, began, died, stopped, pid, how, left, *outputs = report
        exit, number_of_signal, error, wall, user, system, peak = how
        slot, leftovers, still_running = left
        id = job, number
        kept = [self._kept(id, stream, *told) for stream, told in enumerate(zip(pieces, outputs, strict=True))]
        if (attempt := self.flying.pop(id, None)) is None:
            return
        self.begun.discard(id)
        self.ended += 1
        here, asked = self._here(at), self._stops.pop(id, -math.inf)
        if stopped:  # it is known which came first, and the two clocks only agree to some milliseconds
            here = max(here, asked)
        wall = float(wall)
        if began:
            self._wall = wall if not self._wall else 0.9 * self._wall + 0.1 * wall
        failure = next((why for _, why in kept if why), None)
        if failure:
            yield Noted(f"job {job}: {failure}")
        if self.moved and (missing := self.moved.over(attempt, well=exit == 0)):
            exit, failure = FAILED, missing
        ending = Ending(
            exit=exit,
            signal=number_of_signal,
            error=error or failure,
            started=time.time() - (time.monotonic() - (here - wall)),
            wall=wall,
            user=float(user),
            system=float(system),
            max_rss=int(peak),
            stdout=kept[0][0],
            stderr=kept[1][0],
            slot=int(slot),
            leftovers=int(leftovers),
            still_running=bool(still_running),
            host=self.name if began else None,
        )
        yield Ended(attempt, here, ending, bool(began), bool(died), int(pid))

    # -- large outputs ---------------------------------------------------------------------------------------------------

    def _piece(self, id: AttemptId, stream: int, piece: bytes) -> None:
        if id not in self.flying:
            return
        if (id, stream) not in self._files:
            path = self._settings.outputs / f"{id[0]}.{id[1]}.{_SUFFIX[stream]}"
            self._files[id, stream] = LargeOutput(bytes(path))
        self._files[id, stream].add(piece)

    def _kept(self, id: AttemptId, stream: int, piece: bytes, output: list[Any]) -> tuple[Output, str | None]:
        """(an output, why it is not whole)."""
        in_body, size, dropped = output
        if in_body is None and (file := self._files.pop((id, stream), None)) is not None:
            return file.finish(size, dropped)
        return Output(piece, None, size, dropped), None

    def forget(self) -> None:
        """The host is lost: close what is open, and remove what is not whole."""
        if self.moved:
            self.moved.close()
        for file in self._files.values():
            file.drop()
        self._files.clear()
        self.link.close()
