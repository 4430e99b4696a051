"""``admin.repositories``: real repositories in every state, compared with plain git; hostile ones, whose programs must not run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from admin.ordinary_user import as_ordinary_user
from admin.pages import check_page
from conftest import Cli
from manyhands.admin.git import Status, find, parsed, reason
from manyhands.admin.programs import ProgramError
from manyhands.admin.repositories import repositories
from manyhands.core.errors import InputError
from manyhands.options.admin import RepositoriesOptions

AUTHOR = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C.UTF-8",
}
Row = dict[str, object]


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own configuration counts; HOME is the test's folder."""
    for name, value in AUTHOR.items():
        monkeypatch.setenv(name, value)


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    """What plain git prints."""
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, (command, done.stderr)
    return done.stdout


def commit(folder: Path, text: str = "text", name: str = "file") -> None:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-qm", text)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with a commit, which others are cloned from."""
    folder = tmp_path / "elsewhere" / "origin"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Callable[..., Path]:
    """Clone ``origin`` to src/NAME."""

    def make(name: str, *options: str) -> Path:
        folder = tmp_path / "src" / name
        git(origin.parent, "clone", "-q", *options, str(origin), str(folder))
        return folder

    return make


@pytest.fixture
def rows(cli: Cli, tmp_path: Path) -> Callable[..., dict[str, Row]]:
    """The rows for what is below src/, by their names there."""

    def run(*args: str) -> dict[str, Row]:
        done = cli("admin.repositories", "src", "--json", *args)
        assert "Traceback" not in done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return {os.path.relpath(one["repository"], "src"): one for one in found}

    return run


def state(row: Row) -> list[object]:
    return [row[key] for key in ("branch", "ahead", "behind", "changed", "untracked", "stashes")]


def test_states_as_plain_git_tells_them(
    origin: Path, clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]
) -> None:
    """Branch, ahead and behind, changed, untracked, stashed, the last commit."""
    clone("clean")
    one = clone("busy")
    commit(origin, "behind")
    git(one, "fetch", "-q")
    commit(one, "ahead 1", "mine")
    commit(one, "ahead 2", "mine")
    (one / "file").write_text("to be stashed")
    git(one, "stash", "-q")
    git(one, "mv", "file", "renamed")
    (one / "mine").write_text("changed")
    (one / "? new").touch()
    (one / "new\n# branch.head evil").touch()
    found = rows()
    assert state(found["clean"]) == ["main", 0, 0, 0, 0, 0]
    assert (found["clean"]["level"], found["busy"]["level"]) == ("OK", "WARNING")
    assert state(found["busy"]) == ["main", 2, 1, 2, 2, 1]
    lines = git(one, "status", "--porcelain", "-z").split("\0")
    assert sum(line.startswith("?? ") for line in lines) == found["busy"]["untracked"]
    assert git(one, "rev-list", "--left-right", "--count", "@...@{u}").split() == ["2", "1"]
    assert git(one, "rev-parse", "HEAD").strip() == found["busy"]["commit"]
    seconds = int(git(one, "log", "-1", "--format=%ct"))
    assert datetime.fromisoformat(str(found["busy"]["last_commit"])).timestamp() == seconds
    assert int(str(found["busy"]["age_seconds"])) == pytest.approx(time.time() - seconds, abs=100)


def test_unusual_repositories(
    origin: Path, clone: Callable[..., Path], rows: Callable[..., dict[str, Row]], tmp_path: Path
) -> None:
    """Each has a row of its own that is right: also in folders with strange names."""
    git(clone("bare", "--bare"), "branch", "-q", "other")
    git(clone("detached"), "checkout", "-q", "--detach")
    git(tmp_path / "src", "init", "-q", "-b", "start", "unborn")
    git(clone("has worktree"), "worktree", "add", "-q", "-b", "side", str(tmp_path / "src" / "worktree"))
    whole = clone("whole")
    git(whole, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(origin), "part")
    git(whole, "commit", "-qm", "with a part")
    (whole / "part" / "file").write_text("changed in the part")
    gone = clone("gone")
    git(gone, "checkout", "-q", "-b", "topic", "--track", "origin/main")
    git(gone, "update-ref", "-d", "refs/remotes/origin/main")
    clone("-n\x1b[31m\nx")
    empty = tmp_path / "src" / "broken" / ".git"
    empty.mkdir(parents=True)
    found = rows()
    assert len(found) == 10
    assert state(found["bare"]) == ["main", None, None, None, None, 0]
    assert (found["bare"]["bare"], found["bare"]["level"], found["bare"]["problem"]) == (True, "OK", None)
    assert state(found["detached"]) == [None, None, None, 0, 0, 0]
    assert found["detached"]["commit"]
    assert state(found["unborn"]) == ["start", None, None, 0, 0, 0]
    assert (found["unborn"]["commit"], found["unborn"]["last_commit"]) == (None, None)
    assert found["worktree"]["branch"] == "side"
    assert (found["whole"]["changed"], found["whole/part"]["changed"]) == (0, 1)
    assert (found["gone"]["problem"], found["gone"]["level"]) == ("origin/main is gone", "WARNING")
    assert found["-n\x1b[31m\nx"]["branch"] == "main"
    assert (found["broken"]["level"], found["broken"]["branch"]) == ("UNKNOWN", None)
    assert "not a git repository" in str(found["broken"]["problem"])


def test_a_conflict(origin: Path, clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]) -> None:
    """Is said."""
    one = clone("one")
    commit(origin, "theirs")
    commit(one, "ours")
    git(one, "pull", "-q", "--no-rebase", check=False)
    assert (rows()["one"]["problem"], rows()["one"]["changed"]) == ("1 conflict", 1)


def test_fetching(origin: Path, clone: Callable[..., Path], rows: Callable[..., dict[str, Row]], tmp_path: Path) -> None:
    """Brings what is new at once, without a change to any file; a remote that is gone is critical, its state is told all the same."""
    one, other = clone("one"), clone("other")
    git(one, "worktree", "add", "-q", str(tmp_path / "src" / "side"))
    clone("no remote")
    git(tmp_path / "src" / "no remote", "remote", "remove", "origin")
    git(other, "remote", "set-url", "origin", str(tmp_path / "nowhere"))
    commit(origin, "new")
    assert rows()["one"]["behind"] == 0
    found = rows("--fetch")
    assert (found["one"]["behind"], found["one"]["changed"], found["one"]["problem"]) == (1, 0, None)
    assert (one / "file").read_text() == "text"
    assert (found["side"]["problem"], found["no remote"]["problem"]) == (None, None)
    assert found["other"]["level"] == "CRITICAL"
    assert str(found["other"]["problem"]).startswith("fetch: ")
    assert "nowhere" in str(found["other"]["problem"])
    assert found["other"]["branch"] == "main"


def test_a_remote_that_does_not_answer(clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]) -> None:
    """Is given up, with all that was started for it; nobody is asked for a password."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
        git(clone("one"), "remote", "set-url", "origin", url)
        found = rows("--fetch", "--timeout", "2")
        assert (found["one"]["problem"], found["one"]["level"]) == ("fetch: no end within 2", "CRITICAL")


def test_ssh_asks_nobody(
    clone: Callable[..., Path], rows: Callable[..., dict[str, Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own ssh command is used, with BatchMode."""
    stand_in = tmp_path / "my ssh"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$GIT_TERMINAL_PROMPT" > {tmp_path}/told\nexit 1\n')
    stand_in.chmod(0o755)
    git(clone("one"), "remote", "set-url", "origin", "ssh://host/path")
    (tmp_path / ".gitconfig").write_text(f"[core]\n\tsshCommand = \"'{stand_in}' -4\"\n")
    assert rows("--fetch")["one"]["level"] == "CRITICAL"
    told = (tmp_path / "told").read_text().splitlines()
    assert (told[:3], told[-1]) == (["-4", "-o", "BatchMode=yes"], "0")


def arm_monitor(folder: Path, program: str) -> None:
    git(folder, "config", "core.fsmonitor", program)


def arm_filter(folder: Path, program: str) -> None:
    git(folder, "config", "filter.x.clean", f"{program}; cat")
    (folder / ".git" / "info" / "attributes").write_text("* filter=x\n")
    (folder / "file").write_text("TEXT")  # as long as before, so that git has to compare


def arm_process(folder: Path, program: str) -> None:
    git(folder, "config", "filter.a=b\tc.process", program)
    git(folder, "config", "filter.a=b\tc.required", "true")
    (folder / ".git" / "info" / "attributes").write_text('* filter="a=b\tc"\n* filter=x\n')
    git(folder, "config", "filter.x.process", program)
    git(folder, "config", "filter.x.required", "true")
    (folder / "file").write_text("TEXT")


def arm_included(folder: Path, program: str) -> None:
    (folder / ".git" / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(folder, "config", "include.path", "more")


def arm_missing_objects(folder: Path, program: str) -> None:
    settings = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
    }
    for key, value in {**settings, "remote.origin.uploadpack": program}.items():
        git(folder, "config", key, value)
    tree = git(folder, "rev-parse", "HEAD^{tree}").strip()
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


def arm_submodule(folder: Path, program: str) -> None:
    part = folder / "part"
    git(folder, "init", "-q", str(part))
    commit(part)
    git(folder, "-c", "advice.addEmbeddedRepo=false", "add", "part")
    git(folder, "commit", "-qm", "part")
    arm_monitor(part, program)


LOOKED_AT = [arm_monitor, arm_filter, arm_process, arm_included, arm_missing_objects, arm_submodule]


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, Path]:
    """(a program, the file that is there when it has been run)."""
    path, ran = tmp_path / "evil", tmp_path / "ran"
    path.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}\nexit 1\n')
    path.chmod(0o755)
    return str(path), ran


@pytest.mark.parametrize("arm", LOOKED_AT, ids=lambda arm: arm.__name__)
def test_what_a_status_would_run(
    arm: Callable[[Path, str], None],
    clone: Callable[..., Path],
    rows: Callable[..., dict[str, Row]],
    program: tuple[str, Path],
) -> None:
    """Plain git runs the program that a repository's own configuration names; we do not."""
    folder = clone("one", "--no-hardlinks")
    arm(folder, program[0])
    found = rows()
    assert not program[1].exists(), program[1].read_text()
    assert found["one"]["branch" if arm is not arm_missing_objects else "problem"]
    git(folder, "status", check=False)
    assert program[1].exists(), "this git does not run it, so that the test shows nothing"


def arm_hook(folder: Path, program: str) -> None:
    hook = folder / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(program)


def arm_hooks_path(folder: Path, program: str) -> None:
    (folder / ".git" / "mine").mkdir()
    (folder / ".git" / "mine" / "reference-transaction").symlink_to(program)
    git(folder, "config", "core.hooksPath", str(folder / ".git" / "mine"))


def arm_ssh(folder: Path, program: str) -> None:
    git(folder, "config", "core.sshCommand", program)
    git(folder, "remote", "set-url", "origin", "ssh://host/path")


def arm_upload_pack(folder: Path, program: str) -> None:
    git(folder, "config", "remote.origin.uploadpack", program)


def arm_any_command(folder: Path, program: str) -> None:
    git(folder, "config", "protocol.ext.allow", "always")
    git(folder, "remote", "set-url", "origin", f"ext::{program}")


def arm_rewritten(folder: Path, program: str) -> None:
    git(folder, "config", "protocol.allow", "always")
    git(folder, "config", f"url.ext::{program} .insteadOf", git(folder, "remote", "get-url", "origin").strip())


def arm_proxy(folder: Path, program: str) -> None:
    git(folder, "config", "core.gitProxy", program)
    git(folder, "remote", "set-url", "origin", "git://host.invalid/path")


def arm_alternates(folder: Path, program: str) -> None:
    git(folder, "config", "core.alternateRefsCommand", program)
    objects = git(folder, "remote", "get-url", "origin").strip() + "/.git/objects"
    (folder / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n")


FETCHED = [
    arm_hook,
    arm_hooks_path,
    arm_ssh,
    arm_upload_pack,
    arm_any_command,
    arm_rewritten,
    arm_proxy,
    arm_alternates,
]


@pytest.mark.parametrize("arm", FETCHED, ids=lambda arm: arm.__name__)
def test_what_a_fetch_would_run(
    arm: Callable[[Path, str], None],
    origin: Path,
    clone: Callable[..., Path],
    rows: Callable[..., dict[str, Row]],
    program: tuple[str, Path],
) -> None:
    """Likewise: it is not fetched, or the program is not run."""
    folder = clone("one", "--no-local")
    arm(folder, program[0])
    commit(origin, "new")
    found = rows("--fetch")
    assert not program[1].exists(), program[1].read_text()
    assert found["one"]["branch"] == "main"
    commit(origin, "newer")
    git(folder, "fetch", check=False)
    assert program[1].exists(), "this git does not run it, so that the test shows nothing"


def test_a_credential_helper_of_its_own(clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]) -> None:
    """Is a program that would be asked for a password: not fetched, unless it is trusted."""
    folder = clone("one")
    git(folder, "config", "credential.https://host.helper", "!evil")
    found = rows("--fetch")["one"]
    problem = "not fetched, for --trust is not given: credential.https://host.helper"
    assert (found["problem"], found["level"]) == (problem, "WARNING")
    assert rows("--fetch", "--trust")["one"]["problem"] is None


def test_a_filter_of_the_user_is_used(
    clone: Callable[..., Path], rows: Callable[..., dict[str, Row]], tmp_path: Path
) -> None:
    """As git-lfs declares one: what it makes of a file is compared, not the file; also if the repository declares it once more."""
    (tmp_path / ".gitconfig").write_text('[filter "upper"]\n\tclean = tr a-z A-Z\n')
    folder = clone("one")
    (folder / ".gitattributes").write_text("big filter=upper\n")
    git(folder, "add", ".gitattributes")
    commit(folder, "abc", "big")
    git(folder, "config", "filter.upper.clean", "tr a-z B")
    (folder / "big").write_text("aBC")
    assert git(folder, "status", "--porcelain") == " M big\n"
    assert rows()["one"]["changed"] == 0


def test_the_folder_of_a_hook(
    clone: Callable[..., Path], rows: Callable[..., dict[str, Row]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What git has told a hook that calls us of its own repository is not taken for what to look at."""
    clone("one")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert rows("--fetch")["one"]["branch"] == "main"


def test_nothing_is_changed(clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]) -> None:
    """Not even the index is refreshed."""
    folder = clone("one")
    os.utime(folder / "file", (1, 1))
    before = {path: path.read_bytes() for path in sorted((folder / ".git").rglob("*")) if path.is_file()}
    assert rows()["one"]["changed"] == 0
    assert {path: path.read_bytes() for path in sorted((folder / ".git").rglob("*")) if path.is_file()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_repository_of_another_user(clone: Callable[..., Path], rows: Callable[..., dict[str, Row]]) -> None:
    """Git refuses it, and says why in six lines; the others are looked at."""
    theirs = clone("theirs")
    clone("ours")
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 65534, 65534)
    found = rows("--fetch")
    assert found["theirs"]["problem"] == "belongs to another user (safe.directory)"
    assert (found["theirs"]["level"], found["ours"]["level"]) == ("UNKNOWN", "OK")


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    """Is counted."""
    closed: list[str] = []
    (tmp_path / "src" / "one" / ".git").mkdir(parents=True)
    (tmp_path / "src" / "closed").mkdir(mode=0)
    with as_ordinary_user(tmp_path):
        assert list(find(Path("src"), closed)) == [Path("src/one")]
    assert closed == ["src/closed"]
    (tmp_path / "src" / "one" / ".git").rmdir()
    with (
        as_ordinary_user(tmp_path),
        pytest.raises(InputError, match="no git repository in src; 1 folder may not be read"),
    ):
        repositories(RepositoriesOptions(folders=["src"]))


def test_the_table(origin: Path, clone: Callable[..., Path], cli: Cli) -> None:
    """What is worst first; nothing is counted where there is no upstream; no name moves the cursor."""
    clone("clean")
    (clone("x\x1b[2J") / "new").touch()
    git(clone("changed"), "switch", "-qc", "topic")
    (origin.parents[1] / "src" / "changed" / "file").write_text("changed")
    done = cli("admin.repositories", "src")
    assert done.returncode == 1
    verdict, header, *lines = done.stdout.splitlines()
    assert verdict == "WARNING - 3 repositories: 1 changed"
    assert header.split() == ["branch", "ahead", "behind", "changed", "new", "stash", "age", "repository"]
    assert [line.split() for line in lines] == [
        ["WARNING", "topic", "-", "-", "1", "0", "min", "src/changed"],
        ["main", "0", "min", "src/clean"],
        ["main", "1", "0", "min", "src/x^[[2J"],
    ]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "no folder is given"),
        (["empty"], "no git repository in empty"),
        (["none"], "none: No such file or directory"),
        (["text"], "text: Not a directory"),
        (["empty", "--trust"], "--trust has no effect without --fetch"),
        (["empty", "--timeout", "soon"], "--timeout 'soon': expected seconds"),
    ],
)
def test_mistakes(args: list[str], text: str, tmp_path: Path, cli: Cli) -> None:
    """One line, which a monitor shows, and the status 3."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").touch()
    done = cli("admin.repositories", *args)
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN - ")
    assert text in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_git_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="git is not installed; on Debian: apt install git"):
        repositories(RepositoriesOptions(folders=[str(tmp_path)]))


def test_a_name_is_no_entry() -> None:
    """Where a renamed file was before stands by itself, and may look like anything."""
    said = "# branch.oid 12\0# branch.head main\0# branch.ab +3 -4\x002 R. N... a b\0? c\0u UU d\0? e\0"
    found = parsed(said)
    assert found == Status("main", "12", None, 3, 4, changed=2, conflicts=1, untracked=1)


@pytest.mark.parametrize(
    ("stderr", "text"),
    [
        ("", "exit status 1"),
        ("warning: x\nfatal: no \x1b[31mred\nhint: y\n", "no ^[[31mred"),
        ("one\ntwo\n", "two"),
        ("fatal: detected dubious ownership in repository at '/x'\n", "belongs to another user (safe.directory)"),
    ],
)
def test_why_git_has_failed(stderr: str, text: str) -> None:
    """One line."""
    assert reason(stderr, "exit status 1") == text


def test_the_page(origin: Path, clone: Callable[..., Path], tmp_path: Path, environment: dict[str, str]) -> None:
    """Its commands print what it shows."""
    clone("website")
    commit(origin, "new")
    git(clone("tools"), "switch", "-qc", "topic")
    (tmp_path / "src" / "tools" / "file").write_text("changed")
    check_page("repositories", tmp_path, environment)
