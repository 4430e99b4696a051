"""Lines without a shell: they mean what they mean to a shell, or are refused."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manyhands.commands.pipeline import expand
from manyhands.core.errors import TemplateError
from manyhands.work.command_line import Redirect, parse_line, split_words

pytestmark = pytest.mark.usefixtures("options_typed")


def words(text: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in parse_line(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ls -l | wc", [["ls", "-l"], ["wc"]]),
        ("a|b|c", [["a"], ["b"], ["c"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a ''", [["a", ""]]),
        ("a b'c'\"d\"\\e", [["a", "bcde"]]),
        (r'a "\$x \` \" \\ \n"', [["a", r'$x ` " \ \n']]),
        ("a 'it'\\''s'", [["a", "it's"]]),
        ("find . -exec echo {} +", [["find", ".", "-exec", "echo", "{}", "+"]]),
        ("a |\n b", [["a"], ["b"]]),
        ("a b\\\n c", [["a", "b", "c"]]),
        ("a \\\n b\n", [["a", "b"]]),
        ("grep 100$", [["grep", "100$"]]),
        ('grep "100$"', [["grep", "100$"]]),
        ("a b~c x=1 #d".replace(" #d", " e#d"), [["a", "b~c", "x=1", "e#d"]]),
        ("echo if then", [["echo", "if", "then"]]),
        ("héllo 'wörld'", [["héllo", "wörld"]]),
    ],
)
def test_words_are_those_of_a_shell(text: str, found: list[list[str]]) -> None:
    """Quotes, escapes, pipes, continued lines."""
    assert words(text) == found


@pytest.mark.parametrize(
    ("text", "redirects"),
    [
        ("a < b", [(0, "<", "b")]),
        ("a <b >c 2>>d", [(0, "<", "b"), (1, ">", "c"), (2, ">>", "d")]),
        ("a > 'b c'", [(1, ">", "b c")]),
        ("a 2>&1", [(2, "&", 1)]),
        ("a >&2", [(1, "&", 2)]),
        ("a 2>&1 >b", [(2, "&", 1), (1, ">", "b")]),
        ("<b a", [(0, "<", "b")]),
        ("a |& b", [(2, "&", 1)]),
        ("a 2>e |& b", [(2, ">", "e"), (2, "&", 1)]),
    ],
)
def test_redirections_keep_their_order(text: str, redirects: list[tuple[int, str, str | int]]) -> None:
    """``2>&1 >b`` is not ``>b 2>&1``; ``|&`` comes after all others."""
    found = parse_line(text)[0].redirects
    assert list(found) == [Redirect(*one) for one in redirects]  # type: ignore[arg-type]


def test_a_number_is_a_descriptor_only_right_before_the_operator() -> None:
    """``a2>b`` and ``a 2 >b`` redirect stdout."""
    (command,) = parse_line("echo 2 >b")
    assert [word.text for word in command.words] == ["echo", "2"]
    assert command.redirects[0].descriptor == 1


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("echo $HOME", 6, "$HOME needs"),
        ("echo ${x}y", 6, "${x} needs"),
        ("echo $(ls) $1", 6, "$(ls) needs"),
        ("a $1", 3, "$1 needs"),
        ('echo "$x"', 7, "$x"),
        ("echo `ls`", 6, "`"),
        ('echo "`ls`"', 7, "`"),
        ("a; b", 2, ";"),
        ("a && b", 3, "&&"),
        ("a || b", 3, "||"),
        ("a &", 3, "&"),
        ("(a)", 1, "("),
        ("a {b,c}", 3, "{b,c}"),
        ("a {1..3}", 3, "{1..3}"),
        ("a ~/x", 3, "~"),
        ("a # b", 3, "comment"),
        ("! a", 1, "!"),
        ("if a", 1, "if"),
        ("X=1 a", 1, "X=1"),
        ("a[1]=2 b", 1, "a[1]=2"),
        ("a <<x", 3, "<<"),
        ("a <(b)", 3, "<("),
        ("a >| b", 3, ">|"),
        ("a &> b", 3, "&>"),
        ("a <> b", 3, "<>"),
        ("a 3> b", 3, "3>"),
        ("a 2>&3", 3, "2>&"),
        ("a 2>&-", 3, "2>&"),
        ("a > *", 3, "wildcard"),
        ("a $'b'", 3, "$'"),
        ('a $"b"', 3, '$"'),
        ("a\nb", 2, "second line"),
        ("a ?(b)", 4, "("),
        ("a b\\\nc", 4, "within a word"),
        ('a "b\\\nc"', 5, "within a word"),
        ("ls [[:alpha:]]*", 4, "[[:alpha:]"),
        ("a [b'c']", 3, "[b'c']"),
        ("a {'b c',d}", 3, "{'b c',d}"),
    ],
)
def test_what_only_a_shell_can_do_is_refused_with_its_column(text: str, column: int, what: str) -> None:
    """And the way out is named."""
    with pytest.raises(TemplateError) as caught:
        parse_line(text)
    assert caught.value.column + 1 == column
    assert what in caught.value.reason
    assert "--shell" in caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no command"),
        ("  ", "no command"),
        ("| a", "before this pipe"),
        ("a |", "after the last pipe"),
        ("a | | b", "before this pipe"),
        ("a 'b", "quote is not closed"),
        ('a "b', "quote is not closed"),
        ("a \\", "backslash"),
        ("a >", "where to redirect"),
        ("a > | b", "where to redirect"),
        ("a\0b", "NUL"),
        ("> b", "no command"),
    ],
)
def test_mistakes_are_explained(text: str, reason: str) -> None:
    """One reason, and where."""
    with pytest.raises(TemplateError, match=reason):
        parse_line(text)


def test_an_argument_list_has_no_pipes_and_no_wildcards() -> None:
    """`split_words` is for the tasks that promise to run exactly one program with exactly these arguments."""
    assert split_words("ls '*.c' *.h") == ("ls", "*.c", "*.h")
    for text in ("a | b", "a > b"):
        with pytest.raises(TemplateError, match="--shell"):
            split_words(text)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_what_is_quoted_comes_out_again(arguments: list[str]) -> None:
    """`shlex.join` is undone exactly."""
    assert words(shlex.join(["x", *arguments])) == [["x", *arguments]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files whose names wildcards may match."""
    made = tmp_path_factory.mktemp("names")
    for name in ("a", "b", "ab", "a b", ".a", "-", "^", "!", "]", "a*b", "A"):
        (made / name).touch()
    return made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("aab  '\"\\*?[]!^-{},.~#=$\n1"), max_size=12))
@example("[^a]*")
@example("[]a]")
@example("[!]]")
@example("'*'* a\\*b \"?\"")
@example("[a")
@example("[[a]")
@example("[[^]")
@example("[a-b]*")
def test_an_accepted_line_means_what_it_means_to_bash(folder: Path, text: str) -> None:
    """Whatever is not refused gives the same arguments, wildcards included."""
    line = f"printf '<%s>' x {text}"
    try:
        (command,) = parse_line(line)
    except TemplateError:
        return
    found = expand(command.words, folder)[2:]
    said = subprocess.run(
        ["bash", "-c", line], cwd=folder, env={"LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert "".join(f"<{word}>" for word in found) == said.stdout
