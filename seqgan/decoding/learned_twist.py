"""A twist that is learnt from weighted texts of the start, before anything is decoded.

A classifier of prefixes tells texts with their weights from the same texts without. Its best logit
is log E[w | prefix] / Z, which is the best twist, log psi, up to a constant that cancels. Both
classes are the same texts, so what little noise is left comes from the weights alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from seqgan.data.sequences import Sequences, masked_mean
from seqgan.data.vocabulary import Vocabulary
from seqgan.decoding.weighted import WeightedTexts
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.system.checks import Positive, Size, check_settings
from seqgan.system.seeding import seeded_from


@dataclass(frozen=True)
class TwistTraining:
    """Settings of a twist's training."""

    embedding_size: Size = 32  # width of the token embedding
    hidden_size: Size = 64  # width of the GRU's state
    epochs: Size = 6  # passes over the texts, at most
    patience: Size = 2  # passes without a better loss on a tenth of the texts that ends it
    batch_size: Size = 128  # texts per minibatch
    learning_rate: Positive = 5e-3  # Adam's

    def __post_init__(self) -> None:
        check_settings("twist", self)


def twist_loss(
    values: Float[Tensor, "batch time"],
    weights: Float[Tensor, " batch"],
    sequences: Sequences,
) -> Float[Tensor, ""]:
    """-mean over tokens of w log sigmoid(v) + log sigmoid(-v), nats.

    Args:
        values: log psi of the prefix that ends with each token.
        weights: of each text, of mean 1.
    """
    each = weights[:, None] * logsigmoid(values) + logsigmoid(-values)
    return -masked_mean(each, sequences.mask)


def learn_twist(
    weighted: WeightedTexts,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    training: TwistTraining = TwistTraining(),
) -> RecurrentGenerator:
    """Learns a twist of actions from texts of the start with their weights.

    Returns:
        An `ActionTwist` whose logit of a token, after a prefix, is log psi of both together.
    """
    sequences = weighted.sequences
    weights = weighted.log_weights.softmax(dim=1) * weighted.log_weights.shape[1]
    weights = weights.flatten().float()
    with seeded_from(rng, sequences.tokens.device):
        config = RecurrentGeneratorConfig("gru", training.embedding_size, training.hidden_size)
        twist = RecurrentGenerator(config, vocabulary).to(sequences.tokens.device)
    nn.init.zeros_(twist.output.weight)
    nn.init.zeros_(twist.output.bias)  # before it has learnt anything, a twist of nothing
    order = torch.randperm(len(sequences), generator=rng, device=rng.device).to(weights.device)
    held_out, train = order[: len(order) // 10], order[len(order) // 10 :]
    optimizer = torch.optim.Adam(twist.parameters(), training.learning_rate)
    best, best_state, worse = float("inf"), twist.state_dict(), 0
    for _ in range(training.epochs):
        twist.train()
        shuffled = train[torch.randperm(len(train), generator=rng, device=rng.device)]
        for rows in shuffled.split(training.batch_size):
            loss = twist_loss(*_judged(twist, sequences, weights, rows))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(twist.parameters(), 1.0)
            optimizer.step()
        twist.eval()
        with torch.no_grad():
            loss_held_out = float(twist_loss(*_judged(twist, sequences, weights, held_out)))
        if loss_held_out < best:
            best, worse = loss_held_out, 0
            best_state = {name: value.clone() for name, value in twist.state_dict().items()}
        else:
            worse += 1
        if worse >= training.patience:
            break
    twist.load_state_dict(best_state)
    return twist.eval().requires_grad_(False)


def _judged(
    twist: RecurrentGenerator,
    sequences: Sequences,
    weights: Float[Tensor, " all"],
    rows: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, " batch"], Sequences]:
    """The arguments of `twist_loss` for some rows."""
    batch = sequences.select(rows).trimmed()
    chosen = batch.tokens.masked_fill(~batch.mask, 0)[..., None]
    return twist(batch).gather(-1, chosen)[..., 0], weights[rows], batch
