"""Parts of the policy gradient: greedy texts, a reference that moves, the KL in the loss."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from test_groups import players
from tiny_runs import TINY, changed, make_trainer, weights_of
from toys import ENDING, TableReward, seeded

from seqgan.learning.anchor import Anchor
from seqgan.learning.collection import gathered
from seqgan.learning.critic import CriticConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.self_critical import SelfCritical
from seqgan.models.sampling import Sampling, sample
from seqgan.rewards.base import Reward
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from


def greedy_rewards(group_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The baseline of eight texts, and the rewards of each prompt's likeliest text."""
    made = players(group_size)
    found = made.collect(seeded(1))
    values = found.returns[:, None].expand(-1, 4)
    before = made.position.global_step
    baseline = SelfCritical(made)(values, found)
    rows = found.sequences.select(torch.arange(0, 8, group_size))
    likeliest = sample(
        made.generator, ENDING, len(rows), 4, seeded(7), Sampling(temperature=1e-4), rows
    )
    assert made.position.global_step - before == int(likeliest.mask.sum())
    expected = made.rewards.score(likeliest).repeat_interleave(group_size)
    return baseline, expected


@pytest.mark.parametrize("group_size", [1, 4])
def test_the_self_critical_baseline_is_the_reward_of_the_likeliest_text(group_size: int) -> None:
    baseline, expected = greedy_rewards(group_size)
    torch.testing.assert_close(baseline, expected[:, None].expand(-1, 4))
    assert len(set(expected.tolist())) > 1


def test_without_prompts_there_is_one_greedy_text() -> None:
    config = changed(TINY, {"rule.baseline": "self_critical", "rule.num_rollouts": 0})
    trainer, _ = make_trainer(config, reward=TableReward(ENDING.num_actions))
    made = trainer.players
    found = made.collect(seeded(1))
    values = found.returns[:, None].expand(-1, 4)
    judge = made.rewards.parts[0]
    before = judge.num_scored  # type: ignore[attr-defined]
    baseline = SelfCritical(made)(values, found)
    assert len(baseline.unique()) == 1
    assert judge.num_scored == before + 1  # type: ignore[attr-defined]


def test_each_process_judges_the_greedy_texts_of_its_own_prompts() -> None:
    runtimes = fake_processes(2)
    made = [players(2, 4, runtime) for runtime in runtimes]

    def baseline_of(number: int) -> tuple[torch.Tensor, Any]:
        found = gathered(made[number].collect(seeded(number)), runtimes[number])
        return SelfCritical(made[number])(found.returns[:, None].expand(-1, 4), found), found

    (first, found), (second, _) = all_at_once([lambda: baseline_of(0), lambda: baseline_of(1)])
    assert torch.equal(first, second)
    alone = players(2, 8)
    expected = SelfCritical(alone)(found.returns[:, None].expand(-1, 4), found)
    torch.testing.assert_close(first, expected)


@dataclass
class Settings:
    kl_weight: float = 0.5
    kl_target: float = 0.0
    reference_every: int = 2


def test_a_reference_is_the_generator_as_it_was_some_updates_ago() -> None:
    made, anchor = players(1), Anchor(Settings())
    found = made.collect(seeded(1))
    start = anchor.log_probs(made, found)
    torch.testing.assert_close(start, found.log_probs)  # the reference is a copy of it
    for update in range(3):
        with torch.no_grad():
            made.generator.output.bias += torch.tensor([1.0, 0.0, 0.0, 0.0])
        anchor.updated(made.generator, 0.0)
        if update == 0:
            assert torch.equal(anchor.log_probs(made, found), start)
    moved = anchor.log_probs(made, found)
    with torch.no_grad():
        made.generator.output.bias -= torch.tensor([1.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(moved, made.generator.log_probs(found.sequences).detach())

    again = Anchor(Settings())
    again.load_state_dict(anchor.state_dict(), made.generator)
    assert torch.equal(again.log_probs(made, found), moved)
    assert again.updates == anchor.updates == 1
    fixed = Anchor(Settings(reference_every=0))
    fixed.load_state_dict(anchor.state_dict(), made.generator)
    fixed.forked(Settings())
    assert torch.equal(fixed.log_probs(made, found), start)


def test_the_kl_in_the_loss_is_in_no_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def watched(*arguments: Any, **named: Any) -> dict[str, Any]:
        given.append((arguments[4], named["kl"]))
        return {}

    monkeypatch.setattr("seqgan.learning.rules.policy_gradient.update_generator", watched)
    for place in ("reward", "loss"):
        settings = {"rule.kl_in": place, "rule.num_rollouts": 0, "rule.baseline": "none"}
        trainer, _ = make_trainer(
            changed(TINY, {**settings, "rule.kl_weight": 0.25}),
            reward=TableReward(ENDING.num_actions),
        )
        with torch.no_grad():
            next(trainer.players.reference.parameters()).add_(1.0)
        trainer.phase("game").rule.step(trainer.players, trainer.rng)
    (in_reward, none), (in_loss, term) = given
    assert none is None
    assert (term.weight, term.estimator) == (0.25, "k3")
    assert not torch.allclose(in_reward, in_loss)
    assert bool((in_loss == in_loss[:, :1]).all())  # the reward of the text, for each token


@pytest.mark.parametrize("per_token", [True, False])
def test_a_token_is_credited_with_discounted_rewards(
    per_token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a reward for each token, 0.23^(s - t) of token s; of one for the text, of its last."""
    seen: list[Any] = []

    def watched(*arguments: Any, **named: Any) -> dict[str, Any]:
        seen.append((arguments[3], arguments[4]))
        return {}

    monkeypatch.setattr("seqgan.learning.rules.policy_gradient.update_generator", watched)
    settings = {"rule.gamma": 0.23, "rule.num_rollouts": 0, "rule.baseline": "none"}
    reward = TableReward(ENDING.num_actions, per_token)
    trainer, _ = make_trainer(changed(TINY, {**settings, "rule.kl_weight": 0.0}), reward=reward)
    trainer.phase("game").rule.step(trainer.players, trainer.rng)
    ((trajectories, advantages),) = seen
    for row, length in enumerate(trajectories.sequences.lengths.tolist()):
        scores = reward.score(trajectories.sequences)[row]
        earned = scores.tolist() if per_token else [0.0] * (length - 1) + [float(scores)]
        expected = [
            sum(0.23 ** (later - step) * earned[later] for later in range(step, length))
            for step in range(length)
        ]
        assert advantages[row, :length].tolist() == pytest.approx(expected, abs=1e-6)
    assert len(set(trajectories.sequences.lengths.tolist())) > 1


def test_the_first_step_of_any_loss_is_that_of_reinforce() -> None:
    """The ratio is 1 exactly; dropout is off. Its gradient is that of log pi."""
    found = {}
    for loss in ("reinforce", "ppo", "gspo", "cispo"):
        settings = {"rule.loss": loss, "rule.clip_low": 1e-6, "rule.clip_high": 1e-6}
        settings |= {"generator.dropout": 0.5, "rule.learning_rate": 0.1}
        trainer, _ = make_trainer(changed(TINY, settings))
        metrics = trainer.phase("game").rule.step(trainer.players, trainer.rng)
        assert metrics.get("losses/clipfrac", 0.0) == 0.0
        found[loss] = weights_of(trainer)
    for loss in ("ppo", "gspo", "cispo"):
        torch.testing.assert_close(found[loss], found["reinforce"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"reference_every": 5, "kl_weight": 0.0},
            "rule.reference_every is 5, but must be 0 where rule.kl_weight is, since nothing is"
            " held to a reference",
        ),
        (
            {"stop_kl": 0.02},
            "rule.stop_kl is 0.02, but must be 0 where a batch has one step; more are rule.epochs"
            " above 1 or a rule.minibatch_size",
        ),
        (
            {"baseline": "self_critical", "rescale": "rank"},
            "rule.baseline is self_critical, a reward, but must be another with rule.rescale rank,"
            " whose values are no rewards",
        ),
        (
            {"gamma": 0.5},
            "rule.gamma is 0.5, but must be 1 with rollouts, a rescale or another aggregation,"
            " whose values are of whole texts (give --rule.num-rollouts 0)",
        ),
        ({"epochs": 0}, "rule.epochs is 0, but must be at least 1"),
        ({"clip_low": 1.5}, "rule.clip_low is 1.5, but must be from 0 to 1"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PolicyGradientConfig(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("baseline", "critic"), [("none", "none"), ("group_mean", "none"), ("none", "head")]
)
def test_truncated_texts_teach_nothing(baseline: str, critic: str) -> None:
    """The update is that of a batch in which no reward applies to them."""
    table = TableReward(ENDING.num_actions)

    class OfFinished(Reward):
        name = "of_finished"

        def score(self, sequences: Any) -> torch.Tensor:
            words = (sequences.mask & (sequences.tokens != ENDING.eos_id)).sum(dim=1)
            return table.score(sequences).masked_fill(
                words == 4, torch.nan
            )  # there is no more room

    settings = {"rule.num_rollouts": 0, "rule.baseline": baseline, "adversarial.batch_size": 32}
    settings |= {"rule.critic": CriticConfig(kind=critic, warmup=0)}  # type: ignore[arg-type]
    found = []
    for masked, reward in ((True, table), (False, OfFinished()), (False, table)):
        config = changed(TINY, {**settings, "rule.mask_truncated": masked})
        trainer, _ = make_trainer(config, reward=reward)
        with seeded_from(seeded()):
            rule = config.rule.build(trainer.players)
        for seed in (3, 4):  # at the second batch, the critic has learnt from the first
            rule.step(trainer.players, seeded(seed))
        found.append(torch.cat([each.flatten() for each in trainer.players.generator.parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
