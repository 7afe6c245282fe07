"""The style of all pictures: colours that colour-blind readers can tell apart, and fonts."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from matplotlib import font_manager

# Okabe and Ito's colours, told apart by colour-blind readers too; the light ones are darker here,
# to stand out from white.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
PURPLE, AMBER, SKY, BLACK = "#B85C97", "#C98A00", "#3A9BD6", "#000000"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, GREY, BLACK)  # of runs in one picture
MARKERS = "osD^vPX*"  # one for each of them

# Tried in order for samples in scripts that matplotlib's own font lacks.
WIDE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)


def font_families() -> list[str]:
    """The fonts of a picture that may show any script, in the order in which they are tried."""
    return [*_installed(WIDE_FONTS), "DejaVu Sans"]


def plain_style() -> Any:
    """Settings of matplotlib for a picture with names and texts of a person's own, of any script.

    A dollar sign is a dollar sign, and begins no formula.
    """
    return {"font.family": font_families(), "text.parse_math": False, "text.usetex": False}


def drawable_name(name: str) -> str:
    """A name of a person's own for a title or a legend, in one line."""
    shown = drawable(name, font_families())
    return f" {shown}" if shown.startswith("_") else shown  # legends leave out labels like _this


def drawable(text: str, families: Sequence[str]) -> str:
    """The text with characters that no font of the families has as [XXXX], not as empty boxes."""
    without = undrawable(text, families)
    return "".join(f"[{ord(one):04X}]" if one in without else one for one in text)


def undrawable(text: str, families: Sequence[str]) -> list[str]:
    """The characters of a text that no font of the families has, each once."""
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in families]
    return [
        character
        for character in dict.fromkeys(text)
        if not any(font.get_char_index(ord(character)) for font in fonts)
    ]


@cache
def _add_new_fonts() -> None:
    """Tells matplotlib of fonts that were installed after it made its list of them."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with suppress(RuntimeError, OSError):  # a font of bitmaps, say
                font_manager.fontManager.addfont(path)


def _installed(families: Sequence[str]) -> list[str]:
    _add_new_fonts()
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    return [family for family in families if family in known]
