"""Arguments that a program reads again as code are known, with and without a shell."""

from __future__ import annotations

import pytest

from manyhands.core.errors import InputError
from manyhands.work.nested_code import evaluated, read_again
from manyhands.work.template import Template

pytestmark = pytest.mark.usefixtures("options_typed")


def words(text: str) -> list[str]:
    return [word.replace("{}", "\0").replace("_", " ") for word in text.split()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sh -c echo_{}", {2: "sh"}),
        ("/bin/bash -eo pipefail -c x{}", {4: "bash"}),
        ("sh -c {}", {}),
        ("sh -c x sh {}", {}),
        ("sh x.sh -c x{}", {}),
        ("A=1 sh -c x{}", {3: "sh"}),
        ("env A=1 nice sh -c x{}", {5: "sh"}),
        ("xargs -0 sh -c x{}", {4: "sh"}),
        ("su me -c x{}", {3: "su"}),
        ("find . -exec sh -c x{} ;", {5: "sh"}),
        ("grep sh -c x{}", {}),
        ("echo sh -c x{}", {}),
        ("ssh {} ls", {}),
        ("ssh host ls {}", {3: "ssh"}),
        ("ssh -p 22 -v {} ls {}", {6: "ssh"}),
        ("ssh -oX=y host {}", {3: "ssh"}),
        ("timeout 5 ssh host {}", {4: "ssh"}),
        ("ssh host sh -c x{}", {4: "sh"}),
        ("watch ls {}", {2: "watch"}),
        ("ls {}", {}),
        ("A=1", {}),
        ("sh", {}),
    ],
)
def test_words_that_are_code(text: str, found: dict[int, str]) -> None:
    """Scripts of shells in which an input is only a part; commands for another host."""
    assert read_again(words(text)) == found


def test_builtins_that_evaluate() -> None:
    """The number of the word, with prefixes and assignments left out; declared values are exact."""
    assert evaluated(words("command -p eval {}"), "bash") == (3, "eval")
    assert evaluated(words("X=1 let {}"), "bash") == (2, "let")
    assert evaluated(words("export A={}"), "bash") is None
    assert evaluated(words("declare -a A={}"), "bash") == (2, "declare")
    assert evaluated(words("[ {} -eq 1 ]"), "bash") is None
    assert evaluated(words("[ {} -eq 1 ]"), "zsh") == (1, "[")
    assert evaluated(words("printf %s {}"), "zsh") is None
    assert evaluated(words("A=1"), "bash") is None


@pytest.mark.parametrize("template", [Template.parse("sh -c 'exit {}'"), Template.from_args(["sh", "-c", "exit {}"])])
def test_without_a_shell_such_inputs_must_be_harmless(template: Template) -> None:
    """A number passes; what sh would give a meaning is refused before it runs, with the way out."""
    assert template.bind().argv((b"3",), 1) == (b"sh", b"-c", b"exit 3")
    for value in (b"$(x)", b"a b", b"", b"~", b"a;b", b"\n", b"'"):
        with pytest.raises(InputError, match="use --shell and write the code without sh -c, or pass it as an argument"):
            template.bind().argv((value,), 1)


def test_whole_scripts_are_inputs_that_are_meant() -> None:
    """``sh -c {}`` runs each input; so does a number of ours in a script."""
    assert Template.parse("sh -c {}").bind().argv((b"a; b",), 1)[2] == b"a; b"
    assert Template.parse("sh -c 'echo {#}' {}").bind().argv((b"a; b",), 7) == (b"sh", b"-c", b"echo 7", b"a; b")


def test_inputs_at_the_end_are_checked_too() -> None:
    """Where no placeholder says where, the input is the last argument."""
    with pytest.raises(InputError, match="ssh"):
        Template.parse("ssh host ls").bind().argv((b"; x",), 1)
    assert Template.parse("ssh").bind().argv((b"host",), 1) == (b"ssh", b"host")
