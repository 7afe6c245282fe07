"""Measures a discriminator on texts that it has not seen."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from seqgan.data.metrics import Metrics


def heldout_information(
    real_logits: Float[Tensor, " real"], generated_logits: Float[Tensor, " generated"]
) -> Metrics:
    """Measures a discriminator on held-out real and freshly generated sequences.

    `information_heldout` is log 2 minus the held-out binary cross-entropy, nats: a lower bound on
    the Jensen-Shannon divergence between data and generator. At or below 0 the discriminator has
    nothing to teach. `information_heldout_error` is its standard error. Each class has weight one
    half.

    Args:
        real_logits: log D/(1-D) of held-out real sequences.
        generated_logits: log D/(1-D) of generated sequences that D was not trained on.
    """
    real, generated = logsigmoid(real_logits.double()), logsigmoid(-generated_logits.double())
    variance = sum(
        float(values.var(correction=1)) / len(values) if len(values) > 1 else 0.0
        for values in (real, generated)
    )
    return {
        "discriminator/information_heldout": math.log(2)
        + 0.5 * float(real.mean() + generated.mean()),
        "discriminator/information_heldout_error": 0.5 * math.sqrt(variance),
        "discriminator/accuracy_heldout": 0.5
        * float((real_logits > 0).double().mean() + (generated_logits <= 0).double().mean()),
        "discriminator/auc": area_under_curve(real_logits, generated_logits),
    }


def area_under_curve(
    real_logits: Float[Tensor, " real"], generated_logits: Float[Tensor, " generated"]
) -> float:
    """Probability that a real sequence scores above a generated one; a tie counts one half."""
    ordered = generated_logits.double().sort().values
    below = torch.searchsorted(ordered, real_logits.double(), right=False)
    not_above = torch.searchsorted(ordered, real_logits.double(), right=True)
    return float((below + not_above).double().mean() / (2 * len(ordered)))
