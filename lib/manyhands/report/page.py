"""The page: one file, without a network, that opens from a disk. It may run one script, its own, known by its hash; all text of jobs is
escaped, or is data that this script only puts in as text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from manyhands.core.safe_text import one_line
from manyhands.render.words import duration
from manyhands.report.attempts import BAD, OK, STATES
from manyhands.report.captions import captions
from manyhands.report.failure_groups import Group
from manyhands.report.job_rows import JobRows, Slow
from manyhands.report.look import Look

SIGNS: Final = ("✓", "✕", "▲", "◆", "●", "○", "▶", "…")
"""Of each state: what tells it without a colour."""
WORDS: Final = ("ok", "failed", "timed out", "lost", "cancelled", "skipped", "running", "left")
_GROUPS: Final = 25
_ROOM: Final = 300_000
"""Characters of all that the groups show of output."""


def page(look: Look, pictures: Mapping[str, str]) -> Iterator[str]:
    """The whole page, in pieces; ``pictures``: SVG elements by name, in both widths. It can be made once of a ``look``."""
    script, style = part("page.js"), part("page.css")
    policy = (
        f"default-src 'none'; script-src {hash_of(script)}; style-src {hash_of(style)}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    yield head(one_line(f"{look.run}: {look.what}", 120), policy, style)
    yield '<a class="skip" href="#all-jobs">to the table of all jobs</a>\n'
    yield from _head(look)
    yield "<main>\n"
    yield from _overview(look)
    yield from _failures(look.groups)
    yield from _pictures(look, pictures)
    yield from _table(look)
    yield "</main>\n"
    yield footer(f"manyhands {look.version} on {look.made}")
    yield from _data(look.rows)
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def head(title: str, policy: str, style: str) -> str:
    """All before the body, which begins. ``policy``: what the page may do, as Content-Security-Policy has it."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )


def footer(made_by: str) -> str:
    """Who made it, and when."""
    return f"<footer>Made by {_text(made_by)}. This page is complete: it loads nothing.</footer>\n"


def part(name: str) -> str:
    """A file beside this one."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """What names a script or a style in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return html.escape(text)


def _sign(state: int) -> str:
    return f'<span class="sign s-{STATES[state]}" aria-hidden="true">{SIGNS[state]}</span>'


def _head(look: Look) -> Iterator[str]:
    bad = sum(look.counts[state] for state in BAD)
    kind = "badge bad" if bad or look.state in ("left", "damaged") else "badge"
    yield f'<header class="top"><h1>{_text(one_line(look.what, 1000))}</h1>\n'
    yield f'<p class="verdict"><span class="{kind}">{_text(look.verdict)}</span> run {_text(look.run)}</p></header>\n'


def _overview(look: Look) -> Iterator[str]:
    yield '<div class="tiles"><h2 class="hidden">How it ended</h2><dl class="counts">'
    for state, count in enumerate(look.counts):
        if count or state == OK:
            yield f"<div><dt>{_sign(state)}{WORDS[state]}</dt><dd>{count:,}</dd></div>"
    for name, value in look.figures:
        yield f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
    yield f"</dl>\n{_share(look.counts)}</div>\n"
    yield '<section aria-labelledby="h-facts"><h2 id="h-facts">What, when, where</h2><dl class="facts">'
    for name, value in look.facts:
        long = ' class="long"' if name in ("command", "folder", "hosts") else ""
        yield f"<dt>{_text(name)}</dt><dd{long}>{_text(value)}</dd>"
    yield "</dl></section>\n"


def _share(counts: Sequence[int]) -> str:
    """A bar of the shares of all states; nothing of 0 jobs."""
    whole, at, parts = sum(counts), 0.0, []
    for state, count in enumerate(counts):
        if count:
            width = 1000 * count / whole
            parts.append(f'<rect class="f-{STATES[state]}" x="{at:.2f}" width="{max(width - 1, 0.8):.2f}" height="10"/>')
            at += width
    if not whole:
        return ""
    return (
        f'<svg class="share" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'
    )


def _failures(groups: Sequence[Group]) -> Iterator[str]:
    if not groups:
        return
    yield '<section aria-labelledby="h-failures"><h2 id="h-failures">Failures, by what is different in them</h2>\n'
    room = _ROOM
    for place, group in enumerate(groups[:_GROUPS]):
        jobs = ", ".join(f'<a href="#job-{number}">{number}</a>' for number in group.jobs)
        more = ", …" if group.number > len(group.jobs) else ""
        noun = "job" if group.number == 1 else "jobs"
        how = group.how.removeprefix("was ")
        line = f'<span class="line">{_text(group.line)}</span>' if group.line else ""
        yield f"<details{' open' if place < 3 else ''}><summary><b>{group.number:,}</b> {noun} {_text(how)}{line}</summary>\n"
        yield f'<p class="what">{noun} {jobs}{more}; the first one, with the input {_text(group.first_input)}:</p>'
        for name, text in (("standard error", _text(group.stderr)), ("standard output", _text(group.stdout))):
            if text and len(text) < room:
                room -= len(text)
                yield f'<p class="what">{name}</p><pre tabindex="0" aria-label="{name}">{text}</pre>'
        if not group.stderr and not group.stdout:
            yield '<p class="what">it printed nothing</p>'
        yield "</details>\n"
    if len(groups) > _GROUPS:
        left = groups[_GROUPS:]
        yield f'<p class="note">... and {len(left):,} other ways, {sum(one.number for one in left):,} jobs: they are in the table</p>'
    yield "</section>\n"


def _pictures(look: Look, pictures: Mapping[str, str]) -> Iterator[str]:
    if not pictures:
        yield '<section><p class="note">No job has begun, so there is nothing to draw.</p></section>\n'
        return
    seen = [state for state in range(len(STATES)) if state in look.drawn]
    legend = "".join(f"<li>{_sign(state)}{WORDS[state]}</li>" for state in seen)
    yield f'<section aria-labelledby="h-time"><h2 id="h-time">Timeline</h2><ul class="legend">{legend}</ul>\n'
    yield f"{_figure('lanes', look, pictures)}</section>\n"
    yield '<section aria-labelledby="h-flow"><h2 id="h-flow">Width, throughput, CPU, memory</h2><div class="pair">'
    yield from (_figure(name, look, pictures) for name in ("width", "throughput", "cores", "memory") if name in pictures)
    yield '</div></section>\n<section aria-labelledby="h-times"><h2 id="h-times">Run times</h2><div class="pair">'
    yield from (_figure(name, look, pictures) for name in ("times", "distribution"))
    yield f"</div>{_slowest(look.rows.slowest)}</section>\n"


def _figure(name: str, look: Look, pictures: Mapping[str, str]) -> str:
    title, told = captions(look.attempts, look.clock)[name]
    return figure(title, told, pictures[name])


def figure(title: str, told: str, picture: str) -> str:
    """A picture with its words; ``picture``: SVG elements."""
    heading = f"<h3>{_text(title)}</h3>" if title else ""
    return f'<figure>{heading}<div class="scroll">{picture}</div><figcaption>{_text(told)}</figcaption></figure>\n'


def _slowest(slow: Sequence[Slow]) -> str:
    if len(slow) < 2:
        return ""
    rows = "".join(
        f'<tr><td class="n"><a href="#job-{one.number}">{one.number}</a></td><td class="w">{_text(one.input)}</td>'
        f"<td>{_sign(STATES.index(one.state))}{WORDS[STATES.index(one.state)]}</td>"
        f'<td class="n">{duration(one.wall)}</td><td class="bar far"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="f-{one.state}" width="{100 * one.wall / slow[0].wall:.1f}" height="8"/></svg></td></tr>'
        for one in slow
    )
    head = '<th scope="col" class="n">job</th><th scope="col">input</th><th scope="col">status</th><th scope="col" class="n">time</th><td class="far"></td>'
    return f'<h3>The slowest jobs</h3><div class="scroll"><table class="slow"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _table(look: Look) -> Iterator[str]:
    rows = look.rows
    left = rows.bad.left_out + rows.well.left_out
    yield '<section id="all-jobs" aria-labelledby="h-jobs"><h2 id="h-jobs">All jobs</h2>\n'
    if left:
        yield f'<p class="note">{left:,} jobs have no room in this page: {_text(look.command)} shows them.</p>'
    yield '<noscript><p class="note">This table needs JavaScript; all else in this page does not.</p></noscript>\n'
    yield '<div class="tools"><label class="find">find in input, output and host<input id="find" type="search" autocomplete="off" spellcheck="false"></label>'
    yield '<label>status<select id="state"><option value="">all</option>'
    if any(look.counts[state] for state in BAD):
        yield '<option value="bad">not ok</option>'
    yield from (f'<option value="{n}">{WORDS[n]} ({count:,})</option>' for n, count in enumerate(look.counts) if count)
    if look.retries:
        yield '<option value="again">tried again</option>'
    yield "</select></label></div>\n"
    yield '<div class="scroll"><table id="jobs"><thead><tr>'
    for key, name, kind in _columns(look):
        yield f'<th scope="col" class="{kind}"{_SORTED if key == 0 else ""}><button type="button" data-key="{key}">{name}</button></th>'
    yield "</tr></thead><tbody></tbody></table></div>\n"
    yield '<div class="foot"><button class="page" id="before" type="button" disabled>previous</button>'
    yield '<button class="page" id="after" type="button" disabled>next</button><span id="shown" role="status" aria-live="polite"></span></div></section>\n'
    meta = {
        "created": look.created,
        "states": STATES,
        "signs": SIGNS,
        "words": WORDS,
        "bad": sorted(BAD),
        "stages": look.stages,
        "hosts": [one_line(host or look.here, 100) for host in rows.hosts],
        "memory": look.has_memory,
        "cpu": look.has_cpu,
        "retries": look.retries,
        "command": look.command,
    }
    text = json.dumps(meta).replace("<", "\\u003c")
    yield f'<script type="application/json" id="meta">{text}</script>\n'


_SORTED: Final = ' aria-sort="ascending"'


def _columns(look: Look) -> Iterator[tuple[int, str, str]]:
    """(the place in a row, the name, the classes) of each column."""
    yield from ((0, "job", "n"), (1, "input", ""), (2, "status", ""), (3, "time", "n"))
    if look.retries:
        yield 5, "tries", "n far"
    yield 4, "began", "far"
    if look.stages > 1:
        yield 6, "stage", "n far"
    if len(look.rows.hosts) > 1:
        yield 7, "host", "far"
    if look.has_memory:
        yield 8, "MiB", "n far"
    if look.has_cpu:
        yield 9, "CPU", "n far"


def _data(rows: JobRows) -> Iterator[str]:
    for name, packed in (
        ("rows-bad", rows.bad),
        ("rows-well", rows.well),
        ("output-bad", rows.bad_output),
        ("output-well", rows.well_output),
    ):
        yield f'<script type="application/octet-stream" id="{name}">{packed.base64()}</script>\n'
