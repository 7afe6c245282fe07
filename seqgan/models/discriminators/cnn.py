"""The paper's convolutional discriminator (Yu et al., 2017, sec. 3.3; Kim, 2014).

Departures: one logit in place of two softmax outputs (the same family of functions). Rows shorter
than `max_length` are filled with a zero vector that is never trained. The input always has
`max_length` positions, so that a row's logit does not depend on the width of its batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.convolution import max_over_time, max_over_time_by_table
from seqgan.models.discriminators.mixtures import embedded
from seqgan.system.checks import Share, Size, check_settings
from seqgan.system.errors import ConfigurationError

PAPER_FILTER_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
PAPER_NUM_FILTERS = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)

BLOCK_SIZE = 16384  # texts that are scored with one table; their features are in memory together
JUDGED_TOGETHER = 2048  # texts that pass the highway layer together
LARGEST_TABLE = 2**26  # numbers in a table of embedding x kernel; 256 MiB


@dataclass(frozen=True)
class CNNDiscriminatorConfig:
    kind: Literal["cnn"] = "cnn"  # the paper's convolutional classifier
    embedding_size: Size = 64  # width of the token embedding
    filter_sizes: tuple[Size, ...] = PAPER_FILTER_SIZES  # tokens seen by each group of filters
    num_filters: tuple[Size, ...] = PAPER_NUM_FILTERS  # filters in each group
    dropout: Share = 0.25  # share of features dropped before the output, in training

    def __post_init__(self) -> None:
        check_settings("discriminator", self)
        if len(self.filter_sizes) != len(self.num_filters) or not self.filter_sizes:
            raise ConfigurationError(
                f"discriminator.filter_sizes has {len(self.filter_sizes)} entries and"
                f" num_filters has {len(self.num_filters)}, but both must have one entry"
                " per group"
            )

    def build(self, vocabulary: Vocabulary, max_length: int) -> "CNNDiscriminator":
        return CNNDiscriminator(self, vocabulary, max_length)


class CNNDiscriminator(Discriminator):
    """Embedding, convolutions of many widths, maximum over time, highway layer, logit.

    Filters wider than `max_length` are left out, because no window of a text is so wide.
    """

    embedding: nn.Embedding

    def __init__(
        self, config: CNNDiscriminatorConfig, vocabulary: Vocabulary, max_length: int
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.pad_id = vocabulary.pad_id
        self.embedding = nn.Embedding(
            vocabulary.size, config.embedding_size, padding_idx=vocabulary.pad_id
        )
        # The reference code draws embeddings from U(-1, 1).
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)
        with torch.no_grad():
            self.embedding.weight[vocabulary.pad_id] = 0.0
        groups = [
            (size, count)
            for size, count in zip(config.filter_sizes, config.num_filters, strict=True)
            if size <= max_length
        ]
        if not groups:
            raise ConfigurationError(
                f"all filters are wider than max_length ({max_length}), but at least one"
                " must fit; give a smaller one in --discriminator.filter-sizes"
            )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, count, size) for size, count in groups
        )
        self.widest = max(size for size, _ in groups)
        num_features = sum(count for _, count in groups)
        self.highway = nn.Linear(num_features, num_features)
        self.gate = nn.Linear(num_features, num_features)
        nn.init.zeros_(self.highway.bias)
        nn.init.zeros_(self.gate.bias)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(num_features, 1)

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.cat([self.output(rows)[:, 0] for rows in self._blocks(sequences)])

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        return torch.cat(list(self._blocks(sequences)))

    def mixture_logits(self, mixtures: Mixtures) -> Float[Tensor, " batch"]:
        vectors, mask = embedded(mixtures, self.embedding, self.pad_id)
        width = self._width(int(mask.sum(dim=1).max()))
        missing = width - mask.shape[1]  # cut where it is below 0
        vectors, mask = pad(vectors, (0, 0, 0, missing)), pad(mask, (0, missing))
        return self.output(self._through_highway(self._peaks(vectors, ~mask)))[:, 0]

    def _blocks(self, sequences: Sequences) -> Iterator[Float[Tensor, "rows feature"]]:
        """Yields features: of all rows at once with gradients, of a few rows at a time without."""
        sequences = sequences.whole()
        width = self._width(int(sequences.lengths.max()) if len(sequences) else 0)
        tokens = sequences.tokens.masked_fill(~sequences.mask, self.pad_id)[:, :width]
        tokens = pad(tokens, (0, width - tokens.shape[1]), value=self.pad_id)
        if torch.is_grad_enabled():
            peaks = self._peaks(self.embedding(tokens), tokens == self.pad_id)
            yield self._through_highway(peaks)
            return
        for block in tokens.split(BLOCK_SIZE):
            # A table costs a pass over the vocabulary, a convolution a pass over the tokens.
            many = block.numel() >= 2 * self.embedding.num_embeddings
            peaks = (
                self._peaks_by_table(block)
                if many
                else self._peaks(self.embedding(block), block == self.pad_id)
            )
            for rows in peaks.split(JUDGED_TOGETHER):
                yield self._through_highway(rows)

    def _width(self, longest: int) -> int:
        """The tokens that are read of texts of which the longest has so many.

        A window that holds nothing but padding always gives the same response. One such window
        behind the longest text represents all others, so the input may be narrower.
        """
        if longest > self.max_length:
            raise ConfigurationError(
                f"one sequence has {longest} tokens, more than the {self.max_length} of the"
                " discriminator"
            )
        return min(self.max_length, longest + self.widest)

    def _peaks(
        self, values: Float[Tensor, "batch time embedding"], padding: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch feature"]:
        """The largest response of each filter over the windows of each text, after the ReLU."""
        if self.twice_differentiable:
            # A gradient penalty differentiates by the embeddings of a text, not by its padding.
            values = torch.where(padding[..., None], values.detach(), values)
            channels_first = values.transpose(1, 2)
            peaks = [
                conv1d(channels_first, weight, bias).amax(dim=2) for weight, bias in self._kernels()
            ]
            return torch.cat(peaks, dim=1).relu()
        peaks = [max_over_time(values, weight, bias) for weight, bias in self._kernels()]
        return torch.cat(peaks, dim=1).relu()

    def _peaks_by_table(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch feature"]:
        """`_peaks` without gradients, from tables of embedding x kernel where those fit."""
        embedding = self.embedding.weight
        features = embedding.new_empty(len(tokens), self.highway.in_features)
        first = 0
        for weight, bias in self._kernels():
            group = slice(first, first + len(bias))
            if len(embedding) * weight[:, 0].numel() <= LARGEST_TABLE:
                features[:, group] = max_over_time_by_table(tokens, embedding, weight, bias)
            else:
                rows = tokens.split(JUDGED_TOGETHER)
                features[:, group] = torch.cat(
                    [max_over_time(self.embedding(texts), weight, bias) for texts in rows]
                )
            first = group.stop
        return features.relu_()

    def _kernels(self) -> list[tuple[Tensor, Tensor]]:
        """The weight (filter, embedding, width) and bias of each group of filters."""
        return [
            (convolution.weight, convolution.bias)
            for convolution in self.convolutions
            if isinstance(convolution, nn.Conv1d) and convolution.bias is not None
        ]

    def _through_highway(
        self, peaks: Float[Tensor, "batch feature"]
    ) -> Float[Tensor, "batch feature"]:
        """The highway layer (Srivastava et al., 2015), then dropout.

        t g(W x) + (1 - t) x with t = sigmoid(V x).
        """
        gate = torch.sigmoid(self.gate(peaks))
        return self.dropout(peaks + gate * (torch.relu(self.highway(peaks)) - peaks))
