"""Templates: one input is always part of exactly one argument."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import InputError, TemplateError, UsageError
from manyhands.work import command_line
from manyhands.work.template import Template, display, fill_slot, quote, user_shell

pytestmark = pytest.mark.usefixtures("options_typed")

BASH = shutil.which("bash") or "/bin/sh"
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
inputs = st.binary(max_size=20).filter(lambda value: b"\0" not in value)


def argv(text: str, *values: bytes, columns: tuple[str, ...] = (), number: int = 1) -> tuple[object, ...]:
    """The arguments that template ``text`` makes of one input."""
    return Template.parse(text).bind(columns).argv(values, number)


@given(st.lists(words, min_size=1).filter(lambda args: bool(args[0])))
def test_any_argument_list_can_be_written_as_a_template(args: list[str]) -> None:
    """Quoted for a shell and with doubled braces, every list of arguments comes back as it was."""
    text = " ".join(quote(arg.encode()).decode() if arg else "''" for arg in args).replace("{", "{{").replace("}", "}}")
    if not text.strip():
        return
    made = Template.parse(text).bind().argv((b"INPUT",), 1)
    assert made == (*(arg.encode() for arg in args), b"INPUT")


@given(inputs)
def test_an_input_is_one_argument_whatever_it_holds(value: bytes) -> None:
    """Blanks, quotes, newlines, dollar signs, bytes that are no text: nothing is split and nothing is interpreted."""
    assert argv("cmd -x {} 'a {}'", value) == (b"cmd", b"-x", value, b"a " + value)


@settings(max_examples=60, deadline=None)
@given(st.lists(inputs, min_size=1, max_size=3))
def test_a_shell_gets_the_exact_bytes_back(values: list[bytes]) -> None:
    """With --shell every input reaches the command as one word with its exact bytes."""
    template = Template.parse(r"printf '%s\0' {1} x{-1}y", shell=BASH)
    made = fill_slot(template.bind().argv(tuple(values), 1), 1)
    out = subprocess.run(made, capture_output=True, check=True).stdout
    assert out == values[0] + b"\0x" + values[-1] + b"y\0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {}", (b"a", b"d/b.tar.gz")),
        ("a {.}", (b"a", b"d/b.tar")),
        ("a {/}", (b"a", b"b.tar.gz")),
        ("a {//}", (b"a", b"d")),
        ("a {/.}", (b"a", b"b.tar")),
        ("a {#}", (b"a", b"7")),
        ("a {{}} {}", (b"a", b"{}", b"d/b.tar.gz")),
        ("a", (b"a", b"d/b.tar.gz")),
        ("a out.{%}", (b"a", (b"out.", b""))),
        ("a {1/.}", (b"a", b"b.tar")),
        ("a {-1//}", (b"a", b"d")),
        ("a {}{.}", (b"a", b"d/b.tar.gzd/b.tar")),
        (r"a\ b\{ {}", (b"a b{", b"d/b.tar.gz")),
        ('"a b" {}', (b"a b", b"d/b.tar.gz")),
        ("[ '*' \\? a~ '~' ]", (b"[", b"*", b"?", b"a~", b"~", b"]", b"d/b.tar.gz")),
    ],
)
def test_placeholders(text: str, expected: tuple[object, ...]) -> None:
    """Each placeholder gives its part of the input."""
    assert argv(text, b"d/b.tar.gz", number=7) == expected


def test_columns_by_name_and_position() -> None:
    """Columns are told apart by name and by position, from either end; {} is all of them in one argument."""
    assert argv("p {host} {wait/} {2} {-2} {}", b"h", b"a/w", columns=("host", "wait")) == (
        b"p",
        b"h",
        b"w",
        b"a/w",
        b"h",
        b"h a/w",
    )
    assert argv("p", b"h", b"w") == (b"p", b"h", b"w")


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("'' x", 0, "command is empty"),
        ("echo 'a", 5, "quote is not closed"),
        ("echo {", 5, "lone"),
        ("echo a}", 6, "lone"),
        ("echo {a!}", 5, "unknown placeholder {a!}"),
        ("a | b", 2, "--shell"),
        ("a > b", 2, "--shell"),
        ("echo $HOME", 5, "--shell"),
        ("a;b", 1, "--shell"),
        ("mkdir ~/{}", 6, "'~' needs a shell: add --shell, or quote it"),
        ("a X=~/{}", 4, "--shell"),
        ("ls *.c", 3, "--shell"),
        ("ls a?", 4, "--shell"),
        ("ls [ab]{}", 3, "--shell"),
        ("a \\", 2, "backslash"),
        ("a\0b", 1, "NUL"),
    ],
)
def test_a_bad_template_is_pointed_at(text: str, column: int, reason: str) -> None:
    """The error names the column where it goes wrong."""
    with pytest.raises(TemplateError, match=reason.replace("{", r"\{")) as caught:
        Template.parse(text)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "column"),
    [("echo '{}'", 6), ('echo "a {}"', 8), ("echo `x {}`", 8), ("cat <<E\n{}\nE", 8), ("echo $((x {}))", 10)],
)
def test_a_placeholder_that_quotes_cannot_protect_is_refused(text: str, column: int) -> None:
    """Inside quotes, backquotes and here-documents of a shell template an input could become more than one word."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(text, shell=BASH)
    assert caught.value.column == column


@pytest.mark.parametrize("text", ["echo ${X} {}", "{ echo {}; }", "echo a{1,2} {}", "echo {} # '{}", "cat <<<x; echo {}"])
def test_the_shell_keeps_its_own_braces(text: str) -> None:
    """What looks like a brace of ours but is the shell's stays as it is."""
    _, _, script = Template.parse(text, shell=BASH).bind().argv((b"a b",), 1)
    assert script == text.replace("{}", "'a b'", 1).encode()


def test_unknown_columns_are_named_before_anything_runs() -> None:
    """A column that does not exist, or a position beyond the last, is an error of the template."""
    with pytest.raises(TemplateError, match="no column 'hots'"):
        Template.parse("ping {hots}").bind(("host", "wait"))
    with pytest.raises(TemplateError, match="2 columns"):
        Template.parse("ping {3}").bind(("host", "wait"))


@given(st.lists(inputs, max_size=3), st.lists(inputs, max_size=3))
def test_different_inputs_have_different_keys(one: list[bytes], other: list[bytes]) -> None:
    """The identity of a job depends on the borders of its columns, too."""
    renderer = Template.parse("x {}").bind()
    assert (renderer.key(tuple(one)) == renderer.key(tuple(other))) == (one == other)


def test_different_templates_have_different_keys() -> None:
    """The same input is another job under another command, or under a shell."""
    keys = {
        Template.parse("a {}").bind().key((b"x",)),
        Template.parse("b {}").bind().key((b"x",)),
        Template.parse("a {}", shell=BASH).bind().key((b"x",)),
        Template.from_args(["a", "{}"]).bind().key((b"x",)),
    }
    assert len(keys) == 4


def test_a_list_is_taken_as_it_is() -> None:
    """Arguments that are given one by one are not split, and quotes in them mean nothing."""
    assert Template.from_args(["a b", "'{}'"]).bind().argv((b"x",), 1) == (b"a b", b"'x'")


def test_slots_are_filled_in_later() -> None:
    """{%} stays open until the slot is known."""
    renderer = Template.parse("x a{%}b{%} {}").bind()
    assert fill_slot(renderer.argv((b"3",), 1), 12) == (b"x", b"a12b12", b"3")


def test_what_is_shown_is_harmless() -> None:
    """Escape sequences and stray bytes in arguments are escaped for display, as $'...'."""
    assert display((b"a b", b"\x1b[31m", b"\xff", "ä".encode())) == r"'a b' $'\x1b[31m' $'\xff' 'ä'"


def test_the_shell_is_one_that_quotes_as_posix_says() -> None:
    """$SHELL when it is bash, zsh or ksh; never dash or fish."""
    assert os.path.basename(user_shell({"SHELL": "/usr/bin/fish", "PATH": os.environ["PATH"]})) in ("bash", "sh")
    assert user_shell({"SHELL": BASH, "PATH": ""}) == BASH


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("cat {} end", (b"cat", b"a.x", b"d/b c", b"end")),
        ("cat", (b"cat", b"a.x", b"d/b c")),
        ("cat '{/}' {.} {#}", (b"cat", b"a.x", b"b c", b"a", b"d/b c", b"1")),
        ("cat {name}", (b"cat", b"a.x", b"d/b c")),
        ("cat {2}-{1}{3}", (b"cat", b"d/b c-a.x")),
    ],
)
def test_several_inputs_in_one_command(text: str, argv: tuple[bytes, ...]) -> None:
    """A placeholder that is an argument stands for all of them, a number for one of them, which the last group may lack."""
    template = replace(Template.parse(text), group=3)
    assert template.bind(("name",)).argv((b"a.x", b"d/b c"), 1) == argv


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("cat {} | wc", b"cat a 'b c' | wc"),
        ("(cat {};true)", b"(cat a 'b c';true)"),
        ("x={1}; cat {.}", b"x=a; cat a 'b c'"),
        ("wc", b"wc a 'b c'"),
    ],
)
def test_several_inputs_in_one_script(text: str, script: bytes) -> None:
    """Each of them is a word of the shell."""
    template = replace(Template.parse(text, shell="/bin/sh"), group=2)
    assert template.bind().argv((b"a", b"b c"), 1)[2] == script


@pytest.mark.parametrize(
    ("text", "shell", "reason"),
    [
        ("cat x{}", None, "an argument of its own"),
        ("cat {}{}", None, "an argument of its own"),
        ("cat {.}.y", None, "an argument of its own"),
        ("cat x{}", "/bin/sh", "an argument of its own"),
        ("cat x\\ {}", "/bin/sh", "an argument of its own"),
        ("cat {4}", None, "3 inputs at most"),
    ],
)
def test_several_inputs_where_one_is_meant(text: str, shell: str | None, reason: str) -> None:
    """They would not be what was meant: refused, with the place."""
    with pytest.raises(TemplateError, match=reason):
        replace(Template.parse(text, shell=shell), group=3).bind()


def test_several_inputs_have_one_column() -> None:
    """Which of the columns an argument is nobody can say."""
    with pytest.raises(UsageError, match="and these have 2"):
        replace(Template.parse("cat"), group=2).bind(("a", "b"))


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1).filter(
        lambda words: words[0]
    )
)
def test_a_line_is_a_command(words: list[str]) -> None:
    """What `shlex.join` makes of arguments is these arguments, whatever they hold; braces mean nothing."""
    assume("\n" not in "".join(words) and "\r" not in "".join(words))
    assume(words[0] not in command_line._RESERVED)  # `if` and the like begin no command, and shlex does not quote them
    line = os.fsencode(shlex.join(words))
    assert Template.each_line().bind().argv((line,), 1) == tuple(map(os.fsencode, words))
    assert Template.each_line(shell="/bin/sh").bind().argv((line,), 1) == (b"/bin/sh", b"-c", line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a | b", "a pipe or a redirection"),
        ("a > b", "a pipe or a redirection"),
        ("ls *", "wildcard"),
        ("a $HOME", "needs a shell"),
        ("a 'b", "not closed"),
        ("a; b", "needs a shell"),
        ("~/x", "needs a shell"),
    ],
)
def test_a_line_that_only_a_shell_can_run(line: str, reason: str) -> None:
    """It is refused before it becomes a job, not run as something else."""
    with pytest.raises(InputError, match=reason):
        Template.each_line().bind().key((line.encode(),))
    Template.each_line(shell="/bin/sh").bind().key((line.encode(),))


# -- on every host -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "argv"),
    [
        ("do {} at {host}", (b"a", b"h"), [b"do", b"a", b"at", b"h"]),
        ("do {1} {2} {-1} {host}", (b"a", b"b", b"h"), [b"do", b"a", b"b", b"b", b"h"]),
        ("do {/.}", (b"x/y.z", b"h"), [b"do", b"y"]),
        ("do", (b"a", b"h"), [b"do", b"a"]),
        ("do", (b"h",), [b"do"]),
        ("do {host} {#}", (b"h\xff\n",), [b"do", b"h\xff\n", b"7"]),
    ],
)
def test_the_last_column_is_the_host(text: str, values: tuple[bytes, ...], argv: list[bytes]) -> None:
    """Only ``{host}`` stands for it; without a placeholder the input is appended, and the host is not."""
    template = replace(Template.parse(text), on_each=True)
    assert list(template.bind(width=len(values)).argv(values, 7)) == argv
    assert "host" not in template.fields


def test_a_host_is_quoted_for_a_shell() -> None:
    """As every input."""
    template = replace(Template.parse("echo {host}; {}", shell="/bin/sh"), on_each=True)
    assert template.bind(width=2).argv((b"a b", b"h$(x)"), 1)[2] == b"echo 'h$(x)'; 'a b'"


def test_whole_commands_have_no_host() -> None:
    """Each is what its line says."""
    template = replace(Template.each_line(), on_each=True)
    assert template.bind(width=2).argv((b"echo a", b"h"), 1) == (b"echo", b"a")


@pytest.mark.parametrize("text", ["do {}", "do {1}", "do {host} {/}"])
def test_without_inputs_there_are_only_hosts(text: str) -> None:
    """A placeholder for an input that cannot come is refused."""
    with pytest.raises(TemplateError, match="only hosts"):
        replace(Template.parse(text), on_each=True).bind(("host",))


def test_a_host_elsewhere() -> None:
    """The error says what it belongs to."""
    with pytest.raises(TemplateError, match=r"no column 'host'.*; with --on-each it is the host"):
        Template.parse("do {host}").bind()
