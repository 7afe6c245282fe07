"""What a finished run says in the end: a table of three generators, and two plain sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqgan.evaluation.planes.temperatures import Comparison
from seqgan.system.tables import aligned
from seqgan.training.final import Result

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


@dataclass(frozen=True)
class Table:
    """Rows of numbers with a name each."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    def lines(self) -> list[str]:
        """Plain text, one metric a line and one generator a column: fits a narrow terminal."""
        heads = ["", *(name for name, _ in self.rows)]
        body = [
            [column, *(f"{values[index]:.4g}" for _, values in self.rows)]
            for index, column in enumerate(self.columns)
        ]
        return aligned([heads, *body])


def result_table(result: Result) -> Table:
    """The MLE start, the MLE control at the best temperature, and the end of the game."""
    return stored_table(results_dict(result))


def stored_table(results: Mapping[str, Any]) -> Table:
    """The same table from what `results_dict` has stored."""
    quality, temperature = results["comparison"]["quality"], results["comparison"]["temperature"]
    named = (
        ("MLE", results["start"]),
        (f"MLE at {temperature:.2f}", results["control"]),
        ("after game", results["final"]),
    )
    columns = tuple(name for name in COLUMNS if f"eval/{name}" in results["final"])
    if quality not in COLUMNS:
        columns = (quality, *columns)
    rows = tuple(
        (name, tuple(metrics[f"eval/{column}"] for column in columns)) for name, metrics in named
    )
    return Table(columns, rows)


def information_sentence(information: Sequence[tuple[int, float, float]]) -> str:
    """What the adversary knew over the game that the generator did not, in plain words.

    Args:
        information: (iteration, held-out information in nats, its standard error) of each
            evaluation in the game.
    """
    during = [entry for entry in information if entry[0] > 0] or list(information)
    if not during:
        return "No discriminator was in the game: there is no held-out information to report."
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


def reward_sentences(rewards: Mapping[str, Sequence[float]]) -> list[str]:
    """What became of each reward that did not learn along.

    Args:
        rewards: mean over the pretrained generator's samples, and over those after the game.
    """
    return [
        f"Mean reward {name!r}: {before:.4g} before the game, {after:.4g} after it."
        for name, (before, after) in rewards.items()
    ]


def results_dict(result: Result) -> dict[str, Any]:
    """Everything of the end of a run as JSON-able values."""
    comparison: Comparison = result.comparison
    return {
        "start": result.start.metrics,
        "final": result.final.metrics,
        "control": comparison.control.metrics,
        "comparison": {
            "quality": result.final.quality.name,
            "temperature": comparison.temperature,
            "difference": comparison.difference,
            "error": comparison.error if math.isfinite(comparison.error) else None,
            "verdict": comparison.verdict,
            "sentence": comparison.sentence,
        },
        "curve": {str(t): measured.metrics for t, measured in result.curve.items()},
        "rewards": {name: list(pair) for name, pair in result.rewards.items()},
        "information": [list(entry) for entry in result.information],
        "information_sentence": information_sentence(result.information),
    }
