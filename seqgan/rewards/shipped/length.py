"""A reward for texts of a wanted length."""

from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.ngram_table import word_mask
from seqgan.system.checks import Count, Size, checked
from seqgan.system.errors import ConfigurationError


class Length(Reward):
    """Rewards a wanted length with 0, and other lengths with less the further away they are.

    The reward is minus the distance from `target` beyond `tolerance`, as a share of `target`; or
    minus the square of that share. So a text without words gets at least -1, and a text of twice
    the length gets about -1. Lengths are in words (in characters, if those are the tokens) without
    the eos.

    Args:
        target: number of words of the wanted text.
        tolerance: number of words more or fewer that cost nothing.
        falloff: `linear`, or `squared`, which forgives small distances.

    Raises:
        ConfigurationError: `target` is below 1, `tolerance` is below 0, or `falloff` is unknown.
    """

    name = "length"
    most = 0.0  # the largest reward

    def __init__(self, target: int, tolerance: int = 0, falloff: str = "linear") -> None:
        if falloff not in ("linear", "squared"):
            raise ConfigurationError(
                f"length's falloff is {falloff!r}, but must be linear or squared"
            )
        self.target = checked("length's target", target, Size)
        self.tolerance = checked("length's tolerance", tolerance, Count)
        self.falloff: str = falloff

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        lengths = word_mask(sequences).sum(dim=1)
        excess = ((lengths - self.target).abs() - self.tolerance).clamp(min=0) / self.target
        return -excess if self.falloff == "linear" else -excess.square()
