"""Drawings in each form: hostile text is text, nothing runs or is loaded, and everybody can read them on any screen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from browsers import Browser
from manyhands.core.errors import ManyhandsError
from manyhands.report.drawing import Drawing, Figure, Table
from manyhands.report.drawn_forms import in_form
from manyhands.report.plots import Axes, Bar, Line, Moment, Point, Stretch, bars, lanes, lines

EVIL = '</style></script><script>document.title="owned"</script><img src="x" onerror="document.title=1"> \x1b[2J\u202e\uffff | `x` [a](b)'


def drawing(text: str = EVIL) -> Drawing:
    """With each kind of chart, and this text wherever there is one."""
    some = [
        Line(f"{text}{n}", [Point(x, x * n, x * n - 0.5, x * n + 0.5) for x in (1.0, 2.0, 4.0, 8.0)]) for n in range(9)
    ]
    many = [Bar(f"{text}{n}", float(n), text[:9], n, bad=n == 3) for n in range(12)]
    ran = [Stretch(0, 0.0, 1.0), Stretch(0, 0.5, 2.0), Stretch(1, 1.0, 1.0)]
    return Drawing(
        text,
        text,
        [("what", text * 5)],
        [
            Figure("lines", text, text, partial(lines, some, Axes(text, text, log=True, dots=True))),
            Figure("share", text, text, partial(lines, some[:1], Axes(text, text, most=100))),
            Figure("bars", text, text, partial(bars, many, text)),
            Figure("lanes", text, text, partial(lanes, [text, "b"], ran, [Moment(1, 0.5)], 2.0, text), half=False),
        ],
        [Table(text, (text, "number"), [(text * 20, "1"), ("x", text)], frozenset((1,)), left_out=3)],
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page full of what is hostile."""
    path = tmp_path_factory.mktemp("page") / "p.html"
    path.write_bytes(in_form(drawing(), "html", "us"))
    return path


def test_hostile_text_is_text(browser: Browser, page: Path) -> None:
    """In titles, names, facts, tables and charts."""
    browser.open(page, script=False)
    assert browser.driver.title.startswith("</style></script>")
    assert browser.said() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return document.querySelectorAll('script, img, svg svg, iframe, object, a').length") == 0
    assert browser.run("return document.querySelectorAll('tbody td')[0].textContent").startswith(EVIL[:90])
    assert not set("\x1b\u202e\0") & set(page.read_text())
    browser.run("document.body.append(Object.assign(document.createElement('img'), {src: 'x.png'}))")
    browser.run("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}))")
    assert browser.driver.title.startswith("</style></script>")
    assert any("script-src" in one or "default-src" in one for one in browser.said())


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1400])
def test_any_screen_and_everybody(width: int, dark: bool, browser: Browser, page: Path) -> None:
    """Nothing is wider than a telephone; each picture has words and a form of its own for this width; axe finds nothing."""
    browser.open(page, width=width, dark=dark, script=False)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    shown = "[...document.querySelectorAll('svg')].filter((one) => getComputedStyle(one).display !== 'none')"
    kinds = browser.run(f"return {shown}.map((one) => one.getAttribute('class'))")
    assert kinds == ["narrow" if width == 360 else "wide"] * 4
    assert browser.run("return [...document.querySelectorAll('figcaption')].every((one) => one.textContent)")
    back, ink = (
        sum(map(int, browser.run(f"return getComputedStyle(document.body).{one}")[4:-1].split(",")))
        for one in ("backgroundColor", "color")
    )
    assert (back < ink) == dark
    assert browser.violations() == []


def test_a_picture_is_well_formed() -> None:
    """An SVG that a parser of XML takes, in which the names are text; a PNG."""
    picture = in_form(drawing(), "svg", "")
    assert not set("\x1b\u202e") & set(picture.decode())
    names = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(picture).iter()}
    assert not names & {"script", "image", "a", "foreignObject"}
    assert in_form(drawing("fine"), "png", "").startswith(b"\x89PNG")


def test_markdown_has_the_numbers() -> None:
    """And no HTML, no link and no cell that is not its own, whatever the text is."""
    text = in_form(drawing(), "md", "").decode()
    shown = MarkdownIt("commonmark").enable("table").parse(text)
    inner = [child.type for one in shown for child in one.children or ()]
    assert set(inner) == {"text"}
    assert not {"html_block", "code_block", "fence"} & {one.type for one in shown}
    assert sum(one.type == "td_open" for one in shown) == 4
    assert "... and 3 more" in text


def test_nothing_is_no_picture() -> None:
    """It says so; the page and Markdown have what there is."""
    empty = Drawing("nothing", "no look", [], [], [])
    with pytest.raises(ManyhandsError, match="no look: there is nothing to draw"):
        in_form(empty, "png", "")
    assert b"no look" in in_form(empty, "html", "")
    assert in_form(empty, "md", "") == b"# nothing\n\nno look\n"


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [0.0, 0.0]])
def test_few_values_are_a_picture_too(values: list[float]) -> None:
    """Of none, of one, and where all are 0."""
    points = [Point(float(x), y, y, y) for x, y in enumerate(values)]
    few = [
        Figure("a", "a", "a", partial(lines, [Line("a", points)], Axes("x", "y"))),
        Figure("b", "b", "b", partial(bars, [Bar("b", y, "y") for y in values], "x")),
        Figure("c", "c", "c", partial(lanes, ["c"], [], [Moment(0, y) for y in values], 1e-6, "x")),
    ]
    assert in_form(Drawing("few", "few", [], few, []), "png", "").startswith(b"\x89PNG")
