"""One call for all ways to draw from a generator with a reward, with the cost of each."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.twists import ActionTwist, PrefixTwist
from seqgan.decoding.weighted import WeightedTexts
from seqgan.functional.weights import best_of_n_kl
from seqgan.rewards.weighted import as_weighted_sum
from seqgan.system.errors import ConfigurationError

Kind = Literal["resample", "reject", "best-of", "smc"]
Twist = PrefixTwist | ActionTwist
FindTwist = Callable[[], tuple[Twist, str]]  # a twist, and its origin in words

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
        most_kl: KL to the start is no more, nats per text; infinite where only the weights tell it.
    """

    sequences: Sequences
    sampled_tokens: int
    weighted: WeightedTexts | None = None
    rows: Int[Tensor, " text"] | None = None
    most_kl: float = math.inf

    @property
    def tokens_per_text(self) -> float:
        """The price of a text: tokens that the generator drew for each."""
        return self.sampled_tokens / max(len(self.sequences), 1)


@dataclass(frozen=True, eq=False)
class TiltedSampler(ABC):
    """A tilted model, and the way in which its texts are drawn.

    Args:
        of: proposals (particles) for each text.

    Attributes:
        has_likelihood: False where no held-out likelihood is known; `unknown` says why.
        past: the way as a participle, `resampled`; of those with a likelihood.
        suffix: the same behind a model's name.
        weighs: the name of the texts that are weighted.
        repeats: True where a text with a large weight is drawn more than once.

    Raises:
        ConfigurationError: `of` is below 2.
    """

    has_likelihood: ClassVar[bool] = True
    past: ClassVar[str]
    suffix: ClassVar[str]
    weighs: ClassVar[str] = "proposals"
    repeats: ClassVar[bool] = False

    model: Tilted
    of: int = 4

    def __post_init__(self) -> None:
        if self.of < 2:
            raise ConfigurationError(
                f"the proposals for each text are {self.of}, but must be at least 2"
            )

    @classmethod
    def made(cls, model: Tilted, of: int, find_twist: FindTwist) -> "TiltedSampler":
        """The sampler of a command.

        Args:
            find_twist: finds a twist and says its origin; called by the samplers that need one.

        Raises:
            ConfigurationError: the model's reward does not do.
        """
        return cls(model, of)

    @abstractmethod
    def draw(self, n: int, rng: torch.Generator, prompts: Sequences | None = None) -> Drawn:
        """Draws n texts.

        Args:
            prompts: n rows, one for each text; each has particles of its own.

        Raises:
            ConfigurationError: rejection knows no bound, has prompts, or keeps hardly any text.
            RewardError: the reward failed.
        """

    def weighted(
        self, n: int, rng: torch.Generator, prompts: Sequences | None = None
    ) -> WeightedTexts:
        """Weighted texts from which n can be drawn: n times `of`, or `of` for each prompt."""
        return self.model.propose(self.particles(n, prompts), rng, prompts)

    def particles(self, n: int, prompts: Sequences | None) -> int:
        """Proposals from which n texts are drawn, of each prompt where there are prompts."""
        return self.of if prompts is not None else max(n * self.of, FEWEST)

    def title(self, by: str) -> str:
        """The way to draw in a few words: `resampled by discriminator, beta 1`.

        Args:
            by: the names of the rewards.
        """
        return f"{self.past} by {by}, beta {self.model.tilt.beta:g}"

    @property
    def about(self) -> str:
        """A remark on how the texts are drawn; mostly empty."""
        return ""

    @property
    def unknown(self) -> str:
        """The reason why no held-out likelihood is known; empty where it is."""
        return ""


class Resample(TiltedSampler):
    """Draws proposals in proportion to their weights."""

    past = suffix = "resampled"
    repeats = True

    def draw(self, n: int, rng: torch.Generator, prompts: Sequences | None = None) -> Drawn:
        weighted = self.weighted(n, rng, prompts)
        rows = weighted.draw_rows(n, rng)
        return Drawn(weighted.sequences.select(rows), weighted.sampled_tokens, weighted, rows)


@dataclass(frozen=True, eq=False)
class SMC(Resample):
    """Resamples while the texts grow: twisted sequential Monte Carlo.

    Args:
        twist: guesses where a prefix leads.
        origin: where the twist is from, in words.
    """

    past, suffix, weighs = "twisted SMC", "by SMC", "particles"

    twist: Twist = field(kw_only=True)
    origin: str = field(default="", kw_only=True)

    @classmethod
    def made(cls, model: Tilted, of: int, find_twist: FindTwist) -> "TiltedSampler":
        twist, origin = find_twist()
        return cls(model, of, twist=twist, origin=origin)

    def weighted(
        self, n: int, rng: torch.Generator, prompts: Sequences | None = None
    ) -> WeightedTexts:
        particles = self.particles(n, prompts)
        islands = 2  # two are the fewest that tell an error
        if prompts is None:
            islands = max(islands, -(-particles // ISLAND))
        particles = islands * -(-particles // islands)
        return self.model.smc(particles, rng, self.twist, prompts, islands)

    @property
    def about(self) -> str:
        return self.origin


class Reject(TiltedSampler):
    """Keeps each proposal with its probability, and draws as many as it needs."""

    past, suffix = "rejected", "by rejection"

    @classmethod
    def made(cls, model: Tilted, of: int, find_twist: FindTwist) -> "TiltedSampler":
        if math.isinf(model.tilt.bound):
            names = " + ".join(as_weighted_sum(model.tilt.reward).names)
            raise ConfigurationError(
                f"the largest reward of {names} is not known, which --sampler reject needs;"
                " --sampler resample does not"
            )
        return cls(model, of)

    def draw(self, n: int, rng: torch.Generator, prompts: Sequences | None = None) -> Drawn:
        if prompts is not None:
            raise ConfigurationError(
                "the sampler reject goes on from no prompts; resample, best-of and smc do"
            )
        most = MOST_FOR_ONE * max(n, FEWEST)
        weighted, rows = self.model.reject_among(n, rng, most_proposals=most)
        return Drawn(weighted.sequences.select(rows), weighted.sampled_tokens, weighted, rows)


class BestOf(TiltedSampler):
    """Takes the best of several proposals: a model of its own, without a beta."""

    has_likelihood = False

    def draw(self, n: int, rng: torch.Generator, prompts: Sequences | None = None) -> Drawn:
        texts, tokens = self.model.best_of(n, rng, self.of, prompts)
        return Drawn(texts, tokens, most_kl=best_of_n_kl(self.of))

    def title(self, by: str) -> str:
        return f"best of {self.of} by {by}"

    @property
    def unknown(self) -> str:
        return (
            f"best of {self.of} has no held-out likelihood: its density depends on the share"
            " of all texts that score less"
        )


SAMPLERS: Mapping[Kind, type[TiltedSampler]] = {
    "resample": Resample,
    "reject": Reject,
    "best-of": BestOf,
    "smc": SMC,
}
