"""Processes: how they are made, what they share, and how they end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from multiprocessing import Event, Process, active_children, get_start_method
from pathlib import Path
from typing import Any

import psutil

from manyhands.tour.scene_tools import NotPossible, scaled, tell
from manyhands.tour.seen import Seen, expect


def process_fork() -> None:
    """One call, two returns: 0 in the child, the child's number in the parent, which then collects the child."""
    pid = os.fork()
    if pid == 0:
        tell("fork returned 0: I am the child of {parent}", parent=os.getppid())
        os._exit(0)
    tell("fork returned {child}: I am the parent", child=pid)
    _, status = os.waitpid(pid, 0)
    tell("child {child} has ended with {code}, and is collected", child=pid, code=os.waitstatus_to_exitcode(status))


def process_fork_seen(seen: Seen) -> str:
    child, parent = seen.one("fork returned 0"), seen.one("fork returned {child}")
    expect(child.data["parent"] == parent.pid, "the child does not have its parent as parent")
    expect(parent.data["child"] == child.pid, "fork did not return the child's number")
    expect(seen.one("child {child} has ended").data["code"] == 0, "the child did not end well")
    return f"fork returned 0 in {child.pid} and {child.pid} in {parent.pid}, its parent, which has collected it"


def say_who(number: int) -> None:
    tell("I am number {number}", number=number)


def process_names(workers: int) -> None:
    """A Process runs a function in a process of its own; join waits for its end."""
    tell("I am the main process")
    processes = [Process(target=say_who, args=(number,)) for number in range(1, workers + 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    tell("all have ended, with {codes}", codes=[process.exitcode for process in processes])


def process_names_seen(seen: Seen) -> str:
    workers = seen.options["workers"]
    pids = {one.pid for one in [seen.one("I am the main"), *seen.all("I am number")]}
    expect(len(pids) == workers + 1, f"{len(pids)} processes have spoken, not {workers + 1}")
    expect(seen.one("all have ended").data["codes"] == [0] * workers, "not all ended well")
    return f"{len(pids)} processes with {len(pids)} numbers have spoken, and all children were joined"


def count(counting: Any) -> None:
    for number in range(1, 1_000_001):
        tell("counts {number}", number=number)
        counting.set()
        time.sleep(scaled(1))


def process_terminate() -> None:
    """terminate sends SIGTERM; join collects what has ended, so that no zombie stays."""
    counting = Event()
    process = Process(target=count, args=(counting,))
    process.start()
    counting.wait()
    process.join(scaled(4.5))
    tell("I have lost patience")
    process.terminate()
    process.join()
    tell(
        "it has ended with {code}; still there: {used}",
        code=process.exitcode,
        used=is_used(process.pid),
    )


def is_used(pid: int | None) -> bool:
    return psutil.pid_exists(pid or 0)


def process_terminate_seen(seen: Seen) -> str:
    counts = seen.data("counts", "number")
    end = seen.one("it has ended").data
    expect(counts and counts == list(range(1, len(counts) + 1)) and len(counts) <= 6, f"it counted {counts}")
    expect(end["code"] == -signal.SIGTERM, f"it ended with {end['code']}")
    expect(not end["used"], "it is still there, as a zombie")
    return (
        f"it had counted to {counts[-1]} of 1,000,000 when SIGTERM ended it (exit code {end['code']}); no zombie is left"
    )


def sleep(seconds: float) -> None:
    time.sleep(scaled(seconds))
    tell("has slept {seconds} s", seconds=seconds)


def process_join() -> None:
    """start does not wait, join does."""
    for waits in (False, True):
        began = time.monotonic()  # the same clock for all processes of a machine
        processes = [Process(target=sleep, args=(seconds,)) for seconds in (1, 2)]
        for process in processes:
            process.start()
        tell("both are alive: {alive}", alive=all(process.is_alive() for process in processes), join=waits)
        if waits:
            for process in processes:
                process.join()
        tell("reached the end of my work after {took:.3f} s", took=time.monotonic() - began, join=waits)
        for process in processes:  # even so nobody is left uncollected
            process.join()


def process_join_seen(seen: Seen) -> str:
    without, with_join = seen.all("reached the end", 2)
    slept = [one.at for one in seen.all("has slept")]
    expect(all(seen.data("both are alive", "alive")), "a child was not alive after its start")
    expect(len(slept) == 4 and without.at < slept[0], "without join the parent came after its children")
    expect(with_join.at > slept[-1], "with join the parent came before its children")
    return f"without join the parent was done after {without.data['took']:.3f} s, with join after {with_join.data['took']:.2f} s"


def process_memory_seen(seen: Seen) -> str:
    still = seen.one("still has")
    imported, starts = seen.all("the module is imported"), seen.all("starts with")
    expect(still.data["notes"] == ["import", "parent"], "a child has changed the parent's memory")
    expect(len(starts) == 2, "not both children have spoken")
    if seen.options["start_method"] == "fork":
        expect(len(imported) == 1, f"under fork the module was imported {len(imported)} times")
        expect(
            all(one.data["notes"] == still.data["notes"] for one in starts),
            "a child did not start with the parent's value",
        )
        return "the children started with the parent's value, and changed their own copy; the module was imported once"
    expect(len(imported) == 3, f"the module was imported {len(imported)} times, not in each of 3 processes")
    expect(all(one.data["home"] == one.pid for one in starts), "a child did not compute its own value")
    expect(all(one.data["notes"] == ["import"] for one in starts), "a child knew what the parent had changed")
    return "each child imported the module again (3 imports in all) and knew nothing of what the parent had changed"


def wait_for_end(pid: int | None) -> None:
    while psutil.Process(pid).status() != "zombie":  # only looks, and leaves it as it is
        time.sleep(0.01)


def ended() -> Process:
    """A child that has ended, and that nobody has asked for anything."""
    process = Process(target=tell, args=("ends at once",))
    process.start()
    wait_for_end(process.pid)
    return process


def state(process: Process) -> str:
    return psutil.Process(process.pid).status() if is_used(process.pid) else "gone"


def another() -> None:
    process = Process(target=tell, args=("is another child",))
    process.start()
    process.join()


def process_zombie() -> None:
    """A process that has ended stays a zombie until its parent asks for it; join is only one of the ways to ask."""
    if get_start_method() == "forkserver":
        raise NotPossible("the fork server is the parent of such processes, and collects them at once")
    ways: dict[str, Callable[[Process], Any]] = {
        "join()": Process.join,
        "is_alive()": Process.is_alive,
        "exitcode": lambda child: child.exitcode,
        "active_children()": lambda _: active_children(),
        "another start()": lambda _: another(),
    }
    for way, ask in ways.items():
        child = ended()
        before = state(child)
        ask(child)
        tell("a {before}; after {way} it is {after}", before=before, way=way, after=state(child))
    child = ended()
    time.sleep(scaled(1))
    tell("a second after its end, unasked: a {state}", state=state(child))
    child.join()


def process_zombie_seen(seen: Seen) -> str:
    ways = seen.all("a {before}", 5)
    for one in ways:
        expect(one.data["before"] == "zombie", f"it was no zombie before {one.data['way']}")
        expect(one.data["after"] == "gone", f"it was still there after {one.data['way']}")
    expect(seen.one("a second after").data["state"] == "zombie", "it has gone, although nobody had asked")
    return f"the child was a zombie, until {', '.join(one.data['way'] for one in ways)}; unasked it stayed one"


def process_zombie_broken() -> None:
    """Nobody asks: the zombies pile up for as long as the parent lives."""
    pids = []
    for _ in range(5):
        pid = os.posix_spawnp("true", ["true"], os.environ)  # multiprocessing does not know of it
        wait_for_end(pid)
        pids.append(pid)
        tell("zombies: {zombies}", zombies=sum(psutil.Process(one).status() == "zombie" for one in pids))
    active_children()
    another()
    left = sum(psutil.Process(one).status() == "zombie" for one in pids)
    tell("after active_children() and another start(): {left}", left=left)


def process_zombie_broken_seen(seen: Seen) -> str:
    found = seen.data("zombies", "zombies")
    expect(found == [1, 2, 3, 4, 5], f"the zombies were {found}")
    left = seen.one("after active_children()").data["left"]
    expect(left == 5, f"{left} zombies stayed")
    return "5 children have ended and 5 zombies stayed, each with a place in the table of processes; they went with their parent"


def tick(ready: Any) -> None:
    ready.set()
    for number in range(1, 1_000_001):
        tell("ticks {number}", number=number)
        time.sleep(scaled(0.2))


def have_a_daemon(gone: bool) -> None:
    """The parent of the daemon: it ends by returning, or is killed."""
    ready = Event()
    daemon = Process(target=tick, args=(ready,), daemon=True)
    daemon.start()
    ready.wait()
    time.sleep(scaled(1))
    tell("I end now; my daemon is {daemon}", daemon=daemon.pid)
    if gone:
        os.kill(os.getpid(), signal.SIGKILL)


def process_daemon(gone: bool = False) -> None:
    """A daemon is terminated when its parent returns; others would be waited for."""
    parent = Process(target=have_a_daemon, args=(gone,))
    parent.start()
    parent.join()
    tell("the parent has ended with {code}", code=parent.exitcode)
    time.sleep(scaled(1))


def process_daemon_seen(seen: Seen) -> str:
    end, ticks = seen.one("the parent has ended"), seen.all("ticks")
    expect(ticks, "the daemon did nothing")
    expect(end.data["code"] == 0, "the parent did not end well")
    late = [one for one in ticks if one.at > end.at]
    expect(not late, "the daemon went on when its parent had ended")
    return f"the daemon ticked {len(ticks)} times, and not once after its parent had ended"


def process_daemon_broken() -> None:
    """Killed with -9, the parent has no time to end its daemon, which goes on as an orphan."""
    process_daemon(gone=True)


def process_daemon_broken_seen(seen: Seen) -> str:
    end = seen.one("the parent has ended")
    late = [one for one in seen.all("ticks") if one.at > end.at]
    expect(end.data["code"] == -signal.SIGKILL, "the parent was not killed")
    expect(late, "the daemon did not outlive its parent")
    return f"the parent was killed, and its daemon ticked {len(late)} times more, until we ended it"


def wait_randomly() -> None:
    seconds = random.random()  # noqa: S311 - no secret
    time.sleep(scaled(seconds))
    tell("has waited {seconds:.3f} s; it is {clock}", seconds=seconds, clock=time.strftime("%H:%M:%S"))


def process_random(workers: int) -> None:
    """Who is done first is decided by the dice, not by the order of the starts."""
    processes = [Process(target=wait_randomly) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def process_random_seen(seen: Seen) -> str:
    told, workers = seen.all("has waited"), seen.options["workers"]
    expect(len(told) == len({one.pid for one in told}) == workers, f"{len(told)} have spoken, not {workers}")
    waits = ", ".join(f"{one.data['seconds']:.2f} s" for one in told)
    return f"{workers} processes have waited {waits}, and ended in this order"


def process_shell() -> None:
    """A list of arguments is passed on as it is: whatever a file is called, it is one argument."""
    Path("my songs; touch oops").mkdir()
    for name in os.listdir():
        listed = subprocess.run(["ls", "-d", name], capture_output=True, text=True, check=True)
        tell("ls said {said!r}", said=listed.stdout)
    tell("now there are {names}", names=sorted(os.listdir()))


def process_shell_seen(seen: Seen) -> str:
    expect(seen.one("ls said").data["said"] == "my songs; touch oops\n", "ls has seen another name")
    expect(seen.one("now there").data["names"] == ["my songs; touch oops"], "there is something new")
    return "ls was given 'my songs; touch oops' as one argument, and nothing else happened"


def process_shell_broken() -> None:
    """A line for a shell is read by the shell, also what came from the name of a file."""
    Path("my songs; touch oops").mkdir()
    for name in os.listdir():
        subprocess.run(f"ls -d {name}", shell=True, capture_output=True, check=False)  # noqa: S602 - this is the mistake
    tell("now there are {names}", names=sorted(os.listdir()))


def process_shell_broken_seen(seen: Seen) -> str:
    expect(seen.one("now there").data["names"] == ["my songs; touch oops", "oops"], "the shell did not do it")
    return "the name of a file was carried out as a command: there is a new file 'oops'"


def process_identity() -> None:
    """Python asks the kernel, as `id` and `pwd` do."""
    tell(
        "I am {pid} in {cwd}, user {uid}, group {gid}", pid=os.getpid(), cwd=os.getcwd(), uid=os.getuid(), gid=os.getgid()
    )
    said = [subprocess.check_output(argv, text=True).strip() for argv in (["id", "-u"], ["id", "-g"], ["pwd", "-P"])]
    tell("id and pwd say {said}", said=said)


def process_identity_seen(seen: Seen) -> str:
    me, said = seen.one("I am"), seen.one("id and pwd").data["said"]
    expect(me.data["pid"] == me.pid, "the number is another")
    expect(said == [str(me.data["uid"]), str(me.data["gid"]), me.data["cwd"]], f"id and pwd say {said}")
    return f"user {said[0]}, group {said[1]} and folder {said[2]} are what id and pwd say"
