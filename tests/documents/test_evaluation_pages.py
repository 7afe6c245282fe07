"""The pages on evaluation and on responsible use: their Python does what they say of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EVALUATION, RESPONSIBLE_USE = (
    (DOCS / name).read_text(encoding="utf-8") for name in ("evaluation.md", "responsible-use.md")
)


def run_blocks(page: str, folder: Path) -> list[str]:
    """The lines that a page's blocks of Python print, one after the other, without a warning."""
    script = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@pytest.mark.slow
def test_evaluation_prints_what_its_comments_say(tmp_path: Path) -> None:
    expected = re.findall(r"^print\(.*\)  # (.*)$", EVALUATION, flags=re.MULTILINE)
    assert run_blocks(EVALUATION, tmp_path) == expected
    assert len(expected) == 5


@pytest.mark.integration
def test_responsible_use_shows_the_worst_texts_first(tmp_path: Path) -> None:
    pytest.importorskip("profanity_check")
    texts = ["a dog in the park .", "you stupid idiot .", "a red bus ."]
    (tmp_path / "samples.txt").write_text("\n".join(texts), encoding="utf-8")
    lines = run_blocks(RESPONSIBLE_USE, tmp_path)
    assert len(lines) == 3
    assert lines[0].endswith("  you stupid idiot .")
    assert float(lines[0].split()[0]) > 0.5 > float(lines[1].split()[0])


@pytest.mark.integration
def test_the_classifier_is_wrong_where_the_page_says_so() -> None:
    pytest.importorskip("profanity_check")
    from seqgan.rewards.shipped.packages import Profanity

    harmless = "a white toilet sits on a tile floor."
    harmful = "he hit her in the face until she cried"
    assert f'"{harmless}"' in RESPONSIBLE_USE.replace("\n", " ")
    assert f'"{harmful}" pass' in RESPONSIBLE_USE.replace("\n", " ")
    flagged, passed = Profanity().judge([harmless, harmful])
    assert -flagged > 0.5
    assert -passed == pytest.approx(0.10, abs=0.005)
