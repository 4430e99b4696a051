"""What stands for parts of slow modules does what these do."""

from __future__ import annotations

import contextlib
import pickle
import signal
import socket
import typing

import pytest

from manyhands.core import lean


class Ours(lean.NamedTuple):
    """Three fields."""

    first: int
    second: str = "b"
    third: float = 0.5

    def twice(self) -> int:
        """Twice the first."""
        return 2 * self.first


class Usual(typing.NamedTuple):
    """Three fields."""

    first: int
    second: str = "b"
    third: float = 0.5

    def twice(self) -> int:
        """Twice the first."""
        return 2 * self.first


def test_a_named_tuple_is_one() -> None:
    """With fields, defaults, methods, a docstring, and a name by which it is pickled."""
    one = Ours(3)
    assert one == (3, "b", 0.5) == Usual(3)
    assert (Ours._fields, Ours._field_defaults) == (Usual._fields, Usual._field_defaults)
    assert (Ours.__doc__, Ours.__module__, Ours.__qualname__) == (Usual.__doc__, __name__, "Ours")
    assert (one.twice(), one._replace(second="c").second, repr(one)) == (6, "c", repr(Usual(3)).replace("Usual", "Ours"))
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Usual)
    assert type(pickle.loads(pickle.dumps(one))) is Ours
    assert not hasattr(one, "__dict__")
    with pytest.raises(TypeError, match="first"):
        Ours()  # type: ignore[call-arg]


@pytest.mark.parametrize("suppress", [lean.suppress, contextlib.suppress])
def test_suppressed_exceptions_end_a_block(suppress: type[contextlib.suppress]) -> None:
    """Those that were named, and what is below them; nothing else."""
    reached = []
    with suppress(LookupError, OSError):
        reached.append(1)
        raise KeyError
    with suppress(LookupError):
        reached.append(2)
    with pytest.raises(ValueError, match="x"), suppress(LookupError, OSError):
        raise ValueError("x")
    with pytest.raises(KeyboardInterrupt), suppress(Exception):
        raise KeyboardInterrupt
    assert reached == [1, 2]


def test_signals_and_sockets_have_the_usual_numbers() -> None:
    """They are the same functions below."""
    for number in signal.Signals:
        assert getattr(lean.signal, number.name, number) == number
    assert (lean.signal.SIG_IGN, lean.signal.SIG_DFL) == (signal.SIG_IGN, signal.SIG_DFL)
    one, other = lean.socket.socketpair(socket.AF_UNIX, lean.socket.SOCK_SEQPACKET | lean.socket.SOCK_CLOEXEC)
    one.send(b"said", lean.socket.MSG_DONTWAIT)
    assert other.recv(100) == b"said"
    one.close()
    assert other.recv(100) == b""
    other.close()
    assert one.fileno() == -1
