"""A bidirectional GRU discriminator."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.pooled import PooledDiscriminator
from seqgan.system.checks import Share, Size, check_settings


@dataclass(frozen=True)
class RecurrentDiscriminatorConfig:
    kind: Literal["gru"] = "gru"  # bidirectional GRU
    embedding_size: Size = 64  # width of the token embedding
    hidden_size: Size = 64  # width of each direction's state
    num_layers: Size = 1  # recurrent layers
    dropout: Share = 0.2  # on embeddings and on the features before the output, in training

    def __post_init__(self) -> None:
        check_settings("discriminator", self)

    def build(self, vocabulary: Vocabulary, max_length: int) -> "RecurrentDiscriminator":
        return RecurrentDiscriminator(self, vocabulary, max_length)


class RecurrentDiscriminator(PooledDiscriminator):
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

    def train(self, mode: bool = True) -> "RecurrentDiscriminator":
        super().train(mode)
        # It holds no dropout, and cuDNN refuses the backward pass of a recurrent layer in
        # evaluation mode, in which a generator learns from a discriminator.
        self.recurrent.train(True)
        return self

    def token_features(
        self, vectors: Float[Tensor, "batch time embedding"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time feature"]:
        # Packing keeps the backward direction from reading padding before the text.
        packed = pack_padded_sequence(
            self.dropout(vectors), mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        values, _ = pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=mask.shape[1]
        )
        return values
