"""Which settings there can be: derived from the options of the tasks, so that one that nobody reads is refused by its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import invoke

from manyhands.cli.config_files import Settings
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.core.errors import UsageError

Known = Mapping[tuple[str, ...], set[str]]
"""The options that can be set in each scope: for all tasks ``()``, a collection ``("batch",)``, a task ``("batch", "run")``."""

PREFIX: Final = "MANYHANDS_"
_OURS_IN_JOBS: Final = frozenset(
    ["MH_RUN", "MH_JOB", "MH_ATTEMPT", "MH_SLOT", "MH_TAG", "MH_TREE", "MH_TOUR", "MH_WORKER"]
)
_OF_INVOKE: Final = ("INVOKE_RUN_", "INVOKE_SUDO_", "INVOKE_TASKS_", "INVOKE_TIMEOUTS_", "INVOKE_RUNNERS_")


def scopes_of(task: str) -> list[list[str]]:
    """Where a setting for ``task`` (its full name, such as ``batch.resume``) may stand, the most exact first."""
    path = task.replace("-", "_").split(".") if task else []
    own = [path, path[-1:]] if len(path) > 1 else [path]
    return [*own, *(path[:depth] for depth in range(len(path) - 1, -1, -1))]


def variable_of(scope: Sequence[str], option: str) -> str:
    """``MANYHANDS_BATCH_JOBS``."""
    return (PREFIX + "_".join([*scope, option])).upper()


def known_by(collection: invoke.Collection) -> dict[tuple[str, ...], set[str]]:
    """What the tasks of ``collection`` read."""
    known: dict[tuple[str, ...], set[str]] = {}
    for name, aliases in collection.task_names.items():
        task = collection[name]
        kinds: Iterable[str] | None = getattr(task, "kinds", None)
        if kinds is None:  # not a task of ours (`manyhands.cli.task.Task`): it reads no settings
            continue
        options = {one.strip("_") for one in kinds if one not in task.positional and one not in task.typed}
        for called in (name, *aliases):
            for scope in scopes_of(called):
                known.setdefault(tuple(scope), set()).update(options)
    return known


def refuse_unknown(files: Iterable[Settings], environ: Mapping[str, str], collection: invoke.Collection) -> None:
    """Raise UsageError for the first setting that no task reads: neither one of ``collection``, nor one that we ship."""
    names = [name for name in environ if environ[name] and name.startswith((PREFIX, "MH_", "INVOKE_"))]
    files = list(files)
    if not names and not files:
        return
    known = known_by(collection)
    if next(_mistakes(files, names, known), None):
        # a user's own tasks may be here, and settings for ours in the same file
        for scope, options in known_by(load_tasks().namespace).items():
            known.setdefault(scope, set()).update(options)
        if mistake := next(_mistakes(files, names, known), None):
            raise UsageError(mistake)


def _mistakes(files: Iterable[Settings], names: Iterable[str], known: Known) -> Iterator[str]:
    variables = {variable_of(scope, option) for scope, options in known.items() for option in options}
    for name in names:
        if mistake := _of_variable(name, variables):
            yield mistake
    for one in files:
        for keys in _unknown_keys(one.values, known, ()):
            yield f"{one.place(keys)}: {_of_key(keys, known)}"


def _of_variable(name: str, variables: set[str]) -> str | None:
    """What is wrong with a variable of the environment; those of others with a similar name are their business."""
    if name in variables:
        return None
    if name.startswith(PREFIX):
        near = _near(name.removeprefix(PREFIX), (one.removeprefix(PREFIX) for one in variables), PREFIX)
        return f"{name}: no task has such an option{near}"
    if name in _OURS_IN_JOBS or name.startswith(_OF_INVOKE):
        return None
    meant = PREFIX + name.partition("_")[2].removeprefix(PREFIX)
    return f"{name} is not read; did you mean {meant}?" if meant in variables else None


def _unknown_keys(values: Mapping[str, Any], known: Known, scope: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        keys = (*scope, str(key).replace("-", "_"))
        if isinstance(value, Mapping):
            if any(one[: len(keys)] == keys for one in known):
                yield from _unknown_keys(value, known, keys)
            else:
                yield keys
        elif keys[-1] not in known.get(scope, ()):
            yield keys


def _of_key(keys: tuple[str, ...], known: Known) -> str:
    scope, name = keys[:-1], keys[-1]
    if keys in known:
        return "expected options of it and their values"
    if name in known.get(scope, ()):
        return "expected a value, not names and values"
    lacks = f"{'.'.join(scope)} has no such option" if scope else "no task has such an option"
    inside = {one[len(scope)] for one in known if len(one) > len(scope) and one[: len(scope)] == scope}
    return f"{lacks}{_near(name, known.get(scope, set()) | inside)}"


def _near(name: str, names: Iterable[str], prefix: str = "") -> str:
    import difflib  # here: only a mistake needs it

    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.75)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
