"""A matplotlib figure as part of an HTML page: small, in the page's colours, readable aloud.

Text stays text. Colours become the page's variables, so that one drawing serves the light and the
dark scheme. Ids are made unique within the page, and whatever refers outside of it is left out.
"""

import io
import re
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from seqgan.report.charts import SERIES

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
INK, GRID = "#101112", "#d0d1d2"  # stand for the page's colours until they are replaced
VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", "#ffffff": "var(--card)"} | {
    colour.lower(): f"var(--series-{index})" for index, colour in enumerate(SERIES)
}
SIZE = (4.5, 3.1)  # inches, of 72 units each: a phone shows a chart at about its own size
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seqgan",  # the same chart, the same file
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> Markup:
    """The figure's drawing as an `<svg>` element. Drawn best within `STYLE`.

    Args:
        prefix: of all ids; another one for each drawing of a page.
        title: what a screen reader says of it, with the description.
    """
    file = io.StringIO()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    for unwanted in root.findall(f"{SVG}metadata"):
        root.remove(unwanted)
    for definitions in root.findall(f"{SVG}defs"):
        for style in definitions.findall(f"{SVG}style"):  # would hold for the whole page
            definitions.remove(style)
    used = _references(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        _clean(element, used, prefix)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-description",
    }
    for tag, text in (("desc", description), ("title", title)):
        told = ElementTree.Element(
            tag, {"id": f"{prefix}-{'title' if tag == 'title' else 'description'}"}
        )
        told.text = text
        root.insert(0, told)
    for element in root.iter():
        element.tail = None  # line breaks for nobody
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _references(root: ElementTree.Element) -> set[str]:
    """The ids that something in the drawing refers to."""
    values = " ".join(value for element in root.iter() for value in element.attrib.values())
    return set(re.findall(r"#([\w.-]+)", values))


def _clean(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    """One element in the page's terms."""
    attributes = {}
    for name, value in element.attrib.items():
        if name == "id":
            if value in used:
                attributes["id"] = f"{prefix}-{value}"
        elif name == f"{XLINK}href":
            attributes["href"] = f"#{prefix}-{value.removeprefix('#')}"
        elif name == "clip-path":
            attributes[name] = value.replace("url(#", f"url(#{prefix}-")
        elif name == "style":
            attributes[name] = _style(value)
        elif name == "d":
            attributes[name] = _shorter(" ".join(value.split()))
        else:
            attributes[name] = _shorter(value)
    element.attrib = attributes


def _style(style: str) -> str:
    """The page's colours, and its font."""
    style = re.sub(r"font-family: [^;]+(; )?", "", style)
    return re.sub(r"#[0-9a-f]{6}", lambda found: VARIABLES.get(found[0], found[0]), style)


def _shorter(numbers: str) -> str:
    """Numbers with two decimals at most: a hundredth of a unit is invisible."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", numbers)
