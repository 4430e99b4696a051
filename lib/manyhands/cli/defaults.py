"""Defaults of options that the command line did not give: from the environment, then from files.

    MANYHANDS_BATCH_JOBS, MANYHANDS_JOBS  >  manyhands.yaml at or above the current folder  >  invoke's own configuration
    (its key ``manyhands``)  >  ~/.manyhands.yaml  >  the default in the task's signature

In each, what is said for a task (``batch.resume``, or ``resume`` for short) wins over what is said for its collection
(``batch``), and that over what is said for all. A file looks the same everywhere; in invoke.yaml it stands under the key
``manyhands``:

    jobs: 8
    batch: {retries: 2, resume: {jobs: 4}}

Imported only when there is something to fill in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from invoke import Context

from manyhands.errors import UsageError


class Defaults:
    """Where the defaults of one task's options are found; ``task`` is its full name, such as ``batch.resume``."""

    def __init__(self, ctx: Context, task: str) -> None:
        path = task.replace("-", "_").split(".") if task else []
        own = [path, path[-1:]] if len(path) > 1 else [path]
        self._scopes = [*own, *(path[:depth] for depth in range(len(path) - 1, -1, -1))]
        self._files = [*_project_file(), ("invoke.yaml, or another of invoke's files", _of_invoke(ctx)), *_user_file()]

    def of(self, option: str) -> tuple[str | list[str], str] | None:
        """(the value as text, where it is from) for an option named as in Python; an empty variable counts as none."""
        option = option.strip("_")
        for scope in self._scopes:
            variable = "_".join(["manyhands", *scope, option]).upper()
            if text := os.environ.get(variable):
                return text, variable
        for where, settings in self._files:
            for scope in self._scopes:
                value = _look_up(settings, scope, option)
                if value is not None:
                    return _as_text(value), f"{'.'.join([*scope, option])} in {where}"
        return None


def _look_up(settings: Any, scope: list[str], option: str) -> Any:
    """The value of ``option`` in ``scope`` of ``settings``, None if it is not there; dashes are as good as underscores."""
    for name in [*scope, option]:
        if not isinstance(settings, Mapping):
            return None
        settings = settings.get(name, settings.get(name.replace("_", "-")))
    return None if isinstance(settings, Mapping) else settings


def _as_text(value: Any) -> str | list[str]:
    """A value of YAML as it could have been typed."""
    if isinstance(value, list):
        return [str(_as_text(one)) for one in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _project_file() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nearest ``manyhands.yaml`` (or .yml, .json) at or above the current folder."""
    try:
        here = Path.cwd()
    except (
        OSError
    ):  # somebody has removed the folder that we are in, or we may not read it; tasks may still do their work
        return
    for folder in (here, *here.parents):
        for name in ("manyhands.yaml", "manyhands.yml", "manyhands.json"):
            if _is_file(folder / name):
                _check_trust(folder, folder / name)
                yield str(folder / name), _load(folder / name)
                return


def _check_trust(folder: Path, path: Path) -> None:
    """Refuse a stranger's file in a folder that all may write, such as /tmp: options can set the environment of commands."""
    if folder.stat().st_mode & stat.S_IWOTH and path.stat().st_uid not in (0, os.getuid()):
        raise UsageError(
            f"{path} belongs to somebody else, in a folder that everybody may write; remove it, or move away"
        )


def _user_file() -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = Path(os.path.expanduser("~/.manyhands.yaml"))  # Path.home() raises where there is none
    if _is_file(path):
        yield str(path), _load(path)


def _is_file(path: Path) -> bool:
    """Whether a file is there, as far as we may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _of_invoke(ctx: Context) -> Mapping[str, Any]:
    found = ctx.config.get("manyhands", {})
    if not isinstance(found, Mapping):
        raise UsageError("manyhands in invoke.yaml, or another of invoke's files: expected options and their values")
    return found


def _load(path: Path) -> Mapping[str, Any]:
    """The content of a YAML (or JSON, which is YAML) file; raises UsageError."""
    from invoke.vendor.yaml import YAMLError, safe_load

    try:
        found = safe_load(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise UsageError(f"{path}: expected options and their values")
    return found
