"""Facts about the machine and this process. `manyhands.host.metrics` has how much of the machine is in use.

Bytes and seconds. What a machine does not have is None, and shown as "not available". psutil is imported when it is needed.
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from manyhands.core.records import dataclass
from manyhands.host.metrics import Disk, Interface, Memory, Sensors, Swap, disks, memory, network, sensors, swap
from manyhands.posix.cgroup import cores_quota, read
from manyhands.posix.cores import usable_cores

_CONTAINER_FILES: Final = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
_HYPERVISORS: Final = {
    "kvm": "kvm",
    "qemu": "qemu",
    "vmware": "vmware",
    "virtualbox": "virtualbox",
    "xen": "xen",
    "bochs": "bochs",
    "hyper-v": "hyper-v",
    "microsoft": "hyper-v",
    "google": "google compute engine",
    "amazon": "amazon ec2",
}


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A machine at one moment. ``cores`` is the bare count; ``usable_cores`` is what this process may use of it.

    ``kernel`` is its release, ``version`` how it was built. ``virtual``: the hypervisor below us, ``container``: the kind of container that we run in, both None if none is detected.
    """

    node: str
    system: str
    kernel: str
    version: str
    machine: str
    distribution: str | None
    virtual: str | None
    container: str | None
    cores: int
    usable_cores: int
    quota_cores: float | None
    load: tuple[float, float, float] | None
    memory: Memory
    swap: Swap
    disks: tuple[Disk, ...]
    network: tuple[Interface, ...]
    sensors: Sensors
    booted: str
    uptime: float
    users: tuple[str, ...]
    python: str


def host_info() -> HostInfo:
    """Describe this machine."""
    import psutil

    uname = os.uname()
    booted = psutil.boot_time()
    virtual, container = _virtual_and_container()
    return HostInfo(
        node=uname.nodename,
        system=uname.sysname,
        kernel=uname.release,
        version=uname.version,
        machine=uname.machine,
        distribution=_distribution(),
        virtual=virtual,
        container=container,
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        quota_cores=cores_quota(),
        load=os.getloadavg() if hasattr(os, "getloadavg") else None,
        memory=memory(),
        swap=swap(),
        disks=disks(),
        network=network(),
        sensors=sensors(),
        booted=datetime.fromtimestamp(booted).astimezone().isoformat(),
        uptime=time.time() - booted,
        users=tuple(sorted({user.name for user in psutil.users()})),
        python=f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}",
    )


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else None


def _virtual_and_container() -> tuple[str | None, str | None]:
    """Detect both by systemd-detect-virt(1) if it is installed, else by simple signs, which miss the rarer kinds."""
    if program := shutil.which("systemd-detect-virt"):
        return _detected(program, "--vm"), _detected(program, "--container")
    container = next((name for path, name in _CONTAINER_FILES.items() if os.path.exists(path)), None)
    if container is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        container = "kubernetes"
    vendor = f"{read(Path('/sys/class/dmi/id/sys_vendor'))} {read(Path('/sys/class/dmi/id/product_name'))}".lower()
    virtual = next((name for word, name in _HYPERVISORS.items() if word in vendor), None)
    if virtual is None and " hypervisor" in read(Path("/proc/cpuinfo")):
        virtual = "unknown"
    return virtual, container


def _detected(program: str, kind: str) -> str | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run([program, kind], capture_output=True, text=True, timeout=5, check=False).stdout.strip()
        return said if said and said != "none" else None
    return None


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of this process. A name is None if the system has none for the number; ``cwd`` None: the folder is gone."""

    pid: int
    ppid: int
    pgid: int
    session: int
    terminal: str | None
    cwd: str | None
    uid: int
    user: str | None
    euid: int
    effective_user: str | None
    gid: int
    group: str | None
    egid: int
    effective_group: str | None
    groups: tuple[int, ...]
    group_names: tuple[str | None, ...]
    umask: int
    home: str | None


def identity() -> Identity:
    """The identity of this process, as id(1), pwd(1), tty(1) and umask tell it."""
    groups = tuple(sorted({*os.getgroups(), os.getegid()}))
    return Identity(
        pid=os.getpid(),
        ppid=os.getppid(),
        pgid=os.getpgrp(),
        session=os.getsid(0),
        terminal=_terminal(),
        cwd=_cwd(),
        uid=os.getuid(),
        user=_user(os.getuid()),
        euid=os.geteuid(),
        effective_user=_user(os.geteuid()),
        gid=os.getgid(),
        group=_group(os.getgid()),
        egid=os.getegid(),
        effective_group=_group(os.getegid()),
        groups=groups,
        group_names=tuple(map(_group, groups)),
        umask=_umask(),
        home=os.environ.get("HOME"),
    )


def _terminal() -> str | None:
    for descriptor in range(3):
        with suppress(OSError):
            return os.ttyname(descriptor)
    return None


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _umask() -> int:
    """The umask: from the status file on Linux (proc(5)), else by setting it for a moment, as it cannot be read otherwise."""
    for line in read(Path("/proc/self/status")).splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _group(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is: ``local`` and ``utc`` in ISO 8601, ``epoch`` seconds since 1970, ``zone`` the name of the local time,
    ``offset`` its seconds east of Greenwich, ``uptime`` seconds since boot."""

    local: str
    utc: str
    zone: str
    offset: int
    epoch: float
    uptime: float


def clock() -> Clock:
    """Read the clock."""
    import psutil

    now = time.time()
    local = datetime.fromtimestamp(now).astimezone()
    offset = local.utcoffset()
    return Clock(
        local=local.isoformat(timespec="seconds"),
        utc=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        zone=local.tzname() or "?",
        offset=int(offset.total_seconds()) if offset else 0,
        epoch=now,
        uptime=now - psutil.boot_time(),
    )
