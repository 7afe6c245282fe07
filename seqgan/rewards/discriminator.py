"""The discriminator as a reward model, which owns the discriminator's training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from seqgan.data.metrics import Metrics
from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.base import (
    Discriminator,
    JudgesMixtures,
    TokenDiscriminator,
)
from seqgan.models.precision import autocast
from seqgan.rewards.base import Reward, RewardError
from seqgan.rewards.discriminator_step import DiscriminatorUpdate, device_of, discriminator_step
from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import ALONE, Runtime

AS_USUAL = DiscriminatorUpdate()
RewardShape = Literal["probability", "log_probability", "minimax", "logit", "centred"]


def shape_reward(
    logits: Float[Tensor, "*axes"], shape: RewardShape, clip: float
) -> Float[Tensor, "*axes"]:
    """Turns the discriminator's logit into a reward, where D = sigmoid(logit).

    - `probability`: D, as in SeqGAN (Yu et al., 2017). Bounded; flat when D is sure.
    - `log_probability`: log D, the non-saturating generator objective (Goodfellow et al., 2014).
    - `minimax`: -log(1 - D), the generator's side of the value function.
    - `logit`: log D/(1-D), clipped to +-clip. For the optimal D it is log p/q, and policy
      gradient then ascends exactly -KL(generator || data).
    - `centred`: 2 D - 1, the reward of each token in ScratchGAN (de Masson d'Autume et al., 2019).

    Both logarithms are clipped to [-clip, clip] as well, so that a discriminator that is sure
    cannot make a reward without bound.
    """
    if shape == "probability":
        return torch.sigmoid(logits)
    if shape == "centred":
        return 2 * torch.sigmoid(logits) - 1
    value = {"log_probability": logsigmoid(logits), "minimax": -logsigmoid(-logits)}.get(
        shape, logits
    )
    return value.clamp(-clip, clip)


def _spelt_by_vocabulary(sequences: Sequences) -> Sequences:
    """Takes away texts as another source spelt them, if the vocabulary spells them as well.

    Real texts are spelt by the vocabulary (in lower case, say). A discriminator that reads texts
    would otherwise learn who spelt them.
    """
    if sequences.vocabulary is None or sequences.given_texts is None:
        return sequences
    return replace(sequences, given_texts=None)


class DiscriminatorReward(Reward):
    """Scores with a discriminator in evaluation mode, and trains it.

    If the discriminator judges every prefix, the reward is `per_token`: a token earns the reward
    of the logit of the prefix that ends with it.

    Args:
        shape: the function from logits to rewards, see `shape_reward`.
        clip: bound of the rewards that have none of their own.
        settings: of each training step.

    Raises:
        ConfigurationError: the loss is pairwise, and the discriminator judges every prefix.
    """

    name = "discriminator"

    def __init__(
        self,
        discriminator: Discriminator,
        optimizer: torch.optim.Optimizer,
        shape: RewardShape = "probability",
        clip: float = 5.0,
        settings: DiscriminatorUpdate = AS_USUAL,
    ) -> None:
        self.per_token = isinstance(discriminator, TokenDiscriminator)
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.shape: RewardShape = shape
        self.clip = clip
        self.settings = settings
        if self.settings.loss_kind == "pairwise" and self.per_token:
            raise ConfigurationError(
                "the loss is pairwise, but must be binary for a discriminator of every token"
            )
        self.runtime: Runtime = ALONE

    def train_in(self, runtime: Runtime) -> None:
        """Makes each later `update` one step of all processes together."""
        runtime.prepare(self.discriminator)
        self.runtime = runtime

    @torch.no_grad()
    def logits(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """Returns log D/(1-D) of each row, without dropout."""
        self.discriminator.eval()
        with autocast(device_of(self.discriminator), self.settings.precision):
            return self.discriminator(_spelt_by_vocabulary(sequences)).float()

    @torch.no_grad()
    def token_logits(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        """Returns log D/(1-D) of each prefix, from a discriminator that judges prefixes."""
        assert isinstance(self.discriminator, TokenDiscriminator)
        self.discriminator.eval()
        with autocast(device_of(self.discriminator), self.settings.precision):
            return self.discriminator.token_logits(_spelt_by_vocabulary(sequences)).float()

    def mixture_logits(self, mixtures: Mixtures) -> Float[Tensor, " batch"]:
        """Returns `logits` of mixtures of tokens, with a gradient by them and by nothing else."""
        assert isinstance(self.discriminator, JudgesMixtures)
        self.discriminator.eval()
        trained = [each for each in self.discriminator.parameters() if each.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            with autocast(device_of(self.discriminator), self.settings.precision):
                return self.discriminator.mixture_logits(mixtures).float()
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """Returns the reward of each row, or of each token if D judges prefixes, 0 on padding."""
        logits = self.token_logits(sequences) if self.per_token else self.logits(sequences)
        if bool(logits.isnan().any()):  # a reward of NaN means "does not apply", and would hide it
            row = int(logits.isnan().nonzero()[0, 0])
            raise RewardError(self.name, "its logit is nan, but must be a number", row)
        rewards = shape_reward(logits, self.shape, self.clip)
        return torch.where(sequences.mask, rewards, 0.0) if self.per_token else rewards

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        return discriminator_step(
            self.discriminator,
            self.optimizer,
            _spelt_by_vocabulary(real),
            _spelt_by_vocabulary(generated),
            self.settings,
            self.runtime,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "module": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
