"""The address of a Dask cluster, as it is given: checked and taken apart before anything is imported that could connect to it.

local | tcp://HOST:PORT | tls://HOST:PORT | ssh:HOST,HOST | slurm:JOBS | up | FILE.json
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name, switch_name
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass, field

_FORMS: Final = "expected local, up, tcp://HOST:PORT, tls://HOST:PORT, ssh:HOST,HOST, slurm:JOBS, or a scheduler file"
_SHORTEST: Final = 0.5
_ADDRESS: Final = re.compile(r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9a-fA-F:.]+\]|[^:/\s]+):(?P<port>\d{1,5})/?")
_OURS: Final = ("local", "up")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of a run. ``kind``: local, up, address, ssh, slurm, file or client; ``lease``: seconds without a sign of life of the
    batch after which workers end its jobs. ``client`` is one of the program's own, a ``distributed.Client``, which is not stored."""

    text: str
    kind: str
    lease: float
    insecure: bool = False
    client: Any = field(default=None, compare=False)

    @classmethod
    def of(cls, given: object, *, lease: float | str, insecure: bool) -> Cluster:
        """Check what was given. Raises UsageError."""
        seconds = parse_duration(lease, "--lease")
        if seconds < _SHORTEST:
            raise UsageError(f"{given_as('--lease', lease)}: at least {_SHORTEST:g} s are needed")
        if not isinstance(given, str):
            return cls(_address_of(given), "client", seconds, insecure, given)
        kind = _kind(given.strip())
        found = cls(given.strip(), kind, seconds, insecure)
        found.check_encrypted()
        return found

    def check_encrypted(self, address: str | None = None) -> None:
        """Raise UsageError if the connection would leave this machine without being encrypted, unless that was allowed."""
        match = _ADDRESS.fullmatch(address or self.text)
        if match and match["scheme"] == "tcp" and not self.insecure and not _is_loopback(match["host"].strip("[]")):
            raise _mistake(
                self.text,
                "its connection would not be encrypted, and whoever reaches it can run anything there: use tls://, or a tunnel; "
                f"{switch_name('--insecure')} allows it in a network that you trust",
            )

    @property
    def hosts(self) -> list[str]:
        """Those of ``ssh:``."""
        return [one.strip() for one in self.text.partition(":")[2].split(",")]

    @property
    def nodes(self) -> int:
        """How many jobs of Slurm."""
        return int(self.text.partition(":")[2])

    def to_json(self) -> dict[str, Any]:
        """Without the client."""
        return {"text": self.text, "kind": self.kind, "lease": self.lease, "insecure": self.insecure}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Cluster:
        """The inverse; a client has become its address."""
        kind = "address" if record["kind"] == "client" else record["kind"]
        return cls(record["text"], kind, record["lease"], record["insecure"])


def check_cluster(cluster: object, backends: Sequence[str]) -> object:
    """What was given, or the default. Raises UsageError if it has no effect."""
    if cluster is not None and "dask" not in backends:
        raise UsageError(f"{option_name('--cluster')} has no effect without {given_as('--backend', 'dask')}")
    return "local" if cluster is None else cluster


def _kind(text: str) -> str:
    if text in _OURS:
        return text
    if match := _ADDRESS.fullmatch(text):
        if not 0 < int(match["port"]) < 1 << 16:
            raise _mistake(text, "there is no such port")
        return "address"
    form, colon, rest = text.partition(":")
    if colon and form == "ssh" and all(re.fullmatch(r"[^\s-]\S*", one.strip()) for one in rest.split(",")):
        return "ssh"
    if colon and form == "slurm" and rest.isascii() and rest.isdigit() and int(rest) > 0:
        return "slurm"
    if text.endswith(".json") or os.sep in text.partition("://")[0]:
        if not os.path.isfile(text):
            raise _mistake(text, "there is no such scheduler file")
        return "file"
    raise _mistake(text, _FORMS)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_of(client: Any) -> str:
    """The address of a client's scheduler. Raises UsageError if it is none."""
    scheduler = getattr(client, "scheduler", None)
    address = getattr(scheduler, "address", None) or getattr(client, "scheduler_address", None)
    if not isinstance(address, str):
        raise UsageError(f"{given_as('--cluster', repr(client)[:80])}: {_FORMS}, or a distributed.Client")
    return address


def _mistake(text: str, why: str) -> UsageError:
    return UsageError(f"{given_as('--cluster', repr(text))}: {why}")
