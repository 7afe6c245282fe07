"""What probabilities say about a generator: held-out likelihood, entropy, and both KLs.

A low NLL under the true model alone is no praise: repeating one likely sentence reaches it. So
NLL_oracle is never reported without the generator's own entropy, and their difference,
KL(generator || oracle), stands beside KL(oracle || generator) from held-out data.
"""

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
    per_text: dict[str, PerText]  # those metrics that are rates, sequence by sequence


def likelihood_report(
    generator: Generator,
    samples: Sequences,
    heldout: Sequences,
    exact: ExactDistribution | None,
    sampling: Sampling | None = None,
) -> LikelihoodReport:
    """Exact where the task is, Monte Carlo over the given sequences otherwise.

    Args:
        samples: the generator's own, drawn with the same `sampling`.
        heldout: real sequences that the generator was not trained on.
    """
    own = sequence_log_probs(generator, samples, sampling)
    heldout_log_probs = sequence_log_probs(generator, heldout, sampling)
    parts = {
        "eval/entropy": _per_token(-own, samples),
        "eval/nll_heldout": _per_token(-heldout_log_probs, heldout),
        "eval/mean_length": PerText.mean_of(samples.lengths.double().cpu().numpy()),
    }
    if exact is not None:
        # Against the true log-probability of the same held-out sequences: lower variance than
        # subtracting the entropy, and zero for a perfect generator.
        difference = exact.log_prob(heldout).double() - heldout_log_probs.double()
        parts["eval/kl_oracle_generator"] = _per_token(difference, heldout)
        if exact.full_support:
            true = exact.log_prob(samples)
            parts["eval/nll_oracle"] = _per_token(-true, samples)
            parts["eval/kl_generator_oracle"] = _per_token(own.double() - true.double(), samples)
    metrics = {name: part.value for name, part in parts.items()}
    if "eval/kl_generator_oracle" in metrics:
        # Over two sets of sequences: a sum of two rates, and not itself one.
        metrics["eval/kl_symmetric"] = (
            metrics["eval/kl_generator_oracle"] + metrics["eval/kl_oracle_generator"]
        )
    return LikelihoodReport(metrics, parts)


def _per_token(nats: Float[Tensor, " batch"], sequences: Sequences) -> PerText:
    return PerText(nats.double().cpu().numpy(), sequences.lengths.double().cpu().numpy())
