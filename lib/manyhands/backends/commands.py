"""Commands on this machine, by launchers: the coordinator's side (the other side is `manyhands.backends.launchers.launcher`).

    start(attempt) --jobs socket--> any launcher with a free slot
    reports()      <--results------ all launchers

The jobs socket is shared, so a short job never waits behind a long one. A few attempts are queued in it, so that a freed slot never
waits for the coordinator. Attempts in the socket have not begun, and can be taken back (`recall`).
If a launcher dies, the attempts that it was running are reported as lost after all their processes are dead, and another launcher is
started. A launcher that is stopped or does not answer is killed and replaced in the same way. In a shortage of processes,
descriptors or memory, attempts wait until others have ended.
"""

from __future__ import annotations

import errno
import marshal
import select
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from manyhands.backends.launchers import wire
from manyhands.backends.launchers.launcher_process import LauncherProcess, config_of, end_strays, how_many, wait_for_all
from manyhands.backends.launchers.ready_jobs import ReadyJobs
from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.shared.captured import ending_of
from manyhands.backends.shared.shortage import Shortage, in_words
from manyhands.backends.shared.wake_up import Alarm
from manyhands.core.attempt import Attempt, Ending
from manyhands.core.errors import ManyhandsError
from manyhands.core.lean import socket
from manyhands.core.records import replace
from manyhands.posix.which import SHORTAGES
from manyhands.runtime.at_fork import abandon_in_child

if TYPE_CHECKING:
    from manyhands.backends.settings import CommandSettings

_MOST_DEATHS: Final = 20
"""Deaths of launchers in a row without a running attempt after which we give up: something kills them before they can work."""
_GATHER: Final = 0.004
"""Seconds to let results gather while enough attempts are queued: one wake-up then handles several results."""
_LOOK: Final = 1.0
"""Seconds between two checks of the launchers."""


class Commands:
    """See the module's first lines; a `manyhands.backends.protocol.Backend`. Linux 5.3 or later (pidfd_open(2))."""

    name = "commands"
    can_stop = True
    reports_start = True
    ahead = 64
    """Enough to keep the slots busy during the coordinator's commits: at 2,500 jobs a second, half of it lasts 13 ms."""

    def __init__(self, settings: CommandSettings) -> None:
        self.settings = settings
        self._flying: dict[int, Attempt] = {}
        self._began: dict[int, tuple[int, int]] = {}  # id -> (launcher index, pid)
        self._ids: dict[tuple[int, int], int] = {}  # (job, attempt) -> id
        self._unwanted: set[int] = set()
        """Ids that were recalled when a launcher had them already: if it returns them, they do not begin."""
        self._last = self._deaths = self._round = 0
        self._ready: list[Report] = []
        self._dead: dict[int, str] = {}
        """Launchers that have died, and how, until their attempts are known."""
        self._unsettled: set[int] = set()
        """Launchers that have not yet reported what they have begun, since one has died."""
        self._vacant: dict[int, list[int]] = {}
        """The slots of launchers that have to be started, by index."""
        self._shortage = Shortage(settings.slots)
        self._look_at = time.monotonic() + _LOOK
        self._paused = self._closed = False
        self._width: int | None = None
        self._poll = select.poll()
        self._buffer = bytearray(wire.MESSAGE)
        self._view = memoryview(self._buffer)
        self._launchers: dict[int, LauncherProcess] = {}
        self._open()

    def _open(self) -> None:
        self._jobs = ReadyJobs(self.settings.outputs)
        self._results, self._results_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._alarm = Alarm()
        self._poll.register(self._results, select.POLLIN)
        self._poll.register(self._alarm.descriptor, select.POLLIN)
        abandon_in_child(self)
        slots, first = self.settings.slots, self.settings.first_slot
        count = how_many(max(1, min(self.settings.launchers, slots)))
        self._slots = {index: list(range(index + first, slots + first, count)) for index in range(count)}
        self._vacant = self._slots.copy()
        try:
            self._fill_vacancies()
        except BaseException:
            self.close()
            raise

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for the next free slot."""
        self._check_open()
        self._last = id = self._last + 1
        self._flying[id] = attempt
        self._ids[attempt.id] = id
        try:
            self._jobs.add(id, attempt)
            if len(self._jobs.waiting) == 1:
                self._send()
        except OSError as error:
            why = f"cannot pass on its arguments: {error.strerror} ({errno.errorcode.get(error.errno or 0, 'error')})"
            self._over(id, Ended(attempt, time.monotonic(), Ending(126, error=why)))

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if no launcher can work."""
        self._check_open()
        self._receive()
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        if self._jobs.waiting:
            self._send()
        if not self._ready:
            deadline = None if timeout is None else now + timeout
            while not self._wait(deadline) and (deadline is None or time.monotonic() < deadline):
                self._look(time.monotonic())
                if self._ready:
                    break
        ready, self._ready = self._ready, []
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back those of ``attempts`` that no launcher has read; others in the socket are queued again at the next `reports`."""
        ids = [id for id in map(self._id, attempts) if id is not None and id not in self._began]
        if not ids:
            return
        self._jobs.take_back()
        for id in ids:
            if self._jobs.waiting.pop(id, None) is None:
                self._unwanted.add(id)
            else:
                self._over(id, Ended(self._flying[id], time.monotonic(), began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall what has not begun, and end the rest."""
        self.recall(attempts)
        owned: dict[int, list[int]] = {}
        for id in map(self._id, attempts):
            if id is not None:
                for index in (self._began[id][0],) if id in self._began else self._launchers:
                    owned.setdefault(index, []).append(id)
        for index in owned.keys() & self._launchers.keys():
            self._launchers[index].tell(wire.KILL if kill else wire.STOP, owned[index])

    def pause(self, paused: bool) -> None:
        """Suspend all commands (SIGSTOP) or continue them (SIGCONT)."""
        self._paused = paused
        for launcher in () if self._closed else self._launchers.values():
            launcher.tell(wire.PAUSE if paused else wire.RESUME)

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`."""
        self._width = width
        for launcher in self._launchers.values():
            launcher.share(width, self._slots)

    def grow(self, slots: int) -> int:
        """See `manyhands.backends.protocol.Growing`: the new slots get a launcher of their own."""
        first, index = self.settings.first_slot, len(self._slots)
        self._slots[index] = self._vacant[index] = [*range(self.settings.slots + first, slots + first)]
        self.settings = replace(self.settings, slots=slots)
        self._fill_vacancies()
        return slots

    def wake(self) -> None:
        """Make `reports` return."""
        self._alarm.ring()

    def close(self) -> None:
        """Kill what runs, wait for the launchers to exit, close everything."""
        if self._closed:
            return
        self._closed = True
        launchers = [*self._launchers.values()]
        for launcher in launchers:
            launcher.leave(idle=not self._flying)
        wait_for_all(launchers, with_jobs=not self.settings.allow_daemons)
        for launcher in launchers:
            launcher.bury()
        if any(launcher.why for launcher in launchers):
            self._end_strays(self._flying)
        self._jobs.close()
        self._results.close()
        self._results_end.close()
        self._alarm.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ManyhandsError("this backend is closed, or belongs to the process that this one was forked from")

    def abandon(self) -> None:
        """In a forked child: close what is open, and leave the launchers to the parent."""
        if not self._closed:
            self._closed = True
            for launcher in self._launchers.values():
                launcher.abandon()
            self._jobs.abandon()
            self._results.close()
            self._results_end.close()
            self._alarm.abandon()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def _wait(self, deadline: float | None) -> bool:
        """Wait for events, at most until the next check or the deadline; return whether there were any."""
        now = time.monotonic()
        until = self._look_at if deadline is None else min(deadline, self._look_at)
        writers = [launcher.control for launcher in self._launchers.values() if launcher.has_unsent]
        if self._jobs.waiting and not self._dead:
            writers.append(self._jobs.sock)
        for writer in writers:
            self._poll.register(writer, select.POLLOUT)
        events = self._poll.poll(max(0, int((until - now) * 1000 + 0.999)))
        for writer in writers:
            self._poll.unregister(writer)
        for file, _ in events:
            self._handle(file)
        if len(self._flying) > 2 * self.settings.slots:
            time.sleep(_GATHER)
        if writers:
            self._send()
        self._receive()
        return bool(events)

    def _handle(self, file: int) -> None:
        if file == self._alarm.descriptor:
            self._alarm.hush()
        for launcher in [one for one in self._launchers.values() if file == one.life]:
            self._bury(launcher)

    def _look(self, now: float) -> None:
        """Once a second: check that every launcher works, and try again to start those that could not be started."""
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        self._receive()
        for launcher in [*self._launchers.values()]:
            if (why := launcher.look()) is not None:
                launcher.kill(why, with_jobs=not self.settings.allow_daemons)
            elif launcher.unkillable:
                self._bury(launcher)
        if self._vacant and not self._dead:
            self._fill_vacancies()
        self._shortage.look(idle=bool(self._flying and not self._began) or not self._launchers)

    # -- launchers -------------------------------------------------------------------------------------------------------

    def _fill_vacancies(self) -> None:
        """Start missing launchers. In a shortage some are started later; raises ManyhandsError if none can be started."""
        ends = self._jobs.theirs.fileno(), self._results_end.fileno()
        for index, slots in [*self._vacant.items()]:
            try:
                launcher = LauncherProcess(index, slots, self.settings, ends)
            except OSError as error:
                self._ready += self._shortage.note(error.errno or 0)
                if error.errno not in SHORTAGES or (self._shortage.lasting and not self._launchers):
                    raise ManyhandsError(f"cannot start a launcher: {error}") from error
                return
            del self._vacant[index]
            self._launchers[index] = launcher
            self._poll.register(launcher.life, select.POLLIN)
            launcher.send_config(config_of(self.settings, slots, self.ahead))
            if self._width is not None:
                launcher.share(self._width, self._slots)
            if self._paused:
                launcher.tell(wire.PAUSE)

    def _bury(self, launcher: LauncherProcess) -> None:
        """Handle the death of a launcher. Which attempts it had is known when the others have reported what they have begun."""
        self._receive()
        self._poll.unregister(launcher.life)
        del self._launchers[launcher.index]
        self._dead[launcher.index] = launcher.bury()
        if launcher.refused is None:
            self._vacant[launcher.index] = launcher.slots
        elif not self._launchers and not self._vacant:
            raise ManyhandsError(launcher.refused)
        self._jobs.take_back()
        self._round += 1
        self._unsettled = {*self._launchers}
        for other in self._launchers.values():
            other.tell(wire.SYNC, [self._round])
        self._settle()

    def _settle(self) -> None:
        """When all have answered: kill the jobs of dead launchers, report them as lost, and start new launchers.

        Attempts that a launcher had taken without reporting it are found by elimination: they are neither queued nor at another.
        """
        if not self._dead or self._unsettled:
            return
        alive = {id for id, (owner, _) in self._began.items() if owner not in self._dead} | self._jobs.waiting.keys()
        lost = [id for id in self._flying if id not in alive]
        living = self._end_strays(lost)
        how = "; ".join(dict.fromkeys(self._dead.values()))
        for id in lost:
            self._over(id, Ended(self._flying[id], time.monotonic(), Ending(error=how, still_running=living)))
        self._deaths = 0 if lost else self._deaths + len(self._dead)
        self._dead.clear()
        if self._deaths > _MOST_DEATHS:
            raise ManyhandsError(f"{self._deaths} launchers have died ({how}): giving up")
        self._fill_vacancies()
        self._send()

    def _end_strays(self, ids: Collection[int]) -> bool:
        """Kill all processes with the tag or in the session of the given attempts; return whether one could not be killed."""
        sessions = {self._began[id][1] for id in ids if id in self._began}
        names = ((self._flying[id].job.number, self._flying[id].number) for id in ids)
        return bool(ids) and end_strays(sessions, {b"%s.%d.%d" % (self.settings.token.encode(), *name) for name in names})

    # -- shortages -------------------------------------------------------------------------------------------------------

    def _returned(self, id: int, code: int) -> None:
        """A launcher could not begin an attempt: queue it first, unless it was recalled or the shortage lasts too long."""
        attempt = self._flying.get(id)
        if attempt is None:
            return
        self._ready += self._shortage.note(code)
        if id in self._unwanted:
            self._over(id, Ended(attempt, time.monotonic(), began=False))
        elif self._shortage.lasting:
            why = f"cannot be started, although nothing else runs: {in_words(code)}"
            self._over(id, Ended(attempt, time.monotonic(), Ending(126, error=why)))
        else:
            self._jobs.add(id, attempt, first=True)

    # -- messages --------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send what is queued, as far as the sockets take it."""
        for launcher in self._launchers.values():
            if launcher.has_unsent:
                launcher.flush()
        if not self._dead:  # else wait until the attempts of the dead launcher are known
            self._jobs.send()

    def _id(self, attempt: Attempt) -> int | None:
        return None if self._closed else self._ids.get(attempt.id)

    def _receive(self) -> None:
        """Read all results that have arrived."""
        results, view = self._results, self._view
        try:
            while True:
                size = results.recv_into(view, 0, socket.MSG_DONTWAIT)
                index, records = marshal.loads(view[:size])
                if index in self._launchers:
                    self._launchers[index].hear()
                for record in records:
                    self._record(index, record)
        except BlockingIOError:
            return

    def _record(self, index: int, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == wire.ENDED:
            _, id, at, began, measured = record
            if id in self._flying:
                self._over(id, Ended(self._flying[id], at, ending_of(measured), began))
        elif kind == wire.STARTED:
            _, id, at, slot, pid = record
            if id in self._flying:
                self._began[id] = (index, pid)
                self._ready.append(Started(self._flying[id], at, slot, pid))
                self._shortage.begun()
        else:
            self._hear(index, *record)

    def _hear(self, index: int, kind: int, *about: Any) -> None:
        """Handle the rarer kinds of records."""
        if kind == wire.SYNCED:
            if about[0] == self._round:
                self._unsettled.discard(index)
                self._settle()
        elif kind == wire.RETURNED:
            self._returned(*about)
        elif kind == wire.NARROWED:
            self._ready += self._shortage.note(*about)
        elif kind == wire.NOTED:
            self._ready.append(Noted(*about))
        elif kind == wire.REFUSED and index in self._launchers:
            self._launchers[index].refused = about[0]

    def _over(self, id: int, ended: Ended) -> None:
        attempt = self._flying.pop(id)
        self._began.pop(id, None)
        self._unwanted.discard(id)
        del self._ids[attempt.id]
        self._ready.append(ended)
