"""A discriminator that judges each token given those before it (de Masson d'Autume et al., 2019).

ScratchGAN judges a text at each of its prefixes, in training and in scoring. So one pass gives each
token a reward of its own, without rollouts. Departure: a transformer in place of an LSTM. The
discount of later rewards is `rule.gamma`; `--rule scratchgan` has the paper's.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.attention import TransformerLayer, check_sizes
from seqgan.models.discriminators.base import TokenDiscriminator
from seqgan.models.discriminators.mixtures import embedded
from seqgan.system.checks import Share, Size

JUDGED_TOGETHER = 2048  # texts that are scored together; bounds memory


@dataclass(frozen=True)
class CausalDiscriminatorConfig:
    judges_prefixes: ClassVar[bool] = True

    kind: Literal["causal"] = "causal"  # a transformer that judges every prefix of a text
    width: Size = 64  # of the residual stream
    num_layers: Size = 2  # transformer layers
    num_heads: Size = 4  # attention heads
    dropout: Share = 0.2  # on embeddings, branches and the features, in training

    def __post_init__(self) -> None:
        check_sizes("discriminator", self)

    def build(self, vocabulary: Vocabulary, max_length: int) -> "CausalDiscriminator":
        return CausalDiscriminator(self, vocabulary, max_length)


class CausalDiscriminator(TokenDiscriminator):
    """Embedding, causal attention, a logit at every token.

    The logit of a text is the one at its last token; its optimum is log p/q of the whole text. A
    prompt is read but not judged.
    """

    embedding: nn.Embedding

    def __init__(
        self, config: CausalDiscriminatorConfig, vocabulary: Vocabulary, max_length: int
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.pad_id = vocabulary.pad_id
        self.embedding = nn.Embedding(vocabulary.size, config.width, padding_idx=vocabulary.pad_id)
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.num_heads, config.dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, 1)

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return self.output(self.features(sequences))[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        values = self._completion_vectors(sequences)
        rows = torch.arange(len(values), device=values.device)
        return values[rows, (sequences.lengths - 1).clamp(min=0)]

    def mixture_logits(self, mixtures: Mixtures) -> Float[Tensor, " batch"]:
        vectors, mask = embedded(mixtures, self.embedding, self.pad_id)
        rows, last = torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1
        return self.output(self._attended(vectors)[rows, last])[:, 0]

    def token_logits(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        logits = self.output(self._completion_vectors(sequences))[..., 0]
        return torch.where(sequences.mask, logits, 0.0)

    def _completion_vectors(self, sequences: Sequences) -> Float[Tensor, "batch time feature"]:
        """A vector for each token of the completions, computed from it and the tokens before."""
        if torch.is_grad_enabled():
            return self._read(sequences)
        rows = torch.arange(len(sequences), device=sequences.tokens.device)
        return torch.cat(
            [self._read(sequences.select(part)) for part in rows.split(JUDGED_TOGETHER)]
        )

    def _read(self, sequences: Sequences) -> Float[Tensor, "batch time feature"]:
        """`_completion_vectors` in one pass; `_completion_vectors` splits large batches."""
        whole = sequences.whole()
        tokens = whole.tokens.masked_fill(~whole.mask, self.pad_id)
        values = self._attended(self.embedding(tokens))
        if sequences.prompts is None:
            return values
        before = whole.lengths - sequences.lengths  # the prompt's tokens, and bos
        places = before[:, None] + torch.arange(sequences.tokens.shape[1], device=tokens.device)
        places = places.clamp(max=tokens.shape[1] - 1)
        return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))

    def _attended(
        self, vectors: Float[Tensor, "batch time embedding"]
    ) -> Float[Tensor, "batch time feature"]:
        """A vector for each token, from the embeddings of it and of those before it."""
        positions = torch.arange(vectors.shape[1], device=vectors.device)
        positions = positions.expand(vectors.shape[:2])
        values = self.dropout(vectors)
        for layer in self.layers:
            values, _ = layer(values, positions, None)
        return self.dropout(self.norm(values))
