"""Files of settings: where they are, what they say, and on which line.

    manyhands.yaml at or above the current folder  >  invoke's files, below their key ``manyhands``  >  ~/.manyhands.yaml

Separate from `manyhands.cli.defaults`, which knows what the settings are for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from invoke import Context

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass
from manyhands.posix.home import expanded

_NAMES: Final = ("manyhands.yaml", "manyhands.yml", "manyhands.json")
_LEVELS: Final = ("runtime", "project", "user", "system", "collection")
"""Of invoke's settings, those that can hold ours, the strongest first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one file says. ``below``: the keys under which all of it stands in the file."""

    path: str
    values: Mapping[str, Any]
    below: tuple[str, ...] = ()

    def place(self, keys: Sequence[str]) -> str:
        """``batch.jobs in /home/me/manyhands.yaml, line 3``."""
        line = _line_of(self.path, (*self.below, *keys))
        return f"{'.'.join(keys)} in {self.path}" + (f", line {line}" if line else "")


def look_up(values: Any, keys: Sequence[str]) -> Any:
    """The value below ``keys``, None if it is not there; dashes are as good as underscores."""
    for name in keys:
        if not isinstance(values, Mapping):
            return None
        values = values.get(name, values.get(name.replace("_", "-")))
    return None if isinstance(values, Mapping) else values


def files_of(ctx: Context) -> list[Settings]:
    """All files that hold settings, the strongest first. Raises UsageError for one that cannot be read."""
    return [*_project_file(), *_of_invoke(ctx), *_user_file()]


def _project_file() -> Iterator[Settings]:
    """The nearest ``manyhands.yaml`` (or .yml, .json) at or above the current folder."""
    try:
        here = Path.cwd()
    except OSError:  # it was removed, or we may not read it; tasks may still do their work
        return
    for folder in (here, *here.parents):
        for name in _NAMES:
            if _is_file(folder / name):
                _check_trust(folder, folder / name)
                yield _load(folder / name)
                return


def _check_trust(folder: Path, path: Path) -> None:
    """Refuse a stranger's file in a folder that all may write, such as /tmp: options can set the environment of commands."""
    if folder.stat().st_mode & stat.S_IWOTH and path.stat().st_uid not in (0, os.getuid()):
        raise UsageError(
            f"{path} belongs to somebody else, in a folder that everybody may write; remove it, or move away"
        )


def _user_file() -> Iterator[Settings]:
    path = Path(expanded("~/.manyhands.yaml"))
    if _is_file(path):
        yield _load(path)


def _is_file(path: Path) -> bool:
    """Whether a file is there, as far as we may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def _of_invoke(ctx: Context) -> Iterator[Settings]:
    """What invoke has read, level by level: once it has merged them, nobody knows which file said what."""
    for level in _LEVELS:
        found = (getattr(ctx.config, f"_{level}", None) or {}).get("manyhands")
        path = str(getattr(ctx.config, f"_{level}_path", None) or "the tasks file")
        if found is not None:
            yield Settings(path, _mapping(found, f"manyhands in {path}"), ("manyhands",))


def _load(path: Path) -> Settings:
    """The content of a YAML (or JSON, which is YAML) file; raises UsageError."""
    from invoke.vendor.yaml import YAMLError, safe_load

    try:
        found = safe_load(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return Settings(str(path), _mapping({} if found is None else found, str(path)))


def _mapping(found: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise UsageError(f"{where}: expected options and their values")
    return found


@cache
def _node(path: str) -> Any:
    """A YAML file with the places of what it says; None if it is none."""
    from invoke.vendor.yaml import SafeLoader, YAMLError, compose

    try:
        return compose(Path(path).read_bytes(), Loader=SafeLoader)  # type: ignore[no-untyped-call]
    except (OSError, YAMLError):
        return None


def _line_of(path: str, keys: Sequence[str]) -> int | None:
    """Where ``keys`` stand in a YAML file; None if that cannot be found out."""
    from invoke.vendor.yaml import MappingNode

    node, line = _node(path), None
    for name in keys:
        pairs = node.value if isinstance(node, MappingNode) else []
        key, node = next(
            (one for one in pairs if str(one[0].value).replace("-", "_") == name.replace("-", "_")), (None, None)
        )
        if key is None:
            return None
        line = int(key.start_mark.line) + 1
    return line
