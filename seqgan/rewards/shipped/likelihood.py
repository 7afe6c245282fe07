"""Rewards a text with its likelihood under a frozen model, or under the true one."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.base import Reward
from seqgan.system.checks import HUGE, TINY, Range, checked
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import ExactDistribution, Task


class Fluency(Reward):
    """The mean log-likelihood of a text's tokens under a language model, nats per token.

    At most 0; the eos is one of the tokens. The model is never trained. Its likeliest texts are
    short and repetitive, so combine this reward with another one or with a KL penalty.

    Args:
        generator: the language model: any generator over the same token ids.
    """

    name = "fluency"

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        device = next(self.generator.parameters()).device
        log_probs = sequence_log_probs(self.generator, sequences.to(device))
        return log_probs.to(sequences.tokens.device) / sequences.lengths


Floor = Annotated[float, Range("below 0 and finite", -HUGE, -TINY)]


class TrueLikelihood(Reward):
    """The mean log-likelihood of a text's tokens under the true model, nats per token.

    A control for synthetic tasks: the true model of real text is unknown. The eos is one of the
    tokens.

    Args:
        exact: the true distribution.
        floor: the lowest reward; texts outside the distribution's support get it.

    Raises:
        ConfigurationError: `floor` is not below 0 and finite.
    """

    name = "true_likelihood"

    def __init__(self, exact: ExactDistribution, floor: float = -10.0) -> None:
        checked("true_likelihood's floor", floor, Floor)
        self.exact = exact
        self.floor = floor

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        rates = self.exact.log_prob(sequences) / sequences.lengths
        return rates.clamp(min=self.floor).float()


def true_likelihood(task: Task, floor: float = -10.0) -> TrueLikelihood:
    """Makes the `TrueLikelihood` of a task with a known distribution.

    Raises:
        ConfigurationError: the task's distribution is unknown.
    """
    if task.exact is None:
        raise ConfigurationError("the task has no known distribution, which true_likelihood needs")
    return TrueLikelihood(task.exact, floor)
