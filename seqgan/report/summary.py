"""The end of a finished run: a table of generators, plain sentences, and `results.json`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seqgan.evaluation.changes import Change
from seqgan.evaluation.metrics.intervals import bootstrap_intervals
from seqgan.evaluation.planes.points import Point
from seqgan.system.tables import aligned
from seqgan.system.terminal import arrow, columns_of, shows_bold
from seqgan.tracking.base import Ending
from seqgan.tracking.metrics import find_metric
from seqgan.training.resampling import place_of_reward
from seqgan.training.result import Control, Price, Result

# In this order, those that a task has; names as in the metric list, without `eval/`.
COLUMNS = (
    "nll_oracle",
    "kl_generator_oracle",
    "nll_heldout",
    "kl_oracle_generator",
    "entropy",
    "bleu_2",
    "bleu_4",
    "self_bleu_2",
    "self_bleu_4",
    "frechet_hashed",
    "distinct_2",
    "duplicate_rate",
    "copied_rate",
    "copied_spans",
    "mean_length",
)

# Parts of `results.json`: rows of the final table, and the curves over temperatures by the names
# that the metric list has for them.
ROWS = ("start", "control", "resampled", "final", "best")
CURVES = {"mle": "curve", "game": "game_curve"}
DIVERSITY = "nll_heldout"  # upwards in a plane, with the quality of the task to the right


@dataclass(frozen=True)
class Table:
    """Rows of numbers with a name each.

    Args:
        better: the better end of each column's values, max or min; empty for one without.
        metrics: the columns as the metric list names them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    better: tuple[str, ...]
    metrics: tuple[str, ...]

    def best(self, index: int) -> list[bool]:
        """The rows with the best value of a column, as it is shown; none where all are alike."""
        shown = [float(f"{values[index]:.4g}") for _, values in self.rows]
        known = {value for value in shown if not math.isnan(value)}
        if not self.better[index] or len(known) < 2:
            return [False] * len(shown)
        best = max(known) if self.better[index] == "max" else min(known)
        return [value == best for value in shown]

    def cells(self, index: int) -> list[str]:
        """The values of a column as they are shown; a dash where one is not known."""
        return ["-" if math.isnan(v[index]) else f"{v[index]:.4g}" for _, v in self.rows]

    def lines(self, stream: Any = None, with_bold: bool = True) -> list[str]:
        """Plain text, one metric a line and one generator a column: fits a narrow terminal.

        Args:
            stream: where the lines will be shown; None for nowhere in particular, which has every
                character and any width, but no bold type.
            with_bold: False leaves out bold type also where the stream shows it.
        """
        heads = ["", *(name for name, _ in self.rows)]
        body = [
            [
                f"{column} {arrow(self.better[index], stream)}".rstrip(),
                *self.cells(index),
            ]
            for index, column in enumerate(self.columns)
        ]
        strong = {
            (1 + index, 1 + number)
            for index in range(len(self.columns))
            for number, is_best in enumerate(self.best(index))
            if is_best and with_bold and shows_bold(stream)
        }
        return aligned([heads, *body], columns=columns_of(stream), strong=strong)


def result_table(result: Result) -> Table:
    """Both generators at temperature 1 and where they are compared; own rewards come first."""
    return stored_table(results_dict(result))


def stored_table(results: Mapping[str, Any]) -> Table:
    """The same table from what `results_dict` has stored, or an older version of it."""
    comparison = results["comparison"]
    old = ("MLE", f"MLE at {comparison['temperature']:.2f}", "after game")
    heads = results.get("table", dict(zip(old, ("start", "control", "final"), strict=True)))
    rows = [(name, results[key]) for name, key in heads.items()]
    paid = [f"rewards/{name}/mean" for name in results.get("about", {}).get("rewards", ())]
    quality = f"eval/{comparison['quality']}"
    own = [name for name in results["final"] if name.startswith("user/")]
    metrics = [*paid, quality, *(f"eval/{name}" for name in COLUMNS), *own]
    # The start, resampled, has no likelihood where too few of its draws count.
    whole = [results[key] for key in heads.values() if key != "resampled"]
    shown = [one for one in dict.fromkeys(metrics) if all(one in values for values in whole)]
    if comparison["quality"] in COLUMNS:  # in its own place among the others
        shown.sort(key=[*paid, *(f"eval/{name}" for name in COLUMNS), *own].index)
    higher = comparison.get("higher_is_better", True)
    ends = {one: find_metric(one).best for one in shown}
    ends |= {one: end for one, end in results.get("better", {}).items() if one in ends}
    ends[quality] = ends.get(quality) or ("max" if higher else "min")
    return Table(
        tuple(_column(name) for name in shown),
        tuple((name, tuple(values.get(one, math.nan) for one in shown)) for name, values in rows),
        tuple(ends[one] for one in shown),
        tuple(shown),
    )


def _column(metric: str) -> str:
    area, _, name = metric.partition("/")
    if area == "rewards":
        return f"reward {name.removesuffix('/mean')}"
    return metric if area == "user" else name


def closing_sentences(results: Mapping[str, Any]) -> list[str]:
    """All that a finished run says in the end: its own rewards, the verdict, the adversary.

    Args:
        results: what `results_dict` has stored, or an older version of it.
    """
    if "sentences" in results:
        return list(results["sentences"])
    rewards = [
        f"Mean reward {name!r}: {before:.4g} before the game, {after:.4g} after it."
        for name, (before, after) in results.get("rewards", {}).items()
    ]
    known = results.get("information_sentence", "")
    return [results["comparison"]["sentence"], *rewards, *([known] if known else [])]


def information_sentence(information: Sequence[tuple[int, float, float]]) -> str:
    """The adversary's knowledge over the game that the generator had not, in plain words.

    Args:
        information: (iteration, held-out information in nats, its standard error) of each
            evaluation in the game; empty, as the sentence then is, without a discriminator.
    """
    during = [entry for entry in information if entry[0] > 0] or list(information)
    if not during:
        return ""
    mean = sum(value for _, value, _ in during) / len(during)
    # Every evaluation meets the same held-out sequences, so errors do not average out.
    error = math.sqrt(sum(error**2 for _, _, error in during) / len(during))
    count = f"{len(during)} evaluation{'s' if len(during) > 1 else ''}"
    measured = f"{mean:+.4f} nats (standard error {error:.4f}, {count})"
    if mean <= 2 * error:
        return (
            "Nothing shows that in the game the discriminator knew anything about unseen text that"
            f" the generator did not: held-out information {measured}, not above zero by more than"
            " two standard errors. An adversary like that has next to nothing to teach."
        )
    return f"The discriminator's held-out information in the game was {measured}."


def reward_sentence(name: str, found: Change) -> str:
    """The change of a reward that did not learn along, at temperature 1."""
    low, high = found.interval
    interval = f"95% interval {low:+.4g} to {high:+.4g}, by bootstrap over samples"
    if math.isinf(high):
        interval = "a single text says nothing of noise"
    verb = "rose" if low > 0 else "fell" if high < 0 else "did not change beyond noise,"
    return (
        f"Reward {name!r} {verb} from {found.before:.4g} to {found.after:.4g}"
        f" ({found.difference:+.4g}; {interval})."
    )


def price_sentence(price: Price) -> str:
    """The cost of the rewards at temperature 1."""
    nll, likelihood = price.nll_heldout, ""
    if nll is not None:
        low, high = nll.interval
        interval = "" if math.isinf(high) else f"; 95% interval {low:+.4f} to {high:+.4f}"
        likelihood = (
            f"held-out NLL {nll.difference:+.4f} nats per token (above 0 is worse{interval}), "
        )
    before, after = price.duplicate_rate
    return (
        f"The price: {likelihood}duplicate rate {before:.4g} to {after:.4g}, KL to the start"
        f" {price.kl.value:.4g} nats per text."
    )


def sentences(result: Result) -> list[str]:
    """Everything that a run says in the end, its own rewards first."""
    about, words = result.about, []
    if about.controls:
        names = " and ".join(f"'{name}'" for name in about.controls)
        words.append(f"This run is a control: reward {names} says nothing of texts.")
    changed = [
        reward_sentence(name, result.rewards[name])
        for name in about.rewards
        if name in result.rewards
    ]
    words += changed
    if changed and result.price is not None:
        words.append(price_sentence(result.price))
    words.append(result.comparison.sentence)
    words.append(result.resampled.sentence if result.resampled else result.left_out)
    if about.adversary:
        words.append(information_sentence(result.information))
    return [sentence for sentence in words if sentence]


def results_dict(result: Result) -> dict[str, Any]:
    """Everything of the end of a run as JSON-able values."""
    comparison = result.comparison
    quality = comparison.panel.quality
    keys = {id(getattr(result, key)): key for key in ("best", "final", "control", "start")}
    control = result.resampled
    if control is not None:
        keys[id(control.row)] = "resampled"
    return {
        "sentences": sentences(result),
        "about": asdict(result.about),
        "table": {row.name: keys[id(row)] for row in result.rows},
        "start": result.start.metrics,
        "final": result.final.metrics,
        "control": result.control.metrics,
        "best": result.best.metrics,
        "better": result.better,
        **({} if control is None else {"resampled": control.row.metrics}),
        "comparison": {
            "quality": quality.name,
            "unit": quality.unit,
            "higher_is_better": quality.higher_is_better,
            "temperature": result.control.temperature,
            "best_temperature": result.best.temperature,
            "error": comparison.error,
            **comparison.plain(),
            "sentence": comparison.sentence,
        },
        "curve": _curve(result.mle),
        "game_curve": _curve(result.game),
        "rewards": {
            name: {"before": one.before, "after": one.after, "interval": _finite(one.interval)}
            for name, one in result.rewards.items()
        },
        "price": None if result.price is None else _price(result.price),
        "resampling": None if control is None else _resampling(control),
        "information": [list(entry) for entry in result.information],
        "information_sentence": information_sentence(result.information),
    }


def summary_metrics(results: Mapping[str, Any]) -> dict[str, float | str]:
    """The end of a run as single values by names of the metric list: `result/...`.

    Args:
        results: what `results_dict` has stored, or an older version of it.
    """
    comparison = results["comparison"]
    low, high = comparison.get("interval") or (None, None)
    known: dict[str, float | str | None] = {
        "result/verdict": comparison.get("verdict"),
        "result/sentence": comparison.get("sentence"),
        "result/difference": comparison.get("difference"),
        "result/difference_low": low,
        "result/difference_high": high,
    }
    if beside := results.get("resampling"):
        low, high = beside.get("interval") or (None, None)
        known |= {
            "result/resampling/verdict": beside.get("verdict"),
            "result/resampling/sentence": beside.get("sentence") or None,
            "result/resampling/difference": beside.get("difference"),
            "result/resampling/difference_low": low,
            "result/resampling/difference_high": high,
            "result/resampling/effective_share": beside.get("effective_share"),
            "result/resampling/kl_to_start": beside.get("kl_to_start"),
            "result/resampling/beta": beside.get("beta"),
        }
    for row in ROWS:
        known |= {
            f"result/{row}/{_short(name)}": value for name, value in results.get(row, {}).items()
        }
    for curve, key in CURVES.items():
        for temperature, point in results.get(key, {}).items():
            place = f"result/{curve}/{float(temperature):g}"
            known |= {f"{place}/{_short(name)}": value for name, value in point.items()}
    return {name: value for name, value in known.items() if value is not None}


def ending(results: Mapping[str, Any], files: Mapping[str, Path]) -> Ending:
    """The end of a run for its trackers.

    Args:
        results: what `results_dict` has stored.
        files: pages and pictures about the run.
    """
    quality = results["comparison"]["quality"]
    curve: list[dict[str, float | str]] = []
    for generator, key in CURVES.items():
        for temperature, point in results[key].items():
            values = {_short(name): value for name, value in point.items()}
            if quality in values and DIVERSITY in values:
                curve.append(
                    {
                        "generator": generator,
                        "temperature": float(temperature),
                        "quality": values[quality],
                        "diversity": values[DIVERSITY],
                        **values,
                    }
                )
    lines = [*stored_table(results).lines(), *closing_sentences(results)]
    table = [
        {"generator": name} | {_short(metric): value for metric, value in results[row].items()}
        for name, row in results["table"].items()
    ]
    return Ending(summary_metrics(results), lines, table, curve, files)


def _short(metric: str) -> str:
    return metric.removeprefix("eval/")


def _curve(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Points by their temperatures, with the names of the metric list."""
    return {
        str(point.knob.value): {f"eval/{name}": v for name, v in point.values.items()}
        for point in points
    }


def _price(price: Price) -> dict[str, Any]:
    nll = price.nll_heldout
    likelihood = None
    if nll is not None:
        interval = _finite(nll.interval)
        likelihood = {"before": nll.before, "after": nll.after, "interval": interval}
    (interval,) = bootstrap_intervals({"kl": price.kl}).values() or (None,)
    return {
        "nll_heldout": likelihood,
        "duplicate_rate": dict(zip(("before", "after"), price.duplicate_rate, strict=True)),
        "kl_to_start": {"value": price.kl.value, "interval": interval},
    }


def _resampling(control: Control) -> dict[str, Any]:
    """The start, resampled, and the game beside it: in the plane, or by its reward."""
    resampled, tilting = control.resampled, control.resampled.found.tilting
    beside: dict[str, Any] = {"verdict": None, "difference": None, "interval": None}
    if control.comparison is not None:
        plain = control.comparison.plain()
        beside = {name: plain[name] for name in beside}
    elif control.reward is not None:
        words = {"above": "better", "on": "level", "under": "worse", None: "unknown"}
        beside = {
            "verdict": words[place_of_reward(control.reward, resampled)],
            "difference": control.reward.difference,
            "interval": _finite(control.reward.interval),
        }
    return {
        "sentence": control.sentence,
        **beside,
        "of": "reward" if control.reward else DIVERSITY,
        "beta": resampled.beta,
        "effective_share": resampled.share,
        "kl_to_start": resampled.found.kl,
        "log_z": None if tilting is None else tilting.normalizer.value,
        "missing": resampled.found.missing,
    }


def _finite(ends: tuple[float, float]) -> tuple[float, float] | None:
    return ends if all(map(math.isfinite, ends)) else None
