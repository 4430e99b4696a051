"""The protocol between the coordinator and its launchers: marshal records over SOCK_SEQPACKET, one per message.

    coordinator --jobs (shared by all launchers)-----> (id, job, attempt, argv)  or  (id, path)  if it is too large
    coordinator --control (one per launcher)---------> (verb, [id, ...])
    coordinator <--results (shared by all launchers)-- (launcher, [record, ...])

No send waits: a message without room is queued, and sent when there is room. marshal data is specific to one interpreter version,
which both ends share by construction, and it is several times faster than pickle. No data comes from another user or machine.
"""

from __future__ import annotations

from manyhands.core.lean import Any, Final

MESSAGE: Final = 1 << 17
"""Bytes in the largest message; well below the default socket buffer (212,992), so that one message always fits."""

# Verbs of the control socket, with the ids of attempts; PAUSE, RESUME and QUIT have none, SYNC has the number of the request,
# WIDTH the number of slots to use.
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
"""(SYNCED, number of the request): all attempts that were taken before it have been reported."""
RETURNED: Final = 3
"""(RETURNED, id, errno): the attempt could not begin because of a shortage; it may begin later, or in another launcher."""
NARROWED: Final = 4
"""(NARROWED, errno): some slots are not used, because of a shortage."""
NOTED: Final = 5
"""(NOTED, text): a message to the user."""
REFUSED: Final = 6
"""(REFUSED, text): the settings cannot be applied; the launcher exits."""

Config = dict[str, Any]
"""The settings of a launcher: slots (numbers), memory (whether small output stays in memory), outputs (folder), workdir, stdin (path
or None), grace (seconds), cap (bytes or None), nice, allow_daemons, token, remembered (how many results may be on their way to the
journal: the slots of all launchers and the queued attempts), disposable (whether the folder is of use to the coordinator only), warm
(what a zygote imports, or None)."""
