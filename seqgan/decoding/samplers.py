"""One call for all ways to draw from a generator with a reward, with the cost of each."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.twists import ActionTwist, PrefixTwist
from seqgan.decoding.weighted import WeightedTexts
from seqgan.system.errors import ConfigurationError

Kind = Literal["resample", "reject", "best-of", "smc"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ISLAND = 128  # particles that are resampled together, where there are no prompts
FEWEST = 64  # proposals without prompts, at the least; fewer tell texts apart badly
MOST_FOR_ONE = 1000  # proposals of rejection for each text; one that keeps fewer would never end


@dataclass(frozen=True, eq=False)
class Drawn:
    """Texts that a sampler drew.

    Args:
        sequences: the texts.
        sampled_tokens: tokens that the generator drew for them, in all.
        weighted: weighted texts that stand for the same model, and tell its log Z; None of
            best-of-n, which is another model.
        rows: the row of `weighted` that each text is; None without them.
    """

    sequences: Sequences
    sampled_tokens: int
    weighted: WeightedTexts | None = None
    rows: Int[Tensor, " text"] | None = None

    @property
    def tokens_per_text(self) -> float:
        """The price of a text: tokens that the generator drew for each."""
        return self.sampled_tokens / max(len(self.sequences), 1)


@dataclass(frozen=True, eq=False)
class TiltedSampler:
    """A tilted model, and the way in which its texts are drawn.

    Args:
        kind: `resample` draws proposals in proportion to their weights, `reject` keeps each with
            its probability, `best-of` takes the best of several, `smc` resamples as texts grow.
        of: proposals (particles) for each text. Rejection draws as many as it needs.
        twist: of `smc`, which needs one.

    Raises:
        ConfigurationError: `smc` has no twist, or `of` is below 2.
    """

    model: Tilted
    kind: Kind = "resample"
    of: int = 4
    twist: PrefixTwist | ActionTwist | None = None

    def __post_init__(self) -> None:
        if self.kind == "smc" and self.twist is None:
            raise ConfigurationError("the sampler smc has no twist, but needs one")
        if self.of < 2:
            raise ConfigurationError(
                f"the proposals for each text are {self.of}, but must be at least 2"
            )

    def draw(self, n: int, rng: torch.Generator, prompts: Sequences | None = None) -> Drawn:
        """Draws n texts.

        Args:
            prompts: n rows, one for each text; each has particles of its own.

        Raises:
            ConfigurationError: rejection knows no bound, has prompts, or keeps hardly any text.
            RewardError: the reward failed.
        """
        if self.kind == "best-of":
            texts, tokens = self.model.best_of(n, rng, self.of, prompts)
            return Drawn(texts, tokens)
        if self.kind == "reject":
            if prompts is not None:
                raise ConfigurationError(
                    "the sampler reject goes on from no prompts; resample, best-of and smc do"
                )
            most = MOST_FOR_ONE * max(n, FEWEST)
            weighted, rows = self.model.reject_among(n, rng, most_proposals=most)
        else:
            weighted = self.weighted(n, rng, prompts)
            rows = weighted.draw_rows(n, rng)
        return Drawn(weighted.sequences.select(rows), weighted.sampled_tokens, weighted, rows)

    def weighted(
        self, n: int, rng: torch.Generator, prompts: Sequences | None = None
    ) -> WeightedTexts:
        """Weighted texts from which n are to be drawn: n times `of`, or `of` for each prompt."""
        particles = self.of if prompts is not None else max(n * self.of, FEWEST)
        if self.twist is None:
            return self.model.propose(particles, rng, prompts)
        islands = 2  # two are the fewest that tell an error
        if prompts is None:
            islands = max(islands, -(-particles // ISLAND))
        particles = islands * -(-particles // islands)
        return self.model.smc(particles, rng, self.twist, prompts, islands)
