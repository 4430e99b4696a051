"""What the ``host`` tasks and ``fork-demo`` do: look once, or again and again, and print as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps
from typing import Any, TypeVar

from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_duration
from manyhands.host.info import clock, host_info, identity
from manyhands.host.metrics import cpu, disks, memory, network, pressure, sensors, swap
from manyhands.options.host import CheckHostOptions, CpuOptions, DrawnLookOptions, ForkOptions, LookOptions
from manyhands.processes.fork_demo import ForkEvent, fork_demo
from manyhands.render.forks import fork_line, fork_verdict
from manyhands.render.host import (
    clock_lines,
    cpu_lines,
    disk_lines,
    identity_lines,
    info_lines,
    memory_lines,
    network_lines,
    pressure_lines,
    sensor_lines,
)
from manyhands.render.refresh import repeat

T = TypeVar("T")


def _show(
    schema: str,
    look: Callable[[], T],
    record: Callable[[T], Mapping[str, Any]],
    lines: Callable[[T], Iterable[str]],
    options: LookOptions,
) -> None:
    """Look, once or until Ctrl-C, and print what was seen."""

    def shown() -> Iterable[str]:
        seen = look()
        note(seen)
        return [dumps({"schema": f"manyhands.{schema}/1", **record(seen)})] if options.json else lines(seen)

    every, times = _period(options), None if options.watch else 1
    with _drawn(schema, options) as note:
        repeat(shown, every=every, times=times, in_place=options.watch and not options.json)


@contextmanager
def _drawn(schema: str, options: LookOptions) -> Iterator[Callable[[object], None]]:
    """What takes each look; at the end of a watch they are drawn, if that was asked for. Raises UsageError."""
    if not (options.watch and isinstance(options, DrawnLookOptions) and options.output is not None):
        yield lambda _seen: None
        return
    from manyhands.handlers.picture_file import drawn_at_the_end, target_of

    target = target_of(options)
    from manyhands.report.host_figures import HostWatch

    watch = HostWatch(schema)
    with drawn_at_the_end(target, watch.drawing):
        yield watch.add


def _period(options: LookOptions) -> float:
    if not (seconds := parse_duration(options.every, "--every")):
        raise UsageError("--every 0: expected more than 0 seconds")
    return seconds


def show_info(options: LookOptions) -> None:
    """Print what the machine is and has."""
    _show("host", host_info, asdict, info_lines, options)


def show_cpu(options: CpuOptions) -> None:
    """Print how busy the CPUs are."""
    seconds = _period(options)
    _show("cpu", lambda: cpu(seconds), asdict, lambda seen: cpu_lines(seen, per_core=options.per_core), options)


def show_memory(options: LookOptions) -> None:
    """Print what of memory and swap is used."""
    _show(
        "memory",
        lambda: (memory(), swap()),
        lambda seen: {"memory": asdict(seen[0]), "swap": asdict(seen[1])},
        lambda seen: memory_lines(*seen),
        options,
    )


def show_disks(options: LookOptions) -> None:
    """Print what of the file systems is used."""
    _show("disks", disks, lambda seen: {"disks": [asdict(one) for one in seen]}, disk_lines, options)


def show_network(options: LookOptions) -> None:
    """Print the network interfaces."""
    _show("network", network, lambda seen: {"network": [asdict(one) for one in seen]}, network_lines, options)


def show_sensors(options: LookOptions) -> None:
    """Print what the sensors say."""
    _show("sensors", sensors, asdict, sensor_lines, options)


def show_pressure(options: LookOptions) -> None:
    """Print what had to be waited for."""
    _show(
        "pressure",
        pressure,
        lambda seen: {"pressure": {name: asdict(one) for name, one in seen.items()} or None},
        pressure_lines,
        options,
    )


def show_time(options: LookOptions) -> None:
    """Print what time it is."""
    _show("time", clock, asdict, clock_lines, options)


def show_identity(options: LookOptions) -> None:
    """Print who this process is."""
    _show("identity", identity, asdict, identity_lines, options)


def show_check(options: CheckHostOptions) -> int:
    """Print a plugin's line; its exit status."""
    from manyhands.core.level import worst
    from manyhands.host.checks import check
    from manyhands.render.checks import check_line, checked_record

    checked = check(options)
    _write([dumps(checked_record(checked))] if options.json else [check_line(checked)])
    return worst(one.level for one in checked)


def show_doctor(*, json: bool) -> int:
    """Print what the machine can do; 1 if something that is needed does not work."""
    from manyhands.host.doctor import examine
    from manyhands.host.finding import Health
    from manyhands.render.checks import finding_lines, verdict

    findings = examine()
    if json:
        _write(dumps({"schema": "manyhands.finding/1", **asdict(finding)}) for finding in findings)
    else:
        for finding in findings:
            _write(finding_lines(finding))
        _write([verdict(findings)])
    return 1 if any(finding.health is Health.BROKEN for finding in findings) else 0


def show_fork(options: ForkOptions) -> int:
    """Fork before the user's eyes; returns 0 if everything was as it should be, else 1."""

    def emit(event: ForkEvent) -> None:
        _write([dumps({"schema": "manyhands.fork/1", **asdict(event)}) if options.json else fork_line(event)])

    sys.stdout.flush()  # or the child would own a copy of what is not written yet
    report = fork_demo(children=options.children, exit_code=options.exit_code, emit=emit)
    if not options.json:
        _write([fork_verdict(report)])
    return 0 if report.as_expected else 1


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
