"""The look of a rule's own texts, for rules that have no advantages."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.learning.players import Players
from seqgan.learning.rules.policy_gradient import batch_metrics
from seqgan.models.sampling import sequence_log_probs


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


def describe_collected(
    players: Players, everyones: Trajectories, rng: torch.Generator
) -> dict[str, float | int]:
    """Rewards, lengths, repeats, the discriminator's view, and the KL to the reference.

    Args:
        everyones: the collected texts of all processes.
    """
    with torch.no_grad():
        reference = players.reference.eval().log_probs(everyones.sequences)
    kl = torch.where(everyones.mask, everyones.log_probs - reference, 0.0).sum(dim=1)
    described = batch_metrics(players, everyones, torch.zeros_like(reference), rng)
    looks = {name: value for name, value in described.items() if "advantage/" not in name}
    return {**looks, "kl/reference": float(kl.double().mean())}


def known_returns(players: Players, trajectories: Trajectories) -> Float[Tensor, " batch"]:
    """The return of each text; NaN for one to which no reward applies."""
    parts = torch.stack([trajectories.part(name) for name in players.rewards.names])
    return trajectories.returns.masked_fill(parts.isnan().all(dim=0), torch.nan)
