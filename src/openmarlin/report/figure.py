"""What every plot shares: ink, colours, axes, and the way from matplotlib into a page.

The page's own colours and fonts apply: what should follow the text colour is drawn in a stand-in
colour that becomes `currentColor`, so one picture suits a light and a dark page.
"""

from __future__ import annotations

import io
import warnings
from typing import Any
from xml.dom import minidom

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Told apart by lightness as well as hue, and legible on white and on near-black.
PALETTE = (
    "#3b82c4", "#e07b39", "#2a9d78", "#c2508f", "#8b6fd6", "#b8921a",
    "#1fa3b5", "#d1495b", "#7a9a2e", "#9b7653", "#6474e5", "#7d8894",
)  # fmt: skip
DISTINCT = len(PALETTE)
DASHES = ("-", "--", ":", "-.")
INK = "#010203"
"""Stand-in for the colour of text."""
FEW_POINTS = 40
"""So many are marked one by one."""

Values = npt.NDArray[np.float64]
Curve = tuple[Values, Values]
"""Steps (n,) and values (n,)."""


def face_colours(count: int) -> list[str]:
    """Hex colours of `count` faces: distinct ones while there are enough, then a ramp of hues."""
    if count <= DISTINCT:
        return list(PALETTE[:count])
    hues = np.linspace(0.6, 1.4, count) % 1
    rgb = mpl.colors.hsv_to_rgb(np.stack([hues, *np.full((2, count), [[0.65], [1]])], axis=1))
    lightness = rgb**2.2 @ np.array([0.2126, 0.7152, 0.0722])  # relative luminance, about
    rgb = np.clip(rgb * (0.2 / lightness[:, None]) ** (1 / 2.2), 0, 1)
    return [mpl.colors.to_hex(colour) for colour in rgb]


def draw_line(axes: Axes, number: int, label: str, curve: Curve, *, dots: bool) -> None:
    """The number-th curve; with `dots` its points are marked, while they are few."""
    marker = "o" if dots and len(curve[0]) <= FEW_POINTS else ""
    colour, dash = PALETTE[number % DISTINCT], DASHES[number % len(DASHES)]
    style: Any = {"color": colour, "linestyle": dash, "markersize": 3.5}
    axes.plot(*curve, linewidth=1.4, marker=marker, markeredgewidth=0, label=label, **style)


def draw_grid(axes: Axes) -> None:
    """A faint grid behind everything."""
    axes.grid(color=INK, alpha=0.1, linewidth=0.6)
    axes.set_axisbelow(True)


def draw_legend(axes: Axes, count: int) -> None:
    """Above the axes, where there is more than one curve."""
    if count > 1:
        above: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        look: Any = {"fontsize": 8, "labelcolor": INK, "handlelength": 2.2, "frameon": False}
        legend = axes.legend(ncols=legend_columns(count), **look, **above)
        for text in legend.get_texts():
            text.set_parse_math(False)


def legend_columns(count: int) -> int:
    """Of a legend of so many names."""
    return 1 if count < 5 else 2


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A clear figure of width x height inches with one set of axes, everything in the ink."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    dress(axes)
    return figure, axes


def dress(axes: Axes) -> None:
    """Everything in the ink, on no ground of its own."""
    axes.patch.set_alpha(0)
    axes.tick_params(colors=INK, labelsize=8, width=0.6, length=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, size=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set(color=INK, alpha=0.35, linewidth=0.6)


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element; `name` keeps the ids of several on one page apart."""
    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "svg.image_inline": True}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The browser draws the text, with its own fonts.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing", category=UserWarning)
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None})
    return _for_a_page(buffer.getvalue().replace(INK, "currentColor"), name)


def _for_a_page(text: str, name: str) -> str:
    """A whole SVG file as an element of a page, which sizes it; ids become its own."""
    # minidom keeps prefixes as they are; ElementTree would have them registered process-wide.
    root: Any = minidom.parseString(text).documentElement
    for key in ("width", "height", "xmlns:xlink"):
        root.removeAttribute(key)
    for metadata in root.getElementsByTagName("metadata"):
        metadata.parentNode.removeChild(metadata)
    for element in [root, *root.getElementsByTagName("*")]:
        for key, value in element.attributes.items():
            if key == "id":
                element.setAttribute(key, f"{name}-{value}")
            elif key == "xlink:href":
                element.removeAttribute(key)
                link = f"#{name}-{value[1:]}" if value.startswith("#") else value
                element.setAttribute("href", link)
            elif "url(#" in value:
                element.setAttribute(key, value.replace("url(#", f"url(#{name}-"))
    return str(root.toxml())
