"""A link: what comes before the far end is skipped, and whatever goes wrong is told in words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import pytest

from manyhands.backends.site import frames
from manyhands.backends.site.frames import Frame
from manyhands.backends.site.link import Link, LinkLostError

pytestmark = pytest.mark.usefixtures("nothing_left")


def heard(link: Link, kind: int) -> Frame:
    """The first frame of this kind. Raises LinkLostError."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        link.flush()
        link.read_errors()
        for frame in link.receive():
            if frame.kind == kind:
                return frame
        time.sleep(0.01)
    raise AssertionError(f"no frame {kind}")


def by(script: str) -> Callable[[Sequence[str]], list[str]]:
    """A carrier: a shell script, in which "$@" is the command."""
    return lambda command: ["sh", "-c", script, "sh", *command]


def lost(carrier: Callable[[Sequence[str]], Sequence[str]]) -> str:
    """Why a link by this carrier is lost."""
    link = Link(carrier, sys.executable)
    try:
        with pytest.raises(LinkLostError) as caught:
            heard(link, frames.HELLO)
    finally:
        link.close()
    return str(caught.value)


def test_start_up_files_may_print() -> None:
    """Also a lot, and something that looks like a frame."""
    link = Link(by(r"printf '\0\0\0\7x'; seq 20000; exec \"$@\"".replace('\\"', '"')), sys.executable)
    assert heard(link, frames.HELLO).head["version"] == frames.VERSION
    assert link.python == ".".join(map(str, sys.version_info[:3]))
    link.close()


def test_its_python_is_too_old() -> None:
    """Which it is, and which is needed."""
    assert lost(by(r'printf "\n$5 0 3 6 9\n"; exit 1')) == "its python3 is 3.6.9, and 3.9 or later is needed"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exec no-such-python", "there is no python3"),
        ("echo 'Permission denied (publickey).' >&2; exit 255", "Permission denied (publickey)."),
        ("exit 7", "the connection has ended (status 7)"),
        ("exit 0", "the connection has ended"),
        ("yes", "its start-up files print without end"),
        (r'printf "\n$5 0 3 11 7\n"; yes hello', "what it says is not of manyhands: a frame has an impossible length"),
    ],
)
def test_why_there_is_no_connection(script: str, why: str) -> None:
    """The last words of whoever carries it, else its status."""
    assert lost(by(script)) == why


def test_the_far_end_refuses_its_settings() -> None:
    """A folder that is not there: one line, and nothing is left."""
    link = Link(lambda command: command, sys.executable)
    heard(link, frames.HELLO)
    link.send(frames.START, {"attempts": []})
    assert heard(link, frames.REFUSED).head["why"] == "attempts came before the settings"
    link.close()


def test_a_carrier_that_does_not_end_is_killed() -> None:
    """Whoever ignores the end of its input does not keep us."""
    link = Link(by("trap '' TERM HUP; sleep 60 & wait"), sys.executable)
    link.close()
    assert link.process.returncode == -9
