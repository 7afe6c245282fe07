"""The texts that a run shows: what each is worth, how likely it is, and what its tokens are worth.

Showing changes nothing of the run: the randomness is the caller's, and what the rewards report
about these texts does not count among what they report about the run.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.rescaling import weighted_sum
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.base import Reporting
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError

EOS = "</s>"


def sample_rows(
    shown: Sequences,
    generator: Generator,
    rewards: WeightedSum,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 16384,
    stride: int = 1,
) -> list[dict[str, Any]]:
    """One row a text, for `Tracker.samples`.

    Args:
        shown: drawn from `generator`; they carry a vocabulary.
        num_rollouts: completions of each prefix behind a token's value; 0 gives every token its
            text's reward.
        chunk_size: completions that are judged at a time.
        stride: every how many tokens a prefix is completed; values between are interpolated.

    Returns:
        `prompt` where there are prompts, `text`, `reward`, `reward_<name>` where there are several,
        `log_prob` (nats), what rewards said beside their numbers, and two lists of one length:
        `tokens` as text, the eos included, and `token_values`, the Monte Carlo value of the prefix
        that ends with each token, None where no reward applies.

    Raises:
        RewardError: a reward failed.
    """
    scores = rewards.score_parts(shown)
    columns: dict[str, Sequence[Any]] = {}
    if shown.prompts is not None or shown.given_prompt_texts is not None:
        columns["prompt"] = shown.prompt_texts
    columns["text"] = shown.texts
    columns["reward"] = weighted_sum(scores, rewards.weights).tolist()
    if len(rewards.parts) > 1:
        named = zip(rewards.names, scores.tolist(), strict=True)
        columns |= {f"reward_{name}": values for name, values in named}
    columns["log_prob"] = sequence_log_probs(generator, shown).tolist()
    reporting = [part for part in rewards.parts if isinstance(part, Reporting)]
    for part in reporting:
        # Of rows that were scored in parts, or said otherwise, nobody knows which is whose.
        extras = {key: said for key, said in part.take_extras().items() if len(said) == len(shown)}
        columns |= {f"{part.name}/{key}": [*said] for key, said in extras.items()}
    columns["tokens"] = token_texts(shown)
    columns["token_values"] = token_values(
        shown, scores, generator, rewards, num_rollouts, rng, chunk_size, stride
    )
    for part in reporting:
        part.take_extras()
        part.take_metrics()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def token_texts(sequences: Sequences) -> list[list[str]]:
    """Each row's tokens as text, the eos as `EOS`; of a subword, what it adds to the text.

    Raises:
        ConfigurationError: the sequences carry no vocabulary.
    """
    vocabulary = sequences.vocabulary
    if vocabulary is None:
        raise ConfigurationError(
            "these sequences carry no vocabulary, without which they cannot be decoded"
        )
    rows = zip(sequences.tokens.tolist(), sequences.lengths.tolist(), strict=True)
    return [_token_texts(row[:length], vocabulary) for row, length in rows]


def _token_texts(row: list[int], vocabulary: Vocabulary) -> list[str]:
    if vocabulary.level != "subword":
        return [EOS if index == vocabulary.eos_id else vocabulary.words[index] for index in row]
    # A part of a character adds nothing until it is whole.
    texts, shown = [], ""
    for end, index in enumerate(row, 1):
        whole = vocabulary.decode(row[:end])
        if index == vocabulary.eos_id:
            texts.append(EOS)
        elif whole.startswith(shown) and not whole.endswith("\N{REPLACEMENT CHARACTER}"):
            texts.append(whole[len(shown) :])
            shown = whole
        else:
            texts.append("")
    return texts


def token_values(
    sequences: Sequences,
    scores: Float[Tensor, "part batch"],
    policy: Generator,
    rewards: WeightedSum,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 16384,
    stride: int = 1,
) -> list[list[float | None]]:
    """The Monte Carlo value of each real token, None where it is unknown.

    Args:
        scores: what the parts of the reward say of the finished texts.
    """
    last = sequences.lengths[:, None] - 1
    total = weighted_sum(scores, rewards.weights)
    nothing = torch.zeros(sequences.tokens.shape, device=sequences.tokens.device)
    trajectories = Trajectories(
        sequences,
        log_probs=nothing,
        rewards=nothing.scatter(1, last, total[:, None]),
        parts=dict(zip(rewards.names, scores, strict=True)),
    )
    values = monte_carlo_action_values(
        policy, rewards, trajectories, num_rollouts, rng, chunk_size, stride
    )
    rows = zip(values.tolist(), sequences.lengths.tolist(), strict=True)
    return [[None if x != x else x for x in row[:length]] for row, length in rows]
