"""Drawing sequences, from nothing or from a prefix that has a state, and how likely they are.

Every draw takes its randomness from the `rng` it is given. Temperature, top-k and top-p are
for looking at a model; training always draws from the model itself (`Sampling()`).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from seqgan.generators.base import Generator, State
from seqgan.losses import token_log_probs
from seqgan.sequences import Sequences
from seqgan.vocabulary import Vocabulary


@dataclass(frozen=True)
class Sampling:
    """How logits become a distribution. The default leaves them alone."""

    temperature: float = 1.0  # logits are divided by this; below 1 sharpens
    top_k: int = 0  # keep the k likeliest tokens; 0 keeps all
    top_p: float = 1.0  # keep the likeliest tokens up to this total probability; 1 keeps all

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature is above 0 and finite, got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k is at least 0, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is in (0, 1], got {self.top_p}")

    def apply(self, logits: Float[Tensor, "*axes vocab"]) -> Float[Tensor, "*axes vocab"]:
        """Logits of the adjusted distribution, -inf where a token is cut off.

        Nucleus sampling (Holtzman et al., 2020) keeps the smallest set of likeliest tokens whose
        probability reaches `top_p`, after temperature and top-k.
        """
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(dim=-1, descending=True)
            before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
            cut = torch.zeros_like(logits, dtype=torch.bool)
            cut.scatter_(-1, order, before >= self.top_p)
            logits = logits.masked_fill(cut, -torch.inf)
        return logits


def sample_categorical(
    logits: Float[Tensor, "batch vocab"], rng: torch.Generator
) -> Int[Tensor, " batch"]:
    """One draw per row from softmax(logits), by inverting the cumulative distribution.

    In two levels, because a running sum over a whole vocabulary is slow and a sum is not: first
    which block of tokens the draw falls into, then which token of that block.

    Raises:
        ValueError: a row holds NaN or +inf, or -inf everywhere: it is no distribution.
    """
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp_()
    num_tokens = weights.shape[1]
    width = math.isqrt(num_tokens - 1) + 1
    blocks = pad(weights, (0, -num_tokens % width)).unflatten(1, (-1, width))
    block_weights = blocks.sum(dim=-1)
    if not bool(torch.isfinite(block_weights).all()):
        raise ValueError("logits are finite (or -inf in part), got NaN or infinity")
    block = _invert(block_weights, rng)
    inside = blocks[torch.arange(len(blocks), device=block.device), block]
    return block * width + _invert(inside, rng)


def _invert(weights: Float[Tensor, "batch choice"], rng: torch.Generator) -> Int[Tensor, " batch"]:
    """One draw per row with probability proportional to its weight, by a running sum."""
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    uniform = torch.rand(total.shape, generator=rng, device=rng.device, dtype=total.dtype)
    # rand is below 1 but its product with the total may round up to it: `right=True` skips
    # choices of weight 0, the minimum keeps the last choice of positive weight.
    drawn = torch.searchsorted(cumulative, uniform.to(total.device) * total, right=True)
    last = (cumulative < total).sum(dim=-1, keepdim=True)
    return torch.minimum(drawn, last)[:, 0]


@torch.no_grad()
def sample(
    generator: Generator,
    vocabulary: Vocabulary,
    n: int,
    max_length: int,
    rng: torch.Generator,
    sampling: Sampling | None = None,
    prompts: Sequences | None = None,
    forbidden: Int[Tensor, " forbidden"] | None = None,
    batch_size: int = 1024,
) -> Sequences:
    """n sequences drawn token by token, at most `batch_size` at a time.

    Args:
        sampling: temperature, top-k and top-p; None draws from the generator itself.
        prompts: n rows that carry prompts; each row's draw continues its prompt.
        forbidden: ids that are never emitted.

    Raises:
        ValueError: there are more or fewer prompts than sequences to draw.
    """
    if prompts is not None and len(prompts) != n:
        raise ValueError(f"there is one prompt for each of the {n} sequences, got {len(prompts)}")
    generator.eval()
    batches = []
    for first in range(0, n, batch_size):
        size = min(batch_size, n - first)
        contexts = prompts
        if prompts is not None:
            contexts = prompts.select(torch.arange(first, first + size))
        logits, state = generator.start(size, contexts)
        tokens = torch.full((size, max_length), vocabulary.pad_id, device=logits.device)
        lengths = torch.zeros(size, dtype=torch.long, device=logits.device)
        batches.append(
            complete(
                generator, vocabulary, tokens, lengths, logits, state, rng, sampling, forbidden
            )
        )
    result = Sequences(
        torch.cat([batch.tokens for batch in batches]),
        torch.cat([batch.mask for batch in batches]),
        vocabulary=vocabulary,
    )
    if prompts is None:
        return result
    return Sequences(
        result.tokens, result.mask, prompts.prompts, prompts.prompt_mask, {}, vocabulary
    )


@torch.no_grad()
def complete(
    generator: Generator,
    vocabulary: Vocabulary,
    tokens: Int[Tensor, "batch time"],
    lengths: Int[Tensor, " batch"],
    logits: Float[Tensor, "batch vocab"],
    state: State,
    rng: torch.Generator,
    sampling: Sampling | None = None,
    forbidden: Int[Tensor, " forbidden"] | None = None,
) -> Sequences:
    """Draws the rest of every row, from prefixes of any mix of lengths, all rows together.

    Rows leave the batch as they end, at eos or at `time` tokens.

    Args:
        tokens: the prefixes, `pad_id` beyond them; not changed.
        lengths: tokens in each prefix; a prefix is unfinished (shorter than `time`, no eos).
        logits, state: the generator's, after each prefix.
    """
    tokens, lengths = tokens.clone(), lengths.clone()
    max_length = tokens.shape[1]
    rows = torch.arange(len(tokens), device=tokens.device)
    while len(rows):
        if forbidden is not None:
            logits = logits.index_fill(1, forbidden, -torch.inf)
        drawn = sample_categorical(logits if sampling is None else sampling.apply(logits), rng)
        tokens[rows, lengths[rows]] = drawn
        lengths[rows] += 1
        going: Bool[Tensor, " rows"] = lengths[rows] < max_length
        if vocabulary.eos_id is not None:
            going &= drawn != vocabulary.eos_id
        kept = going.nonzero()[:, 0]
        rows = rows[kept]
        if len(rows):
            logits, state = generator.step(drawn[kept], state.select(kept))
    mask = torch.arange(max_length, device=tokens.device)[None, :] < lengths[:, None]
    return Sequences(tokens, mask, vocabulary=vocabulary)


@torch.no_grad()
def sequence_log_probs(
    generator: Generator,
    sequences: Sequences,
    sampling: Sampling | None = None,
    batch_size: int = 512,
) -> Float[Tensor, " batch"]:
    """log pi(sequence), nats per sequence, in evaluation mode.

    With `sampling`, the probability under the adjusted distribution that is drawn from then.
    """
    generator.eval()
    rows = torch.arange(len(sequences), device=sequences.tokens.device)
    parts = []
    for chunk in rows.split(batch_size):
        batch = sequences.select(chunk).trimmed()
        logits = generator(batch)
        if sampling is not None:
            logits = sampling.apply(logits)
        parts.append(token_log_probs(logits, batch.tokens, batch.mask).sum(dim=1))
    return torch.cat(parts)
