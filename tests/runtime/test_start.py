"""The program does not depend on how it was started: signals, descriptors, home folder, encoding, an early Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli, wait_for
from manyhands.core.errors import CannotCreateError
from manyhands.storage.runs import default_state_dir


def block(*numbers: int) -> None:
    """As a parent that has blocked signals leaves them: a mask survives exec(2)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


# -- signals ---------------------------------------------------------------------------------------------------------------


def test_a_blocked_term_is_obeyed(program: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    """By both programs: the run ends, and its job, too."""
    process = subprocess.Popen(
        [*program, "batch", "echo $$ > began; sleep 300; : {}", "--shell", "--grace", "1", "--", "a"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: block(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD),
    )
    began = tmp_path / "began"
    wait_for(lambda: began.exists() and began.read_text().strip(), 60)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    wait_for(lambda: not Path(f"/proc/{began.read_text().strip()}").exists())


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_a_sigchld_that_is_blocked_or_ignored_hinders_nothing(cli: Cli, backend: str, how: str) -> None:
    """The results come, and the program ends."""

    def prepare() -> None:
        if how == "blocked":
            block(signal.SIGCHLD)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    done = cli("batch.call", "math:sqrt", "--type", "int", "--backend", backend, "--", "4", "9", preexec_fn=prepare)
    assert (done.returncode, done.stdout.split()) == (0, ["2.0", "3.0"]), done.stderr
    done = cli("cmd.check", "--", "echo", "hi", preexec_fn=prepare)
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


EARLY = """
import builtins, os, signal, sys
def interrupted(name, *rest, real=builtins.__import__):
    if name == "manyhands.cli.invoke_patches":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
from manyhands.__main__ import main
builtins.__import__ = interrupted
main()
"""


EARLIER = EARLY.replace("manyhands.cli.invoke_patches", "importlib.util").replace(
    "from manyhands", "sys.argv[0] = '/bin/manyhands'\nbuiltins.__import__ = interrupted\nfrom manyhands"
)


@pytest.mark.parametrize("program", [EARLY, EARLIER], ids=["early", "earlier"])
def test_ctrl_c_while_the_program_is_loaded(program: str, environment: dict[str, str]) -> None:
    """It dies by the signal, as a shell loop around it wants, and shows no traceback of an import."""
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_afterwards_is_what_tasks_expect(environment: dict[str, str], tmp_path: Path) -> None:
    """A KeyboardInterrupt, which they clean up after."""
    (tmp_path / "tasks.py").write_text(
        "import time\nfrom pathlib import Path\nfrom manyhands.cli import task\n\n\n@task\ndef nap(ctx):\n    try:\n"
        "        Path('began').touch()\n        time.sleep(60)\n    finally:\n        Path('cleaned').touch()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "nap"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    wait_for(lambda: (tmp_path / "began").exists(), 60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said, (tmp_path / "cleaned").exists()) == (-signal.SIGINT, b"", True)


# -- the home folder and files of settings ---------------------------------------------------------------------------------


def obey_modes() -> None:
    """For a program that root starts: without the capabilities to read everything (capabilities(7), prctl(2))."""
    if os.getuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@pytest.mark.sampled
@pytest.mark.parametrize("home", ["/dev/null", "/nonexistent", "/etc/passwd", "locked", "loop", None])
@pytest.mark.parametrize("words", [["--version"], ["-l"], ["batch", "echo {}", "--", "hi"], ["host.identity"]])
def test_a_home_that_is_of_no_use_is_not_needed(
    home: str | None, words: list[str], cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """Not a folder, not there, not to be read, a circle of links, not known at all."""
    (tmp_path / "locked").mkdir(0)
    (tmp_path / "loop").symlink_to("loop")
    del environment["HOME"]
    if home is not None:
        environment["HOME"] = str(tmp_path / home)
    done = cli(*words, preexec_fn=obey_modes)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_without_any_home_runs_have_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is not set, and the user has no entry in passwd(5): it says what to set."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(CannotCreateError, match="set HOME or XDG_STATE_HOME, or give state_dir"):
        default_state_dir({})
    assert default_state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/manyhands")


@pytest.mark.parametrize("name", ["manyhands.yaml", "home/.manyhands.yaml", "home/.invoke.yaml"])
def test_settings_that_may_not_be_read_are_one_line(
    name: str, cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """They may hold what matters: they are not ignored."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("jobs: 2\n")
    path.chmod(0)
    environment["HOME"] = str(tmp_path / "home")
    done = cli("batch", "echo {}", "--", "hi", preexec_fn=obey_modes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"manyhands: cannot read {path}: Permission denied"]


def test_settings_of_invoke_that_are_no_yaml_are_one_line(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """As those of ours."""
    (tmp_path / ".invoke.yaml").write_text("a: [\n")
    environment["HOME"] = str(tmp_path)
    done = cli("--version")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert ".invoke.yaml" in done.stderr


# -- the encoding ----------------------------------------------------------------------------------------------------------

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
PRINTING = [
    ["proc.tree"],
    ["proc.list"],
    ["batch.list"],
    ["batch.show", "one", "--output"],
    ["batch.show", "one", "--job", "1"],
    ["batch.export", "one"],
    ["tour.list"],
    ["tour.spinner", "--timeline", "--scale", "0.1"],
    ["host.info"],
    ["tour.spinner", "--source"],
    ["batch.compare", "true", "--sample", "2", "--each", "ä,€"],
    ["cmd.output", "echo 'ä…'"],
    ["cmd.pipe", "echo ä… | cat", "-v"],
    ["batch", "echo {}", "--tag", "--", "ä…"],
    ["batch", "--dry-run", "echo", "--", "ä…"],
]
MISTAKES = [["bätch"], ["batch", "echo", "--from", "nö…"], ["proc.stop", "--name", "[nö"], ["batch", "nö… {}", "--", "ä"]]


@pytest.mark.sampled
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_output_of_any_encoding(encoding: str, cli: Cli, environment: dict[str, str]) -> None:
    """Nothing that prints fails for want of a character."""
    assert cli("batch", "echo {}", "--run-id", "one", "--", "ä…", "line\nbreak").returncode == 0
    environment |= ENCODINGS[encoding]
    for words in PRINTING:
        done = cli(*words, encoding="utf-8", errors="replace", timeout=120)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
    for words in MISTAKES:
        done = cli(*words, encoding="utf-8", errors="replace")
        assert (done.returncode > 0, "Traceback" in done.stderr) == (True, False), (words, done.stderr)


def test_what_cannot_be_encoded_is_drawn_in_ascii(environment: dict[str, str]) -> None:
    """Column for column; a byte that is no text stays that byte, and the rest is shown by its number."""
    script = "from manyhands.runtime.start import make_encodable; make_encodable(); print('├─ └─ ▶ ██ a… \\udcff ä €')"
    for encoding, expected in (
        ("ascii", b"|- `- > ## a~ \xff \\xe4 \\u20ac\n"),
        ("latin-1", b"|- `- > ## a~ \xff \xe4 \\u20ac\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        )
        assert done.stdout == expected
