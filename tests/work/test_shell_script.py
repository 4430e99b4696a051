"""Templates for a shell: an input arrives exactly as it is, or the template is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from manyhands.core.errors import InputError, TemplateError
from manyhands.work.template import Template

pytestmark = pytest.mark.usefixtures("options_typed")

BASH = shutil.which("bash") or "/bin/bash"


def script(text: str, value: bytes = b"a b", shell: str = BASH) -> bytes:
    """What the shell is given."""
    made = Template.parse(text, shell=shell).bind().argv((value,), 1)[2]
    assert isinstance(made, bytes)
    return made


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("echo $((1<<2)) {}", "4 a b"),
        ("echo $((1 + (2))) {}", "3 a b"),
        ("cat <<'E'; echo {}\n' \" ` $(\nE\necho $((1<<1)) {}", "' \" ` $( a b 2 a b"),
        ("cat <<-'E F' <<X\n\tx'\n\tE F\ny\\\nX\nz\nX\necho {}", "yX z a b"),
        ("cat <<< x; echo {}", "x a b"),
        (r"echo $'it\'s' {}", "it's a b"),
        (r"echo \' {} \" {}", "' a b \" a b"),
        (r'echo "\"" {}', '" a b'),
        ('echo "$(printf "<%s>" {})"', "<a b>"),
        ("echo $(printf '<%s>' {}) `echo x`", "<a b> x"),
        ("echo $(( $(printf '%s' {} | wc -c) + 1 ))", "4"),
        ("echo $(case x in x) echo {};; esac) {}", "a b a b"),
        ("case {} in 'a b') echo yes {};; *) echo no;; esac", "yes a b"),
        ("(echo {}); { echo {}; }; if true; then echo {}; fi", "a b a b a b"),
        ('for i in {}; do echo "$i"; done; for ((i=0; i<1; i++)); do echo {}; done', "a b a b"),
        ('a=({} x); echo "${a[0]}" # don\'t\necho {}', "a b a b"),
        ('x={}; export Y={}; echo "$x $Y"', "a b a b"),
        ("[[ {} == 'a b' ]] && [ {} = 'a b' ] && echo {}", "a b"),
        ('f() { echo "$1"; }; f {} && echo {#} $((1+{#}))', "a b 1 2"),
        ("echo ${X:-'}'} ${X:-\"}\"} {}", "} } a b"),
        ("cat <(echo {}) 2>&1", "a b"),
        ("echo {{}} {}", "{} a b"),
        ("sh -c 'echo \"$1\"' sh {}", "a b"),
        ("echo x", "x a b"),
        ("true && echo", "a b"),
    ],
)
def test_what_can_be_quoted_is_accepted(text: str, printed: str) -> None:
    """Arithmetic, here-documents, quotes of every kind, substitutions, and commands of every kind may stand around an input."""
    done = subprocess.run([BASH, "-c", script(text)], capture_output=True, text=True, check=False)
    assert (" ".join(done.stdout.split("\n")).strip(), done.stderr) == (printed, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo $(( {} + 1 ))", "arithmetic"),
        ("(( {} > 1 ))", "arithmetic"),
        ("for ((i={}; i<3; i++)); do :; done", "arithmetic"),
        ("echo $[ {} ]", "arithmetic"),
        ("let x={}", "let reads"),
        ("[[ {} -eq 1 ]]", "[[ reads"),
        ("[[ 1 -lt {} ]]", "[[ reads"),
        ("[[ -v {} ]]", "[[ reads"),
        ("test -v {}", "test reads"),
        ("printf -v {} x", "printf reads"),
        ("a[{}]=1", "subscript"),
        ("a=([{}]=1)", "subscript"),
        ("echo ${a[{}]}", "${...}"),
        ("echo ${x:-{}}", "${...}"),
        ("unset {}", "unset reads"),
        ("declare {}", "declare reads"),
        ("declare -i n={}", "declare reads"),
        ("export -n {}", "export reads"),
        ("read {}", "read reads"),
        ("declare -i n; n={}", "hold a number"),
        ("eval echo {}", "eval reads"),
        ("X=1 command eval {}", "eval reads"),
        ("'eval' {}", "eval reads"),
        ("\\eval {}", "eval reads"),
        ("trap {} EXIT", "trap reads"),
        ("PS4={}; set -x", "PS4= holds"),
        ("BASH_ENV={} bash x", "BASH_ENV= holds"),
        ("alias {}", "alias reads"),
        ("echo '{}'", "quoted for you"),
        ('echo "a {}"', "quoted for you"),
        (r"echo $'a\' {} '", "quoted for you"),
        ('echo $"{}"', "quoted for you"),
        ("echo `x {}`", "backquotes"),
        ('echo "`x {}`"', "backquotes"),
        ("cat <<E\n{}\nE", "here-document"),
        ("cat <<'E'\n{}\nE", "here-document"),
        ("cat <<-E\n\tE x\n{}\n\tE", "here-document"),
        ("cat <<E\nx\\\nE\n{}\nE", "here-document"),
        ("echo $(cat <<E\nE\n) {}", "not certain"),
        ("cat <<$x\n{}", "not certain"),
        ('echo "${x:-\'}" {}', "differs from shell"),
        ("echo $((a) ) {}", "put a blank"),
        ("echo a(b {}", "parenthesis"),
        ("a=(x; echo {}", "not closed"),
        ("a=(x {}", "not closed"),
        ("echo 'x", "not closed"),
        ("echo x #", "follow a comment"),
        ("echo x;", "write {}"),
        ("(echo x)", "write {}"),
        ("cat <<E", "write {}"),
        ("echo >", "write {}"),
        ("echo x \\", "write {}"),
        ("eval", "eval reads"),
    ],
)
def test_where_quoting_does_not_protect_is_refused(text: str, reason: str) -> None:
    """What a shell would evaluate, or what is quoted already; the error says why, and where."""
    with pytest.raises(TemplateError, match=re.escape(reason)) as caught:
        Template.parse(text, shell=BASH)
    column = caught.value.column
    assert text[column : column + 2] == "{}" or "{}" not in text or reason == "not closed"


@pytest.mark.parametrize(
    ("text", "shell"),
    [
        (r"echo $'a\' {} '", "/bin/dash"),
        ("echo $[1] {}", "/bin/sh"),
        ("[ {} -eq 1 ]", "/bin/zsh"),
        ("exit {}", "/bin/zsh"),
        ("printf '%d' {}", "/bin/ksh"),
    ],
)
def test_shells_differ(text: str, shell: str) -> None:
    """What only some shells know or evaluate is refused for those where it is not safe."""
    with pytest.raises(TemplateError):
        Template.parse(text, shell=shell)
    for safe in ("[ {} -eq 1 ]", "exit {}", "printf '%d' {}"):
        assert script(safe, b"1") == safe.replace("{}", "1").encode()


@pytest.mark.parametrize(
    "text",
    [
        "ssh host ls {}",
        "ssh -p 22 {} df\\ {}",
        "sh -c echo\\ {}",
        "env A=1 bash -ec x{}",
        "xargs -0 sh -c x{}",
        "ssh host",
        "sudo ssh host ls {}",
        "true; su me -c x{}",
        "if true; then watch ls {}; fi",
    ],
)
def test_what_another_program_reads_again_must_mean_itself(text: str) -> None:
    """Such inputs as no shell gives a meaning pass, others are refused with the way out."""
    assert script(text, b"/srv/a-1.txt").count(b"/srv/a-1.txt") >= 1
    with pytest.raises(InputError, match="could run anything: with --shell"):
        script(text, b"$(x)")


_PIECES = [
    "p {}",
    " {} ",
    "'",
    '"',
    "$'",
    '$"',
    "`",
    "\\",
    "\\'",
    "$(",
    "$((",
    "((",
    "))",
    ")",
    "(",
    "${x",
    "${x:-",
    "}",
    "{ ",
    "; }",
    "$[",
    "]",
    "a[",
    "]=",
    "<<E\n",
    "<<'E'\n",
    "\nE\n",
    "<<<",
    " #",
    "\n",
    "; ",
    "| ",
    "&& ",
    "case x in ",
    "x) ",
    ";; ",
    "esac",
    "if true; then ",
    "fi",
    "[[ ",
    " ]]",
    " -eq 1",
    "a=(",
    "x=",
    "<(",
    "eval ",
    "let ",
    "f() ",
    "1",
    "$((1<<2)) ",
    "cat <<E\nx'\nE\n",
    "$'a\\'b' ",
    '"$(p {})" ',
    "# don't\n",
]
_HOSTILE = [
    "$(touch @)",
    "`touch @`",
    "';touch @;'",
    '";touch @;"',
    "\ntouch @\n",
    "a[$(touch @)]",
    "x'\"`\ntouch @\n",
    "\nE\ntouch @\n",
    "));touch @;((",
    "}$(touch @)",
    "a\\';touch @;#",
]


_WHOLE = [
    "p {}",
    "p $((1<<2)) {}",
    "cat <<E\nx'\nE\np {}",
    "case {} in x) p {};; esac",
    "p $'a\\'b' {}",
    'p "$(p {})" "$x"',
    "(p {})",
    "a=({}); p x",
    "x={}; p $x",
    "p <(p {})",
    "p {} # don't\np {}",
    "[[ {} == x ]] && p {}",
    "p ${x:-'}'} {}",
    "for i in {}; do p $i; done",
    "p \\' {}",
    "p {} | p",
]


@st.composite
def templates(draw: st.DrawFn) -> str:
    """What a shell accepts, with something put in at random places."""
    text = "; ".join(draw(st.lists(st.sampled_from(_WHOLE), min_size=1, max_size=2)))
    for piece in draw(st.lists(st.sampled_from(_PIECES), max_size=3)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + piece + text[at:]
    return text


_OWN_AFFAIR = re.compile(r"(?:^|[\n;&|(){}!`]|\b(?:do|then|else|time))\s*\$\{?[ix]|eval.*\$\{?[ix]", re.DOTALL)
"""A variable of the template in the place of a command, or after ``eval``."""


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates(), st.lists(st.sampled_from(_HOSTILE), min_size=1, max_size=3))
@example("a=(p {}; p {}", ["\ntouch @\n"])
@example("x #", ["\ntouch @\n"])
@example("[[ x == x a=(a=(]] && p {}", ["\ntouch @\n"])
@example("$eval eval ", ["';touch @;'", "$(touch @)"])
def test_no_input_ever_runs(tmp_path: Path, text: str, hostile: list[str]) -> None:
    """Whatever the template, with real bash: it is refused, or nothing that an input says is carried out. What the script itself has
    evaluated of a variable is its own affair (docs/promises.md)."""
    assume(not _OWN_AFFAIR.search(text))
    sign = tmp_path / "carried-out"
    sign.unlink(missing_ok=True)  # of an example that failed: the smallest one is looked for
    for one in hostile:
        try:
            code = script(text, one.replace("@", str(sign)).encode())
        except (TemplateError, InputError):
            return
        defined = b'p() { printf "<%s>" "$@"; }\n' + code
        subprocess.run(
            [BASH, "-c", defined], stdin=subprocess.DEVNULL, capture_output=True, cwd=tmp_path, timeout=60, check=False
        )
        assert not sign.exists()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=20).filter(lambda value: b"\0" not in value))
def test_an_accepted_input_arrives_exactly(value: bytes) -> None:
    """In every position that is accepted, bash hands on the very bytes."""
    text = 'p {}; p "$(printf %sx {})"; case {} in *) p {};; esac; x={}; p "$x"; a=({}); p "${{a[0]}}"; cat <<E >&2\n\'\nE\np $((1<<2)){}'
    defined = b"p() { printf '%s\\0' \"$@\"; }\n" + script(text.replace("{{", "{").replace("}}", "}"), value)
    done = subprocess.run([BASH, "-c", defined], capture_output=True, check=True)
    assert done.stdout.split(b"\0") == [value, value + b"x", value, value, value, b"4" + value, b""]
