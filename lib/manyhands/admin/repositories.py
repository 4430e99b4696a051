"""The states of many git repositories in one table, fetched at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from manyhands.admin import git
from manyhands.admin.each import each, targets_of
from manyhands.admin.report import counted, report
from manyhands.api.run_batch import run_batch
from manyhands.core.errors import InputError, UsageError
from manyhands.core.job import Outcome
from manyhands.core.job import Status as Ending
from manyhands.core.level import Level, worst
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass
from manyhands.options.admin import RepositoriesOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One repository. ``branch`` is None for a detached HEAD, ``commit`` for an unborn branch; ``ahead`` and ``behind`` count commits
    against ``upstream``, and are None if there is none; ``changed`` and ``untracked`` count files."""

    repository: str
    bare: bool = False
    branch: str | None = None
    commit: str | None = None
    upstream: str | None = None
    ahead: int | None = None
    behind: int | None = None
    changed: int | None = None
    untracked: int | None = None
    stashes: int | None = None
    last_commit: str | None = None
    age_seconds: int | None = None
    problem: str | None = None
    level: Level


class Finding(NamedTuple):
    """Something about a repository that is not as it should be."""

    problem: str
    level: Level


def repositories(options: RepositoriesOptions) -> int:
    """Print the states of all repositories in and below the folders."""
    git.check_installed()
    timeout = parse_duration(options.timeout, "--timeout")
    given = targets_of(options.folders, options.file)
    if not given:
        raise UsageError("no folder is given: admin.repositories FOLDER ..., or --file FILE")
    closed: list[str] = []
    found = list(_found(given, closed))
    unread = f"; {counted(len(closed), 'folder')} may not be read" if closed else ""
    if not found:
        raise InputError(f"no git repository in {', '.join(given)}{unread}")
    prepare = partial(_prepared, timeout=timeout)
    known = {path: one.value for path, one in zip(found, each(prepare, found, jobs=options.jobs), strict=True)}
    failed = _fetched([one for one in known.values() if isinstance(one, git.Known)], options) if options.fetch else {}
    look = partial(_looked, failed=failed, timeout=timeout, now=time.time())
    rows = [one.value for one in each(look, known.items(), jobs=options.jobs)]
    return report(
        rows,
        schema="repository",
        summary=_summary(rows) + unread,
        header=("branch", "ahead", "behind", "changed", "new", "stash", "age", "repository"),
        cells=_cells,
        right=("ahead", "behind", "changed", "new", "stash", "age"),
        json=options.json,
    )


def _found(given: Iterable[str], closed: list[str]) -> Iterator[Path]:
    """The repositories, each once. Raises OSError for a folder that is not there."""
    seen = set()
    for folder in given:
        os.scandir(folder).close()
        for path in git.find(Path(folder), closed):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path


def _prepared(folder: Path, *, timeout: float) -> git.Known | str:
    """What has to be known of it, or why that cannot be known."""
    try:
        return git.prepare(folder, timeout=timeout)
    except git.GitError as error:
        return str(error)


def _fetched(known: Iterable[git.Known], options: RepositoriesOptions) -> dict[Path, Finding]:
    """Fetch into each object store, once; what went wrong, by the store."""
    stores = {one.common: one for one in known if one.remotes}
    problems = {
        store: Finding(f"not fetched, for --trust is not given: {', '.join(one.programs)}", Level.WARNING)
        for store, one in stores.items()
        if one.programs and not options.trust
    }
    targets = [one for store, one in stores.items() if store not in problems]
    for one, outcome in zip(targets, _run_fetches(targets, options), strict=True):
        if outcome.status is Ending.TIMEOUT:
            problems[one.common] = Finding(f"fetch: no end within {options.timeout}", Level.CRITICAL)
        elif outcome.status is not Ending.OK:
            why = git.reason(outcome.stderr.text, str(outcome.status))
            problems[one.common] = Finding(f"fetch: {why}", Level.CRITICAL)
    return problems


def _run_fetches(targets: Sequence[git.Known], options: RepositoriesOptions) -> Iterable[Outcome[None]]:
    if not targets:  # and so no columns
        return ()
    return run_batch(
        git.fetch_command(),
        [{"folder": one.folder, "ssh": one.ssh} for one in targets],
        jobs=options.jobs,
        timeout=options.timeout,
        env=git.fetch_environment(),
        ordered=True,
        journal=False,
        output="keep",
        progress=sys.stderr.isatty(),
    )


def _looked(
    folder: Path, known: git.Known | str, *, failed: Mapping[Path, Finding], timeout: float, now: float
) -> Repository:
    if isinstance(known, str):
        return Repository(repository=str(folder), problem=known, level=Level.UNKNOWN)
    try:
        status = git.look(known, timeout=timeout)
    except git.GitError as error:
        return Repository(repository=str(folder), bare=known.bare, problem=str(error), level=Level.UNKNOWN)
    findings = [*_judged(status), *([failed[known.common]] if known.common in failed else [])]
    when = status.committed
    return Repository(
        repository=str(folder),
        bare=known.bare,
        branch=status.branch,
        commit=status.commit,
        upstream=status.upstream,
        ahead=status.ahead,
        behind=status.behind,
        changed=None if known.bare else status.changed,
        untracked=None if known.bare else status.untracked,
        stashes=status.stashes,
        last_commit=None if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        age_seconds=None if when is None else int(now - when),
        problem="; ".join(one.problem for one in findings if one.problem) or None,
        level=worst(one.level for one in findings),
    )


def _judged(status: git.Status) -> Iterator[Finding]:
    if status.commit is None:
        yield Finding("no commit yet", Level.OK)
    elif status.upstream is not None and status.ahead is None:
        yield Finding(f"{status.upstream} is gone", Level.WARNING)
    if status.conflicts:
        yield Finding(counted(status.conflicts, "conflict"), Level.WARNING)
    if status.changed or status.ahead or status.behind or status.stashes:
        yield Finding("", Level.WARNING)


def _cells(row: Repository) -> Sequence[object]:
    without = "" if row.commit is None else "-"
    return (
        row.branch or (f"({row.commit[:7]})" if row.commit else ""),
        without if row.ahead is None else row.ahead or "",
        without if row.behind is None else row.behind or "",
        row.changed or "",
        row.untracked or "",
        row.stashes or "",
        "" if row.age_seconds is None else _age(row.age_seconds),
        row.repository if row.problem is None else f"{row.repository}: {row.problem}",
    )


def _age(seconds: int) -> str:
    """``5 min``, ``3 h``, ``12 d``: in whole ones of the largest unit."""
    for unit, length in (("d", 86400), ("h", 3600)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{max(seconds, 0) // 60} min"


def _summary(rows: Sequence[Repository]) -> str:
    """``5 repositories: 2 changed, 1 behind``."""
    counts = (
        ("changed", sum(bool(row.changed) for row in rows)),
        ("ahead", sum(bool(row.ahead) for row in rows)),
        ("behind", sum(bool(row.behind) for row in rows)),
        ("stashed", sum(bool(row.stashes) for row in rows)),
        ("with a problem", sum(row.problem is not None and row.level is not Level.OK for row in rows)),
    )
    said = ", ".join(f"{count} {what}" for what, count in counts if count)
    return f"{counted(len(rows), 'repository', 'repositories')}: {said or 'nothing changed, ahead or behind'}"
