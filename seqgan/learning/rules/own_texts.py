"""The look of the texts that a rule has drawn, as metrics."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.evaluation.game.trajectories import describe_trajectories
from seqgan.functional.losses import minimax_generator_loss
from seqgan.learning.players import Players
from seqgan.models.sampling import sequence_log_probs


def batch_metrics(
    players: Players,
    trajectories: Trajectories,
    advantages: Float[Tensor, "batch time"],
) -> Metrics:
    """The look of one batch: lengths, rewards, advantages, and the discriminator's view of it.

    Every process calls it; the main one, which logs, gets the metrics.
    """
    if not players.runtime.is_main():
        return {}
    metrics = dict(
        describe_trajectories(
            trajectories, advantages, players.task.vocabulary, players.rewards.names
        )
    )
    return {**metrics, **view_of_discriminator(players, trajectories.sequences)}


def view_of_discriminator(players: Players, texts: Sequences) -> Metrics:
    """The discriminator's opinion of fresh texts; empty without one, and but in the main process.

    Where there are prompts, the discriminator has been trained on these ones. Texts of others are
    another batch, which only evaluations draw.
    """
    judge = players.discriminator
    if judge is None or not players.runtime.is_main():
        return {}
    heldout = {} if players.task.max_prompt_length else players.heldout_information(texts)
    return {
        **heldout,
        "losses/minimax_generator": float(minimax_generator_loss(judge.logits(texts))),
        "charts/learning_rate_discriminator": judge.optimizer.param_groups[0]["lr"],
    }


def describe_own_texts(players: Players, texts: Sequences) -> Metrics:
    """Lengths, repeats and the sampled KL to the reference, over all processes.

    Args:
        texts: this process' own, drawn from the generator as it is.
    """
    own = sequence_log_probs(players.generator, texts)
    reference = sequence_log_probs(players.reference, texts)
    lengths = texts.lengths
    described = {
        "kl/reference": float((own - reference).double().mean()),
        "charts/episodic_length": float(lengths.float().mean()),
        "completions/unique_fraction": len(torch.unique(texts.tokens, dim=0)) / len(texts),
    }
    return players.runtime.average(described, float(len(texts)))


def describe_collected(players: Players, everyones: Trajectories) -> dict[str, float | int]:
    """Rewards, lengths, repeats, the discriminator's view, and the KL to the reference.

    Args:
        everyones: the collected texts of all processes.
    """
    with torch.no_grad():
        reference = players.reference.eval().log_probs(everyones.sequences)
    kl = torch.where(everyones.mask, everyones.log_probs - reference, 0.0).sum(dim=1)
    described = batch_metrics(players, everyones, torch.zeros_like(reference))
    looks = {name: value for name, value in described.items() if "advantage/" not in name}
    return {**looks, "kl/reference": float(kl.double().mean())}


def known_returns(players: Players, trajectories: Trajectories) -> Float[Tensor, " batch"]:
    """The return of each text; NaN for one to which no reward applies."""
    parts = torch.stack([trajectories.part(name) for name in players.rewards.names])
    return trajectories.returns.masked_fill(parts.isnan().all(dim=0), torch.nan)
