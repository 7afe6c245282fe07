"""Discriminators that read a text's tokens one by one and judge the mean and maximum over time."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.base import Discriminator

JUDGED_TOGETHER = 2048  # texts that are scored together; bounds memory


class PooledDiscriminator(Discriminator):
    """A vector for each token, mean and maximum over the real tokens, dropout, logit.

    Prompts are read together with their completions.
    """

    dropout: nn.Dropout

    @abstractmethod
    def token_features(self, sequences: Sequences) -> Float[Tensor, "batch time feature"]:
        """A vector for each token; 0 on padding."""

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return self.output(self.features(sequences))[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        if torch.is_grad_enabled():
            return self._pooled(sequences)
        rows = torch.arange(len(sequences), device=sequences.tokens.device)
        return torch.cat(
            [self._pooled(sequences.select(part)) for part in rows.split(JUDGED_TOGETHER)]
        )

    def _pooled(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        sequences = sequences.whole()
        values = self.token_features(sequences)
        mean = values.sum(dim=1) / sequences.lengths[:, None]
        peak = values.masked_fill(~sequences.mask[..., None], -torch.inf).amax(dim=1)
        return self.dropout(torch.cat([mean, peak], dim=1))
