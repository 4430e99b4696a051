"""Starts and ends a launcher process (`manyhands.backends.launchers.launcher`), whatever happens in between.

It imports as little as it can, because a batch waits for it.
"""

from __future__ import annotations

import gc
import marshal
import os
from collections.abc import Callable

from manyhands.backends.launchers import wire
from manyhands.backends.launchers.launcher import Gone, Launcher, Quit
from manyhands.backends.launchers.spawning import Spawner
from manyhands.core.lean import Final, signal, socket, suppress

_IGNORED: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGTSTP)


def main(index: int, coordinator: int, jobs: int, results: int, control: int) -> None:
    """Run launcher number ``index`` on three inherited sockets until the coordinator is gone, or wants it to exit."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # while it is ignored, statuses of children are lost
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # do not inherit the signals that the user's program has blocked
    launcher = Launcher(index, *(socket.socket(fileno=number) for number in (jobs, results, control)))
    gc.disable()  # nothing here makes cycles
    for name in os.listdir("/proc/self/fd"):  # our sockets and the run's lock are ours, not the commands'
        with suppress(OSError):  # the folder itself
            os.set_inheritable(int(name), int(name) < 3)
    if _configure(launcher, coordinator):
        _run(launcher)
    os._exit(0)  # there is nothing left to clean up, and the coordinator waits for us


def _configure(launcher: Launcher, coordinator: int) -> bool:
    """Apply the settings; if that fails, send the reason to the coordinator, and return False."""
    try:
        if not (message := launcher.control.recv(wire.MESSAGE)):
            return False
        config = marshal.loads(message)
        launcher.configure(config, coordinator, _spawner(config, launcher.note))
    except (Gone, ConnectionError):
        return False
    except OSError as error:
        where = f" {os.fsdecode(error.filename)}" if error.filename else ""
        _say(launcher, wire.REFUSED, f"cannot run commands{where}: {os.strerror(error.errno or 0)}")
        return False
    return True


def _spawner(config: wire.Config, note: Callable[[str], None]) -> Spawner:
    if config["warm"] is None:
        return Spawner(config)
    from manyhands.backends.launchers.warm_spawning import WarmSpawner  # few batches need it

    return WarmSpawner(config, note)


def _run(launcher: Launcher) -> None:
    """Run the launcher. Whatever ends it, even a bug or a lack of memory, its jobs are ended, too."""
    gone = False
    try:
        launcher.run()
    except Quit:
        pass
    except (Gone, ConnectionError):
        gone = True
    except BaseException as error:  # see above
        _say(launcher, wire.NOTED, f"launcher {launcher.index} has failed: {type(error).__name__}: {error}")
    finally:
        launcher.leave(gone=gone)


def _say(launcher: Launcher, kind: int, text: str) -> None:
    """Send a last message, if there is room for it."""
    launcher.records.append((kind, text))
    with suppress(OSError, MemoryError):
        launcher.outbox.flush()
