"""docs/python.md is true: its blocks run one after the other, and print what their comments say."""

import re
from pathlib import Path

import pytest
import warm_processes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.mark.integration
def test_the_blocks_run_and_print_what_their_comments_say(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    done = warm_processes.code(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.splitlines())
    expected = re.findall(r"^ *print\(.*\)  # (.*)$|^# (\[.*)$", SCRIPT, flags=re.MULTILINE)
    assert len(expected) > 15
    for line in map("".join, expected):
        assert line in printed, f"{line!r} is not printed, or not in this place"


def test_the_page_begins_with_twelve_lines() -> None:
    first = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    lines = [line for line in first.splitlines() if line]
    assert len(lines) <= 12
    assert "learn(2000)" in first
