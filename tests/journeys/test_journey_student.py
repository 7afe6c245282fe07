"""A student with a text file: train, look, sample, compare, as typed first."""

import html
import re
import struct
from base64 import b64decode
from pathlib import Path

import pytest
from typed import SMALL, Shown, captions, narrow_enough, typed

pytestmark = pytest.mark.slow

TRAIN = f"seqgan train captions.txt --epochs 20 --output runs/first {SMALL}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 192 captions in a text file."""
    place = tmp_path_factory.mktemp("student")
    (place / "captions.txt").write_text(captions(), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> Shown:
    """The terminal's picture of the run, which is then in `runs/first`."""
    return typed(TRAIN, folder)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("seqgan train nofile.txt", "seqgan: cannot read nofile.txt: no such file"),
        (
            "seqgan train captions.txt --epocs 3",
            "seqgan: unknown flag --epocs; did you mean --epochs, --pretrain.epochs or"
            " --rule.epochs?",
        ),
        (
            "seqgan train captions.txt --epochs many",
            "seqgan: --epochs is 'many', but must be a whole number",
        ),
    ],
)
def test_a_wrong_first_try_is_answered_in_one_sentence(
    folder: Path, line: str, answer: str
) -> None:
    shown = typed(line, folder)
    assert (shown.code, shown.said) == (2, answer)


@pytest.mark.parametrize("columns", [50, 80])
def test_the_help_of_the_program_breaks_no_word(folder: Path, columns: int) -> None:
    assert narrow_enough(typed("seqgan --help", folder, columns), columns)


@pytest.mark.parametrize(
    ("name", "content", "answer"),
    [
        ("strange.csv", "Id,The Caption\n1,a dog runs\n", "(--column 'The Caption')"),
        ("marks.csv", "id;caption\n1;a dog\n", "commas must separate columns"),
        ("line.txt", "a dog runs . " * 50, "each line is a text, so break it into lines"),
    ],
)
def test_a_sloppy_file_is_answered_with_what_mends_it(
    folder: Path, name: str, content: str, answer: str
) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    shown = typed(f"seqgan train {name}", folder, columns=50)
    assert shown.code == 2
    assert answer in shown.said
    assert narrow_enough(shown, 50)


def test_help_begins_with_a_file_of_texts(folder: Path) -> None:
    shown = typed("seqgan train --help", folder)
    assert shown.code == 0
    assert shown.lines[0] == "usage: seqgan train FILE [settings]"
    assert narrow_enough(shown, 80)
    assert shown.text.index("--epochs") < shown.text.index("--generator.kind")


def test_the_terminal_shows_how_far_the_run_is_and_how_it_ended(trained: Shown) -> None:
    assert trained.code == 0
    assert narrow_enough(trained, 80)
    assert "captions.txt: 192 texts" in trained.text
    assert "sha256" not in trained.text
    assert not any(line.startswith("temperature ") for line in trained.lines)
    bars = [line for line in trained.lines if "━" in line]
    assert [line.split(" ━")[0].rstrip() for line in bars] == [
        "pretrain generator",
        "pretrain discriminator",
        "adversarial game",
        "final evaluation",
        "start, resampled",
    ]
    for bar in bars:  # each is full
        done, total = re.search(r"━ (\d+)/(\d+) ", bar).groups()  # type: ignore[union-attr]
        assert done == total
    (header,) = [line for line in trained.lines if line.lstrip().startswith("MLE")]
    heads = ["MLE", "MLE at 0.8", "start, resampled", "game", "game at 0.8"]
    assert re.split(r"  +", header.strip()) == heads
    assert any(line.startswith("bleu_4 ↑") for line in trained.lines)
    assert "The adversarial game is " in trained.said


def test_the_next_lines_can_be_typed(trained: Shown, folder: Path) -> None:
    sample, frontier, opened = trained.next_lines
    assert sample == "seqgan sample runs/first"
    texts = typed(f"{sample} -n 3", folder)
    assert texts.code == 0
    assert len([line for line in texts.lines if line and line[0] != " "]) == 3
    # Its own 9 temperatures with 4,000 texts each take most of a minute.
    shown = typed(f"{frontier} -n 50 --temperatures 1.0 0.8", folder, columns=50)
    assert shown.code == 0
    assert narrow_enough(shown, 50)
    assert "first: after the game" in shown.text
    assert "picture: runs/first/frontier.png" in shown.text
    width, height = size_of_picture(folder / "runs/first/frontier.png")
    assert width > height > 500
    assert opened in (
        "xdg-open runs/first/report.html",
        "open runs/first/report.html",
        "look at runs/first/report.html in a browser",
    )


def test_the_report_has_the_texts_of_the_terminal(trained: Shown, folder: Path) -> None:
    page = (folder / "runs/first/report.html").read_text(encoding="utf-8")
    seen = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    for title in ("Samples before the game:", "Samples after the game:"):
        texts = texts_below(title, trained)
        assert len(texts) == 2
        for text in texts:
            assert text in seen
    assert seen.index("Before the game") < seen.index("Pretraining of the generator")
    assert "The adversarial game is" in seen
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', page)
    assert any(alt.startswith("Quality against held-out NLL. The ad") for _, alt in pictures)
    assert all(b"</svg>" in b64decode(picture) for picture, _ in pictures)
    assert not re.findall(r'src="(?!data:)[^"]*"', page)  # it needs no other file, nor a network
    width, height = size_of_picture(folder / "runs/first/report.png")
    assert (width, height > 500) == (1400, True)


def test_a_stopped_run_goes_on_with_the_line_that_it_says(folder: Path, trained: Shown) -> None:
    """Ctrl-C in the middle of pretraining."""
    endless = "--epochs 5000 --pretrain.patience 0"  # however late Ctrl-C comes
    line = TRAIN.replace("--epochs 20", endless).replace("first", "stopped")
    shown = typed(line, folder, interrupt_at="nll_dev")
    assert shown.code == 130, shown.text
    (resume,) = re.findall(r"seqgan train --resume \S+", shown.text)
    assert resume == "seqgan train --resume runs/stopped"


def texts_below(title: str, shown: Shown) -> list[str]:
    """The texts under a title, each with its continuation lines."""
    texts: list[str] = []
    for line in shown.lines[shown.lines.index(title) + 1 :]:
        if line.startswith("    "):
            texts[-1] += " " + line.strip()
        elif line.startswith("  "):
            texts.append(line.strip())
        else:
            break
    return texts


def size_of_picture(path: Path) -> tuple[int, int]:
    """The width and height of a PNG, in pixels."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height
