"""What invoke's parser knows of a task of ours: its names at once, its options when a word of the command line is looked up among them.

invoke makes all options of all tasks before it reads the first word, and copies them; one or two tasks are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from invoke.parser import ParserContext

from manyhands.cli.task import Task


class LazyContext(ParserContext):
    """A context of the parser for ``task``."""

    def __init__(self, task: Task, name: str, aliases: Iterable[str]) -> None:
        self._task, self.name, self.aliases = task, name, aliases

    def __getattr__(self, name: str) -> Any:
        if name not in ("args", "flags", "inverse_flags", "positional_args"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(self.name, self.aliases, self._task.get_arguments())
        return vars(self)[name]

    def __repr__(self) -> str:
        """invoke shows each of them in messages for debugging, which are put together even if nobody reads them."""
        return super().__repr__() if "args" in vars(self) else f"<parser/Context {self.name!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyContext:
        """One that is as it was before any word was read: the parser works on copies."""
        return LazyContext(self._task, self.name or "", self.aliases)
