"""Git, asked about repositories that nobody has vouched for: no hook runs, and no program that a repository's own configuration names.

    find --> folders --prepare--> Known: what its configuration would run --look--> Status
                                                                          --fetch_command--> what to run where that is nothing

Git trusts the configuration of a repository (git-config(1)), which may have come in an archive: `git status` runs what
``core.fsmonitor`` and ``filter.*.clean`` name, `git fetch` what ``core.sshCommand`` and others do. Separate, because it must be
read as a whole.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.admin.programs import ProgramError
from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass, replace
from manyhands.core.safe_text import one_line

_OF_ONE_REPOSITORY: Final = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
)
"""What ``git rev-parse --local-env-vars`` lists: set for us by a hook, say, they would show another repository."""

_FILTER: Final = re.compile(r"filter\..+\.(clean|smudge|process|required)", re.DOTALL)
_RUN_BY_FETCH: Final = re.compile(
    r"core\.(?:sshcommand|gitproxy|alternaterefscommand)|credential\.(?:.+\.)?helper|remote\..+\.(?:uploadpack|vcs)"
    r"|http\.(?:.+\.)?savecookies",  # which runs nothing, but writes any file
    re.DOTALL,
)
_TRUSTED_SCOPES: Final = frozenset({"system", "global"})
_PROTOCOLS: Final = "file:git:http:https:ssh"
"""That may be fetched by: not ``ext::``, which is any command."""


class GitError(ManyhandsError):
    """Git has failed; the message is its own, on one line."""


@dataclass(frozen=True, slots=True)
class Known:
    """A repository. ``common``: where its objects are, which several worktrees share; ``overrides``: settings that replace its own;
    ``programs``: its own settings for which a fetch would run a program; ``ssh``: by which git would connect."""

    folder: Path
    bare: bool
    common: Path
    overrides: Mapping[str, str]
    programs: Sequence[str]
    remotes: bool
    ssh: str


@dataclass(frozen=True, slots=True)
class Status:
    """``branch`` is None for a detached HEAD, ``commit`` for an unborn branch; ``ahead`` and ``behind`` without an upstream, or if that
    is gone; ``committed``: seconds since the epoch."""

    branch: str | None
    commit: str | None
    upstream: str | None = None
    ahead: int | None = None
    behind: int | None = None
    changed: int = 0
    conflicts: int = 0
    untracked: int = 0
    stashes: int = 0
    committed: int | None = None


def find(folder: Path, closed: list[str]) -> Iterator[Path]:
    """Every repository in and below ``folder``, also within others; links are not followed. Folders that may not be read are added
    to ``closed``."""
    for parent, folders, files in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        if "HEAD" in files and {"objects", "refs"} <= set(folders):  # a bare one
            yield Path(parent)
            folders.clear()
            continue
        if ".git" in folders or ".git" in files:
            yield Path(parent)
        folders[:] = sorted(name for name in folders if name != ".git")


def check_installed() -> None:
    """Raises ProgramError."""
    if shutil.which("git") is None:
        raise ProgramError("git is not installed; on Debian: apt install git")


def prepare(folder: Path, *, timeout: float) -> Known:
    """What has to be known of the repository in ``folder`` before it is touched. Raises GitError."""
    said = _run(folder, "rev-parse", "--is-bare-repository", "--git-common-dir", timeout=timeout)
    bare, _, common = said.removesuffix("\n").partition("\n")
    settings = list(_settings(_run(folder, "config", "--list", "--show-scope", "-z", timeout=timeout)))
    trusted = {key: value for scope, key, value in settings if scope in _TRUSTED_SCOPES}
    own = {key: value for scope, key, value in settings if scope not in _TRUSTED_SCOPES}
    return Known(
        folder=folder,
        bare=bare == "true",
        common=Path(os.path.realpath(folder / common)),
        overrides=dict(_filters(own, trusted)),
        programs=sorted(key for key in own if _RUN_BY_FETCH.fullmatch(key)),
        remotes=any(key.startswith("remote.") and key.endswith(".url") for key in (*own, *trusted)),
        ssh=os.environ.get("GIT_SSH_COMMAND") or own.get("core.sshcommand") or trusted.get("core.sshcommand") or "ssh",
    )


def look(known: Known, *, timeout: float) -> Status:
    """The state of a repository; nothing of it is changed, not even the index. Raises GitError."""
    found = _bare_status(known.folder, timeout) if known.bare else _work_tree_status(known, timeout)
    if found.commit is None:
        return found
    # of the plumbing, because `git log` may run gpg
    said = _run(known.folder, "rev-list", "--max-count=1", "--timestamp", "HEAD", "--", timeout=timeout)
    return replace(found, committed=int(said.split()[0]))


def fetch_command() -> list[str]:
    """A template for the engine, with ``{folder}`` and ``{ssh}``: fetches from all remotes, and asks nobody."""
    unset = [word for name in _OF_ONE_REPOSITORY if name in os.environ for word in ("-u", name)]
    settings = ("core.sshCommand={ssh} -o BatchMode=yes", "core.fsmonitor=false", f"core.hooksPath={os.devnull}")
    given = [word for setting in settings for word in ("-c", setting)]
    options = ("--all", "--quiet", "--no-recurse-submodules", "--no-auto-gc")
    return ["env", *unset, "-u", "GIT_SSH_COMMAND", "git", "-C", "{folder}", *given, "fetch", *options]


def fetch_environment() -> dict[str, str]:
    """What its environment has beside ours."""
    return {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",  # the first that git looks for, before core.askPass and SSH_ASKPASS
        "GIT_ALLOW_PROTOCOL": os.environ.get("GIT_ALLOW_PROTOCOL", _PROTOCOLS),
        "LC_ALL": "C.UTF-8",
    }


def reason(stderr: str, status: str) -> str:
    """Why git has failed, by what it has written: the first line that says so, or the last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return status
    text = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])
    if "dubious ownership" in text or "unsafe repository" in text:
        return "belongs to another user (safe.directory)"
    return one_line(re.sub(r"^(fatal|error): ", "", text), 100)


def _run(folder: Path, *arguments: str, timeout: float, overrides: Mapping[str, str] | None = None) -> str:
    """What git prints. Raises GitError."""
    command = ["git", "-C", os.fspath(folder), *arguments]
    environment = _environment(folder, overrides or {})
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took longer than {timeout:g} s") from None
    if done.returncode:
        raise GitError(reason(os.fsdecode(done.stderr), f"git {arguments[0]}: exit status {done.returncode}"))
    return os.fsdecode(done.stdout)


def _environment(folder: Path, overrides: Mapping[str, str]) -> dict[str, str]:
    """Ours, so that git finds the repository in ``folder`` and none above it, connects to nothing, and writes nothing."""
    settings = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, **overrides}
    numbered: dict[str, str] = {}
    for number, (key, value) in enumerate(settings.items()):
        numbered |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        **{name: value for name, value in os.environ.items() if name not in _OF_ONE_REPOSITORY},
        **numbered,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(folder)),
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what is missing, by what its configuration says
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C.UTF-8",
    }


def _settings(listed: str) -> Iterator[tuple[str, str, str]]:
    """(scope, key, value) of each setting, those that are worth more last; a key without a value has none to run."""
    words = listed.split("\0")
    for scope, setting in zip(words[::2], words[1::2], strict=False):
        key, _, value = setting.partition("\n")
        yield scope, key, value


def _filters(own: Mapping[str, str], trusted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """For what a repository's own configuration says of filters: what the user's says, or that they do nothing."""
    for key in own:
        if found := _FILTER.fullmatch(key):
            yield key, trusted.get(key, "false" if found[1] == "required" else "")


def _bare_status(folder: Path, timeout: float) -> Status:
    """A repository without files has a branch and commits only."""

    def said(*arguments: str) -> str | None:
        with suppress(GitError):  # there is none
            return _run(folder, *arguments, timeout=timeout).strip()
        return None

    return Status(said("symbolic-ref", "--quiet", "--short", "HEAD"), said("rev-parse", "--quiet", "--verify", "HEAD"))


def _work_tree_status(known: Known, timeout: float) -> Status:
    """From git-status(1), "Porcelain Format Version 2"."""
    said = _run(
        known.folder,
        "status",
        "--porcelain=v2",
        "--branch",
        "--show-stash",
        "-z",
        "--untracked-files=normal",
        "--ignore-submodules=dirty",  # they are repositories of their own, which have a row
        timeout=timeout,
        overrides=known.overrides,
    )
    return parsed(said)


def parsed(said: str) -> Status:
    """What ``git status --porcelain=v2 --branch --show-stash -z`` says."""
    headers: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    entries = iter(said.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            headers[name] = value
        elif kind:
            kinds[kind] += 1
        if kind == "2":
            next(entries, "")  # the name that it had before it was renamed
    branch, commit = headers.get("branch.head"), headers.get("branch.oid")
    ahead, behind = map(int, headers["branch.ab"].split()) if "branch.ab" in headers else (None, None)
    return Status(
        branch=None if branch == "(detached)" else branch,
        commit=None if commit == "(initial)" else commit,
        upstream=headers.get("branch.upstream"),
        ahead=ahead,
        behind=None if behind is None else -behind,
        changed=kinds["1"] + kinds["2"] + kinds["u"],
        conflicts=kinds["u"],
        untracked=kinds["?"],
        stashes=int(headers.get("stash", "0")),
    )
