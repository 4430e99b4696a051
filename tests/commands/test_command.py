"""One command at a time: what subprocess and os promise, and what they do not (scenarios A1 to A8)."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from manyhands import CommandError
from manyhands.commands import command
from manyhands.commands.command_tree import Tree

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_output_is_what_the_shell_printed() -> None:
    """Both streams as they came, the last newline taken off; the pipe runs in the shell (scenario A1)."""
    assert command.output("date -u | wc").split() == command.output("LC_ALL=C date -u | wc").split()
    lines, words, size = map(int, command.output("printf 'a b\\nc\\n' | wc").split())
    assert (lines, words, size) == (2, 3, 6)
    assert command.output("echo out; echo err >&2; echo; exit 3") == "out\nerr\n"
    assert command.output("echo $((6 * 7))") == subprocess.getoutput("echo $((6 * 7))") == "42"


def test_bytes_that_are_no_text_can_be_had_back() -> None:
    """As surrogates (PEP 383)."""
    assert os.fsencode(command.output("printf 'a\\377b'")) == b"a\xffb"


def test_status_is_that_of_the_shell() -> None:
    """And of a signal, 128 more (scenario A3)."""
    assert command.status("echo x; false") == (1, "x")
    assert command.status("true") == (0, "")
    assert command.status("kill -9 $$") == (137, "")
    assert command.status("exit 3 | true")[0] == 3  # pipefail


def test_check_gives_bytes_or_an_error_that_holds_them() -> None:
    """All 256 values, exactly (scenario A2)."""
    octal = "".join(f"\\{number:03o}" for number in range(256))
    assert command.check_output(["printf", octal]) == bytes(range(256))
    assert command.check_output(["date", "-u"]).endswith(b"\n")
    with pytest.raises(CommandError, match=r"^sh -c 'echo half; exit 3' failed with exit status 3$") as caught:
        command.check_output(["sh", "-c", "echo half; exit 3"])
    assert (caught.value.result.stdout, caught.value.exit_code) == (b"half\n", 3)
    with pytest.raises(CommandError, match="No such file") as missing:
        command.check_output(["nosuch"])
    assert missing.value.exit_code == 127
    with pytest.raises(CommandError, match="signal 9"):
        command.check_output(["sh", "-c", "kill -9 $$"])


def test_there_is_no_shell_where_none_is_promised() -> None:
    """Scenario A4: a wildcard is a character."""
    assert command.check_output(["echo", "*", "$HOME"]) == b"* $HOME\n"


def test_call_has_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Its output is ours; silent, it is nobody's (scenario A5)."""
    assert command.call(["sh", "-c", "echo out; echo err >&2; exit 4"]) == 4
    assert capfd.readouterr() == ("out\n", "err\n")
    assert command.call(["sh", "-c", "echo out; echo err >&2"], silent=True) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [0, 5, 5_000_000])
def test_feed_takes_any_amount(size: int) -> None:
    """More than any pipe holds, in both directions (scenario A6)."""
    end = command.feed(["cat"], b"x" * size)
    assert (end.ok, len(end.stdout or b"")) == (True, size)
    counted = command.feed(["wc"], b"hello there\n" * 3).stdout or b""
    assert [int(word) for word in counted.split()] == [3, 6, 36]


def test_feeding_who_does_not_read_is_no_error() -> None:
    """Nobody writes into a closed pipe."""
    assert command.feed(["true"], b"x" * 1_000_000).ok


def test_system_decodes_the_wait_status(capfd: pytest.CaptureFixture[str]) -> None:
    """Exit statuses and signals, both (scenario A8)."""
    assert command.system("echo hi; exit 3").exit == 3
    assert capfd.readouterr().out == "hi\n"
    assert command.system("kill -15 $$").signal == signal.SIGTERM
    assert command.system("true").ok


@pytest.mark.parametrize("ask", [command.output, command.status])
def test_a_timeout_is_an_error_with_what_was_printed_until_then(ask: object) -> None:
    """And nothing is left."""
    with pytest.raises(CommandError, match=r"stopped after 0\.3 s") as caught:
        ask("echo begun; sleep 60 & sleep 60", timeout=0.3)  # type: ignore[operator]
    assert (caught.value.exit_code, caught.value.result.stdout) == (124, b"begun\n")


def test_what_cannot_be_asked_to_end_can_be_limited() -> None:
    """os.system within a tree that stops all below this process."""
    with Tree(grace=0.2, adopts=True) as tree:
        with command.limited(tree, 0.2) as late:
            end = command.system("sleep 60 & sleep 60")
        assert late.is_set()
        assert not end.ok
        with command.limited(tree, 60) as late:
            pass
        assert not late.is_set()
