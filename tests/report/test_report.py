"""The picture of a run, from hand-made run folders. Warnings are errors here, matplotlib's too."""

import io
import struct
import zlib

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recorded_runs import samples_of_both_ends, write_lines, write_run

from seqgan.evaluation.axes import NLL_HELDOUT, NLL_ORACLE
from seqgan.evaluation.planes.points import Panel
from seqgan.report.charts import (
    WIDE_FONTS,
    _add_new_fonts,
    drawable,
    font_families,
    plain_style,
)
from seqgan.report.frontier_chart import Series, frontier_figure
from seqgan.report.page import missing
from seqgan.report.picture import draw_report, font_hint
from seqgan.report.recorded import read_run

QUATRAIN = "床前明月光。疑是地上霜。举头望明月。低头思故乡。"
INFORMATION = "What it knows of unseen text"


@pytest.fixture
def make_run(tmp_path):
    def make(texts=("a man rides a bike .",), **options):
        return write_run(tmp_path / "run", samples=samples_of_both_ends(texts), **options)

    return make


@pytest.fixture
def drawn(monkeypatch):
    """Draws a report and gives its axes by title, those without a title under the empty one."""
    figures = []
    add = Figure.add_subplot

    def remember(self, *arguments, **settings):
        axes = add(self, *arguments, **settings)
        figures.append(axes)
        return axes

    monkeypatch.setattr(Figure, "add_subplot", remember)

    def draw(folder) -> dict[str, Axes]:
        figures.clear()
        draw_report(folder)
        return {axes.get_title(): axes for axes in figures}

    return draw


def png_size(path):
    """Width and height in pixels, after checking that the picture is complete."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-12:] == struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return struct.unpack(">II", content[16:24])


def test_report_is_a_picture(make_run):
    folder = make_run()
    before = sorted(folder.iterdir())
    target = draw_report(folder)
    assert target == folder / "report.png"
    assert png_size(target) == (1400, 950)
    assert sorted(folder.iterdir()) == sorted([*before, target])


def test_the_curves_are_the_files(make_run, drawn):
    axes = drawn(make_run())
    dev, train = axes["Pretraining of the generator ↓"].lines
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(train.get_ydata()) == [4, 2, 4 / 3]
    assert list(dev.get_ydata()) == [5, 2.5, 5 / 3]
    curve, final = axes["BLEU-4 against held-out NLL"].lines
    assert list(curve.get_xdata()) == pytest.approx([0.75, 0.5, 0.4])  # in order of temperature
    assert list(curve.get_ydata()) == pytest.approx([2.5, 2.0, 1.8])
    assert (list(final.get_xdata()), list(final.get_ydata())) == ([0.6], [2.2])
    (quality,) = axes["Quality: bleu_4 ↑"].lines
    assert list(quality.get_xdata()) == [0, 5, 10]
    assert list(quality.get_ydata()) == pytest.approx([0.5, 0.55, 0.6])
    (nll,) = axes["Diversity: held-out NLL ↓"].lines
    assert list(nll.get_ydata()) == pytest.approx([2.0, 2.1, 2.2])


def test_a_check_is_labelled_as_a_share(make_run, drawn):
    axes = drawn(make_run(quality="grammatical"))
    frontier = axes["grammatical rate against held-out NLL"]
    assert axes["Quality: grammatical ↑"].get_ylabel() == "grammatical rate (share of samples)"
    assert frontier.get_xlabel() == "grammatical rate (share of samples)\nbetter →"


def test_a_run_without_a_discriminator_says_so(make_run, drawn):
    axes = drawn(make_run(discriminator=False))
    for title in (INFORMATION, "Accuracy of the discriminator"):
        assert [text.get_text() for text in axes[title].texts] == ["not in this run"]
        assert not axes[title].lines


def test_information_is_drawn_with_two_standard_errors(make_run, drawn):
    axes = drawn(make_run())[INFORMATION]
    assert not axes.texts
    curve, zero = axes.lines
    assert list(curve.get_ydata()) == pytest.approx([0.1, 0.15, 0.2])
    assert set(zero.get_ydata()) == {0}
    band, _ = axes.patches  # and the healthy range
    corners = {(x, round(y, 6)) for x, y in band.get_xy().tolist()}
    assert corners == {(0, 0.08), (0, 0.12), (5, 0.13), (5, 0.17), (10, 0.18), (10, 0.22)}


def sample_lines(axes, side=0):
    """Lines of the samples before the game, or after it."""
    return axes[""].texts[side - 2].get_text().splitlines()


def test_samples_of_both_phases_at_most_five_each(make_run, drawn):
    axes = drawn(make_run([f"text {i}" for i in range(7)]))
    expected = [f"    text {i}" for i in range(5)]
    assert sample_lines(axes) == ["Samples before the game", *expected]
    assert sample_lines(axes, 1) == ["Samples after the game", *expected]
    before, after = axes[""].texts
    assert before.get_position()[0] < after.get_position()[0]


def test_samples_of_a_pair_begin_in_one_row(make_run, drawn):
    folder = make_run()
    long, rows = " ".join(["word"] * 60), []
    for phase, step, texts in (
        ("before the game", 0, ("a b", "c")),
        ("after the game", 9, (long, "d", "e")),
    ):
        rows += [{"step": step, "phase": phase, "text": text} for text in texts]
    write_lines(folder / "samples.jsonl", rows)
    axes = drawn(folder)
    assert sample_lines(axes)[1:] == ["    a b", "", "    c"]
    after = sample_lines(axes, 1)[1:]
    assert after[1].endswith("word ...")
    assert after[2:] == ["    d", "    e"]


def test_the_picture_and_the_page_name_the_package_that_has_a_font(make_run, drawn, monkeypatch):
    folder = make_run([QUATRAIN, "a man ."])
    monkeypatch.setattr("seqgan.report.charts.WIDE_FONTS", ())
    axes = drawn(folder)
    assert sample_lines(axes)[1].startswith("    [5E8A][524D]")
    hint = axes[""].texts[0].get_text()
    assert hint.startswith("No font here has [5E8A], for one: ")
    assert hint.endswith("Debian's and Ubuntu's package fonts-noto-cjk.")
    assert font_hint(read_run(folder)) == hint
    assert f"In report.png some characters are numbers. {hint}" in missing(read_run(folder))
    # No package is known for every character, and none is needed for these.
    for texts in (["\U0001f600 \ue000"], ["Ж é"]):
        write_lines(folder / "samples.jsonl", samples_of_both_ends(texts))
        assert font_hint(read_run(folder)) == ""


def test_a_font_that_was_installed_after_the_list_was_made_is_found(monkeypatch):
    entries = [e for e in font_manager.fontManager.ttflist if e.name == "DejaVu Sans"]
    others = [e for e in font_manager.fontManager.ttflist if e.name != "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", others)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [e.fname for e in entries])
    _add_new_fonts.cache_clear()
    assert font_families()[-1] == "DejaVu Sans"
    assert "DejaVu Sans" in {entry.name for entry in font_manager.fontManager.ttflist}
    _add_new_fonts.cache_clear()


def test_prompts_stand_before_their_texts(make_run, drawn):
    folder = make_run()
    rows = samples_of_both_ends(["in the park ."])
    write_lines(folder / "samples.jsonl", [row | {"prompt": "where ?"} for row in rows])
    assert sample_lines(drawn(folder))[1] == "    where ? => in the park ."


def test_a_run_without_samples(make_run):
    assert png_size(draw_report(make_run(texts=()))) == (1400, 950)


def test_dollar_signs_are_no_formula(make_run, drawn):
    # As a formula, an underscore at its end would be a syntax error.
    folder = make_run(["costs $5_$ or $6", "$x_$", "one $", r"\frac $ \$"])
    assert sample_lines(drawn(folder))[1] == "    costs $5_$ or $6"


NAMES = ("cost_$\\frac$", "_x_", ":fire:", "a b", "50%", "a\nb", "#1 'q'", "caf\udce9")


@pytest.mark.parametrize("name", ["cost_$\\frac$", "caf\udce9"])
def test_a_picture_of_a_run_of_any_name(tmp_path, name):
    folder = write_run(tmp_path / name, samples=samples_of_both_ends(["a man ."]))
    png_size(draw_report(folder))


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_shows_a_name_as_it_is(name):
    points = np.array([1.0, 2.0])
    series = [
        Series(f"{name}: MLE", "control", points, points, notes=("0.8", "1")),
        Series(name, "published", points, points),
    ]
    with matplotlib.rc_context(plain_style()):
        figure = frontier_figure([(Panel(NLL_ORACLE, NLL_HELDOUT), series, "Quality")])
        FigureCanvasAgg(figure).print_png(io.BytesIO())
    shown = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    drawn = name.replace("\n", "[000A]").replace("\udce9", "[DCE9]")
    assert sorted(shown) == sorted([f"{drawn}: MLE", "dominated by MLE", drawn])


@pytest.mark.parametrize("fonts", [WIDE_FONTS, ()], ids=["installed fonts", "no wide font"])
def test_chinese_is_drawn_without_warnings(make_run, monkeypatch, fonts):
    monkeypatch.setattr("seqgan.report.charts.WIDE_FONTS", fonts)
    assert png_size(draw_report(make_run([QUATRAIN, "é ü ß", "\U0001f600"]))) == (1400, 950)


def test_samples_that_are_too_wide_do_not_shrink_the_curves(make_run, drawn):
    narrow = make_run()
    width = drawn(narrow)["Pretraining of the generator ↓"].get_position().width
    write_lines(
        narrow / "samples.jsonl",
        samples_of_both_ends([QUATRAIN * 20, "W" * 500]),
    )
    axes = drawn(narrow)
    assert axes["Pretraining of the generator ↓"].get_position().width == pytest.approx(width)
    assert all(len(line) <= 100 + 4 for line in sample_lines(axes, 1))
    assert "WW ..." in "".join(sample_lines(axes, 1))


def test_characters_that_no_font_has():
    # DejaVu Sans comes with matplotlib and has no Chinese.
    assert drawable("a 月é", ["DejaVu Sans"]) == "a [6708]é"
    assert drawable("\U00020000", ["DejaVu Sans"]) == "[20000]"


def test_one_font_that_has_the_character_is_enough():
    alone, together = ["cmr10"], ["cmr10", "DejaVu Sans"]
    assert font_manager.get_font(font_manager.findfont("cmr10")).get_char_index(0x416) == 0
    assert drawable("aЖ", alone) == "a[0416]"
    assert drawable("aЖ", together) == "aЖ"
