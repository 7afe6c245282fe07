"""What probabilities say about a generator: held-out likelihood, entropy, and both KLs.

A low NLL under the true model alone is no praise: repeating one likely sentence reaches it. So
NLL_oracle is never reported without the generator's own entropy, and their difference,
KL(generator || oracle), stands beside KL(oracle || generator) from held-out data.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seqgan.generators.base import Generator
from seqgan.sampling import Sampling, sequence_log_probs
from seqgan.sequences import Sequences
from seqgan.tasks.base import ExactDistribution


@dataclass(frozen=True)
class LikelihoodReport:
    """Rates in nats per token: total nats over total tokens of the sequences scored."""

    metrics: dict[str, float]
    heldout_log_probs: Float[Tensor, " heldout"]  # nats per sequence, for paired comparisons


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
    num_tokens = float(samples.mask.sum())
    num_heldout = float(heldout.mask.sum())
    metrics = {
        "eval/entropy": float(-own.double().sum()) / num_tokens,
        "eval/nll_heldout": float(-heldout_log_probs.double().sum()) / num_heldout,
        "eval/mean_length": num_tokens / len(samples),
    }
    if exact is not None:
        # Against the true log-probability of the same held-out sequences: lower variance than
        # subtracting the entropy, and zero for a perfect generator.
        true = exact.log_prob(heldout).double()
        metrics["eval/kl_oracle_generator"] = (
            float((true - heldout_log_probs.double()).sum()) / num_heldout
        )
        if exact.full_support:
            nll_oracle = float(-exact.log_prob(samples).double().sum()) / num_tokens
            metrics["eval/nll_oracle"] = nll_oracle
            metrics["eval/kl_generator_oracle"] = nll_oracle - metrics["eval/entropy"]
            metrics["eval/kl_symmetric"] = (
                metrics["eval/kl_generator_oracle"] + metrics["eval/kl_oracle_generator"]
            )
    return LikelihoodReport(metrics, heldout_log_probs)
