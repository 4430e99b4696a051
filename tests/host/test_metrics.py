"""What is measured is what free, df, /proc and sysfs say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from manyhands.host import metrics
from manyhands.host.metrics import Sensors, cpu, disk, disks, memory, network, pressure, sensors, swap
from manyhands.render.host import cpu_lines, disk_lines, memory_lines, network_lines, pressure_lines, sensor_lines

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own files and programs")


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def near(value: float, other: float, share: float = 0.05) -> bool:
    return abs(value - other) <= share * max(abs(value), abs(other), 1 << 20)


@needs_linux
def test_memory_is_what_free_says() -> None:
    """Total exactly, the rest as far as it moves between two looks."""
    rows = {line.split(":")[0]: list(map(int, line.split()[1:])) for line in said("free", "-b").splitlines()[1:]}
    total, _, free, shared, _, available = rows["Mem"]
    seen, swapped = memory(), swap()
    assert seen.total == total
    assert near(seen.available, available)
    assert near(seen.free, free)
    assert seen.shared is not None
    assert near(seen.shared, shared)
    assert near(seen.used, total - available)
    assert swapped.total == rows["Swap"][0]
    assert near(swapped.used, rows["Swap"][1])


@needs_linux
def test_disks_are_what_df_says(tmp_path: Path) -> None:
    """Size, used, free, percent, and the inodes."""
    columns = "size,used,avail,pcent,itotal,iavail,target"
    for path in (tmp_path, Path("/")):
        _, row = said("df", "-B1", f"--output={columns}", str(path)).splitlines()
        size, used, free, percent, inodes, inodes_free, _ = row.split()
        seen = disk(str(path))
        assert seen.total == int(size)
        assert near(seen.used, int(used))
        assert near(seen.free, int(free))
        assert abs(seen.percent - int(percent.rstrip("%"))) <= 1.5  # df rounds up
        if inodes.isdigit() and int(inodes):
            assert seen.inodes == int(inodes)
            assert near(seen.inodes_free or 0, int(inodes_free))
    assert {one.mount for one in disks()} <= {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    with pytest.raises(FileNotFoundError):
        disk(str(tmp_path / "missing"))


@needs_linux
def test_network_is_what_the_kernel_says() -> None:
    """Names, state, mtu and traffic, of /proc/net/dev and sysfs."""
    rows = {}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        rows[name.strip()] = list(map(int, numbers.split()))
    seen = {one.name: one for one in network()}
    assert set(seen) == set(rows)
    for name, one in seen.items():
        assert one.mtu == int(Path(f"/sys/class/net/{name}/mtu").read_text())
        assert near(one.received, rows[name][0], 0.2)
        assert near(one.sent, rows[name][8], 0.2)
    assert "127.0.0.1" in seen["lo"].addresses


@needs_linux
def test_a_busy_core_is_seen() -> None:
    """A loop for as long as we look makes at least a share of the time busy; the parts make up the whole."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        seen = cpu(0.5)
        loop.kill()
    assert seen.seconds >= 0.5
    assert seen.busy > 10
    assert len(seen.cores) == seen.count == os.cpu_count()
    assert max(seen.cores) <= 100.001
    assert abs(sum(seen.times.values()) - 100) < 0.01
    lines = list(cpu_lines(seen, per_core=True))
    assert any(line.startswith("core 0") for line in lines)
    assert not any(line.startswith("core") for line in cpu_lines(seen, per_core=False))


def seconds_of_cores() -> list[list[float]]:
    """Of /proc/stat: a list for each core, in the order of proc(5)."""
    tick = os.sysconf("SC_CLK_TCK")
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    return [[int(word) / tick for word in words[1:]] for words in lines if words[0] != "cpu"]


@needs_linux
def test_the_seconds_of_each_core_are_those_of_the_kernel() -> None:
    """Every core and every kind of use, in seconds: no less than before we look, and no more than afterwards."""
    before = seconds_of_cores()
    seen = cpu(0.05)
    after = seconds_of_cores()
    assert len(before) == len(seen.since_boot) == len(after)
    kinds = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]
    slack = 0.05  # idle and iowait may go back a little (proc(5))
    for least, core, most in zip(before, seen.since_boot, after, strict=True):
        assert list(core) == kinds[: len(least)]
        for low, value, high in zip(least, core.values(), most, strict=True):
            assert low - slack <= value <= high + slack
    *_, head, first = list(cpu_lines(seen, per_core=True))[: -len(after) + 1 or None]
    assert head.split() == ["CORE", *(kind.upper() for kind in seen.since_boot[0])]
    assert first.split() == ["0", *(f"{value:.2f}" for value in seen.since_boot[0].values())]


def test_a_core_that_does_nothing_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for disks is not being busy; guests are not counted twice; no time at all is no division by zero."""
    fields = ("user", "system", "idle", "iowait", "guest")
    Times = type("Times", (tuple,), {"_fields": fields})
    looks = iter([[Times((0, 0, 0, 0, 0))], [Times((1, 1, 3, 5, 1))], [Times((1, 1, 3, 5, 1))], [Times((1, 1, 3, 5, 1))]])
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(looks))
    seen = cpu(0.0)
    assert seen.busy == pytest.approx(20)
    assert seen.times == {"user": 10.0, "system": 10.0, "idle": 30.0, "iowait": 50.0}
    assert seen.since_boot == ({"user": 1, "system": 1, "idle": 3, "iowait": 5, "guest": 1},)
    assert cpu(0.0).busy == 0.0


def test_pressure_is_what_the_kernel_says(tmp_path: Path) -> None:
    """Shares in percent, the sum in seconds; absent and switched off are told apart from zero."""
    (tmp_path / "cpu").write_text("some avg10=1.50 avg60=0.25 avg300=0.05 total=2500000\n")
    (tmp_path / "io").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=10\nfull avg10=3.00 avg60=2.00 avg300=1.00 total=7000000\n"
    )
    seen = pressure(tmp_path)
    assert (seen["cpu"].some, seen["cpu"].some_seconds, seen["cpu"].full) == ((1.5, 0.25, 0.05), 2.5, None)
    assert (seen["io"].full, seen["io"].full_seconds) == ((3.0, 2.0, 1.0), 7.0)
    lines = list(pressure_lines(seen))
    assert lines[1].split() == ["cpu", "some", "1.50%", "0.25%", "0.05%", "2.5", "s"]
    assert len(lines) == 4
    assert pressure(tmp_path / "missing") == {}
    assert "not available" in next(pressure_lines({}))


@needs_linux
@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel does not measure it")
def test_pressure_of_this_machine() -> None:
    """The file's own number, which only grows."""
    total = int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0])
    assert total / 1e6 <= pressure()["cpu"].some_seconds < total / 1e6 + 60


def test_sensors_of_a_machine_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil finds is told by chip and label."""
    monkeypatch.setattr(
        psutil,
        "sensors_temperatures",
        lambda: {"coretemp": [SimpleNamespace(label="Core 0", current=48.5)]},
        raising=False,
    )
    monkeypatch.setattr(
        psutil, "sensors_fans", lambda: {"thinkpad": [SimpleNamespace(label="", current=2100)]}, raising=False
    )
    monkeypatch.setattr(
        psutil, "sensors_battery", lambda: SimpleNamespace(percent=73.2, power_plugged=False), raising=False
    )
    seen = sensors()
    assert seen == Sensors({"coretemp Core 0": 48.5}, {"thinkpad": 2100}, 73.2, False)
    assert [" ".join(line.split()) for line in sensor_lines(seen)] == [
        "coretemp Core 0 48.5 °C",
        "thinkpad 2100 turns a minute",
        "battery 73%, on battery",
    ]


def test_sensors_of_a_machine_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent functions, and files that cannot be read, are both "not available" (scenario I2)."""

    def fails() -> None:
        raise OSError("no such device")

    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    monkeypatch.setattr(psutil, "sensors_fans", fails, raising=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    seen = sensors()
    assert seen == Sensors({}, {}, None, None)
    assert [line.split(maxsplit=1)[1] for line in sensor_lines(seen)] == ["not available"] * 3


def test_names_are_harmless_in_tables() -> None:
    """A mount point may hold anything."""
    hostile = replace(disk("/"), mount="/mnt/a\x1b[2Jb\nc")
    lines = list(disk_lines([hostile]))
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
    (up,) = [line for line in network_lines(network()) if "127.0.0.1" in line]
    assert up.split()[1] == "up"
    assert memory_lines(replace(memory(), cached=None), metrics.Swap(100, 25, 75))
    assert list(memory_lines(memory(), metrics.Swap(100, 25, 75)))[-1] == "  used       25 B (25.0%)"
