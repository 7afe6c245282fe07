"""The end of a run on standard output: its table, its sentences, and what to do next."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.system.terminal import say

if TYPE_CHECKING:
    from seqgan.training.run_folders import RunFolder


def present(folder: "RunFolder", results: Mapping[str, Any], record: Path | None = None) -> None:
    """Prints the end of a run.

    Args:
        results: what `results.json` holds.
        record: of wandb, offline, where it may lie elsewhere.
    """
    from seqgan.report.picture import font_hint
    from seqgan.report.recorded import read_run
    from seqgan.report.summary import closing_sentences, stored_table

    print("\n".join(stored_table(results).lines(sys.stdout)))
    print()
    for sentence in closing_sentences(results):
        say(sentence)
    print()
    say(f"results: {folder.results}")
    records = sorted((folder.path / "wandb").glob("offline-run-*"))
    if record is not None and record.parents[1] != folder.path.resolve():
        records.append(record)
    for offline in records:
        say(f"wandb run, offline: {offline}")
    if any(folder.path.glob("events.out.tfevents.*")):
        say(f"TensorBoard: tensorboard --logdir {shlex.quote(str(folder.path))}")
    if (tables := folder.path / "metrics.csv").is_file():
        say(f"CSV: {tables}")
    if hint := font_hint(read_run(folder.path)):
        say(f"{folder.picture} has some characters as numbers. {hint}")
    for step in next_steps(folder, results):
        say(f"next: {step}")


def next_steps(folder: "RunFolder", results: Mapping[str, Any]) -> list[str]:
    """Commands for a finished run, and the page to look at.

    Without a game its texts come from the start and the discriminator together.
    """
    from seqgan.training.made_here import trust_flag

    run = shlex.quote(str(folder.path))
    flag = trust_flag(folder.config, ())
    about = results.get("about", {})
    without_game = about.get("adversary") and not about.get("played", True)
    sampler = " --sampler resample" if without_game and "resampled" in results else ""
    compared = "eval/nll_heldout" in results["final"]  # with real texts
    return [
        f"seqgan sample {run}{flag}{sampler}",
        *[f"seqgan frontier {run}{flag}{sampler}"] * compared,
        opening(folder.page),
    ]


def opening(page: Path) -> str:
    """The command that shows a page in a browser; words where this machine has none."""
    command = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    if sys.platform == "win32" or shutil.which(command):
        return f"{command} {shlex.quote(str(page))}"
    return f"look at {page} in a browser"
