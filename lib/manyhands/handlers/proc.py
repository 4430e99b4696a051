"""What the ``proc`` tasks do: look at processes, wait for things, stop processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from json import dumps
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import typed
from manyhands.core.limits import parse_duration
from manyhands.core.safe_text import one_line
from manyhands.handlers.confirm import agreed
from manyhands.options.proc import (
    Choice,
    ListProcessesOptions,
    PortOptions,
    ShowProcessOptions,
    StopOptions,
    TreeOptions,
    WaitOptions,
)
from manyhands.processes.listing import (
    Listener,
    ProcessInfo,
    Selector,
    ancestors,
    hidden_listeners,
    list_processes,
    listeners,
    orphans,
    process_info,
    process_tree,
    zombies,
)
from manyhands.processes.stop import OURSELVES, STARTED_US, stop_processes, with_reasons
from manyhands.processes.wait import wait_for_file, wait_for_line, wait_for_port, wait_for_processes
from manyhands.render.processes import (
    allowance_lines,
    branch_record,
    details_lines,
    details_record,
    info_record,
    list_lines,
    listener_line,
    listener_record,
    tree_lines,
)
from manyhands.render.stopped_processes import stopped_line, stopped_record
from manyhands.render.words import duration

ORDERS: Final[Mapping[str, Callable[[ProcessInfo], float]]] = {
    "pid": lambda one: one.pid,
    "cpu": lambda one: -one.percent,
    "memory": lambda one: -one.memory,
    "age": lambda one: one.started,
}
"""How processes can be sorted."""


def selector_of(choice: Choice, pids: Sequence[str] = ()) -> Selector:
    """The options that choose processes, checked. Raises UsageError."""
    return Selector(
        pids=[pid_of(text) for text in pids],
        names=choice.name,
        users=choice.user,
        ports=[port_of(text) for text in choice.port],
        cmdline=[pattern_of(text, "--cmdline") for text in choice.cmdline],
        older_than=None if choice.older_than is None else parse_duration(choice.older_than, "--older-than"),
    )


def pid_of(text: str) -> int:
    """A pid. Raises UsageError for a name, which says how to choose by name."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(f"{text!r} is not a pid; a process is chosen by its name with --name")
    return int(text)


def port_of(text: str) -> int:
    """A port, from 1 to 65535."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise UsageError(f"{text!r} is not a port: expected 1 to 65535")
    return int(text)


def pattern_of(text: str, option: str) -> re.Pattern[str]:
    """A regular expression that was typed for ``option``. Raises UsageError."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} {text!r}: {error}") from None


def _write(lines: Iterable[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)
    sys.stdout.flush()


def _print_json(records: Iterable[Mapping[str, Any]]) -> None:
    _write(dumps(record) for record in records)  # ASCII: a name may hold what is no text


def _width() -> int | None:
    """Columns of the terminal; None where lines need not end."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None


# -- looking -------------------------------------------------------------------------------------------------------------


def show_list(options: ListProcessesOptions) -> int:
    """Print the processes that are chosen; 1 if there is none."""
    found = sorted(_without_askers(selector_of(options)), key=ORDERS[options.sort])[: count_of(options.top)]
    if options.json:
        _print_json(map(info_record, found))
    elif found:
        _write(list_lines(found, _width()))
    else:
        sys.stderr.write("no process matches\n")
    return 0 if found else 1


def _without_askers(selector: Selector) -> list[ProcessInfo]:
    """What is chosen, but not who asks: our own command line holds the pattern of --cmdline, and so do those of a shell, sudo(8)
    or timeout(1) that have started us with it."""
    found = list_processes(selector)
    if not selector.cmdline:
        return found
    ourselves, above = os.getpid(), set(ancestors(os.getpid()))
    return [one for one in found if one.pid != ourselves and not (one.pid in above and "--cmdline" in one.command)]


def count_of(top: int | None) -> int | None:
    """How many to show; None: all. Raises UsageError."""
    if top is not None and top < 1:
        raise UsageError(f"--top {top}: expected at least 1")
    return top


def show_tree(options: TreeOptions) -> int:
    """Print the processes below one, or all."""
    branches = process_tree(None if options.pid is None else pid_of(options.pid))
    if options.json:
        _print_json(map(branch_record, branches))
    else:
        _write(tree_lines(branches, _width()))
    return 0


def show_process(options: ShowProcessOptions) -> int:
    """Print all about one process."""
    from manyhands.processes.details import details

    found = details(pid_of(options.pid), environment=options.environment)
    if options.json:
        _print_json([details_record(found)])
    else:
        _write(details_lines(found))
    return 0


def show_port(options: PortOptions) -> int:
    """Print who listens on a port; 1 if nobody does."""
    found = listeners(port_of(options.number))
    if options.json:
        _print_json(map(listener_record, found))
    elif found:
        _write(map(listener_line, found))
    else:
        sys.stderr.write(f"nobody listens on port {options.number}\n")
    return 0 if found else 1


def show_zombies(*, json: bool) -> int:
    """Print what has ended and was not collected, with who should do so."""
    found, everyone = zombies(), {one.pid: one for one in list_processes()}
    if json:
        _print_json(info_record(one) | {"parent": _name(everyone, one.ppid)} for one in found)
        return 0
    if not found:
        sys.stderr.write("there are no zombies\n")
    for one in found:
        parent = _name(everyone, one.ppid)
        line = (
            f"{one.pid} {one_line(one.name, 40)}: its parent {one.ppid} ({one_line(parent, 40)}) has not collected it; "
            f"remind it with kill -CHLD {one.ppid}, or restart it: a zombie itself cannot be killed"
        )
        _write([line])
    return 0


def show_orphans(*, json: bool) -> int:
    """Print what has lost its parent, with who has adopted it."""
    found, everyone = orphans(), {one.pid: one for one in list_processes()}
    if json:
        _print_json(info_record(one) | {"parent": _name(everyone, one.ppid)} for one in found)
        return 0
    if not found:
        sys.stderr.write("there are no orphans\n")
    for one in found:
        parent, stop = one_line(_name(everyone, one.ppid), 40), typed("proc.stop", str(one.pid))
        command = one_line(one.command, 60)
        _write([f"{one.pid} {command} ({one.user}): adopted by {one.ppid} ({parent}); if nobody needs it: {stop}"])
    return 0


def _name(everyone: Mapping[int, ProcessInfo], pid: int) -> str:
    return everyone[pid].name if pid in everyone else "?"


def show_limits(*, json: bool) -> int:
    """Print what a program started here may use."""
    from manyhands.processes.resource_limits import allowance

    found = allowance()
    if json:
        _print_json([found.to_json()])
    else:
        _write(allowance_lines(found))
    return 0


# -- waiting -------------------------------------------------------------------------------------------------------------


def wait(options: WaitOptions) -> int:
    """Wait for one thing: 0 if it came, 124 if the time was up first."""
    log = options.log is not None
    if sum([bool(options.pids), options.port is not None, options.file is not None or log]) != 1:
        raise UsageError("say what to wait for: pids, or --port, or --file, or --log with --file")
    if options.gone and (options.pids or log):
        raise UsageError("--gone is for --port and --file; with a PID it waits for its end in any case")
    began = time.monotonic()
    came, text = _await(options, None if options.timeout is None else parse_duration(options.timeout, "--timeout"))
    waited = time.monotonic() - began
    if options.json:
        _print_json([{"schema": "manyhands.wait/1", "came": came, "text": text, "waited": waited}])
    elif came:
        _write([one_line(text, 1000)])
    else:
        sys.stderr.write(f"{one_line(text, 1000)}; gave up after {duration(waited)}\n")
    return 0 if came else 124


def _await(options: WaitOptions, seconds: float | None) -> tuple[bool, str]:
    """Whether it came, and what to say of it."""
    pids, port, file, gone = options.pids, options.port, options.file, options.gone
    if pids:
        left = wait_for_processes([pid_of(text) for text in pids], timeout=seconds)
        ended = f"{', '.join(pids)} {'has' if len(pids) == 1 else 'have'} ended"
        return not left, ended if not left else f"{', '.join(map(str, left))} still running"
    if port is not None:
        try:
            came = wait_for_port(port_of(port), options.host, gone=gone, timeout=seconds)
        except OSError as error:
            raise UsageError(f"--host {options.host}: {error.strerror}") from None
        return came, f"port {port} of {options.host} {'answers' if came != gone else 'does not answer'}"
    if options.log is None:
        came = wait_for_file(file or "", gone=gone, timeout=seconds)
        return came, f"{file} is {'there' if came != gone else 'not there'}"
    if file is None:
        raise UsageError("--log is a pattern for the lines of a file: name that with --file")
    try:
        line = wait_for_line(file, pattern_of(options.log, "--log"), new=options.new, timeout=seconds)
    except OSError as error:
        raise UsageError(f"--file {file}: {error.strerror}") from None
    return line is not None, f"no line of {file} has {options.log}" if line is None else line


# -- stopping ------------------------------------------------------------------------------------------------------------


def stop(options: StopOptions) -> int:
    """Stop what is chosen. 0: all of it is gone; 1: some is left; 3: nothing was chosen."""
    selector = selector_of(options, options.pids)
    if not selector:
        raise UsageError("name what to stop: pids, or --name, --user, --port, --cmdline, --older-than")
    number, seconds = signal_of(options.signal), parse_duration(options.grace, "--grace")
    chosen, hidden = _without_askers(selector), [one for port in selector.ports for one in hidden_listeners(port)]
    for one in hidden:
        sys.stderr.write(f"{_why_hidden(one)}\n")
    if not chosen:
        missing = [pid for pid in selector.pids if process_info(pid) is None]
        if not hidden:
            sys.stderr.write(f"there is no process {missing[0]}\n" if len(missing) == 1 else "no process matches\n")
        return 1 if hidden else 3
    if not selector.pids and not (chosen := _without_us(chosen)):  # by name and the like, we were chosen by accident
        return 1 if hidden else 3
    if options.dry_run:
        _write(_would_line(one, why) for one, why in with_reasons(chosen))
        return 0
    if not _agreed(chosen, yes=options.yes):
        sys.stderr.write("nothing was stopped\n")
        return 1
    told = stop_processes(chosen, grace=seconds, signal=number, descendants=options.tree)
    if options.json:
        _print_json(map(stopped_record, told))
    else:
        _write(map(stopped_line, told))
    return 0 if all(one.gone for one in told) and not hidden else 1


def _would_line(one: ProcessInfo, why: str | None) -> str:
    return f"would {'not ' if why else ''}stop {one.pid} {one_line(one.command, 100)}{f': {why}' if why else ''}"


def _why_hidden(one: Listener) -> str:
    """Why what listens there cannot be stopped, and how to find it."""
    where = f"{one.protocol} {one.address} port {one.port}"
    owner = f"it belongs to {one.user}" if one.user else "it belongs to another user, or another container"
    return f"{where}: the process that listens cannot be seen, and was not stopped: {owner}; root sees it: {typed('proc.port', str(one.port))}"


def _without_us(chosen: Sequence[ProcessInfo]) -> list[ProcessInfo]:
    """Without ourselves and those who have started us, who are named on stderr."""
    kept = []
    for one, why in with_reasons(chosen):
        if why in (OURSELVES, STARTED_US):
            sys.stderr.write(f"{one.pid} {one_line(one.name, 40)} is skipped: {why}\n")
        else:
            kept.append(one)
    return kept


def signal_of(text: str) -> int:
    """``TERM``, ``SIGTERM`` or ``15``."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit() and int(name) in signal.valid_signals():
        return int(name)
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError:
        raise UsageError(f"--signal {text}: there is no such signal; expected one such as TERM, HUP or 15") from None


def _agreed(chosen: Sequence[ProcessInfo], *, yes: bool) -> bool:
    """Ask before more than one is stopped."""
    lines = (f"{one.pid} {one.user} {one_line(one.command, 60)}" for one in chosen)
    return len(chosen) < 2 or agreed(f"stop these {len(chosen)} processes", lines, yes=yes)
