"""Charts as SVG or PNG by vl-convert: no browser, no network. In a page the colours are variables, so that one picture is light and dark."""

from __future__ import annotations

import re
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.core.safe_text import harmless
from manyhands.report.charts import COLOURS, GRID, INK, MUTED, PAPER, SECOND

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_VARIABLES: Final = {colour: f"var(--{name})" for name, colour in COLOURS.items()} | {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SECOND: "var(--second)",
    PAPER: "var(--paper)",
}
_NO_XML: Final = re.compile("[\ufffe\uffff]")
_ID: Final = re.compile(r'((?:\bid="|url\(#|href="#))')


def check_installed(what: str = "a report") -> None:
    """Raise UsageError, which names what to install, unless pictures can be made; ``what``: for which they are needed."""
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        name = (error.name or "altair").replace("_", "-")
        raise UsageError(f"{what} needs the extra 'report': {name} is not installed: {install_line('report')}") from None


def _specification(chart: Any, *, background: str) -> dict[str, Any]:
    import altair as alt

    axis = {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "gridColor": GRID,
        "titleFontWeight": "normal",
    }
    chart = chart.configure(font=_FONT, aria=False, background=background)
    chart = chart.configure_axis(**axis, labelFontSize=11, titleFontSize=11)
    chart = chart.configure_view(stroke=None).configure_title(
        color=INK, subtitleColor=MUTED, fontSize=15, subtitleFontSize=12
    )
    with alt.data_transformers.disable_max_rows():
        found: dict[str, Any] = _harmless(chart.to_dict())
    return found


def _harmless(value: Any) -> Any:
    """With no character in any text that XML does not have: vl-convert would not raise for one, but abort this process."""
    if isinstance(value, str):
        return _NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", harmless(value))
    if isinstance(value, dict):
        return {key: _harmless(inner) for key, inner in value.items()}
    return [_harmless(inner) for inner in value] if isinstance(value, list) else value


def _version() -> str:
    import altair as alt

    return "_".join(alt.SCHEMA_VERSION.split(".")[:2])


def to_svg(chart: Any) -> bytes:
    """For a file of its own."""
    import vl_convert

    found: str = vl_convert.vegalite_to_svg(_specification(chart, background=PAPER), vl_version=_version())
    return found.encode()


def to_png(chart: Any) -> bytes:
    """For a file, of twice as many pixels."""
    import vl_convert

    found: bytes = vl_convert.vegalite_to_png(_specification(chart, background=PAPER), vl_version=_version(), scale=2)
    return found


def to_part(chart: Any, name: str, kind: str) -> str:
    """For a page: an element without styles of its own, whose ids begin with ``name``, of the class ``kind``."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(_specification(chart, background="transparent"), vl_version=_version())
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'\bwidth="([0-9.]+)"', head)
    head = f'<svg class="{kind}" aria-hidden="true" {box[0] if box else ""} width="{width[1] if width else ""}"'
    body = re.sub(r' (?:style|class|aria-[a-z]+|role|font-family)="[^"]*"', "", body)
    body = _ID.sub(rf"\g<1>{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    return f"{head}>{_compact(body)}"


def _compact(text: str) -> str:
    """Coordinates to hundredths of a pixel."""
    return re.sub(r"-?\d+\.\d{3,}(?:e-?\d+)?", lambda match: f"{round(float(match[0]), 2):g}", text)
