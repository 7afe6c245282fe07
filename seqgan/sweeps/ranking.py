"""The end of a sweep in words and numbers: trials from best to worst, and whether to believe it.

Beside the metric stand numbers that give a collapse away, and how far each finished run lies from
its own MLE generator at the temperature of equal quality, in held-out NLL (nats per token).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.runner import shown
from seqgan.sweeps.trials import SweepFolder, Trial, last_row_with
from seqgan.system.tables import aligned

GUARDS = ("nll_heldout", "entropy", "duplicate_rate")  # of `eval/`, beside the quality


@dataclass(frozen=True)
class Row:
    """A trial in its place."""

    trial: Trial
    guards: dict[str, float]  # by name without `eval/`, at the last evaluation with the metric
    comparison: dict[str, Any]  # of results.json, with the MLE curve; empty for a stopped run
    place: int  # from 1, trials of equal values share one; 0 for none

    @property
    def is_ranked(self) -> bool:
        """Whether it ended as a trial should, with a value of the metric."""
        return self.place > 0

    @property
    def verdict(self) -> str:
        """Better, level or worse than the MLE curve; empty where it was not compared."""
        return str(self.comparison.get("verdict", ""))


def rank(sweep: Sweep, folder: SweepFolder, trials: Sequence[Trial]) -> list[Row]:
    """The trials that ended with a value from best to worst, then the others by number."""
    results = {trial.number: _comparison(folder, trial) for trial in trials}
    costs = {
        trial.number: sweep.metric.cost(trial.value)
        for trial in trials
        if trial.status in ("finished", "stopped early") and trial.value is not None
    }
    qualities = {found["quality"]: None for found in results.values() if found}
    rows = []
    for trial in trials:
        last = last_row_with(folder.run(trial.number), sweep.metric.name)
        names = dict.fromkeys((*qualities, *GUARDS))
        guards = {
            name: float(last[f"eval/{name}"])
            for name in names
            if f"eval/{name}" in last and f"eval/{name}" != sweep.metric.name
        }
        place = 0
        if trial.number in costs:
            place = 1 + sum(cost < costs[trial.number] for cost in costs.values())
        rows.append(Row(trial, guards, results[trial.number], place))
    return sorted(rows, key=lambda row: (not row.is_ranked, row.place, row.trial.number))


def table_lines(sweep: Sweep, rows: Sequence[Row], width: int) -> list[str]:
    """A table with a line for each trial, or a few lines for each where that is too wide.

    Args:
        width: characters of a line.
    """
    names = short_names(sweep.varied)
    guards = [*dict.fromkeys(name for row in rows for name in row.guards)]
    metric = sweep.metric.name.removeprefix("eval/")
    heads = ["rank", "trial", metric, *names.values(), *guards, "NLL - MLE's", "status"]
    body = [
        [
            str(row.place) if row.is_ranked else "-",
            str(row.trial.number),
            _number(row.trial.value, 5),
            *(shown(row.trial.parameters[name]) for name in names),
            *(_number(row.guards.get(name)) for name in guards),
            f"{row.comparison['difference']:+.4f} {row.verdict}" if row.verdict else "-",
            f"{row.trial.status}: {row.trial.error}" if row.trial.error else row.trial.status,
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    # The last column, an error, may be long: what counts is where it begins.
    if sum(widths[:-1]) + 2 * len(heads) + len("stopped early") <= width:
        return aligned([heads, *body], left=len(heads) - 1)
    lines = []
    for line in body:
        pairs = [f"{head} {cell}" for head, cell in zip(heads, line, strict=True)]
        lines += [f"{pairs[0]}  {pairs[1]}  {pairs[2]}", *_wrapped(pairs[3:], width)]
    return lines


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted names that still tell them apart."""
    shortened = {}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            end = ".".join(parts[-count:])
            if sum(other == end or other.endswith(f".{end}") for other in names) == 1:
                break
        shortened[name] = end
    return shortened


def conclusion(sweep: Sweep, rows: Sequence[Row]) -> str:
    """One sentence: the best trial, and what its own control says of it; or that several tie."""
    best = rows[0]
    if not best.is_ranked:
        return "No trial has ended with a value of the metric."
    tied = [str(row.trial.number) for row in rows if row.place == best.place]
    if len(tied) > 1:
        return (
            f"Best: a tie of trials {', '.join(tied[:-1])} and {tied[-1]} of {len(rows)}, each with"
            f" {sweep.metric.name} {_number(best.trial.value, 5)}; the metric does not tell them"
            " apart."
        )
    parameters = ", ".join(f"{k} {shown(best.trial.parameters[k])}" for k in sweep.varied)
    sentence = (
        f"Best: trial {best.trial.number} of {len(rows)}, {sweep.metric.name}"
        f" {_number(best.trial.value, 5)} with {parameters}"
    )
    if best.verdict:
        against = {"better": "better than", "level": "level with", "worse": "worse than"}
        return f"{sentence}; at equal quality {against[best.verdict]} the MLE temperature curve."
    return f"{sentence}; it has not been compared with the MLE temperature curve."


def ranking_dict(sweep: Sweep, rows: Sequence[Row]) -> dict[str, Any]:
    """The ranked trials as JSON-able values."""
    return {
        "metric": sweep.metric.name,
        "goal": "minimize" if sweep.metric.minimize else "maximize",
        "trials": [
            {
                "rank": row.place or None,
                "trial": row.trial.number,
                "run": f"trials/{row.trial.number:03d}",
                "status": row.trial.status,
                "value": row.trial.value,
                "parameters": row.trial.parameters,
                "evaluations": len(row.trial.values),
                **row.guards,
                "verdict": row.verdict or None,
                "difference": row.comparison.get("difference"),
                "difference_error": row.comparison.get("error"),
                "seconds": round(row.trial.seconds, 1),
                "error": row.trial.error or None,
            }
            for row in rows
        ],
    }


def _comparison(folder: SweepFolder, trial: Trial) -> dict[str, Any]:
    """What a finished run says of itself against its MLE control; empty before that."""
    results = folder.run(trial.number) / "results.json"
    if trial.status != "finished" or not results.is_file():
        return {}
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))["comparison"]
    return found


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _wrapped(pairs: Sequence[str], width: int) -> list[str]:
    """The pairs, as many a line as fit, indented."""
    lines = [""]
    for pair in pairs:
        joined = f"{lines[-1]}  {pair}"
        if lines[-1] and len(joined) + 2 > width:
            lines.append(f"  {pair}")
        else:
            lines[-1] = joined
    return [f"  {line.strip()}" for line in lines if line.strip()]
