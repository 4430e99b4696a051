"""Dask does the tasks of a lost worker again, three times by default. Of ours it must not, because the engine decides that.

A cluster that is made here has no second try at all. On the scheduler of another cluster a plugin of Dask's marks our tasks, and no
others, as having used up their tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

MARK: Final = "manyhands"
"""The annotation of our tasks."""


async def have_one_try(client: Any) -> None:
    """Let the scheduler of ``client`` give one try to each task with our mark; one that takes no plugins (its configuration may forbid
    pickles) goes on as before."""
    with suppress(ValueError, TypeError, OSError):
        await client.register_plugin(_plugin(), name=MARK)


def _plugin() -> Any:
    """The plugin, of a class without a name to be imported by: so it travels by value, and a scheduler needs no manyhands."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class OneTry(SchedulerPlugin):  # type: ignore[misc]  # Dask is Any here
        idempotent = True

        def update_graph(self, scheduler: Any, *, annotations: Mapping[str, Mapping[Any, Any]], **_: Any) -> None:
            for key in annotations.get(MARK, ()):
                scheduler.tasks[key].suspicious = scheduler.allowed_failures

    return OneTry()
