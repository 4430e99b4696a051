"""What the ``host`` tasks can draw: which numbers of a look go into which figure, and how each is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from manyhands.host.info import HostInfo
from manyhands.host.metrics import Cpu, Disk, Interface, Memory, Pressure, Sensors, Swap
from manyhands.render.words import size
from manyhands.report.drawing import Drawing
from manyhands.report.watched import History, Kind, Values

_UNITS: Final = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def _in_bytes(most: float) -> tuple[float, str]:
    for name, bytes_ in _UNITS:
        if most >= bytes_:
            return bytes_, name
    return 1, "bytes"


def _in_bytes_a_second(most: float) -> tuple[float, str]:
    divisor, name = _in_bytes(most)
    return divisor, f"{name} a second"


def _plain(name: str) -> Callable[[float], tuple[float, str]]:
    return lambda _most: (1, name)


def _share(value: float) -> str:
    return f"{value:.1f}%"


def _percent(title: str, told: str) -> Kind:
    return Kind(title, told, _share, _plain("percent"), most=100)


def _bytes(title: str, told: str) -> Kind:
    return Kind(title, told, lambda value: size(round(value)), _in_bytes)


def _rate(title: str, told: str) -> Kind:
    return Kind(title, told, lambda value: f"{size(round(value))}/s", _in_bytes_a_second)


def _number(title: str, told: str, unit: str, form: str = ".2f") -> Kind:
    return Kind(title, told, lambda value: format(value, form), _plain(unit))


_LOAD: Final = _number("Load", "Processes that ran or waited, on average over 1, 5 and 15 minutes.", "processes")

KINDS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "cpu": {
        "busy": _percent("Busy", "The share of time in which the cores worked."),
        "cores": _percent("Each core", "The share of time in which it worked."),
        "kinds": _percent("With what", "The share of all cores together, by kind of use."),
        "load": _LOAD,
    },
    "memory": {
        "memory": _bytes("Memory", "What programs used, and what they could still have got."),
        "swap": _bytes("Swap", "What was used of it."),
    },
    "host": {
        "load": _LOAD,
        "shares": _percent("In use", "The share of memory, of swap and of each file system that was in use."),
    },
    "disks": {
        "space": _percent("Space", "The share of each file system that was in use."),
        "inodes": _percent("Inodes", "The share of those of each file system that were in use."),
        "free": _bytes("Free", "What was left of each file system."),
    },
    "network": {
        "received": _rate("Received", "By each interface, between two looks."),
        "sent": _rate("Sent", "By each interface, between two looks."),
        "faults": _number("Faults", "Errors, and packets that were dropped.", "a second"),
    },
    "sensors": {
        "heat": _number("Heat", "Of each sensor.", "°C", ".1f"),
        "fans": _number("Fans", "Turns a minute.", "turns a minute", ".0f"),
        "battery": _percent("Battery", "Its charge."),
    },
    "pressure": {
        "some": _percent("Some waited", "The share of the last 10 seconds in which some tasks waited for it."),
        "full": _percent("All waited", "The share of the last 10 seconds in which all tasks waited for it."),
    },
}
"""The figures of each schema of the ``host`` tasks, in their order."""


def _cpu(seen: Cpu) -> Values:
    cores = {f"core {number}": busy for number, busy in enumerate(seen.cores)}
    kinds = {name: part for name, part in seen.times.items() if name != "idle"}
    return {"busy": {"all cores": seen.busy}, "cores": cores, "kinds": kinds, "load": _load(seen.load)}


def _load(load: tuple[float, float, float] | None) -> dict[str, float]:
    return dict(zip(("1 minute", "5 minutes", "15 minutes"), load, strict=True)) if load else {}


def _memory(seen: tuple[Memory, Swap]) -> Values:
    memory, swap = seen
    cached = {} if memory.cached is None else {"cached": memory.cached}
    return {
        "memory": {"used": memory.used, "available": memory.available, **cached},
        "swap": {"used": swap.used} if swap.total else {},
    }


def _host(seen: HostInfo) -> Values:
    shares = {"memory": 100 * seen.memory.used / max(seen.memory.total, 1)}
    if seen.swap.total:
        shares["swap"] = 100 * seen.swap.used / seen.swap.total
    return {"load": _load(seen.load), "shares": shares | {one.mount: one.percent for one in seen.disks}}


def _disks(seen: tuple[Disk, ...]) -> Values:
    return {
        "space": {one.mount: one.percent for one in seen},
        "inodes": {one.mount: 100 * (1 - (one.inodes_free or 0) / one.inodes) for one in seen if one.inodes},
        "free": {one.mount: one.free for one in seen},
    }


def _sensors(seen: Sensors) -> Values:
    battery = {} if seen.battery is None else {"battery": seen.battery}
    return {"heat": seen.temperatures, "fans": dict(seen.fans), "battery": battery}


def _pressure(seen: Mapping[str, Pressure]) -> Values:
    return {
        "some": {name: one.some[0] for name, one in seen.items()},
        "full": {name: one.full[0] for name, one in seen.items() if one.full},
    }


class NetworkValues:
    """What interfaces count since boot, as rates: nothing at the first look, and nothing where a count began anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = 0.0
        self._before: dict[str, Interface] = {}

    def __call__(self, seen: tuple[Interface, ...]) -> Values:
        """Since the last call."""
        now, before = self._clock(), self._before
        passed = max(now - self._at, 1e-9)
        self._at, self._before = now, {one.name: one for one in seen}
        both = [(before[one.name], one) for one in seen if one.name in before]
        both = [(old, new) for old, new in both if new.received >= old.received and new.sent >= old.sent]
        faults = {new.name: new.errors + new.dropped - old.errors - old.dropped for old, new in both}
        return {
            "received": {new.name: (new.received - old.received) / passed for old, new in both},
            "sent": {new.name: (new.sent - old.sent) / passed for old, new in both},
            "faults": {name: max(0, count) / passed for name, count in faults.items()},
        }


_VALUES: Final[Mapping[str, Callable[[], Callable[[Any], Values]]]] = {
    "cpu": lambda: _cpu,
    "memory": lambda: _memory,
    "host": lambda: _host,
    "disks": lambda: _disks,
    "network": NetworkValues,
    "sensors": lambda: _sensors,
    "pressure": lambda: _pressure,
}


class HostWatch:
    """All looks of one of the ``host`` tasks."""

    def __init__(self, schema: str) -> None:
        self._schema, self._history, self._values = schema, History(), _VALUES[schema]()

    def add(self, seen: object) -> None:
        """What it has seen now."""
        self._history.add(self._values(seen))

    def drawing(self) -> Drawing:
        """All of them."""
        return self._history.drawing(f"host.{'info' if self._schema == 'host' else self._schema}", KINDS[self._schema])
