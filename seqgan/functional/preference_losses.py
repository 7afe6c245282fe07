"""Losses on pairs of texts, one of which is preferred: DPO and IPO.

A log-ratio is log pi(y) - log ref(y) of a whole sequence, nats. `beta` is the strength of the
anchor: the weight of KL(pi || ref) in the reward whose optimum the pairs tell of.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid


def dpo(
    chosen_log_ratios: Float[Tensor, " pair"],
    rejected_log_ratios: Float[Tensor, " pair"],
    beta: float = 0.1,
    smoothing: float = 0.0,
) -> Float[Tensor, " pair"]:
    """Direct preference optimisation (Rafailov et al., 2023, eq. 7):
    -log sigmoid(beta (h_chosen - h_rejected)) with log-ratios h.

    Args:
        smoothing: the chance that a pair is the wrong way round (conservative DPO; Mitchell, 2023):
            the loss of the turned pair counts that much.
    """
    margins = beta * (chosen_log_ratios - rejected_log_ratios)
    return -(1 - smoothing) * logsigmoid(margins) - smoothing * logsigmoid(-margins)


def ipo(
    chosen_log_ratios: Float[Tensor, " pair"],
    rejected_log_ratios: Float[Tensor, " pair"],
    chosen_lengths: Int[Tensor, " pair"],
    rejected_lengths: Int[Tensor, " pair"],
    beta: float = 0.1,
) -> Float[Tensor, " pair"]:
    """Identity preference optimisation (Azar et al., 2024, eq. 17):
    (h_chosen - h_rejected - 1 / (2 beta))^2.

    h is a log-ratio per token of its text, as in the authors' results and in TRL; the paper's
    formula has sums. Lengths of 1 give the latter.
    """
    chosen = chosen_log_ratios / chosen_lengths.clamp(min=1)
    rejected = rejected_log_ratios / rejected_lengths.clamp(min=1)
    return (chosen - rejected - 1 / (2 * beta)).square()
