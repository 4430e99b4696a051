"""Hosts as they are typed: names, slots, ranges, files; what ssh would misunderstand is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import UsageError
from manyhands.work.host_list import HostName, hosts_of

NAMES = st.from_regex(r"([a-z]{1,5}@)?[a-z][a-z0-9.-]{0,10}", fullmatch=True) | st.ip_addresses(v=6).map(str)
"""As they are written without slots, but for the brackets."""


@given(st.builds(HostName, NAMES, st.none() | st.integers(1, 1024)))
def test_a_host_is_read_as_it_is_written(host: HostName) -> None:
    """Also IPv6, in brackets."""
    assert HostName.parse(host.text) == host


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["web1,web2:4", "ops@db1"], ["web1", "web2:4", "ops@db1"]),
        (["web[08-11]"], ["web08", "web09", "web10", "web11"]),
        (["r[1-2]c[1-2]:3"], ["r1c1:3", "r1c2:3", "r2c1:3", "r2c2:3"]),
        (["[::1]:4,[fe80::1]"], ["[::1]:4", "[fe80::1]"]),
        ([" web1 , ,web2"], ["web1", "web2"]),
    ],
)
def test_lists_and_ranges(given: list[str], names: list[str]) -> None:
    """In the order in which they are written; leading zeros stay."""
    assert [host.text for host in hosts_of(given)] == names


def test_a_file_of_hosts(tmp_path: Path) -> None:
    """One a line, with comments and ranges."""
    path = tmp_path / "hosts.txt"
    path.write_text("# ours\nweb[1-2]:2  # the small ones\n\nops@db1\n")
    assert [host.text for host in hosts_of([f"first,@{path}"])] == ["first", "web1:2", "web2:2", "ops@db1"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-oProxyCommand=x", "expected HOST"),
        ("web1:", "expected HOST"),
        ("web1:x", "expected HOST"),
        ("a b", "expected HOST"),
        ("@no-such-file", "No such file or directory"),
        ("", "there is no host in it"),
        ("web1:0", "a host has 1 to 1024 slots"),
        ("web1:2000", "a host has 1 to 1024 slots"),
        ("web[9-1]", "expected a range"),
        ("web[1-99999]", "expected a range"),
        ("[web1]:4", "expected HOST"),
        ("web1,web2,web1:4", "the host is named twice"),
    ],
)
def test_mistakes(text: str, why: str) -> None:
    """One line; a name that ssh would take for an option is no host."""
    with pytest.raises(UsageError, match="on=") as caught:
        hosts_of([text])
    assert why in str(caught.value)


def test_the_option_is_named_as_it_was_typed() -> None:
    """There are two that take hosts."""
    for text in ("-x", "a,a", ",", "@/no/such/file", "h[9-1]", "h:0"):
        with pytest.raises(UsageError, match=r"^(on_each|--on-each)"):
            hosts_of([text], "--on-each")
