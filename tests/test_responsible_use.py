"""The page on responsible use: its Python runs, and what it says of the classifier is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[1] / "docs" / "responsible-use.md").read_text(encoding="utf-8")


def test_its_python_shows_the_worst_texts_first(tmp_path: Path) -> None:
    pytest.importorskip("profanity_check")
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    texts = ["a dog in the park .", "you stupid idiot .", "a red bus ."]
    (tmp_path / "samples.txt").write_text("\n".join(texts), encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("  you stupid idiot .")
    assert float(lines[0].split()[0]) > 0.5 > float(lines[1].split()[0])


def test_the_classifier_is_wrong_where_the_page_says_so() -> None:
    pytest.importorskip("profanity_check")
    from seqgan.rewards.packages import Profanity

    harmless, harmful = (
        "a white toilet sits on a tile floor.",
        "he hit her in the face until she cried",
    )
    for text in (harmless, harmful):
        assert text in PAGE.replace("\n", " ")
    flagged, passed = Profanity().judge([harmless, harmful])
    assert -flagged > 0.5
    assert -passed == pytest.approx(0.10, abs=0.005)
