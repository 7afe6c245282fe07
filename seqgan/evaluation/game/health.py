"""Plain rules that detect a failing game from its metrics."""

import math
from dataclasses import dataclass

from seqgan.data.metrics import Metrics

# Below these shares of the pretrained generator's values a game has collapsed. They are low: on
# captions even temperature 0.4 keeps 0.77 of the entropy and 0.94 of the distinct texts.
LEAST_ENTROPY = 0.5
LEAST_UNIQUE = 0.5
# A discriminator has won at this accuracy on real, on generated and on held-out texts.
WON = 0.99


@dataclass(frozen=True)
class Trouble:
    """A problem of a game: a short title of its kind, and a sentence."""

    title: str
    text: str


def find_trouble(metrics: Metrics, start: Metrics) -> list[Trouble]:
    """Detects mode collapse, and a discriminator too strong for its generator to learn from.

    A rule whose metrics are missing detects nothing.

    Args:
        metrics: metrics of an evaluation in the game, named as in the metric list.
        start: metrics of the same evaluation before the game.
    """
    nan = math.nan  # every comparison with NaN is False, so a rule without metrics stays silent
    trouble = []
    entropy, entropy_before = metrics.get("eval/entropy", nan), start.get("eval/entropy", nan)
    unique = 1 - metrics.get("eval/duplicate_rate", nan)
    unique_before = 1 - start.get("eval/duplicate_rate", nan)
    reasons = []
    if entropy < LEAST_ENTROPY * entropy_before:
        reasons.append(
            f"the generator's entropy is {entropy:.3g} nats per token,"
            f" {entropy_before:.3g} before the game"
        )
    if unique < LEAST_UNIQUE * unique_before:
        reasons.append(
            f"{unique:.1%} of its texts are distinct, {unique_before:.1%} before the game"
        )
    if reasons:
        trouble.append(Trouble("mode collapse", "; ".join(reasons)))
    names = ("accuracy_real", "accuracy_generated", "accuracy_heldout")
    accuracies = [metrics.get(f"discriminator/{name}", nan) for name in names]
    if all(accuracy >= WON for accuracy in accuracies):
        real, generated, heldout = accuracies
        trouble.append(
            Trouble(
                "discriminator too strong",
                f"it tells {real:.1%} of real, {generated:.1%} of generated and {heldout:.1%} of"
                " held-out text apart: almost no reward tells two generated texts apart",
            )
        )
    return trouble
