"""The same work written the obvious way: what the library's fast paths are measured against.

All rows and prefixes advance together here too; what is missing is everything that the library
does beyond that. `tests/documents/test_benchmarks.py` checks that both compute the same.
"""

import torch
from torch.nn.functional import conv1d, cross_entropy

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.models.discriminators.cnn import CNNDiscriminator
from seqgan.models.generators.recurrent import RecurrentGenerator


def nll(generator: RecurrentGenerator, batch: Sequences) -> torch.Tensor:
    """Mean over real tokens, from the logits of all."""
    logits = generator(batch)
    return cross_entropy(logits[batch.mask], batch.tokens[batch.mask])


def mle_step(
    generator: RecurrentGenerator, optimizer: torch.optim.Optimizer, batch: Sequences
) -> None:
    generator.train()
    loss = nll(generator, batch)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(generator.parameters(), 5.0)
    optimizer.step()


@torch.no_grad()
def sample(
    generator: RecurrentGenerator, n: int, length: int, rng: torch.Generator
) -> torch.Tensor:
    """(n, length) tokens by softmax and multinomial, all rows together; no end token."""
    generator.eval()
    logits, state = generator.start(n)
    tokens = []
    for _ in range(length):
        tokens.append(torch.multinomial(logits.softmax(dim=1), 1, generator=rng)[:, 0])
        logits, state = generator.step(tokens[-1], state)
    return torch.stack(tokens, dim=1)


def discriminator_logits(discriminator: CNNDiscriminator, tokens: torch.Tensor) -> torch.Tensor:
    """Every window convolved, for texts of full length."""
    embedded = discriminator.embedding(tokens).transpose(1, 2)
    features = torch.cat(
        [
            conv1d(embedded, layer.weight, layer.bias).amax(dim=2).relu()
            for layer in discriminator.convolutions
        ],
        dim=1,
    )
    gate = torch.sigmoid(discriminator.gate(features))
    features = gate * torch.relu(discriminator.highway(features)) + (1 - gate) * features
    return discriminator.output(discriminator.dropout(features))[:, 0]


def discriminator_step(
    discriminator: CNNDiscriminator, optimizer: torch.optim.Optimizer, tokens: torch.Tensor
) -> None:
    """The first half of the rows is real."""
    discriminator.train()
    logits = discriminator_logits(discriminator, tokens)
    labels = (torch.arange(len(tokens)) < len(tokens) // 2).float()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def action_values(
    generator: RecurrentGenerator,
    discriminator: CNNDiscriminator,
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 4096,
) -> torch.Tensor:
    """(batch, time) mean D of the completions of each prefix; no end token."""
    generator.eval()
    discriminator.eval()
    tokens = trajectories.tokens
    batch, length = tokens.shape
    values = torch.sigmoid(discriminator_logits(discriminator, tokens))[:, None].repeat(1, length)
    rows, ends = torch.ones(batch, length - 1).nonzero(as_tuple=True)
    states = generator.encode(trajectories.sequences)
    scores = []
    every_row = rows.repeat_interleave(num_rollouts)
    every_length = ends.repeat_interleave(num_rollouts) + 1
    for chunk in torch.arange(len(every_row)).split(chunk_size):
        completed, lengths = tokens[every_row[chunk]].clone(), every_length[chunk].clone()
        logits, state = states.gather(every_row[chunk], lengths)
        active = torch.arange(len(chunk))
        while len(active):
            drawn = torch.multinomial(logits.softmax(dim=1), 1, generator=rng)[:, 0]
            completed[active, lengths[active]] = drawn
            lengths[active] += 1
            kept = (lengths[active] < length).nonzero()[:, 0]
            active = active[kept]
            if len(active):
                logits, state = generator.step(drawn[kept], state.select(kept))
        scores.append(torch.sigmoid(discriminator_logits(discriminator, completed)))
    values[rows, ends] = torch.cat(scores).view(-1, num_rollouts).mean(dim=1)
    return values
