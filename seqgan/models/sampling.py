"""Draws sequences, completes prefixes, and computes log-probabilities of sequences.

Every draw takes its randomness from the argument `rng`. Temperature, top-k and top-p serve to
inspect a model; training always draws from the unchanged model.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.losses import token_log_probs
from seqgan.models.generators.base import Generator, State
from seqgan.system.checks import Count, Temperature, TopP, check_settings
from seqgan.system.errors import DivergedError

LOGITS_IN_FLIGHT = 2**21  # logits of all rows that advance together; 8 MiB
LOGITS_AT_ONCE = 2**23  # logits of all sequences that are teacher-forced together; 32 MiB


@dataclass(frozen=True)
class Sampling:
    """Settings that adjust a model's distribution. The defaults leave it unchanged."""

    temperature: Temperature = 1.0  # logits are divided by this; below 1 sharpens
    top_k: Count = 0  # keep the k likeliest tokens; 0 keeps all
    top_p: TopP = 1.0  # keep the likeliest tokens up to this total probability; 1 keeps all

    def __post_init__(self) -> None:
        check_settings("", self)

    def apply(self, logits: Float[Tensor, "*axes vocab"]) -> Float[Tensor, "*axes vocab"]:
        """Returns logits of the adjusted distribution, -inf for tokens that are cut off.

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
    """Draws one token per row from softmax(logits); raises the errors of `sample_repeatedly`."""
    return sample_repeatedly(logits, 1, rng)[:, 0]


def sample_repeatedly(
    logits: Float[Tensor, "batch vocab"], num_draws: int, rng: torch.Generator
) -> Int[Tensor, "batch draw"]:
    """Draws tokens independently from softmax(logits) of each row, by inverting the running sum.

    Raises:
        DivergedError: a row holds NaN or +inf, or only -inf, so it is no distribution.
    """
    return _draw(logits.softmax(dim=-1), num_draws, rng)


def _draw(
    probs: Float[Tensor, "batch vocab"], num_draws: int, rng: torch.Generator
) -> Int[Tensor, "batch draw"]:
    """Draws tokens from probabilities, in two levels: first a block of tokens, then one of it.

    A running sum over a whole vocabulary is slow, because each number waits for the one before it;
    a plain sum is fast. Blocks of sqrt(vocab) tokens need plain sums over the vocabulary and
    running sums of only sqrt(vocab) numbers.
    """
    num_rows, num_tokens = probs.shape
    width = math.isqrt(num_tokens - 1) + 1  # tokens of a block: the square root, rounded up
    full = num_tokens - num_tokens % width  # tokens in full blocks; the rest is one block more
    of_blocks = probs[:, :full].unflatten(1, (-1, width)).sum(dim=-1)
    if full < num_tokens:
        of_blocks = torch.cat([of_blocks, probs[:, full:].sum(dim=-1, keepdim=True)], dim=1)
    cumulative = of_blocks.cumsum(dim=-1)
    if not bool(torch.isfinite(cumulative[:, -1]).all()):
        raise DivergedError("the logits have NaN or infinity, but must be finite (or -inf in part)")
    block = _invert(cumulative, num_draws, rng)
    # `unfold` gives windows of `width` tokens only. So the window of a short last block starts
    # earlier, and the weights of the `skipped` tokens of the block before become 0.
    start = (block * width).clamp(max=num_tokens - width)
    row = torch.arange(num_rows, device=probs.device)[:, None]
    inside = probs.unfold(1, width, 1)[row, start].flatten(0, 1)
    skipped = block * width - start
    if full < num_tokens:
        inside[torch.arange(width, device=probs.device) < skipped.view(-1, 1)] = 0.0
    return start + _invert(inside.cumsum(dim=-1), 1, rng).view_as(start)


def _invert(
    cumulative: Float[Tensor, "batch choice"], num_draws: int, rng: torch.Generator
) -> Int[Tensor, "batch draw"]:
    """Draws choices in proportion to their weights, given each row's running sum of weights."""
    total = cumulative[:, -1:]
    uniform = torch.rand(len(total), num_draws, generator=rng, device=rng.device, dtype=total.dtype)
    # rand is below 1, but rand times the total may round up to the total, and the search would run
    # past the end. Below the total, it always ends at a choice with a positive weight.
    below = torch.nextafter(total, torch.zeros_like(total))
    place = torch.minimum(uniform.to(total.device) * total, below)
    return torch.searchsorted(cumulative, place, right=True)


def rows_in_flight(generator: Generator) -> int:
    """Number of rows that advance together: their logits fit into a processor's cache.

    A generator with large states counts them too (`row_elements`), so that memory stays bounded.
    """
    return max(LOGITS_IN_FLIGHT // generator.row_elements, 64)


def sequences_at_once(generator: Generator, length: int) -> int:
    """Number of sequences of that length whose logits of all steps are in memory together."""
    return max(LOGITS_AT_ONCE // (generator.num_actions * length), 1)


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
    batch_size: int = 0,
) -> Sequences:
    """Draws n sequences token by token.

    Args:
        sampling: temperature, top-k and top-p; None draws from the generator itself.
        prompts: n rows with prompts; each drawn sequence continues its row's prompt and keeps the
            row's columns.
        forbidden: ids that are never emitted.
        batch_size: sequences that advance together; 0 means `rows_in_flight`.

    Raises:
        ValueError: there are more or fewer prompts than sequences to draw.
    """
    if prompts is not None and len(prompts) != n:
        raise ValueError(
            f"there are {len(prompts)} prompts for {n} sequences, but must be one for each"
        )
    generator.eval()
    batches = []
    batch_size = batch_size or rows_in_flight(generator)
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
    result = joined(batches)
    if prompts is None:
        return result
    return replace(prompts.with_completions(result), vocabulary=vocabulary)


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
    num_completions: int = 1,
) -> Sequences:
    """Draws the rest of every prefix. Prefixes of different lengths advance in one batch.

    A row leaves the batch when it ends, at eos or at `time` tokens.

    Args:
        tokens: the prefixes, followed by `pad_id`; this tensor is not changed.
        lengths: number of tokens in each prefix; a prefix is unfinished (shorter than `time`, no
            eos).
        logits, state: the generator's output after each prefix; the logits are overwritten.
        num_completions: number of independent completions of each prefix.

    Returns:
        batch x num_completions rows; the completions of one prefix are neighbours.
    """
    max_length = tokens.shape[1]
    # The row of `state` that each completion continues from. The first step draws all completions
    # of a prefix from one row of logits, so the state is copied only after that draw.
    source = torch.arange(len(tokens), device=tokens.device).repeat_interleave(num_completions)
    tokens, lengths = tokens[source], lengths[source]
    rows = torch.arange(len(tokens), device=tokens.device)
    while len(rows):
        if forbidden is not None:
            logits = logits.index_fill(1, forbidden.to(logits.device), -torch.inf)
        if sampling is not None:
            logits = sampling.apply(logits)
        probs = torch.softmax(logits, dim=-1, out=logits)  # in place: nothing else needs them
        new_tokens = _draw(probs, len(rows) // len(probs), rng).flatten()
        tokens[rows, lengths[rows]] = new_tokens
        lengths[rows] += 1
        unfinished: Bool[Tensor, " rows"] = lengths[rows] < max_length
        if vocabulary.eos_id is not None:
            unfinished &= new_tokens != vocabulary.eos_id
        remaining = unfinished.nonzero()[:, 0]
        rows = rows[remaining]
        if len(rows):
            logits, state = generator.step(new_tokens[remaining], state.select(source[remaining]))
        source = torch.arange(len(rows), device=tokens.device)
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

    With `sampling`, this is the log-probability under the adjusted distribution. That needs the
    logits of all tokens, so batches may be smaller than `batch_size`.
    """
    generator.eval()
    if sampling is not None:
        batch_size = min(batch_size, sequences_at_once(generator, sequences.tokens.shape[1]))
    rows = torch.arange(len(sequences), device=sequences.tokens.device)
    parts = []
    for chunk in rows.split(batch_size):
        batch = sequences.select(chunk).trimmed()
        if sampling is None:
            log_probs = generator.log_probs(batch)
        else:
            log_probs = token_log_probs(sampling.apply(generator(batch)), batch.tokens, batch.mask)
        parts.append(log_probs.sum(dim=1))
    return torch.cat(parts)
