"""A consumer: takes attempts from a broker, has them done here, and reports; on any machine, as long as it is wanted.

    main thread:     renew the lease, look for executions, take attempts, claim them --> hosted_run.py, one for each execution
    listener thread: what coordinators want at once: stop, recall, pause, close, drain

It takes only executions that it allows. If it could not renew its lease in time, others may do its attempts: it kills them. A message
that is not ours is set aside with one line.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from manyhands.backends.queue import messages
from manyhands.backends.queue.allowed import Allowed
from manyhands.backends.queue.attempt_messages import attempts_of
from manyhands.backends.queue.carrier import BrokerLostError, Claim, GoneError, Receiver, RunState, Taken
from manyhands.backends.queue.hosted_run import HostedRun
from manyhands.backends.queue.messages import Message, NotOursError
from manyhands.backends.queue.reports import closed, refused
from manyhands.backends.queue.run_settings import RunSettings, is_run_name
from manyhands.core.attempt import Attempt, AttemptId
from manyhands.core.records import dataclass

BEATS: Final = 4
"""Signs of life in the time of a lease, at least."""
_BLOCK: Final = 0.25
"""Seconds that are waited for attempts before we look whether anything else is to be done."""
_DEPTH: Final = 256
"""Attempts that wait here at most, beyond the slots, so that a free slot does not wait for the broker."""
_WORTH: Final = 0.02
"""Seconds of work that may wait here."""
_AGAIN: Final = 0.5
_CONCLUDING: Final = 3.0
"""Seconds that large outputs of an execution that is over are sent at most: meanwhile the lease is not renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """How a consumer works; ``lease``: seconds without a sign of life after which it counts as lost."""

    name: str
    slots: int
    allowed: Allowed
    lease: float


def fresh_name() -> str:
    """HOST-PID-RANDOM, which no other consumer has had."""
    host = "".join(one if one.isalnum() else "-" for one in socket.gethostname())[:60]
    return f"{host or 'host'}-{os.getpid()}-{os.urandom(2).hex()}"


class Consumer:
    """See the module's first lines. ``say`` gets what the user should know, line by line, from any thread."""

    def __init__(self, settings: ConsumerSettings, receiver: Receiver, say: Callable[[str], None]) -> None:
        self._settings, self._receiver, self._say = settings, receiver, say
        self._runs: dict[str, HostedRun] = {}
        self._states: dict[str, RunState] = {}
        self._gone: dict[str, float] = {}
        """Since when nothing is known of an execution that we have."""
        self._refused: set[str] = set()
        self._pending: list[Taken] = []
        """Taken, but not yet claimed, because the broker does not answer."""
        self._renewed = self._answered = time.monotonic()
        """When the lease began, perhaps of a consumer that has lost all it had; and when the broker last answered."""
        self._next_beat = 0.0
        self._look = True
        self._draining = self._ending = self._told = False
        self._changed = threading.Condition()
        self._orders: deque[object] = deque()
        self._lost_broker = False
        self._turn = 0

    # -- from other threads and signal handlers --------------------------------------------------------------------------

    def drain(self) -> None:
        """Take nothing more, and end when all is done. May be called from a signal handler."""
        self._draining = True

    def end(self) -> None:
        """Kill what runs, report it as lost, and end. May be called from a signal handler."""
        self._draining = self._ending = True

    @property
    def is_draining(self) -> bool:
        """Whether it takes nothing more."""
        return self._draining

    # -- the main thread -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until it is drained or ended."""
        listener = threading.Thread(target=self._listen, name="manyhands-listener", daemon=True)
        listener.start()
        try:
            while not (self._draining and (self._is_idle() or self._is_cut_off())):
                self._step()
        finally:
            self._ending = self._draining = True
            for one in self._runs.values():
                one.close()
            for one in self._runs.values():
                one.join()
            self._leave()
            listener.join(2.0)
            self._receiver.close()

    def _is_cut_off(self) -> bool:
        """Whether the broker has been away for a whole lease: nobody waits any more for what there is to say."""
        if (silent := time.monotonic() - self._answered) < self._settings.lease:
            return False
        self._say(f"it ends after {silent:.0f} s without a word of the broker: what has ended here is not reported")
        return True

    def _is_idle(self) -> bool:
        if self._ending:
            for one in self._runs.values():
                one.lose("its consumer was stopped")
            deadline = time.monotonic() + 3.0
            while time.monotonic() < deadline and not all(one.idle for one in self._runs.values()):
                time.sleep(0.02)
            return True
        return not self._pending and all(one.idle for one in self._runs.values())

    def _leave(self) -> None:
        try:
            self._receiver.interrupt()
            self._receiver.leave()
        except BrokerLostError:
            return

    def _step(self) -> None:
        """One round; nothing of it waits long."""
        if self._draining and not self._told:
            self._told = True
            self._say("draining: nothing more is taken, and what runs may end; one more signal kills it")
        now = time.monotonic()
        if now - self._renewed > self._settings.lease and self._runs:
            self._lose_all()
        try:
            while self._orders:
                self._obey(self._orders.popleft())
            if now >= self._next_beat:
                self._renew()
            if self._look:
                self._look = False
                self._look_for_runs()
            self._take()
            self._lost_broker = False
        except BrokerLostError as error:
            if not self._lost_broker:
                self._say(f"the broker does not answer: {error}; trying again")
            self._lost_broker = True
            with self._changed:
                self._changed.wait(_AGAIN)

    def _lose_all(self) -> None:
        """Others may do our attempts by now."""
        why = f"its consumer {self._settings.name} had no word of the broker for {time.monotonic() - self._renewed:.0f} s"
        self._say(f"no word of the broker within the lease of {self._settings.lease:g} s: what runs is killed")
        for one in self._runs.values():
            one.lose(why)
        self._renewed = time.monotonic()

    # -- the lease -------------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        asked = time.monotonic()
        states = self._receiver.renew(self._about(), [*self._runs])
        self._renewed = self._answered = asked
        self._next_beat = asked + min(1.0, self._settings.lease / BEATS)
        self._look = True
        for run, state in states.items():
            self._follow(run, state)
        for run, hosted in [*self._runs.items()]:
            if (fresh := hosted.rested()) is not None:
                self._have(run, fresh, self._states[run])

    def _about(self) -> bytes:
        about = {
            "type": "consumer",
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "slots": self._settings.slots,
            "draining": self._draining,
            "commands": self._settings.allowed.commands,
            "functions": [*self._settings.allowed.patterns],
            "lease": self._settings.lease,
            "running": {name: len(one.held) for name, one in self._runs.items()},
        }
        return json.dumps(about).encode()

    def _follow(self, run: str, state: RunState | None) -> None:
        """Do as an execution has changed."""
        hosted = self._runs[run]
        if state is None:
            since = self._gone.setdefault(run, time.monotonic())
            if time.monotonic() - since > hosted.settings.lease / 2:
                self._close(run)
            return
        self._gone.pop(run, None)
        before, self._states[run] = self._states[run], state
        if state.paused != before.paused:
            hosted.pause(state.paused)
        if state.incarnation != before.incarnation:  # the broker has forgotten what we have
            ids = [*hosted.held]
            claims = self._receiver.claim(run, ids)
            lost = [id for id, claim in zip(ids, claims, strict=True) if claim is Claim.OTHERS]
            hosted.drop(lost)
            self._receiver.over(run, lost)
            hosted.repeat()

    def _close(self, run: str) -> None:
        """An execution is over: kill what it has here, and say that it is gone, to a resume that waits for that."""
        self._refused.discard(run)
        if (hosted := self._runs.pop(run, None)) is not None:
            hosted.conclude(min(_CONCLUDING, self._settings.lease / BEATS))
            hosted.join()
            self._receiver.over(run, None)
            self._states.pop(run, None)
            self._gone.pop(run, None)
        self._receiver.report(run, [closed(self._settings.name)])

    # -- executions ------------------------------------------------------------------------------------------------------

    def _look_for_runs(self) -> None:
        """Begin with executions that are new."""
        there = self._receiver.runs()
        self._refused &= there
        for run in sorted(there - self._runs.keys() - self._refused):
            if (state := self._receiver.settings(run)) is None:
                continue
            try:
                self._join(run, state)
            except NotOursError as error:
                self._refused.add(run)
                self._say(f"set aside: the settings of {run[:100]!r}: {error}")

    def _join(self, run: str, state: RunState) -> None:
        if not is_run_name(run):
            raise NotOursError("no execution is called so")
        settings = RunSettings.parse(state.settings)
        if (why := self._settings.allowed.why_not(settings)) is not None:
            self._refused.add(run)
            self._say(f"not taken: {run}: {why}")
            self._receiver.report(run, [refused(self._settings.name, why)])
            return
        ours = self._settings
        hosted = HostedRun(run, settings, self._receiver, self._notify, consumer=ours.name, slots=ours.slots)
        self._have(run, hosted, state)

    def _have(self, run: str, hosted: HostedRun, state: RunState) -> None:
        self._runs[run], self._states[run] = hosted, state
        if state.paused:
            hosted.pause(True)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # -- attempts --------------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        """How many attempts should be taken now."""
        held = sum(len(one.held) for one in self._runs.values())
        walls = [one.wall for one in self._runs.values() if one.wall]
        depth = min(_DEPTH, int(_WORTH * self._settings.slots / max(walls))) if walls else 0
        room = self._settings.slots + depth - held
        return room if held < self._settings.slots or room > depth // 2 else 0  # short ones are taken many at once

    def _take(self) -> None:
        runs = [name for name, one in self._runs.items() if not (self._states[name].paused or one.failure)]
        room = self._room()
        if self._draining or not runs:
            self._receiver.take((), 0, 0.0)
        if self._draining or not runs or room <= 0:
            self._wait()
        else:
            self._turn += 1
            at = self._turn % len(runs)
            taken = self._receiver.take(runs[at:] + runs[:at], room, _BLOCK)
            if self._draining:  # since then
                self._receiver.put_back(taken)
            else:
                self._pending += taken
        self._claim_pending()

    def _wait(self) -> None:
        """Nothing can be taken: wait until that changes."""
        with self._changed:
            if not (self._orders or self._look):
                self._changed.wait(max(0.01, min(_BLOCK, self._next_beat - time.monotonic())))

    def _claim_pending(self) -> None:
        while self._pending:
            run = self._pending[0].run
            mine = [one for one in self._pending if one.run == run]
            if (hosted := self._runs.get(run)) is not None:
                with suppress(GoneError):  # it is sent again
                    self._claim(hosted, mine)
            self._pending = [one for one in self._pending if one.run != run]

    def _claim(self, hosted: HostedRun, taken: Sequence[Taken]) -> None:
        """Do what is ours. What was ours before is, if the broker did not answer when we claimed it first."""
        attempts: dict[AttemptId, Attempt] = {}
        entries, others = [], []
        for one in taken:
            found = self._parsed(hosted, one)
            new = {id: attempt for id, attempt in found.items() if id not in attempts}
            attempts |= new
            entries += [one.entry] * len(new)
            others += [] if new else [one.entry]
        claims = self._receiver.claim(hosted.name, [*attempts], entries + others)
        ours = (Claim.NEW, Claim.OURS) if self._lost_broker else (Claim.NEW,)
        good = [
            attempt
            for (id, attempt), claim in zip(attempts.items(), claims, strict=True)
            if claim in ours and id not in hosted.held
        ]
        if good:
            hosted.start(good)

    def _parsed(self, hosted: HostedRun, taken: Taken) -> Mapping[AttemptId, Attempt]:
        """The attempts in a message; what is no message of ours is set aside."""
        try:
            return attempts_of(messages.unpacked(taken.data, "attempts"), hosted.settings.call)
        except NotOursError as error:
            self._say(f"set aside: a message of {hosted.name}: {error}")
            return {}

    # -- the listener thread, and what it hears --------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._ending:
            try:
                heard = self._receiver.listen(1.0)
            except BrokerLostError:
                time.sleep(_AGAIN)
                continue
            for one in heard:
                self._hear(one)

    def _hear(self, data: object) -> None:
        """Stop at once; what changes the executions that we have is for the main thread."""
        try:
            message = messages.unpacked(data, "runs", "drain", "close", "stop", "recall", "pause")
            kind = message["type"]
            if kind in ("stop", "recall"):
                self._act(kind, message)
                return
            if kind != "drain" and kind != "runs":
                messages.text(message, "run", 300)
            if kind == "pause":
                messages.flag(message, "paused")
        except NotOursError as error:
            self._say(f"set aside: an order: {error}")
            return
        self._orders.append(message)
        self._notify()

    def _act(self, kind: str, message: Message) -> None:
        hosted = self._runs.get(messages.text(message, "run", 300))
        ids = messages.attempt_ids(message)
        if hosted is None:
            return
        if kind == "stop":
            hosted.stop(ids, kill=messages.flag(message, "kill"))
        else:
            hosted.recall(ids)

    def _obey(self, order: object) -> None:
        message: Mapping[str, object] = order  # type: ignore[assignment]  # `_hear` has checked it
        kind, run = message["type"], str(message.get("run"))
        if kind == "drain":
            self.drain()
        elif kind == "close":
            self._close(run)
        elif kind == "pause" and run in self._runs:
            paused = message["paused"] is True
            self._states[run] = self._states[run]._replace(paused=paused)
            self._runs[run].pause(paused)
        else:
            self._look = True
