"""RankGAN's ranker as a reward (Lin et al., 2017): the rank of a text among others.

alpha(s|u) = cos(f(s), f(u)) is the similarity of text s and reference u under features f. R is the
rank of s in a comparison set C, given references U:

    P(s|u, C) = exp(gamma alpha(s|u)) / sum over s' in C + {s} of exp(gamma alpha(s'|u))
    log R(s|U, C) = mean over u in U of log P(s|u, C)

Generated texts are ranked among real ones (C+), real texts among generated ones (C-). The ranker
ascends E_real[log R(s|U, C-)] + E_generated[log(1 - R(s|U, C+))].

Departures: only `update` changes the references U and the comparison set C+, while the paper draws
them anew for every text. So a row's reward depends on no other row. The authors' released code
descends log R of generated texts in place of log(1 - R).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, joined
from seqgan.functional.losses import to_floats
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.rewards.base import Reward, RewardError
from seqgan.rewards.discriminator_step import descend
from seqgan.system.checks import Bound, Positive, Rate, Seed, Size, checked
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import JUDGE, Task, needs_texts

LEAST_LOSS = 1e-6  # lower bound of 1 - R, so that its logarithm is finite


def log_rank(
    texts: Float[Tensor, "text feature"],
    references: Float[Tensor, "reference feature"],
    comparisons: Float[Tensor, "comparison feature"],
    gamma: float,
) -> Float[Tensor, " text"]:
    """log R(s|U, C) of each text s, from feature vectors of any norm."""
    directions = normalize(references, dim=1).T
    relevance = gamma * (normalize(texts, dim=1) @ directions)
    others = (gamma * (normalize(comparisons, dim=1) @ directions)).logsumexp(dim=0)
    return (relevance - torch.logaddexp(relevance, others)).mean(dim=1)


class RankingReward(Reward):
    """log R(s|U, C+): at most 0; log 1/(|C+| + 1) for a text that ranks like a real one.

    Args:
        ranker: its `features` are f; its `output` layer is unused.
        optimizer: optimises the ranker's parameters.
        references: U, real texts; `update` replaces the oldest of them.
        comparisons: C+, real texts; `update` replaces the oldest of them.
        gamma: sharpness; with a larger gamma the most similar texts count more.
        max_grad_norm: the gradient's norm is clipped to this.

    Raises:
        ConfigurationError: `references` or `comparisons` is empty, or `gamma` is not above 0.
    """

    name = "rankgan"

    def __init__(
        self,
        ranker: Discriminator,
        optimizer: torch.optim.Optimizer,
        references: Sequences,
        comparisons: Sequences,
        gamma: float = 10.0,
        max_grad_norm: float = math.inf,
    ) -> None:
        if not len(references) or not len(comparisons):
            raise ConfigurationError("rankgan has no references or no comparisons, but needs both")
        self.ranker = ranker
        self.optimizer = optimizer
        self.references = references
        self.comparisons = comparisons
        self.gamma = checked("rankgan's gamma", gamma, Positive)
        self.max_grad_norm = checked("rankgan's max_grad_norm", max_grad_norm, Bound)

    @torch.no_grad()
    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.ranker.eval()
        ranks = log_rank(
            self._features(sequences),
            self._features(self.references),
            self._features(self.comparisons),
            self.gamma,
        )
        if bool(ranks.isnan().any()):  # as a reward, NaN would mean "does not apply"
            row = int(ranks.isnan().nonzero()[0, 0])
            raise RewardError(self.name, "its log rank is nan, but must be a number", row)
        return ranks.to(sequences.tokens.device)

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        """Takes one optimiser step. Half of `real` becomes references and comparisons, and the
        ranker ranks the other half.

        A minibatch smaller than these sets replaces a part of them. C- is the first generated
        texts, as many as C+ has texts.
        """
        quarter = len(real) // 4
        rows = torch.arange(len(real), device=real.tokens.device)
        self.references = _newest(real.select(rows[:quarter]), self.references)
        self.comparisons = _newest(real.select(rows[quarter : 2 * quarter]), self.comparisons)
        to_rank = real.select(rows[2 * quarter :])

        self.ranker.train()
        parts = [to_rank, generated, self.references, self.comparisons]
        width = max(part.tokens.shape[1] for part in parts)
        features = self._features(joined([_widened(part, width) for part in parts]))
        of_real, of_generated, of_references, of_comparisons = features.split(list(map(len, parts)))
        opposite = of_generated[: len(of_comparisons)]
        real_ranks = log_rank(of_real, of_references, opposite, self.gamma)
        generated_ranks = log_rank(of_generated, of_references, of_comparisons, self.gamma)
        log_one_minus_rank = (-torch.expm1(generated_ranks)).clamp(min=LEAST_LOSS).log()
        loss = -0.5 * (real_ranks.mean() + log_one_minus_rank.mean())
        norm = descend(loss, self.ranker, self.optimizer, self.max_grad_norm)
        # A text with the same rank as all others has R = 1 / (|C| + 1): the accuracies' threshold.
        among_generated, among_real = -math.log1p(len(opposite)), -math.log1p(len(of_comparisons))
        return to_floats(
            {
                "losses/discriminator": loss,
                "losses/grad_norm_discriminator": norm,
                "discriminator/accuracy_real": (real_ranks > among_generated).float().mean(),
                "discriminator/accuracy_generated": (generated_ranks <= among_real).float().mean(),
            }
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "module": self.ranker.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "references": self.references.tokens,
            "references_mask": self.references.mask,
            "comparisons": self.comparisons.tokens,
            "comparisons_mask": self.comparisons.mask,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.ranker.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.references = Sequences(state["references"], state["references_mask"])
        self.comparisons = Sequences(state["comparisons"], state["comparisons_mask"])

    def _features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        return self.ranker.features(sequences.to(self.ranker.output.weight.device))


def _newest(new: Sequences, old: Sequences) -> Sequences:
    """Returns as many rows as `old` has: the new ones first, then the newest old ones."""
    width, device = max(new.tokens.shape[1], old.tokens.shape[1]), new.tokens.device
    both = joined([_widened(new, width), _widened(old.to(device), width)])
    return both.select(torch.arange(len(old), device=device))


def _widened(sequences: Sequences, width: int) -> Sequences:
    """Pads the rows to `width` columns."""
    missing = (0, width - sequences.tokens.shape[1])
    mask = pad(sequences.mask, missing)
    return Sequences(pad(sequences.tokens, missing), mask, vocabulary=sequences.vocabulary)


def rankgan(
    task: Task,
    kind: str = "gru",
    num_references: int = 16,
    num_comparisons: int = 16,
    gamma: float = 10.0,
    learning_rate: float = 5e-3,
    max_grad_norm: float = math.inf,
    seed: int = 0,
    device: str = "cpu",
) -> RankingReward:
    """Makes an untrained `RankingReward` from a discriminator and the task's training texts.

    Args:
        kind: the discriminator, in its default size, whose features the ranker uses: cnn or gru.
        learning_rate: Adam's; a ranker needs a larger one than a classifier with the same body.
        seed: seed of the parameters and of the first references and comparisons.

    Raises:
        ConfigurationError: `kind` is unknown, a number is below 1, or the task has no texts.
    """
    checked("rankgan's num_references", num_references, Size)
    checked("rankgan's num_comparisons", num_comparisons, Size)
    checked("rankgan's learning_rate", learning_rate, Rate)
    checked("rankgan's seed", seed, Seed)
    needs_texts(task, "reward rankgan", JUDGE)
    rng = torch.Generator().manual_seed(seed)
    real = task.real("train", num_references + num_comparisons, rng)
    rows = torch.arange(len(real), device=real.tokens.device)
    with seeded_from(rng):
        if kind == "cnn":
            ranker: Discriminator = CNNDiscriminator(
                CNNDiscriminatorConfig(), task.vocabulary, task.max_length
            )
        elif kind == "gru":
            ranker = RecurrentDiscriminator(
                RecurrentDiscriminatorConfig(), task.vocabulary, task.max_length
            )
        else:
            raise ConfigurationError(f"rankgan's kind is {kind!r}, but must be cnn or gru")
    ranker = ranker.to(device)
    return RankingReward(
        ranker,
        torch.optim.Adam(ranker.parameters(), learning_rate),
        real.select(rows[:num_references]),
        real.select(rows[num_references:]),
        gamma,
        max_grad_norm,
    )
