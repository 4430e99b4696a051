"""What a consumer does at all: commands, if it allows them, and functions by the patterns of their names.

Whoever can write to the broker chooses the name. So a pattern gives nothing away that its module has only imported: ``images:*`` means
the public functions that ``images`` defines, and not ``images:os.system``. A name without wildcards means exactly that.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from manyhands.backends.queue.run_settings import RunSettings
from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass
from manyhands.work.function import Call


@dataclass(frozen=True, slots=True)
class Allowed:
    """See the module's first lines."""

    patterns: tuple[str, ...]
    commands: bool

    def why_not(self, settings: RunSettings) -> str | None:
        """Why an execution is not taken; None if it is. A function that matches a pattern is imported."""
        call = settings.call
        if call is None:
            return None if self.commands else "it allows no commands (--allow-commands)"
        if not (settings.is_plain or self.commands):
            return "it sets no variables and changes no folder for functions (--allow-commands)"
        if call.text in self.patterns:
            return None
        if not any(_matches(call.text, one) for one in self.patterns):
            return f"it does not allow {call.text} (--allow)"
        return _why_not_its_own(call)


def _matches(text: str, pattern: str) -> bool:
    module, _, name = text.rpartition(":")
    wanted, _, names = pattern.rpartition(":")
    if name.startswith("_") or "._" in name or name.count(".") != names.count("."):
        return False
    return fnmatchcase(module, wanted) and fnmatchcase(name, names)


def _why_not_its_own(call: Call) -> str | None:
    """Why what the name stands for is no function of that module."""
    try:
        function = call.function()
    except ManyhandsError as error:
        return f"it cannot import {call.text}: {error}"
    except Exception as error:  # an import may raise anything
        return f"it cannot import {call.text}: {type(error).__name__}: {error}"
    if getattr(function, "__module__", None) == call.text.rpartition(":")[0]:
        return None
    return f"{call.text} is not defined in that module: only its own name allows it (--allow {call.text})"
