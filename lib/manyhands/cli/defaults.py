"""Defaults of options that the command line did not give: from the environment, then from files.

    MANYHANDS_BATCH_JOBS, MANYHANDS_JOBS  >  manyhands.yaml at or above the current folder  >  invoke's own configuration
    (its key ``manyhands``)  >  ~/.manyhands.yaml  >  the default of the option itself

In each, what is said for a task (``batch.resume``, or ``resume`` for short) wins over what is said for its collection
(``batch``), and that over what is said for all. A file looks the same everywhere; in invoke.yaml it stands under the key
``manyhands``:

    jobs: 8
    batch: {retries: 2, resume: {jobs: 4}}

Imported only when there is something to fill in.
"""

from __future__ import annotations

import os
from typing import Any

from invoke import Context

from manyhands.cli.config_files import files_of, look_up
from manyhands.cli.known_settings import refuse_unknown, scopes_of, variable_of
from manyhands.cli.loaded_tasks import Loaded


class Defaults:
    """Where the defaults of one task's options are found; ``task`` is its full name, such as ``batch.resume``. Raises UsageError
    for a setting that no task reads."""

    def __init__(self, ctx: Context, task: str) -> None:
        self._scopes, self._files = scopes_of(task), files_of(ctx)
        if Loaded.program is not None:
            refuse_unknown(self._files, os.environ, Loaded.program.collection)

    def of(self, option: str) -> tuple[str | list[str], str] | None:
        """(the value as text, where it is from) for an option named as in Python; an empty variable counts as none."""
        option = option.strip("_")
        for scope in self._scopes:
            variable = variable_of(scope, option)
            if text := os.environ.get(variable):
                return text, variable
        for one in self._files:
            for scope in self._scopes:
                value = look_up(one.values, [*scope, option])
                if value is not None:
                    return _as_text(value), one.place([*scope, option])
        return None


def _as_text(value: Any) -> str | list[str]:
    """A value of YAML as it could have been typed."""
    if isinstance(value, list):
        return [str(_as_text(one)) for one in value]
    return str(value).lower() if isinstance(value, bool) else str(value)
