"""`seqgan frontier`: quality against diversity over temperatures, beside the MLE control."""

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, Parser, add_device, add_trust, given_path, number
from seqgan.commands.sampler_flags import BETAS, add_sampler, sampler_settings
from seqgan.system.checks import Samples, Seed, Temperature, TopP
from seqgan.system.errors import SeqganError
from seqgan.system.files import writing
from seqgan.system.streams import json_line
from seqgan.system.tables import aligned
from seqgan.system.terminal import arrow, columns_of, say

if TYPE_CHECKING:
    from seqgan.evaluation.planes.points import Panel

SUFFIXES = (".png", ".pdf", ".svg")
KNOBS = ("temperature", "top_p", "beta")  # columns that name a point


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
    from seqgan.report.frontier_runs import common_task, open_runs, with_samplers
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
        opened = open_runs(options.runs, options.device, options.trust_run_code)
        _check_writable(picture, table, new=options.output is not None)
        task = common_task(opened)
        needs_texts(task, "the frontier", f"seqgan evaluate {options.runs[0]} has what is known")
        planes = panels(task, options.n, truncated=any(cut.top_p < 1 for cut in cuts))
        betas = sorted(set(options.betas or BETAS))
        if options.settings is not None:
            opened = [
                with_samplers(
                    one, options.settings, task, options.n, options.seed, options.trust_run_code
                )
                for one in opened
            ]
        published = [] if options.points is None else read_points(options.points, planes)
    except SeqganError as error:
        raise InputError(str(error)) from error
    with Progress() as progress:
        runs = [
            frontiers.measure_run(
                one, task, samplings, options.n, (options.seed, index), planes, progress, betas
            )
            for index, one in enumerate(opened)
        ]
    compared = frontiers.judged_generators(runs)
    judged = [
        frontiers.judge_runs(runs, panel, options.seed, which)
        for panel in planes
        for which in compared
    ]
    rows = frontiers.point_rows(runs)
    drawn = [
        (
            panel,
            frontiers.series(runs, panel, published),
            "\n".join(frontiers.heading(one) for one in judged if one.panel == panel),
        )
        for panel in planes
    ]
    with matplotlib.rc_context(plain_style()), writing(picture) as temporary:
        kind = picture.suffix.removeprefix(".")
        frontier_figure(drawn).savefig(temporary, dpi=130, format=kind)
    _write(table, rows)
    sentences = [sentence for judgement in judged for sentence in frontiers.sentences(judgement)]
    sentences += frontiers.untold(runs, planes[0])
    if not compared:
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
            "seqgan frontier runs/captions --sampler resample",
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
    add_sampler(parser, curve=True)
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    options.settings = sampler_settings(options, {})
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
    by = ["temperature", *(["top_p"] if any(row["top_p"] < 1 for row in rows) else [])]
    named = [name for name in heads if name not in ("model", *KNOBS)]
    widths = {
        name: max(len(heads[name]), *(len(_cell(row[name])) for row in rows)) for name in named
    }
    widths |= dict.fromkeys(KNOBS, len(KNOBS[0]))
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [row for row in rows if row["model"] == model]
        keys = ["beta"] if any(row.get("beta") is not None for row in chosen) else by
        shown = [*keys, *named]
        cells = [heads, *({name: _cell(row[name]) for name in shown} for row in chosen)]
        padded = [[line[name].rjust(widths[name]) for name in shown] for line in cells]
        table = aligned(padded, keys=len(keys), columns=columns_of(stream))
        lines += [*([""] if lines else []), model, *table]
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
