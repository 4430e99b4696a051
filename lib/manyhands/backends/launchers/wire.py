"""What the coordinator and its launchers say to each other: marshal records over SOCK_SEQPACKET, one per message.

    coordinator --jobs (shared by all launchers)-----> (id, job, attempt, argv)  or  (id, path)  when it is too large
    coordinator --control (one per launcher)---------> (verb, [id, ...])
    coordinator <--results (shared by all launchers)-- (launcher, [record, ...])

Nobody waits in a send: what finds no room is queued, and written when there is room. marshal is private to one interpreter
version, which both ends share by construction, and is several times faster than pickle; nothing here ever comes from another
user or another machine.
"""

from __future__ import annotations

from typing import Any, Final

MESSAGE: Final = 1 << 17
"""Bytes in the largest message; well below the default socket buffer (212,992), so that one always fits."""

# Verbs of the control socket, with the ids of attempts; PAUSE, RESUME and QUIT with none, SYNC with the number of the question,
# WIDTH with how many slots are to be used.
STOP: Final = 0
KILL: Final = 1
PAUSE: Final = 2
RESUME: Final = 3
SYNC: Final = 4
QUIT: Final = 5
WIDTH: Final = 6

# Kinds of records in a result.
STARTED: Final = 0
ENDED: Final = 1
SYNCED: Final = 2
"""(SYNCED, number of the question): all that was taken before has been reported."""
RETURNED: Final = 3
"""(RETURNED, id, errno): it could not begin for want of something that others hold; it may begin later, or elsewhere."""
NARROWED: Final = 4
"""(NARROWED, errno): some slots are not used, for want of something."""
NOTED: Final = 5
"""(NOTED, text): something for the user."""
REFUSED: Final = 6
"""(REFUSED, text): the settings cannot be had; the launcher leaves."""

Config = dict[str, Any]
"""What a launcher is told at its start: slots (numbers), memory (whether small output stays in memory), outputs (folder), workdir,
stdin (path or None), grace (seconds), cap (bytes or None), nice, allow_daemons, token, remembered (how many results may be on
their way to the journal: the slots of all launchers and what lies ready)."""
