"""The texts that a run shows: their numbers, and the value of each token against enumeration."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from toys import (
    ENDING,
    FIXED,
    TableGenerator,
    TableReward,
    every_sequence,
    exact_action_values,
    seeded,
    token_log_softmax,
)

from seqgan.data.sequences import Sequences
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.weighted import WeightedSum
from seqgan.training.showing import sample_rows, token_texts


class Length:
    """The number of tokens; it does not apply to texts of one."""

    name = "length"
    per_token = False

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        lengths = sequences.lengths.float()
        return torch.where(lengths > 1, lengths, torch.nan)


def rows_of(
    shown: Sequences, rewards: WeightedSum, num_rollouts: int = 1, seed: int = 0
) -> list[dict[str, Any]]:
    generator = TableGenerator(ENDING)
    return sample_rows(shown, generator, rewards, num_rollouts, seeded(seed))


def test_a_row_says_everything_about_its_text() -> None:
    everything = every_sequence(ENDING)
    shown = everything.select(torch.arange(0, 121, 7))
    table = TableReward(ENDING.num_actions)
    rewards = WeightedSum([table, Length()], [2.0, 0.5])
    rows = rows_of(shown, rewards)
    log_probs = token_log_softmax(TableGenerator(ENDING), shown).sum(dim=1).tolist()
    keys = "text reward reward_table reward_length log_prob tokens token_values".split()
    assert all(list(row) == keys for row in rows)
    assert [row["text"] for row in rows] == shown.texts
    table_scores, lengths = table.returns(shown).tolist(), shown.lengths.tolist()
    for row, score, length, log_prob in zip(rows, table_scores, lengths, log_probs, strict=True):
        assert row["reward_table"] == score
        assert row["log_prob"] == pytest.approx(log_prob, abs=1e-5)
        if length > 1:
            assert row["reward_length"] == length
            assert row["reward"] == pytest.approx(2 * score + length / 2, abs=1e-6)
        else:
            assert row["reward"] == pytest.approx(2 * score, abs=1e-6)
        assert len(row["tokens"]) == len(row["token_values"]) == length
        assert row["token_values"][-1] == pytest.approx(row["reward"], abs=1e-6)


def test_tokens_are_text_and_the_eos_is_named() -> None:
    shown = Sequences.from_rows([[0, 2, 3], [1, 1, 0, 2], [3]], ENDING, 4)
    assert token_texts(shown) == [["a", "c", "</s>"], ["b", "b", "a", "c"], ["</s>"]]
    endless = Sequences.from_rows([[0, 2, 1, 0]], FIXED, 4)
    assert token_texts(endless) == [["a", "c", "b", "a"]]


def test_token_values_are_the_values_of_prefixes() -> None:
    """Against the sum over all 121 texts; 4,000 completions, five standard errors."""
    everything = every_sequence(ENDING)
    shown = everything.select(torch.arange(3, 121, 13))
    generator, table = TableGenerator(ENDING), TableReward(ENDING.num_actions)
    exact = exact_action_values(generator, shown, everything, table.returns(everything))
    rows = sample_rows(shown, generator, WeightedSum([table]), 4000, seeded())
    bound = 5 * float(table.returns(everything).std()) / 4000**0.5
    spread = []
    for row, values in zip(rows, exact.tolist(), strict=True):
        length = len(row["tokens"])
        assert row["token_values"] == pytest.approx(values[:length], abs=bound)
        spread += row["token_values"]
    assert max(spread) - min(spread) > 20 * bound  # so that a value at a wrong place shows


def test_without_rollouts_each_token_has_its_texts_reward() -> None:
    shown = every_sequence(ENDING).select(torch.arange(0, 121, 11))
    for row in rows_of(shown, WeightedSum([TableReward(ENDING.num_actions)]), num_rollouts=0):
        assert row["token_values"] == [row["reward"]] * len(row["tokens"])


def test_a_value_that_nobody_knows_is_none() -> None:
    """Whoever has written the eos first has ended with one token."""
    shown = Sequences.from_rows([[3], [0, 3]], ENDING, 4)
    ended, going = rows_of(shown, WeightedSum([Length()]), num_rollouts=4)
    assert ended["token_values"] == [None]
    assert ended["reward"] != ended["reward"]
    assert going["token_values"][1] == 2.0
    assert 2.0 <= going["token_values"][0] <= 4.0


def test_prompts_are_shown_where_there_are_any() -> None:
    shown = Sequences.from_rows([[0, 3], [1, 3]], ENDING, 4)
    prompted = replace(shown, given_prompt_texts=["first", "second"])
    rewards = WeightedSum([Length()])
    assert [row["prompt"] for row in rows_of(prompted, rewards)] == ["first", "second"]
    assert all("prompt" not in row for row in rows_of(shown, rewards))


def test_what_rewards_say_of_shown_texts_is_shown_and_counts_nowhere_else() -> None:
    """The completions behind the tokens' values are judged too, and nothing is left of that."""

    def counted(texts: list[str], log_extra: Any, log_metric: Any) -> list[float]:
        log_extra("size", [len(text) for text in texts])
        log_metric("texts", len(texts))
        return [float(len(text)) for text in texts]

    reward = as_reward(counted)
    shown = every_sequence(ENDING).select(torch.arange(0, 121, 30))
    rows = rows_of(shown, WeightedSum([reward]), num_rollouts=3)
    assert [row["counted/size"] for row in rows] == [len(text) for text in shown.texts]
    assert reward.take_metrics() == {}
    assert reward.take_extras() == {}


def test_the_same_randomness_shows_the_same() -> None:
    shown = every_sequence(ENDING).select(torch.arange(0, 121, 11))
    rewards = WeightedSum([TableReward(ENDING.num_actions)])
    first, again, other = (rows_of(shown, rewards, 2, seed) for seed in (1, 1, 2))
    assert first == again != other
