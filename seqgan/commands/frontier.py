"""`seqgan frontier`: quality against diversity over temperatures, beside the MLE control."""

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, Parser, add_device, add_trust, given_path, number
from seqgan.system.checks import Samples, Seed, Temperature, TopP
from seqgan.system.errors import SeqganError
from seqgan.system.files import writing
from seqgan.system.streams import json_line
from seqgan.system.tables import aligned
from seqgan.system.terminal import arrow, columns_of, say

if TYPE_CHECKING:
    from seqgan.evaluation.planes.points import Panel

SUFFIXES = (".png", ".pdf", ".svg")


def run(given: list[str]) -> int:
    """Draws the picture, prints the table and the sentences, and gives the exit code."""
    options = _options(given)
    import matplotlib

    from seqgan.evaluation.planes.points import panels
    from seqgan.evaluation.planes.published import read_points
    from seqgan.models.sampling import Sampling
    from seqgan.report import frontiers
    from seqgan.report.charts import plain_style
    from seqgan.report.frontier_chart import frontier_figure
    from seqgan.system.memory import bound_cached_shapes, keep_freed_memory
    from seqgan.tasks.base import needs_texts
    from seqgan.tracking.progress import Progress

    keep_freed_memory()
    bound_cached_shapes()
    picture = options.output or options.runs[0] / "frontier.png"
    table = picture.with_suffix(".csv")
    try:
        samplings = [Sampling(temperature) for temperature in sorted(set(options.temperatures))]
        cuts = [Sampling(top_p=top_p) for top_p in sorted(set(options.top_p))]
        samplings += [sampling for sampling in cuts if sampling not in samplings]
        opened = frontiers.open_runs(options.runs, options.device, options.trust_run_code)
        _check_writable(picture, table, new=options.output is not None)
        task = frontiers.common_task(opened)
        needs_texts(task, "the frontier", f"seqgan evaluate {options.runs[0]} has what is known")
        planes = panels(task, options.n, truncated=any(cut.top_p < 1 for cut in cuts))
        published = [] if options.points is None else read_points(options.points, planes)
    except SeqganError as error:
        raise InputError(str(error)) from error
    with Progress() as progress:
        runs = [
            frontiers.measure_run(
                one, task, samplings, options.n, (options.seed, index), planes, progress
            )
            for index, one in enumerate(opened)
        ]
    judged = [frontiers.judge_runs(runs, panel, options.seed) for panel in planes]
    rows = frontiers.point_rows(runs)
    drawn = [
        (
            judgement.panel,
            frontiers.series(runs, judgement.panel, published),
            frontiers.heading(judgement),
        )
        for judgement in judged
    ]
    with matplotlib.rc_context(plain_style()), writing(picture) as temporary:
        kind = picture.suffix.removeprefix(".")
        frontier_figure(drawn).savefig(temporary, dpi=130, format=kind)
    _write(table, rows)
    sentences = [sentence for judgement in judged for sentence in frontiers.sentences(judgement)]
    if not any(one.played for one in runs):
        sentences = ["No run has played the game: the curves are MLE's, and there is no verdict."]
    if options.json:
        verdicts = [row for judgement in judged for row in frontiers.verdict_rows(judgement)]
        plain = {"points": rows, "verdicts": verdicts, "sentences": sentences}
        plain |= {"picture": str(picture), "table": str(table)}
        print(json_line(plain))
    else:
        print("\n".join([*_lines(rows, planes, sys.stdout), ""]))
        for line in [*sentences, "", f"picture: {picture}", f"points: {table}"]:
            say(line)
    return 0


def _options(given: list[str]) -> argparse.Namespace:
    from seqgan.evaluation.planes.points import TEMPERATURES

    parser = Parser(
        prog="seqgan frontier",
        examples=(
            "seqgan frontier runs/captions",
            "seqgan frontier runs/seed1 runs/seed2 runs/seed3 --temperatures 1 0.8 0.6",
        ),
    )
    parser.add_argument("runs", type=given_path, nargs="+", metavar="run", help="folders of runs")
    parser.add_argument(
        "--temperatures",
        type=number(Temperature),
        nargs="+",
        default=TEMPERATURES,
        help=f"at least two ({' '.join(map(str, TEMPERATURES))})",
    )
    parser.add_argument(
        "--top-p",
        type=number(TopP),
        nargs="+",
        default=(),
        help="also keep these probabilities (none)",
    )
    parser.add_argument(
        "-n",
        type=number(Samples),
        default=4000,
        help="texts drawn, and held-out ones, of each point (4000)",
    )
    parser.add_argument("--points", type=given_path, help="CSV file of published points to mark")
    parser.add_argument(
        "--output",
        type=given_path,
        help="a new .png, .pdf or .svg, with a .csv beside it (frontier.png of the first run)",
    )
    parser.add_argument(
        "--seed", type=number(Seed), default=0, help="the same seed, the same points (0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    if len(set(options.temperatures)) < 2:
        spelt = " ".join(f"{temperature:g}" for temperature in options.temperatures)
        raise InputError(f"--temperatures is {spelt}, but must have at least two different ones")
    if options.output is not None and options.output.suffix not in SUFFIXES:
        raise InputError(
            f"--output is {options.output}, but must end in one of {', '.join(SUFFIXES)}"
        )
    return options


def _check_writable(picture: Path, table: Path, new: bool) -> None:
    """Files that a person names are new; those in a run's folder are the command's own."""
    for path in (picture, table):
        if new and path.exists():
            raise InputError(f"{path} exists already; name a new file with --output")
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, but a picture and its points are files; name another"
                " with --output"
            )
    if not os.access(picture.parent, os.W_OK):
        raise InputError(
            f"cannot write {picture}: its folder cannot be written to; name another with --output"
        )


def _write(table: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The points, in a form that `--points` reads."""
    with writing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _lines(rows: Sequence[dict[str, Any]], planes: Sequence["Panel"], stream: Any) -> list[str]:
    """A table for each generator, a line for each point; a dash where a metric is not defined."""
    axes = [axis for plane in planes for axis in (plane.quality, plane.diversity)]
    better = {axis.name: "max" if axis.higher_is_better else "min" for axis in axes}
    heads = {name: f"{name} {arrow(better.get(name, ''), stream)}".rstrip() for name in rows[0]}
    keys = ["temperature"]
    if any(row["top_p"] < 1 for row in rows):
        keys.append("top_p")
    named = [*keys, *(name for name in heads if name not in ("model", "temperature", "top_p"))]
    cells = [[heads[name] for name in named]]
    cells += [[_cell(row[name]) for name in named] for row in rows]
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells = [[cell.rjust(size) for cell, size in zip(row, width, strict=True)] for row in cells]
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [line for row, line in zip(rows, cells[1:], strict=True) if row["model"] == model]
        table = aligned([cells[0], *chosen], keys=len(keys), columns=columns_of(stream))
        lines += [*([""] if lines else []), model, *table]
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
