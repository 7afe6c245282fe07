"""Plain rules that detect a failing game from its metrics."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seqgan.data.metrics import Metrics

# Below these shares of the pretrained generator's values a game has collapsed. They are low: on
# captions even temperature 0.4 keeps 0.77 of the entropy and 0.94 of the distinct texts.
LEAST_ENTROPY = 0.5
LEAST_UNIQUE = 0.5
# A discriminator has won at this accuracy on real, on generated and on held-out texts.
WON = 0.99
# A reward is flat whose standard deviation in a batch is at most this share of the largest that it
# has had, or that of rounding, in so many iterations in succession.
FLAT, ROUNDING, FLAT_ITERATIONS = 0.01, 1e-6, 5


# A discriminator is pinned that has told more than this share of its texts apart for so long.
PINNED, PINNED_ITERATIONS = 0.95, 10


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


@dataclass
class Wins:
    """The discriminator's accuracy in its own training, followed from iteration to iteration."""

    pinned: int = 0  # iterations in succession above the bound

    def follow(self, metrics: Metrics) -> list[Trouble]:
        """Takes the metrics of an iteration; tells of a discriminator that has won for long."""
        of_texts = [metrics.get(f"discriminator/accuracy_{kind}") for kind in ("real", "generated")]
        known = [accuracy for accuracy in of_texts if accuracy is not None]
        if "iteration" not in metrics or not known:
            return []
        accuracy = metrics.get("discriminator/accuracy_pairs", sum(known) / len(known))
        self.pinned = self.pinned + 1 if accuracy > PINNED else 0
        if self.pinned != PINNED_ITERATIONS:
            return []
        hint = "; fewer d-steps or --discriminator-training.max-accuracy 0.85 hold it back"
        if "discriminator/steps" in metrics:  # it has a bound, and does not learn any more
            hint = ""
        return [
            Trouble(
                "discriminator pinned",
                f"it has told more than {PINNED:.0%} of its texts apart in {PINNED_ITERATIONS}"
                f" iterations of its training, now {accuracy:.1%}: hardly a reward tells two"
                f" generated texts apart{hint}",
            )
        ]


@dataclass
class Spreads:
    """The spread of each reward over a batch, followed from iteration to iteration."""

    largest: dict[str, float] = field(default_factory=dict)  # standard deviations so far
    flat: dict[str, int] = field(default_factory=dict)  # iterations in succession without spread

    def follow(self, metrics: Metrics) -> list[Trouble]:
        """Takes the metrics of an iteration; gives the rewards that have been flat too long."""
        trouble = []
        for key, spread in metrics.items():
            if not (named := re.fullmatch("rewards/(.+)/std", key)):
                continue
            name, mean = named[1], metrics.get(f"rewards/{named[1]}/mean", 0.0)
            self.largest[name] = max(self.largest.get(name, 0.0), spread)
            least = max(FLAT * self.largest[name], ROUNDING * max(1.0, abs(mean)))
            self.flat[name] = self.flat.get(name, 0) + 1 if spread <= least else 0
            if self.flat[name] >= FLAT_ITERATIONS:
                trouble.append(
                    Trouble(
                        f"reward {name} is flat",
                        f"it has given the texts of {FLAT_ITERATIONS} iterations nearly the same"
                        f" value, now {mean:.4g} with a standard deviation of {spread:.2g}: none is"
                        " better than another, so nothing is learnt from it",
                    )
                )
        return trouble

    def state_dict(self) -> dict[str, Any]:
        return {"largest": self.largest, "flat": self.flat}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.largest, self.flat = dict(state["largest"]), dict(state["flat"])
