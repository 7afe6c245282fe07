"""Discriminators that read a text's tokens one by one and judge the mean and maximum over time."""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.mixtures import embedded

JUDGED_TOGETHER = 2048  # texts that are scored together; bounds memory


class PooledDiscriminator(Discriminator):
    """A vector for each token, mean and maximum over the real tokens, dropout, logit.

    Prompts are read together with their completions.
    """

    embedding: nn.Embedding
    dropout: nn.Dropout
    pad_id: int

    @abstractmethod
    def token_features(
        self, vectors: Float[Tensor, "batch time embedding"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time feature"]:
        """A vector for each token, from the embeddings of all; 0 on padding."""

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return self.output(self.features(sequences))[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        if torch.is_grad_enabled():
            return self._read(sequences)
        rows = torch.arange(len(sequences), device=sequences.tokens.device)
        return torch.cat(
            [self._read(sequences.select(part)) for part in rows.split(JUDGED_TOGETHER)]
        )

    def mixture_logits(self, mixtures: Mixtures) -> Float[Tensor, " batch"]:
        vectors, mask = embedded(mixtures, self.embedding, self.pad_id)
        return self.output(self._pooled(vectors, mask))[:, 0]

    def _read(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        whole = sequences.whole()
        tokens = whole.tokens.masked_fill(~whole.mask, self.pad_id)
        return self._pooled(self.embedding(tokens), whole.mask)

    def _pooled(
        self, vectors: Float[Tensor, "batch time embedding"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch feature"]:
        values = self.token_features(vectors, mask)
        mean = values.sum(dim=1) / mask.sum(dim=1)[:, None]
        peak = values.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
        return self.dropout(torch.cat([mean, peak], dim=1))
