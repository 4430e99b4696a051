"""Programs and processes: exec changes the program, a crash ends one process, and a program file is imported by its children."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from multiprocessing import Barrier, Event, Process
from pathlib import Path
from typing import Any

import psutil

from manyhands.tour.scene_tools import tell
from manyhands.tour.seen import Seen, expect


def program_of(pid: int) -> str:
    return Path(psutil.Process(pid).exe()).name


def process_exec() -> None:
    """exec puts another program into the same process: the pid, the parent and the open files stay, the rest is gone."""
    (question, asking), (answering, answer) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            tell("before exec this process runs {program}", program=program_of(os.getpid()))
            os.dup2(question, 0)  # what is open stays open
            os.dup2(answer, 1)
            os.close(asking)
            os.execvp("sh", ["sh", "-c", "echo $$; read line"])  # noqa: S606 - there is no shell between
            tell("this line comes after exec, and nobody gets here")
        finally:
            os._exit(127)
    for end in (question, answer):
        os.close(end)
    said = int(os.read(answering, 100))  # the new program has begun, and waits for a line
    tell("after exec {child} runs {program} and says {said}", child=pid, program=program_of(pid), said=said)
    os.write(asking, b"end\n")
    _, status = os.waitpid(pid, 0)
    tell("sh has ended with {code}; it was still my child", code=os.waitstatus_to_exitcode(status))
    for end in (asking, answering):
        os.close(end)


def process_exec_seen(seen: Seen) -> str:
    before, after = seen.one("before exec"), seen.one("after exec").data
    expect(before.pid == after["child"] == after["said"], f"{before.pid} became {after['said']}")
    expect(before.data["program"] != after["program"], "it still runs the same program")
    expect(not seen.all("this line comes after exec"), "exec came back")
    expect(seen.one("sh has ended").data["code"] == 0, "sh did not end by itself")
    return f"process {before.pid} was {before.data['program']} and became {after['program']}, with the same pid and the same parent"


def join_in(number: int, names: list[str], everybody: threading.Barrier) -> None:
    names.append(f"thread {number}")
    everybody.wait()  # from here on all of them exist at the same time
    tell("I am thread {number}, for the kernel {native}", number=number, native=threading.get_native_id())
    everybody.wait()


def with_threads(threads: int, names: list[str]) -> None:
    everybody = threading.Barrier(threads)
    hands = [
        threading.Thread(target=join_in, args=(n + 1, names, everybody), name=f"thread {n + 1}") for n in range(threads)
    ]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    tell("my threads have put {count} names into one list", count=len(names))


def process_threads(workers: int, threads: int) -> None:
    """Every process has threads of its own: those of one process share its memory, those of another have a copy."""
    names: list[str] = []
    processes = [Process(target=with_threads, args=(threads, names)) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    tell("my own list has {count} names", count=len(names))


def process_threads_seen(seen: Seen) -> str:
    workers, threads = seen.options["workers"], seen.options["threads"]
    told = seen.all("I am thread", workers * threads)
    pids, lanes = {one.pid for one in told}, {one.lane for one in told}
    expect(len(pids) == workers, f"there were {len(pids)} processes, not {workers}")
    expect(len(lanes) == workers * threads, f"{len(lanes)} threads have spoken, not {workers * threads}")
    for pid in pids:
        natives = {one.data["native"] for one in told if one.pid == pid}
        expect(len(natives) == threads and pid not in natives, f"the kernel has other threads in process {pid}")
    expect(seen.data("my threads", "count") == [threads] * workers, "the threads of one process did not share their list")
    expect(seen.one("my own list").data["count"] == 0, "the processes shared their list")
    return f"{workers} x {threads} = {len(lanes)} threads in {len(pids)} processes; each process had a list of its own, which its threads shared"


def crash() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no file with its memory
    ctypes.string_at(0)  # reads address 0, as a faulty C library may


def work(number: int, crashes: bool, everybody: Any, go_on: Any) -> None:
    tell("number {number} works", number=number)
    everybody.wait()  # all three are there
    if crashes:
        crash()
    go_on.wait()
    tell("number {number} goes on, and ends well", number=number)


def process_crash() -> None:
    """A process that crashes takes nothing with it but its own memory; its parent learns how it ended."""
    everybody, go_on = Barrier(3), Event()
    processes = [Process(target=work, args=(number, number == 2, everybody, go_on)) for number in (1, 2, 3)]
    for process in processes:
        process.start()
    processes[1].join()
    tell("number 2 has ended with {code}", code=processes[1].exitcode)
    go_on.set()
    for process in processes:
        process.join()
    tell("they have ended with {codes}", codes=[process.exitcode for process in processes])


def process_crash_seen(seen: Seen) -> str:
    crashed, others = seen.one("number 2 has ended"), seen.all("number {number} goes on", 2)
    expect(len({one.pid for one in seen.all("number {number} works", 3)}) == 3, "they were not three processes")
    expect(sorted(one.data["number"] for one in others) == [1, 3], "not the others went on")
    expect(all(one.at > crashed.at for one in others), "the others were done before the crash")
    codes = seen.one("they have ended").data["codes"]
    expect(codes == [0, -signal.SIGSEGV, 0], f"they ended with {codes}")
    return f"number 2 crashed ({signal.SIGSEGV.name}); numbers 1 and 3 went on, and ended well"


def crash_among_threads() -> None:
    everybody, go_on = threading.Barrier(3), threading.Event()
    threads = [
        threading.Thread(target=work, args=(number, number == 2, everybody, go_on), name=f"thread {number}")
        for number in (1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    threads[1].join()
    go_on.set()


def process_crash_broken() -> None:
    """Threads have one memory and one fate: what crashes is the whole process."""
    process = Process(target=crash_among_threads)
    process.start()
    process.join()
    tell("the process of all three has ended with {code}", code=process.exitcode)


def process_crash_broken_seen(seen: Seen) -> str:
    expect(len({one.lane for one in seen.all("number {number} works", 3)}) == 3, "they were not three threads")
    expect(not seen.all("number {number} goes on"), "somebody has survived")
    code = seen.one("the process of all three").data["code"]
    expect(code == -signal.SIGSEGV, f"it ended with {code}")
    return "one of three threads crashed, and none of them was heard of again"


GUARDED = """\
import multiprocessing, sys

print("imported as", __name__, flush=True)


def work():
    print("the child works", flush=True)


def main():
    child = multiprocessing.get_context(sys.argv[1]).Process(target=work)
    child.start()
    child.join()
    print("the child ended with", child.exitcode, flush=True)


if __name__ == "__main__":
    main()
"""
UNGUARDED = GUARDED.replace('\n\nif __name__ == "__main__":\n    main()\n', "\n\nmain()\n")


def run_program(text: str, method: str) -> None:
    Path("program.py").write_text(text)
    done = subprocess.run([sys.executable, "program.py", method], capture_output=True, text=True, check=False)
    names = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("imported as")]
    tell("{method}: imported as {said}", method=method, said=", ".join(names), names=names)
    for line in done.stdout.splitlines():
        if line.startswith("the child"):
            tell("{method}: {line}", method=method, line=line)
    if done.stderr:
        error = " ".join(done.stderr.partition("RuntimeError:")[2].partition("phase.")[0].split())
        tell("{method}: RuntimeError: {error} phase", method=method, error=error)


def process_guard() -> None:
    """spawn and forkserver import the program in the child; the guard keeps the child from starting children itself."""
    for method in ("fork", "spawn", "forkserver"):
        run_program(GUARDED, method)


def process_guard_seen(seen: Seen) -> str:
    names = {one.data["method"]: one.data["names"] for one in seen.all("{method}: imported", 3)}
    expect(names["fork"] == ["__main__"], f"under fork it was imported as {names['fork']}")
    for method in ("spawn", "forkserver"):
        found = names[method]
        expect(found[0] == "__main__" and set(found[1:]) == {"__mp_main__"}, f"under {method} it was imported as {found}")
    lines = seen.data("{method}: {line}", "line")
    expect(lines == ["the child works", "the child ended with 0"] * 3, f"the programs said {lines}")
    return (
        f"fork imported the program {len(names['fork'])} time, spawn {len(names['spawn'])} and forkserver "
        f"{len(names['forkserver'])} times; as __mp_main__ it defined its functions, and started nothing"
    )


def process_guard_broken() -> None:
    """Without the guard the child, while it imports the program, tries to start a child; Python refuses."""
    run_program(UNGUARDED, "spawn")


def process_guard_broken_seen(seen: Seen) -> str:
    names = seen.one("{method}: imported").data["names"]
    lines = seen.data("{method}: {line}", "line")
    expect(names == ["__main__", "__mp_main__"], f"it was imported as {names}")
    expect(lines == ["the child ended with 1"], f"the program said {lines}")
    error = seen.one("{method}: RuntimeError").data["error"]
    expect(error.endswith("finished its bootstrapping"), f"the error was {error}")
    return f"imported {len(names)} times, and the child's work was never done: RuntimeError, it was still being imported"
