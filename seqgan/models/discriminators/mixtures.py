"""Embeds mixtures of tokens, for discriminators that read embeddings."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqgan.data.mixtures import Mixtures


def embedded(
    mixtures: Mixtures, embedding: nn.Embedding, pad_id: int
) -> tuple[Float[Tensor, "batch whole_time size"], Bool[Tensor, "batch whole_time"]]:
    """The vectors of `Sequences.whole`, those of a completion mixed, and the mask.

    A mixture of one token alone has the vector of that token.
    """
    texts, weights = mixtures.texts, mixtures.weights
    whole = texts.whole()
    before = whole.lengths - texts.lengths  # the prompt's tokens, and bos
    rows, steps = texts.mask.nonzero(as_tuple=True)
    mixed = weights[rows, steps] @ embedding.weight[: weights.shape[-1]]
    vectors = embedding(whole.tokens.masked_fill(~whole.mask, pad_id))
    places = (rows, before[rows] + steps)
    return vectors.index_put(places, mixed.to(vectors.dtype)), whole.mask
