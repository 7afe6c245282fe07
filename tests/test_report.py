"""The picture of a run, from hand-made run folders. Warnings are errors here, matplotlib's too."""

import json
import struct
import zlib

import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqgan.charts import WIDE_FONTS, drawable
from seqgan.report import draw_report

INFORMATION = "discriminator/information_heldout"
PHASES = ("before the game", "after the game")
QUATRAIN = "床前明月光。疑是地上霜。举头望明月。低头思故乡。"


def write_lines(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def evaluation(iteration, quality, discriminator):
    row = {
        "iteration": iteration,
        "global_step": 100 * iteration,
        f"eval/{quality}": 0.5 + 0.01 * iteration,
        "eval/nll_heldout": 2.0 + 0.02 * iteration,
        "eval/entropy": 1.9,
    }
    known = {INFORMATION: 0.1, f"{INFORMATION}_error": 0.01}
    return row | known if discriminator else row


@pytest.fixture
def make_run(tmp_path):
    def make(texts=("a man rides a bike .",), quality="bleu_4", discriminator=True, samples=True):
        folder = tmp_path / "run"
        folder.mkdir()
        epochs = [
            {
                "pretrain/epoch": epoch,
                "pretrain/nll_train": 4 / epoch,
                "pretrain/nll_dev": 5 / epoch,
            }
            for epoch in (1, 2, 3)
        ]
        game = [evaluation(iteration, quality, discriminator) for iteration in (0, 5, 10)]
        steps = [{"iteration": 3, "losses/policy": -0.1}]  # no evaluation in this iteration
        write_lines(folder / "metrics.jsonl", [*epochs, *game, *steps])
        shown = [{"phase": phase, "text": text} for phase in PHASES for text in texts]
        write_lines(folder / "samples.jsonl", shown if samples else [])
        results = {
            "comparison": {"quality": quality},
            "final": {f"eval/{quality}": 0.6, "eval/nll_heldout": 2.2},
            "curve": {
                str(t): {f"eval/{quality}": 1 - t / 2, "eval/nll_heldout": 3 - t}
                for t in (1.2, 1.0, 0.5)
            },
        }
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        return folder

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
    assert png_size(target) == (1100, 900)
    assert sorted(folder.iterdir()) == sorted([*before, target])


def test_the_curves_are_the_files(make_run, drawn):
    axes = drawn(make_run())
    train, dev = axes["Pretraining"].lines
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(train.get_ydata()) == [4, 2, 4 / 3]
    assert list(dev.get_ydata()) == [5, 2.5, 5 / 3]
    curve, final = axes["Quality against held-out NLL (lower is better)"].lines
    assert list(curve.get_xdata()) == pytest.approx([0.75, 0.5, 0.4])  # in order of temperature
    assert list(curve.get_ydata()) == pytest.approx([2.5, 2.0, 1.8])
    assert (list(final.get_xdata()), list(final.get_ydata())) == ([0.6], [2.2])
    (nll,) = axes["The game"].lines
    assert list(nll.get_xdata()) == [0, 5, 10]
    assert list(nll.get_ydata()) == pytest.approx([2.0, 2.1, 2.2])


def test_a_check_is_labelled_as_a_share(make_run, drawn):
    axes = drawn(make_run(quality="grammatical"))
    frontier = axes["Quality against held-out NLL (lower is better)"]
    assert frontier.get_xlabel() == "grammatical (share of samples)"


def test_discriminator_and_none(make_run, drawn):
    title = "What the discriminator knows about unseen text"
    without = drawn(make_run(discriminator=False))[title]
    assert [text.get_text() for text in without.texts] == ["no discriminator"]
    assert not without.containers


def test_discriminator_is_drawn_with_two_standard_errors(make_run, drawn):
    axes = drawn(make_run())["What the discriminator knows about unseen text"]
    assert not axes.texts
    (bars,) = axes.containers
    assert list(bars.lines[0].get_ydata()) == [0.1] * 3
    segment = bars.lines[2][0].get_segments()[0]
    assert segment[:, 1].tolist() == pytest.approx([0.08, 0.12])


def sample_lines(axes):
    (text,) = axes[""].texts
    return text.get_text().splitlines()


def test_samples_of_both_phases_at_most_five_each(make_run, drawn):
    lines = sample_lines(drawn(make_run([f"text {i}" for i in range(7)])))
    expected = [f"    text {i}" for i in range(5)]
    assert lines == ["Samples before the game", *expected, "Samples after the game", *expected]


def test_a_run_without_samples(make_run):
    assert png_size(draw_report(make_run(samples=False))) == (1100, 900)


def test_dollar_signs_are_no_formula(make_run, drawn):
    # As a formula, an underscore at its end would be a syntax error.
    folder = make_run(["costs $5_$ or $6", "$x_$", "one $", r"\frac $ \$"])
    assert sample_lines(drawn(folder))[1] == r"    costs \$5_\$ or \$6"


@pytest.mark.parametrize("fonts", [WIDE_FONTS, ()], ids=["installed fonts", "no wide font"])
def test_chinese_is_drawn_without_warnings(make_run, monkeypatch, fonts):
    monkeypatch.setattr("seqgan.charts.WIDE_FONTS", fonts)
    assert png_size(draw_report(make_run([QUATRAIN, "é ü ß", "\U0001f600"]))) == (1100, 900)


def test_samples_that_are_too_wide_do_not_shrink_the_curves(make_run, drawn):
    narrow = make_run()
    width = drawn(narrow)["Pretraining"].get_position().width
    write_lines(
        narrow / "samples.jsonl",
        [{"phase": phase, "text": text} for phase in PHASES for text in (QUATRAIN * 20, "W" * 500)],
    )
    axes = drawn(narrow)
    assert axes["Pretraining"].get_position().width == pytest.approx(width)
    assert all(len(line) <= 4 + 110 + 4 for line in sample_lines(axes))
    assert sample_lines(axes)[2].endswith("WW ...")


def test_characters_that_no_font_has():
    # DejaVu Sans comes with matplotlib and has no Chinese.
    assert drawable("a 月é", ["DejaVu Sans"]) == "a [6708]é"
    assert drawable("\U00020000", ["DejaVu Sans"]) == "[20000]"


def test_one_font_that_has_the_character_is_enough():
    alone, together = ["cmr10"], ["cmr10", "DejaVu Sans"]
    assert font_manager.get_font(font_manager.findfont("cmr10")).get_char_index(0x416) == 0
    assert drawable("aЖ", alone) == "a[0416]"
    assert drawable("aЖ", together) == "aЖ"
