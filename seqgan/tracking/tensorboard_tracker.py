"""A run's record for TensorBoard: event files in the run's folder, `tensorboard --logdir runs`.

TensorBoard calls a run by its folder and knows one axis for each number: a metric's own, as in the
metric list. `torch.utils.tensorboard` writes the files, and is imported when a tracker is made.
"""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from seqgan.data.metrics import Metrics
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import cut, sync
from seqgan.system.markdown import code_span
from seqgan.system.nested import flat
from seqgan.tracking.base import Ending, Histogram, SampleRow, Tracker
from seqgan.tracking.jsonl import check_length
from seqgan.tracking.metrics import AXES, axis_of

FILES = "events.out.tfevents.*"
COMPARED = ("result/final/", "result/difference")  # in TensorBoard's table of runs


def check_tensorboard() -> None:
    """Checks that the package is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise ConfigurationError(
            "the package tensorboard is missing, which --trackers tensorboard needs:"
            ' pip install "seqgan[tensorboard]"'
        )


class TensorboardTracker(Tracker):
    """Appends to an event file of its own; a run that goes on gets one more.

    Args:
        folder: of the run.
        settings: the run's, nested, in JSON types.
        position: what `position()` gave, to continue from there: each event file is first cut to
            its length at that moment, and later ones are removed. Empty removes all there are.

    Raises:
        DataError: an event file is shorter than `position` says, or it is a link.
        OSError: a file cannot be written, say because the disk is full; so do all methods.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        position: Mapping[str, Any] | None = None,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        position = position or {}
        lengths = position.get("files", {})
        for name, length in lengths.items():
            check_length(folder / Path(name).name, length)
        for path in folder.glob(FILES):
            if path.name in lengths:
                cut(path, lengths[path.name])
            else:
                path.unlink()
        self._folder, self._settings = folder, settings
        self._steps: dict[str, int] = dict(position.get("steps", {}))  # of axes, and of metrics
        self._writer: Any = SummaryWriter(log_dir=str(folder))
        if not position:
            self._text("config", _as_code(json.dumps(settings, indent=2)))

    def log(self, metrics: Metrics) -> None:
        """Adds a point to each metric, over its axis; one without is numbered."""
        self._steps |= {name: int(metrics[name]) for name in AXES if name in metrics}
        for name, value in metrics.items():
            axis = axis_of(name, metrics)
            if axis == name:
                continue
            if not axis:
                self._steps[name] = self._steps.get(name, 0) + 1
            self._writer.add_scalar(name, value, self._steps.get(axis or name, 0))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Adds a table of texts for each phase. Lists are left out."""
        step, phase = int(str(rows[0]["step"])), rows[0]["phase"]
        columns = [
            name
            for name, value in rows[0].items()
            if not isinstance(value, list) and name not in ("step", "phase")
        ]
        lines = [columns, ["---"] * len(columns)]
        lines += [[_cell(row.get(column)) for column in columns] for row in rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        self._text(f"samples/{phase}", table, step)

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        """Adds the histograms as they are, at their `global_step`."""
        for name, one in histograms.items():
            counts, edges = np.array(one.counts, float), np.array(one.edges, float)
            centres = (edges[1:] + edges[:-1]) / 2
            self._writer.add_histogram_raw(
                name,
                min=float(edges[0]),
                max=float(edges[-1]),
                num=int(counts.sum()),
                sum=float((counts * centres).sum()),
                sum_squares=float((counts * centres**2).sum()),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=int(axes.get("global_step", 0)),
            )

    def alert(self, title: str, text: str) -> None:
        self._text("alerts", f"{code_span(title)}: {code_span(text)}")

    def results(self, ending: Ending) -> None:
        """Adds the final table, pictures, and a line in TensorBoard's table of runs (HPARAMS)."""
        from matplotlib.image import imread
        from torch.utils.tensorboard.summary import hparams

        step = self._steps.get("global_step", 0)
        self._text("result", _as_code("\n".join(ending.lines)))
        for name, file in ending.files.items():
            if file.suffix == ".png":
                picture = (imread(file)[..., :3] * 255).round().astype(np.uint8)
                self._writer.add_image(name, picture, step, dataformats="HWC")
        compared = {
            name: value
            for name, value in ending.metrics.items()
            if name.startswith(COMPARED) and not isinstance(value, str)
        }
        for name, value in compared.items():
            self._writer.add_scalar(name, value, step)
        plain = {
            name: value if isinstance(value, int | float) else str(value)
            for name, value in flat(self._settings).items()
        }
        for summary in hparams(plain, compared):
            self._writer.file_writer.add_summary(summary)

    def position(self) -> dict[str, Any]:
        """The length of each event file in bytes, all of it on the disk, and the latest steps."""
        self._writer.flush()
        files = sorted(self._folder.glob(FILES))
        for file in files:
            sync(file)
        lengths = {file.name: os.stat(file).st_size for file in files}
        return {"files": lengths, "steps": dict(self._steps)}

    def close(self, exit_code: int = 0) -> None:
        self._writer.close()

    def _text(self, name: str, text: str, step: int | None = None) -> None:
        at = self._steps.get("global_step", 0) if step is None else step
        self._writer.add_text(name, text.encode("utf-8", "replace").decode(), at)


def _as_code(text: str) -> str:
    """The text as TensorBoard's Markdown shows it unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:.4g}"
    return code_span(str(value)) if value not in (None, "") else ""
