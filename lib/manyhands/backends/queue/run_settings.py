"""The settings of an execution as a message, and what a consumer makes of them: settings of a local backend.

CommandSettings, FunctionSettings --described--> broker --RunSettings.parse--> .commands(), .function()
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from manyhands.backends.queue import messages
from manyhands.backends.queue.messages import VERSION, Message, NotOursError, as_bytes, as_text, packed
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass
from manyhands.posix.cores import usable_cores
from manyhands.work.broker_url import PASSWORD, STORE_PASSWORD
from manyhands.work.function import RESULTS, Call

NAME: Final = re.compile(r"(?!.*\.py:)[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
"""The name of a function that a consumer can import; no file."""
_RUN: Final = re.compile(r"[\w.,+@-]{1,300}")
_PASSWORDS: Final = (PASSWORD.encode(), STORE_PASSWORD.encode())
"""No job gets the broker's."""
_PATH: Final = 5000
_KINDS: Final = ("str", "int", "float", "json", "path", "bytes", "row", "line", "object", "value")
_NAMES: Final = 1000


def described(settings: CommandSettings | FunctionSettings) -> bytes:
    """The settings as a message. Raises UsageError for a function that no consumer could call."""
    shared: Message = {
        "type": "run",
        "version": VERSION,
        "token": settings.token,
        "environment": {as_text(name): as_text(value) for name, value in settings.environment.items()},
        "workdir": as_text(os.fsencode(settings.workdir)),
        "grace": settings.grace,
        "output_cap": settings.output_cap,
        "nice": settings.nice,
        "lease": settings.lease,
        "unattended": settings.submitted is not None,
    }
    if isinstance(settings, FunctionSettings):
        _check(settings.call)
        return packed(shared | {"function": _function(settings)})
    stdin = None if settings.stdin is None else as_text(os.fsencode(settings.stdin))
    return packed(shared | {"stdin": stdin, "allow_daemons": settings.allow_daemons})


def _check(call: Call) -> None:
    if not NAME.fullmatch(call.text):
        raise UsageError(
            f"{call.name}: consumers import functions by name: give MODULE:FUNCTION of a module that they have"
        )
    if call.result == "pickle-file":
        raise UsageError("a queue carries JSON only: choose another result than pickle-file")
    if call.initializer or call.live_initializer:
        raise UsageError("a queue has no initializer: consumers call nothing but the function")


def _function(settings: FunctionSettings) -> Message:
    call = settings.call
    return {
        "name": call.text,
        "takes": call.type,
        "result": call.result,
        "grouped": call.group is not None,
        "named": list(call.named),
        "columns": list(settings.columns),
        "timed": settings.timed,
    }


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings of an execution at a consumer."""

    token: str
    environment: dict[bytes, bytes]
    workdir: bytes
    grace: float
    output_cap: int | None
    nice: int
    lease: float
    unattended: bool
    """Whether it goes on without a coordinator: what is reported is read later, if ever."""
    stdin: bytes | None
    allow_daemons: bool
    call: Call | None
    columns: tuple[str, ...]
    timed: bool

    @classmethod
    def parse(cls, data: object) -> RunSettings:
        """The settings in a message. Raises NotOursError."""
        message = messages.unpacked(data, "run")
        if messages.number(message, "version") != VERSION:
            raise NotOursError(f"it is of version {message['version']}, and this is {VERSION}")
        environment = messages.part(message, "environment")
        function = messages.part(message, "function") if "function" in message else None
        stdin = messages.long_text(message, "stdin")
        return cls(
            token=messages.text(message, "token"),
            environment={as_bytes(name): as_bytes(value) for name, value in environment.items()},
            workdir=as_bytes(messages.text(message, "workdir", _PATH)),
            grace=messages.seconds(message, "grace"),
            output_cap=messages.maybe_number(message, "output_cap"),
            nice=messages.number(message, "nice"),
            lease=messages.seconds(message, "lease"),
            unattended=messages.flag(message, "unattended"),
            stdin=None if stdin is None else as_bytes(stdin),
            allow_daemons=function is None and messages.flag(message, "allow_daemons"),
            call=None if function is None else _call(function),
            columns=() if function is None else messages.texts(function, "columns"),
            timed=function is not None and messages.flag(function, "timed"),
        )

    @property
    def is_plain(self) -> bool:
        """Whether it changes nothing of how a consumer calls functions: no variables but ours, no other folder."""
        return self.workdir == b"." and all(name.startswith(b"MH_") for name in self.environment)

    def _shared(self, slots: int, outputs: Path) -> dict[str, Any]:
        return {
            "slots": slots,
            "outputs": outputs,
            "token": self.token,
            "environment": {k: v for k, v in os.environb.items() if k not in _PASSWORDS} | self.environment,
            "workdir": Path(os.fsdecode(os.path.join(os.getcwdb(), self.workdir))),
            "grace": self.grace,
            "output_cap": self.output_cap,
            "nice": self.nice,
            "disposable": True,
        }

    def commands(self, slots: int, outputs: Path) -> CommandSettings:
        """For a local backend that runs the commands."""
        return CommandSettings(
            **self._shared(slots, outputs),
            stdin=None if self.stdin is None else Path(os.fsdecode(self.stdin)),
            allow_daemons=self.allow_daemons,
            launchers=min(slots, usable_cores()),
        )

    def function(self, slots: int, outputs: Path) -> FunctionSettings:
        """For a local backend that calls the function."""
        assert self.call is not None  # noqa: S101 - for mypy
        shared = self._shared(slots, outputs)
        return FunctionSettings(**shared, call=self.call, columns=self.columns, timed=self.timed)


def _call(message: Message) -> Call:
    name, takes, result = (messages.text(message, one) for one in ("name", "takes", "result"))
    if not NAME.fullmatch(name):
        raise NotOursError("its name is not MODULE:FUNCTION")
    if takes not in _KINDS or result not in ("value", *RESULTS) or result == "pickle-file":
        raise NotOursError("its function takes, or gives, what is not known here")
    return Call(
        text=name,
        folder=os.getcwd(),
        type=takes,  # type: ignore[arg-type]  # it is one of these
        result=result,  # type: ignore[arg-type]
        group=1 if messages.flag(message, "grouped") else None,
        named=messages.texts(message, "named"),
    )


def is_run_name(name: str) -> bool:
    """Whether an execution may be called so."""
    return _RUN.fullmatch(name) is not None
