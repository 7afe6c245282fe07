"""Plain rules that tell a game gone wrong from its numbers."""

import math
from dataclasses import dataclass

from seqgan.data.metrics import Metrics

# Shares of the pretrained generator's value below which a game has collapsed. Far down: on captions
# even a temperature of 0.4 leaves 0.77 of the entropy, and 0.94 of the distinct texts.
LEAST_ENTROPY = 0.5
LEAST_UNIQUE = 0.5
# Accuracy from which a discriminator has won: on each side, and on held-out text.
WON = 0.99


@dataclass(frozen=True)
class Trouble:
    """What is wrong, in a few words that name its kind and in a sentence."""

    title: str
    text: str


def find_trouble(metrics: Metrics, start: Metrics) -> list[Trouble]:
    """Mode collapse, and a discriminator that leaves its generator nothing to learn from.

    Each rule looks at what there is of its metrics, and stays silent where one is missing.

    Args:
        metrics: of an evaluation in the game, names as in the metric list.
        start: of the same evaluation before the game.
    """
    nan = math.nan  # compares as False with anything: a rule without its metrics stays silent
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
