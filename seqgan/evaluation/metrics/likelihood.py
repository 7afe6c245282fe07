"""Judges a generator by probabilities: held-out likelihood, entropy, and KL in both directions.

A low NLL under the true model alone proves nothing, because a generator that repeats one likely
sentence reaches it. So NLL_oracle is never reported without the generator's own entropy. Their
difference, KL(generator || oracle), stands beside KL(oracle || generator) from held-out data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sequence_log_probs
from seqgan.tasks.base import ExactDistribution


@dataclass(frozen=True)
class LikelihoodReport:
    """Rates in nats per token: total nats over total tokens of the sequences scored."""

    metrics: dict[str, float]
    per_text: dict[str, PerText]  # the metrics that are rates, sequence by sequence


def likelihood_report(
    generator: Generator,
    samples: Sequences,
    heldout: Sequences | None,
    exact: ExactDistribution | None,
    sampling: Sampling | None = None,
) -> LikelihoodReport:
    """Measures entropy, held-out NLL and, with a known true distribution, both KLs, nats per token.

    All are Monte Carlo means over these sequences; each sequence's probability is exact.

    Args:
        samples: the generator's own sequences, drawn with the same `sampling`.
        heldout: real sequences that the generator was not trained on; None for a task without
            texts, which leaves out all that is said about them.
        exact: the true distribution; None if it is unknown.
    """
    own = sequence_log_probs(generator, samples, sampling)
    parts = sample_rates(own, samples, exact)
    if heldout is not None:
        of_heldout = sequence_log_probs(generator, heldout, sampling)
        parts |= heldout_rates(of_heldout, heldout, exact)
    return report_of(parts)


def sample_rates(
    own: Float[Tensor, " batch"] | None, samples: Sequences, exact: ExactDistribution | None
) -> dict[str, PerText]:
    """The rates over a model's own samples.

    Args:
        own: the model's log-probability of each, nats; None where it is not known.
    """
    parts = {"eval/mean_length": PerText.mean_of(samples.lengths.double().cpu().numpy())}
    if own is not None:
        parts["eval/entropy"] = _per_token(-own, samples)
    if exact is not None and exact.full_support:
        true = exact.log_prob(samples)
        parts["eval/nll_oracle"] = _per_token(-true, samples)
        if own is not None:
            parts["eval/kl_generator_oracle"] = _per_token(own.double() - true.double(), samples)
    return parts


def heldout_rates(
    log_probs: Float[Tensor, " batch"], heldout: Sequences, exact: ExactDistribution | None
) -> dict[str, PerText]:
    """The rates over held-out sequences.

    Args:
        log_probs: the model's log-probability of each, nats.
    """
    parts = {"eval/nll_heldout": _per_token(-log_probs, heldout)}
    if exact is not None:
        # Subtracting the true log-probability of the same sequences has a lower variance than
        # subtracting the entropy, and gives exactly zero for a perfect generator.
        difference = exact.log_prob(heldout).double() - log_probs.double()
        parts["eval/kl_oracle_generator"] = _per_token(difference, heldout)
    return parts


def report_of(parts: Mapping[str, PerText]) -> LikelihoodReport:
    """The report of a model's rates, over its samples and over held-out sequences."""
    metrics = {name: part.value for name, part in parts.items()}
    if {"eval/kl_generator_oracle", "eval/kl_oracle_generator"} <= parts.keys():
        # A sum of rates over two sets of sequences is no rate, so it gets no interval.
        metrics["eval/kl_symmetric"] = (
            metrics["eval/kl_generator_oracle"] + metrics["eval/kl_oracle_generator"]
        )
    return LikelihoodReport(metrics, dict(parts))


def _per_token(nats: Float[Tensor, " batch"], sequences: Sequences) -> PerText:
    return PerText(nats.double().cpu().numpy(), sequences.lengths.double().cpu().numpy())
