"""The carrier of sites: the system's own ssh, with the user's configuration, keys, agent and known hosts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Final

from manyhands.backends.site.host import HostSpec
from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.work.host_list import HostName

_OPTIONS: Final = {
    "BatchMode": "yes",  # there is no terminal to ask on
    "ClearAllForwardings": "yes",  # those of the configuration may be taken already
    "ConnectTimeout": "10",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveInterval": "15",
}
"""What ssh(1) is told; an option that ``--ssh`` gives comes before, and counts."""


def spec_of(host: HostName, ssh: str) -> HostSpec:
    """How ``host`` is reached by ``ssh``, a program with its options. Raises UsageError."""
    try:
        program = shlex.split(ssh)
    except ValueError as error:
        raise UsageError(f"{given_as('--ssh', repr(ssh))}: {error}") from None
    if not program:
        raise UsageError(f"{given_as('--ssh', repr(ssh))}: expected a program, such as 'ssh -i key'")
    options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    return HostSpec(host.name, partial(_carried, [*program, *options, "--", host.name]), host.slots)


def _carried(ssh: Sequence[str], command: Sequence[str]) -> list[str]:
    return [*ssh, f"exec {shlex.join(command)}"]
