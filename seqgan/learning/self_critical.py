"""The self-critical baseline: what the generator's likeliest text would have earned."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Trajectories
from seqgan.functional.rescaling import weighted_sum
from seqgan.learning.players import Players
from seqgan.models.sampling import Sampling, sample

GREEDY = Sampling(top_k=1)


class SelfCritical:
    """The reward of the greedy continuation of each prompt (Rennie et al., 2017; ReMax, Li et al.,
    2023).

    The baseline of a text is R(argmax text), which does not depend on the text, so it leaves the
    expected gradient as it is. It costs a text and a reward for each prompt; without prompts there
    is one greedy text. The run counts its tokens. Where no reward applies to it, the baseline is 0.
    """

    def __init__(self, players: Players) -> None:
        self.players = players

    def __call__(
        self, action_values: Float[Tensor, "batch time"], trajectories: Trajectories
    ) -> Float[Tensor, "batch time"]:
        """The baseline of all processes' trajectories; each judges the greedy texts of its own."""
        players, sequences = self.players, trajectories.sequences
        task, runtime = players.task, players.runtime
        size = len(sequences) // runtime.world_size
        first = runtime.rank * size
        each, prompts = size, None
        if sequences.prompts is not None:
            each = players.group_size
            rows = torch.arange(first, first + size, each)
            prompts = sequences.select(rows.to(sequences.tokens.device))
        # Only ties are drawn: the run's own draws stay as they are.
        rng = torch.Generator().manual_seed(0)
        greedy = sample(
            players.generator, task.vocabulary, size // each, task.max_length, rng, GREEDY, prompts
        )
        rewards = players.rewards
        scores = weighted_sum(rewards.score_parts(greedy), rewards.weights)
        players.count_tokens(greedy)
        known = scores.nan_to_num(nan=0.0).repeat_interleave(each)
        return runtime.gather(known.to(action_values))[:, None].expand_as(action_values)
