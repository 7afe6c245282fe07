"""A reward for texts of a wanted length."""

from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.ngram_table import word_mask
from seqgan.system.errors import ConfigurationError


class Length(Reward):
    """0 at a wanted length, and less the further away from it a text is.

    Minus the distance from `target` beyond `tolerance`, as a share of `target`; or minus that
    squared. So a text without words gets at least -1, one of twice the length about -1. Lengths
    are in words (characters, where those are the tokens), the eos not among them.

    Args:
        target: words of the wanted text.
        tolerance: words more or fewer that cost nothing.
        falloff: `linear`, or `squared`, which forgives small distances.

    Raises:
        ConfigurationError: `target` is below 1, `tolerance` below 0, or `falloff` another one.
    """

    name = "length"

    def __init__(self, target: int, tolerance: int = 0, falloff: str = "linear") -> None:
        if target < 1:
            raise ConfigurationError(f"length's target is at least 1 word, got {target}")
        if tolerance < 0:
            raise ConfigurationError(f"length's tolerance is at least 0 words, got {tolerance}")
        if falloff not in ("linear", "squared"):
            raise ConfigurationError(f"length's falloff is linear or squared, got {falloff!r}")
        self.target = target
        self.tolerance = tolerance
        self.falloff: str = falloff

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        lengths = word_mask(sequences).sum(dim=1)
        excess = ((lengths - self.target).abs() - self.tolerance).clamp(min=0) / self.target
        return -excess if self.falloff == "linear" else -excess.square()
