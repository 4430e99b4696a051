"""What the tests of the function backends call: each as a function, and as an async one under the name ``a_...``."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace as namespace
from typing import Any

STATE: dict[str, Any] = {}


def double(x: Any) -> Any:
    return x + x


def wide(_: Any) -> str:
    """10 KB of text."""
    return "x" * 10_000


def describe(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


def kind(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__} {x!r}"


def spell(x: int, pause: float = 0.1) -> tuple[float, float]:
    """When it began and ended."""
    began = time.monotonic()
    time.sleep(pause)
    return began, time.monotonic()


def fails_first(path: str, times: int) -> int:
    """Fails so many times, then returns how often it was called."""
    with open(path, "a") as file:
        file.write("x")
    called = os.path.getsize(path)
    if called <= times:
        raise ValueError(f"not yet: {called}")
    return called


def odd_fails(x: int) -> int:
    if x % 2:
        raise KeyError(f"no {x}")
    return x


def sleepy(x: float, ledger: str | None = None) -> float:
    """Sleeps ``x`` seconds; writes ``end`` to the ledger only if it is not stopped, ``tidy`` if it may tidy up."""
    try:
        time.sleep(x)
        note(ledger, f"end {x}")
    finally:
        note(ledger, f"tidy {x}")
    return x


def note(ledger: str | None, text: str) -> None:
    if ledger:
        with open(ledger, "a") as file:
            file.write(text + "\n")


def stubborn(x: float) -> None:
    """Swallows what is to end it."""
    deadline = time.monotonic() + x
    while time.monotonic() < deadline:
        try:
            time.sleep(x)
        except BaseException:
            continue


def slow_and_noted(x: int, ledger: str, pause: float = 0.05) -> int:
    """Notes when it begins and when it ends."""
    note(ledger, f"begin {x} {time.monotonic()} {os.getpid()}")
    time.sleep(pause)
    note(ledger, f"end {x} {time.monotonic()} {os.getpid()}")
    return x


def noted_when_it_may_end(x: int, ledger: str, gate: str) -> int:
    """Notes when it begins, and when it ends, which it may do once there is a file ``gate``."""
    note(ledger, f"begin {x}")
    while not os.path.exists(gate):
        time.sleep(0.01)
    note(ledger, f"end {x}")
    return x


def waits_if_first(x: int, gate: str) -> int:
    while x == 0 and not os.path.exists(gate):
        time.sleep(0.05)
    return x


def noted(x: int, ledger: str) -> int:
    note(ledger, str(x))
    return x


def die(x: int, who: int, how: str = "kill", once: str | None = None) -> int:
    """Job ``who`` takes its process with it; with ``once`` only the first time."""
    if x == who and not (once and os.path.exists(once)):
        if once:
            Path(once).touch()
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            import ctypes
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            ctypes.string_at(0)
        else:
            os._exit(int(how))
    return x


def notes_and_dies(x: int, who: int, how: str, ledger: str) -> int:
    """Writes down that it is done, before anything else can happen."""
    noted(x, ledger)
    return die(x, who, how)


def die_later(x: int, who: int, how: str, once: str | None, pause: float) -> int:
    time.sleep(pause)
    return die(x, who, how, once)


def say(x: int) -> int:
    print(f"out {x}")
    print(f"err {x}", file=sys.stderr)
    sys.stdout.buffer.flush()
    return x


def say_slowly(x: int) -> None:
    for part in ("a", "b", "c"):
        print(part, x)
        time.sleep(0.01)


def say_much(x: int) -> None:
    sys.stdout.write("y" * x)


def shell_out(x: int) -> None:
    subprocess.run(["echo", f"child {x}"], check=True)


def size_of(x: Any) -> int:
    return len(x)


def make(x: int) -> str:
    return "z" * x


@dataclass(frozen=True)
class Point:
    x: int
    y: float


class Colour(IntEnum):
    RED = 1


TRAVELS: dict[str, Any] = {
    "json": {"x": [1, None, 2.5, True]},
    "umlaut": "gr\u00fcn",
    "none": None,
    "tuple": (1, 2),
    "nested": (1, [2, (3,)]),
    "keys": {2: 3, None: 4},
    "set": {1},
    "bytes": b"x\0",
    "path": Path("a"),
    "point": Point(1, 2.5),
    "enum": Colour.RED,
    "surrogate": "\udc80",
    "surrogates": "\ud83d\ude00",
    "zero": -0.0,
    "infinite": math.inf,
    "list of tuples": [(1, 2)],
    "moment": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))),
    "decimal": Decimal("1.10"),
    "counter": Counter("aab"),
    "error": ValueError("returned"),
    "names": namespace(a=1),
}


def returns(name: str) -> Any:
    """Things that JSON cannot hold, and things that it can."""
    return {
        **TRAVELS,
        "nan": float("nan"),
        "object": object(),
        "lambda": lambda: 1,
        "lock": threading.Lock(),
        "unpacked": Unpacked(),
    }[name]


def where(x: int) -> list[Any]:
    names = ("MH_RUN", "MH_JOB", "MH_ATTEMPT", "MH_SLOT", "GIVEN")
    return [os.getcwd(), sys.stdin.read() if sys.stdin else None, {name: os.environ.get(name) for name in names}]


def surroundings(pause: float) -> list[Any]:
    """Folder, a variable and the priority, as a job finds them."""
    time.sleep(pause)
    return [os.getcwd(), os.environ.get("GIVEN"), os.nice(0)]


async def a_surroundings(pause: float) -> list[Any]:
    return surroundings(pause)


class SlowToFlush(io.StringIO):
    """Takes its time when the worker collects what was printed: after the job, and before the end of it is noted."""

    def flush(self) -> None:
        time.sleep(0.1)


def lags(seconds: float) -> None:
    """Sleep; a negative time is spent after the end of the job."""
    if seconds < 0:
        sys.stdout = SlowToFlush()
    else:
        time.sleep(seconds)


def naps(pause: float) -> None:
    time.sleep(pause)


def redirects(where: str) -> str:
    """Sends descriptor 1 somewhere else and leaves it there, then the next one prints."""
    if where == "print":
        print("said")
    elif where == "write":
        os.write(1, b"said\n")
    elif where == "program":
        subprocess.run(["sh", "-c", "echo said >> /dev/stdout"], check=True)
    else:
        file = os.open(where, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        os.dup2(file, 1)
        os.close(file)
    return where


def bytes_of(size: int) -> bytes:
    """A result of that many bytes."""
    return bytes(size)


def signals_itself(number: int) -> None:
    if number:
        os.kill(os.getpid(), number)


def signals_parent(x: int, ledger: str, number: int) -> int:
    """Harms the process that has made its worker, in the middle."""
    if number:
        os.kill(os.getppid(), number)
    time.sleep(0.1)
    note(ledger, str(x))
    return x


def harms_the_warden(number: int, ledger: str) -> None:
    """Finds it by its command line."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes() if name.isdigit() else b""
            if (
                b"manyhands.backends.workers.watchdog" in words
                and Path(f"/proc/{name}/stat").read_text().split(") ")[1].split()[1] == _coordinator()
            ):
                os.kill(int(name), number)
    note(ledger, "done")
    time.sleep(60)


def _coordinator() -> str:
    """The parent of the fork server."""
    return Path(f"/proc/{os.getppid()}/stat").read_text().split(") ")[1].split()[1]


def leaves_a_thread(x: int) -> int:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return os.getpid()


def forks_at_three(x: int, ledger: str) -> int:
    child = os.fork() if x == 3 else 1
    note(ledger, str(x))
    if child > 1:
        os.waitpid(child, 0)
    return x


def forks_and_forgets(x: int, ledger: str) -> int:
    os.fork()
    note(ledger, str(x))
    return x


def peak(x: int) -> int:
    """Bytes of memory of its worker."""
    return (
        int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        if x % 10_000 == 0 or x > 59_998
        else 0
    )


def heavy(x: int) -> str:
    """The memory of its worker in bytes, and much besides."""
    return f"{int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()} " + "z" * 60_000


def names_below(how: str) -> list[str] | None:
    """What a program finds in its environment."""
    if how == "clear":
        os.environ.clear()
        return None
    found = subprocess.run(["/bin/sh", "-c", "echo $MH_JOB; echo $MH_TAG"], check=True, capture_output=True, text=True)
    return found.stdout.split()


def changes(how: str) -> dict[str, Any] | None:
    """Changes something of its process, or looks at what it finds."""
    if how != "look":
        CHANGES[how]()
        return None
    mask = os.umask(0)
    os.umask(mask)
    return {
        "folder": os.getcwd(),
        "umask": mask,
        "GIVEN": os.environ.get("GIVEN"),
        "NEW": os.environ.get("NEW"),
        "nice": os.nice(0),
        "handlers": [str(signal.getsignal(number)).split(" at ")[0] for number in (1, 2, 10, 12, 14, 15, 17)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "limits": [resource.getrlimit(which) for which in range(9)],
        "stdin": (sys.stdin is None, sys.stdin and sys.stdin.closed, sys.stdin and sys.stdin.read(), os.fstat(0).st_rdev),
        "MH_JOB": os.environ["MH_JOB"],
        "out": sys.stdout.fileno(),
    }


def _lose_folder() -> None:
    os.mkdir("lost")
    os.chdir("lost")
    os.rmdir(os.getcwd())


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _never_again() -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 10_000)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard) if hard >= 0 else (10_000, 10_000))


CHANGES: dict[str, Any] = {
    "chdir": lambda: os.chdir("/"),
    "lost": _lose_folder,
    "umask": lambda: os.umask(0o777),
    "new": lambda: os.environ.update(NEW="x"),
    "clear": lambda: os.environ.clear(),
    "nice": lambda: os.nice(3),
    "ignore": lambda: signal.signal(15, signal.SIG_IGN),
    "handle": lambda: signal.signal(10, print),
    "block": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [1, 15]),
    "alarm": lambda: signal.alarm(1),
    "limit": _limit,
    "hard": _never_again,
    "stdin": lambda: setattr(sys, "stdin", None),
    "stdin closed": lambda: sys.stdin.close(),
    "stdin reused": lambda: os.dup2(os.open("/etc/passwd", os.O_RDONLY), 0) and None,
    "close": lambda: os.closerange(0, 3),
    "dup": lambda: os.dup2(0, 1),
    "stdout": lambda: setattr(sys, "stdout", None),
}


class Mine(BaseException):
    """Derives from nothing that anybody would catch."""


class Mute(Exception):
    """Cannot say what it is about."""

    def __str__(self) -> str:
        raise Mine("no words")


class Unshowable:
    def __repr__(self) -> str:
        raise Mine("no repr")


class Unlistable(dict[str, Any]):
    def items(self) -> Any:
        raise Mine("no items")


class Unpacked:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


class Unmade(Exception):
    """Can be pickled, but not be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def _noted(error: Exception) -> Exception:
    error.add_note("a note of it")
    return error


def explode() -> None:
    raise Mine("cannot be built")


def ends(how: str) -> Any:
    """Ends in one of the ways that nobody expects of a job."""
    if how in RAISED:
        raise RAISED[how]
    if how == "cause":
        error = ValueError("outer")
        error.add_note("a note of it")
        raise error from KeyError("inner")
    if how == "cancel all":
        for task in asyncio.all_tasks():
            task.cancel()
    if how == "stop loop":
        asyncio.get_running_loop().stop()
    if how == "exit task":
        asyncio.get_running_loop().create_task(leaves())
    if how == "close out":
        sys.stdout.close()
        sys.stderr.close()
    if how == "replace out":
        sys.stdout = sys.stderr = io.StringIO()
    if how == "full":
        sys.stdout.write("x" * 10)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, sys.stdout.fileno())
        os.close(full)
    return RETURNED.get(how)


async def leaves() -> None:
    sys.exit(3)


RAISED: dict[str, BaseException] = {
    "base": Mine("x"),
    "cancelled": asyncio.CancelledError(),
    "generator": GeneratorExit(),
    "interrupt": KeyboardInterrupt(),
    "mute": Mute(),
    "exit 0": SystemExit(0),
    "exit None": SystemExit(None),
    "exit 7": SystemExit(7),
    "exit text": SystemExit("why"),
    "surrogate": ValueError("\udc80"),
    "noted": _noted(ValueError("why")),
    "unmade": Unmade("of", "two"),
}
RETURNED: dict[str, Any] = {"repr": Unshowable(), "items": Unlistable(a=1), "unpacked": Unpacked()}


def ends_or_says(what: Any) -> Any:
    return say(what) if isinstance(what, int) else ends(what)


async def a_ends_or_says(what: Any) -> Any:
    return ends_or_says(what)


async def a_ends(how: str) -> Any:
    return ends(how)


def prepare(*args: Any) -> None:
    STATE["prepared"] = list(args)
    STATE["times"] = STATE.get("times", 0) + 1


def prepared(x: int) -> list[Any]:
    return [STATE.get("prepared"), STATE.get("times"), os.getpid()]


def refuse(*args: Any) -> None:
    raise RuntimeError(f"cannot prepare {args}")


def pid(x: int) -> int:
    return os.getpid()


def parent(x: int) -> int:
    return os.getppid()


def nested(x: int) -> int:
    from manyhands import run_batch

    return sum(one.value for one in run_batch(double, range(x), jobs=2, backend="threads"))


def nested_processes(x: int) -> int:
    from manyhands import run_batch

    return sum(one.value for one in run_batch(double, range(x), jobs=2))


def has_children(x: float) -> None:
    """A child, and a daemon in a session of its own."""
    subprocess.Popen(["sleep", str(x)])
    subprocess.Popen(["setsid", "sleep", str(x)])
    time.sleep(x)


def forks(x: int) -> int:
    """Forks without exec, and waits; warnings are errors."""
    import warnings

    warnings.simplefilter("error")
    child = os.fork()
    if not child:
        os._exit(x)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def warns(x: int) -> int:
    exec("import sys; sys.exit(3)")
    return x


async def a_double(x: Any) -> Any:
    return x + x


async def a_describe(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


async def a_kind(x: Any) -> str:
    return kind(x)


async def a_spell(x: int, pause: float = 0.1) -> tuple[float, float]:
    began = time.monotonic()
    await asyncio.sleep(pause)
    return began, time.monotonic()


async def a_fails_first(path: str, times: int) -> int:
    return fails_first(path, times)


async def a_odd_fails(x: int) -> int:
    return odd_fails(x)


async def a_sleepy(x: float, ledger: str | None = None) -> float:
    try:
        await asyncio.sleep(x)
        note(ledger, f"end {x}")
    finally:
        note(ledger, f"tidy {x}")
    return x


async def a_stubborn(x: float) -> None:
    deadline = time.monotonic() + x
    while time.monotonic() < deadline:
        try:
            await asyncio.sleep(0.2)
        except BaseException:
            continue


async def a_slow_and_noted(x: int, ledger: str, pause: float = 0.05) -> int:
    note(ledger, f"begin {x} {time.monotonic()} {os.getpid()}")
    await asyncio.sleep(pause)
    note(ledger, f"end {x} {time.monotonic()} {os.getpid()}")
    return x


async def a_noted(x: int, ledger: str) -> int:
    return noted(x, ledger)


async def a_say(x: int) -> int:
    return say(x)


async def a_say_slowly(x: int) -> None:
    for part in ("a", "b", "c"):
        print(part, x)
        await asyncio.sleep(0.01)


async def a_say_much(x: int) -> None:
    say_much(x)


async def a_size_of(x: Any) -> int:
    return len(x)


async def a_make(x: int) -> str:
    return make(x)


async def a_returns(name: str) -> Any:
    return returns(name)


async def a_prepare(*args: Any) -> None:
    await asyncio.sleep(0)
    prepare(*args)


async def a_prepared(x: int) -> list[Any]:
    return prepared(x)


async def a_nested(x: int) -> int:
    return await asyncio.to_thread(nested, x)


async def a_warns(x: int) -> int:
    return warns(x)


def dies_of(x: int, victim: int) -> int:
    """Kills its worker if it is the victim's turn."""
    if x == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def dies_once(x: int, ledger: str) -> int:
    """Kills its worker the first time."""
    if not os.path.exists(ledger):
        note(ledger, f"died of {x}")
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def unpicklable(x: int) -> Any:
    return threading.Lock() if x == 3 else x


def changed(array: Any) -> float:
    """Changes what it was given, and says what it was."""
    total = float(array.sum())
    array += 1
    return total


def prints(x: int) -> None:
    print("printed", x)
    print("complained", x, file=sys.stderr)


def state_plus(x: int) -> int:
    return int(STATE["base"]) + x


def set_base(base: int) -> None:
    STATE["base"] = base


async def a_triple(x: int) -> int:
    await asyncio.sleep(0)
    return 3 * x


def kept_and_slow(number: int, text: str) -> None:
    """Says what it was given, and takes a while unless it is told to be quick."""
    note(os.environ["LEDGER"], f"{number} {len(text)}")
    time.sleep(0 if "QUICK" in os.environ else 0.02)


def fails_late(number: int, text: str) -> int:
    """The last of sixty fails."""
    return len(text) // (59 - number)


def fills(data: bytearray) -> int:
    """Changes all of its input; the number of its bytes that nobody had changed before."""
    found = data.count(0)
    data[:] = b"x" * len(data)
    return found
