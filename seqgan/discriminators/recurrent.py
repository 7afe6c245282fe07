"""A bidirectional GRU discriminator."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqgan.discriminators.base import Discriminator
from seqgan.sequences import Sequences
from seqgan.vocabulary import Vocabulary

JUDGED_TOGETHER = 2048  # texts that are scored together; bounds the states in memory


@dataclass(frozen=True)
class RecurrentDiscriminatorConfig:
    kind: Literal["gru"] = "gru"  # bidirectional GRU
    embedding_size: int = 64  # width of the token embedding
    hidden_size: int = 64  # width of each direction's state
    num_layers: int = 1  # recurrent layers
    dropout: float = 0.2  # on embeddings and on the features before the output, in training

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"discriminator.{name} is at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"discriminator.dropout is in [0, 1), got {self.dropout}")


class RecurrentDiscriminator(Discriminator):
    """Embedding, bidirectional GRU over the real tokens, mean and maximum over time, logit."""

    def __init__(
        self, config: RecurrentDiscriminatorConfig, vocabulary: Vocabulary, max_length: int
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.pad_id = vocabulary.pad_id
        self.embedding = nn.Embedding(
            vocabulary.size, config.embedding_size, padding_idx=vocabulary.pad_id
        )
        self.recurrent = nn.GRU(
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(4 * config.hidden_size, 1)

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return self.output(self.features(sequences))[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        if torch.is_grad_enabled():
            return self._features(sequences)
        rows = torch.arange(len(sequences), device=sequences.tokens.device)
        return torch.cat(
            [self._features(sequences.select(some)) for some in rows.split(JUDGED_TOGETHER)]
        )

    def _features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        tokens = sequences.tokens.masked_fill(~sequences.mask, self.pad_id)
        # Packing keeps the backward direction from reading padding before the text.
        packed = pack_padded_sequence(
            self.dropout(self.embedding(tokens)),
            sequences.lengths.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        values, _ = pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=tokens.shape[1]
        )
        mask = sequences.mask[..., None]
        mean = values.sum(dim=1) / sequences.lengths[:, None]
        peak = values.masked_fill(~mask, -torch.inf).amax(dim=1)
        return self.dropout(torch.cat([mean, peak], dim=1))
