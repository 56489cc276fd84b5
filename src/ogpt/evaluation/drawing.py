"""What all figures share: one palette on white, text that stays text, and SVG for pages.

Inlined in a page, each colour becomes a CSS variable of its name, so the page sets light and dark
colours.
"""

from __future__ import annotations

import io
import re
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ogpt.errors import BackendMissing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1d2129",
    "faint": "#6a7180",
    "rule": "#dfe2e8",
    "train": "#a9bfdc",
    "valid": "#0b5cad",
    "opponent": "#b3501b",
    "third": "#2f7a55",
    "fourth": "#7b4b9e",
}
"""The colour of each role. All differ, as `inline_svg` recognizes a role by its colour."""

FONT = 11
"""Pixels."""
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, found and copied
    "font.size": FONT,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["faint"],
    "axes.edgecolor": COLOURS["rule"],
    "xtick.color": COLOURS["faint"],
    "ytick.color": COLOURS["faint"],
    "grid.color": COLOURS["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}

_XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
_INCH = 72  # matplotlib's SVG has 72 units to the inch; one unit is one CSS pixel


def require_matplotlib() -> None:
    """Check that figures can be drawn.

    Raises:
        BackendMissing: matplotlib is not installed.
    """
    try:
        import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"drawing figures needs matplotlib: {error}", hint="pip install 'ogpt[report]'"
        ) from error


def inline_svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element for an HTML page, with the page's CSS variables as colours.

    Args:
        figure: The figure.
        label: Alternative text, for readers who cannot see it.
    """
    buffer = io.BytesIO()
    # its own salt gives each figure of a page its own ids
    save_figure(figure, buffer, "svg", salt=f"{label} {figure.get_figwidth()}", transparent=True)
    svg = buffer.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z0-9.]+_\d+"', "", svg)  # ids of groups, equal in every figure
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    opening = re.compile(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>')
    svg = opening.sub(rf'<svg role="img" aria-label="{escape(label)}" {_XLINK} \1>', svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def both_widths(wide: Figure, narrow: Figure, label: str) -> str:
    """The figure for wide and for narrow screens; the page shows one of them."""
    return "".join(
        f'<div class="{name}">{inline_svg(figure, label)}</div>'
        for name, figure in (("wide", wide), ("narrow", narrow))
    )


def empty_figure(width: int, height: int, grid: Literal["x", "y"]) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes and lines of a grid; sizes in pixels."""
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width / _INCH, height / _INCH))
        axes = figure.add_subplot()
        axes.grid(axis=grid)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    return figure, axes


def save_figure(
    figure: Figure,
    target: Path | io.BytesIO,
    kind: str,
    *,
    salt: str = "ogpt",
    transparent: bool = False,
) -> None:
    """Write the figure as svg or png; the same figure gives the same bytes.

    Args:
        figure: The figure.
        target: A file, or memory.
        kind: svg or png.
        salt: Of the ids in an SVG; figures of one page need different ones.
        transparent: Whether there is no background.
    """
    from matplotlib import rc_context

    facts = {"Date": None} if kind == "svg" else {}  # the same picture has the same bytes
    with rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure.savefig(target, format=kind, dpi=144, metadata=facts, transparent=transparent)
