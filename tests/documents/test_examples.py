"""The notebooks in `examples/` run as they stand, and hold small outputs of a whole run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_there_are_two() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"environment_with_sb3", "own_reward"}


@EACH
def test_every_cell_ran_in_order_and_none_failed(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        *("stream", "display_data", "execute_result")
    }
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 60_000


@EACH
def test_outputs_name_no_place_of_a_machine(path: Path) -> None:
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text(encoding="utf-8"))


@EACH
def test_links_lead_somewhere(path: Path) -> None:
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", "".join(cell["source"])):
            assert (path.parent / target).exists(), target


@EACH
@pytest.mark.integration
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """Its own assertions say that the reward rose."""
    if path.stem == "environment_with_sb3":
        pytest.importorskip("stable_baselines3")
    script = "\n".join("".join(cell["source"]) for cell in cells(path, "code"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert "assert " in script
