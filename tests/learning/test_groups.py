"""Groups: several completions of each prompt, and what is compared within them alone."""

from functools import partial
from typing import Any

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from jaxtyping import Float
from tiny_runs import TINY, changed
from torch import Tensor
from toys import ENDING, seeded

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.evaluation.game.trajectories import share_of_equal_returns
from seqgan.functional.baselines import group_leave_one_out, group_mean, leave_one_out
from seqgan.functional.groups import group_ids, spreads
from seqgan.functional.rescaling import normalize_then_sum, rank, rescale
from seqgan.functional.scaling import by_group, scaled, whiten
from seqgan.learning.collection import gathered, groups_of_batch
from seqgan.learning.players import Players
from seqgan.models.generators.base import frozen_copy
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.rewards.adapters.functions import as_reward
from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask
from seqgan.training.settings import AdversarialConfig

REWARDS = torch.tensor([1.0, 0.0, 4.0, 2.5, -1.0, -1.0, -1.0, -1.0, 0.25, 8.0, 0.5, 0.75])
MASK = torch.arange(5) < torch.tensor([5, 1, 3, 2, 4, 4, 5, 1, 2, 2, 5, 3])[:, None]
IDS = torch.arange(3).repeat_interleave(4)


def of_texts(rewards: Tensor = REWARDS, ids: Tensor | None = IDS) -> tuple[Tensor, Trajectories]:
    """The reward of its text as the value of each token, and trajectories in groups of four."""
    zeros = torch.zeros(MASK.shape)
    given = Trajectories(Sequences(zeros.long(), MASK), zeros, zeros, groups=ids)
    return rewards[:, None].expand(-1, 5), given


def tokens_of(advantages: Float[Tensor, " batch"]) -> Tensor:
    return advantages[:, None].expand(-1, 5)[MASK]


# TRL 1.16's formulas, as its trainers have them


def trl_grpo(rewards: Tensor, size: int, scale: str) -> Tensor:
    mean = rewards.view(-1, size).mean(dim=1).repeat_interleave(size)
    advantages = rewards - mean
    if scale == "group":
        std = rewards.view(-1, size).std(dim=1).repeat_interleave(size)
        advantages = advantages / (std + 1e-4)
    return advantages


def trl_rloo(rewards: Tensor, size: int) -> Tensor:
    grouped = rewards.view(-1, size)
    baselines = (grouped.sum(dim=1, keepdim=True) - grouped) / (size - 1)
    return (grouped - baselines).flatten()


@pytest.mark.parametrize("scale", ["group", "none"])
def test_advantages_of_grpo_and_dr_grpo_are_those_of_trl(scale: Any) -> None:
    values, given = of_texts()
    centred = values - group_mean(values, given)
    found = scaled(centred, values, MASK, group_ids(given), scale)
    torch.testing.assert_close(found[MASK], tokens_of(trl_grpo(REWARDS, 4, scale)))


def test_advantages_of_rloo_are_those_of_trl() -> None:
    values, given = of_texts()
    found = values - group_leave_one_out(values, given)
    torch.testing.assert_close(found[MASK], tokens_of(trl_rloo(REWARDS, 4)))


def test_without_groups_the_batch_is_one() -> None:
    values, given = of_texts(ids=None)
    found = values - group_leave_one_out(values, given)
    torch.testing.assert_close(found[MASK], tokens_of(trl_rloo(REWARDS, 12)))


def test_a_text_that_nobody_judged_is_in_no_mean() -> None:
    rewards = REWARDS.clone()
    rewards[1] = torch.nan
    values, given = of_texts(rewards)
    expected = trl_grpo(rewards[[0, 2, 3]], 3, "group")
    found = by_group(values - group_mean(values, given), values, MASK, IDS)
    torch.testing.assert_close(found[[0, 2, 3], 0], expected)
    assert bool(found[1].isnan().all())


def test_a_step_without_a_token_counts_with_the_last_one() -> None:
    """Values differ by token: row 0 goes on after row 1 has ended with 7."""
    mask = torch.tensor([[True, True], [True, False]])
    values = torch.tensor([[1.0, 3.0], [7.0, -99.0]])
    given = Trajectories(Sequences(values.long(), mask), values, values)
    assert group_mean(values, given)[0].tolist() == [4.0, 5.0]
    assert group_leave_one_out(values, given)[0].tolist() == [7.0, 7.0]


def test_whitened_advantages_have_mean_0_and_deviation_1() -> None:
    values, _ = of_texts()
    found = whiten(values, MASK)[MASK]
    assert float(found.mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.std(correction=0)) == pytest.approx(1, rel=1e-5)


def test_leave_one_out_compares_within_the_drawn_groups() -> None:
    values = torch.tensor([[1.0], [3.0], [10.0], [20.0]])
    mask = torch.ones(4, 1, dtype=torch.bool)
    given = Trajectories(
        Sequences(mask.long(), mask), values, values, groups=torch.tensor([7, 7, 2, 2])
    )
    assert leave_one_out(values, given)[:, 0].tolist() == [3.0, 1.0, 20.0, 10.0]
    assert group_ids(given).tolist() == [0, 0, 1, 1]


def test_ranks_and_normalised_rewards_are_those_of_each_group_alone() -> None:
    values, _ = of_texts()
    alone = torch.cat([rank(values[rows], MASK[rows]) for rows in torch.arange(12).split(4)])
    assert torch.equal(rescale(values, MASK, "rank", IDS), alone)
    assert not torch.equal(rescale(values, MASK, "rank"), alone)
    parts, weights = torch.stack([values, values.square()]), torch.tensor([1.0, 0.5])
    alone = torch.cat(
        [
            normalize_then_sum(parts[:, rows], weights, MASK[rows])
            for rows in torch.arange(12).split(4)
        ]
    )
    assert torch.equal(normalize_then_sum(parts, weights, MASK, IDS), alone)


def test_spreads_within_and_between_add_up() -> None:
    """Groups (1, 3) and (10, 20): within, squared distances 1, 1, 25, 25; means 2 and 15."""
    within, between = spreads(torch.tensor([1.0, 3.0, 10.0, 20.0]), torch.tensor([0, 0, 1, 1]))
    assert within == pytest.approx(13**0.5)
    assert between == pytest.approx(6.5)
    assert spreads(torch.tensor([torch.nan]), torch.tensor([0])) == (0.0, 0.0)


def test_equal_groups_are_counted_as_they_were_drawn() -> None:
    """Two groups of one prompt are two."""
    sequences = Sequences(torch.zeros(4, 1).long(), torch.ones(4, 1, dtype=torch.bool))
    returns, groups = torch.tensor([1.0, 1.0, 2.0, 3.0]), torch.tensor([0, 0, 1, 1])
    assert share_of_equal_returns(returns, sequences, groups) == 0.5


# Drawing them


class Longer:
    """A text is worth its length and a tenth of its prompt's number, from the data's column."""

    def __call__(self, texts: list[str], number: list[int]) -> list[float]:
        return [len(text.split()) + n / 10 for text, n in zip(texts, number, strict=True)]


def task() -> FixedTask:
    """Six prompts of one word, or of two."""
    prompts = torch.tensor([[5, 0], [5, 1], [5, 2], [0, 1], [1, 2], [2, 0]])
    rows = Sequences.from_rows([[0, 3]] * 6, ENDING, 4)
    data = Sequences(
        rows.tokens, rows.mask, prompts, prompts != 5, {"number": list(range(6))}, ENDING
    )
    return FixedTask(ENDING, 4, {"train": data, "dev": data, "test": data}, max_prompt_length=2)


def players(group_size: int, batch_size: int = 8, runtime: Runtime = ALONE) -> Players:
    with seeded_from(seeded(3)):
        generator = RecurrentGenerator(
            RecurrentGeneratorConfig(embedding_size=4, hidden_size=4), ENDING
        )
    return Players(
        task(),
        generator,
        frozen_copy(generator),
        as_reward(Longer()),
        batch_size,
        runtime=runtime,
        group_size=group_size,
    )


def test_the_rows_of_a_group_lie_side_by_side_and_have_one_prompt() -> None:
    found = players(4).collect(seeded(1))
    numbers = list(found.sequences.columns["number"])
    assert numbers == [numbers[0]] * 4 + [numbers[4]] * 4
    assert numbers[0] != numbers[4]
    assert found.groups is not None
    assert found.groups.tolist() == [0] * 4 + [1] * 4
    lengths = [len(text.split()) for text in found.sequences.texts]
    expected = [length + n / 10 for length, n in zip(lengths, numbers, strict=True)]
    assert found.returns.tolist() == pytest.approx(expected)


def test_without_groups_a_batch_is_drawn_as_ever() -> None:
    found = players(1).collect(seeded(1))
    assert found.groups is None
    assert len(set(found.sequences.columns["number"])) == 6


def test_groups_of_two_processes_are_those_of_the_joined_batch() -> None:
    runtimes = fake_processes(2)
    made = [players(2, 4, runtime) for runtime in runtimes]

    def collected(number: int) -> Trajectories:
        return gathered(made[number].collect(seeded(number)), runtimes[number])

    first, second = all_at_once([partial(collected, number) for number in range(2)])
    assert first.groups is not None
    assert first.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert second.groups is not None
    assert torch.equal(second.groups, first.groups)
    together = torch.cat([groups_of_batch(4, 2, rank) for rank in range(2)])
    assert torch.equal(groups_of_batch(8, 2, 0), together)


def test_a_batch_is_a_multiple_of_its_groups() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^adversarial.batch_size is 6, but must be a multiple of adversarial.group_size, 4$",
    ):
        AdversarialConfig(batch_size=6, group_size=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rule.baseline": "group_mean"},
            "adversarial.group_size is 1, but must be at least 2 with the group_mean baseline"
            " where there are prompts",
        ),
        (
            {"rule.scale": "group"},
            "adversarial.group_size is 1, but must be at least 2 with scale group where there are"
            " prompts",
        ),
        (
            {"rule.baseline": "none", "rule.scale": "whiten", "adversarial.batch_size": 1},
            "adversarial.batch_size is 1, but must be at least 2 with scale whiten",
        ),
    ],
)
def test_what_compares_texts_needs_several(settings: dict[str, Any], message: str) -> None:
    config = changed(TINY, settings)
    one = players(1, config.adversarial.batch_size)
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        config.rule.build(one)
