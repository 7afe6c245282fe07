"""Rules by the names of their papers: what a name stands for, and what wins over it."""

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import STATEFUL, StoppingTracker, stoppable, tensors_of
from tiny_runs import TINY, make_trainer
from toys import ENDING, MAX_LENGTH, TableReward

from seqgan.commands.given import configuration
from seqgan.data.sequences import Trajectories
from seqgan.learning.critic import CriticConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.system.errors import ConfigurationError, Interrupted
from seqgan.training.config_files import load_config, save_config
from seqgan.training.named_rules import NAMED_RULES, PLAIN, named_settings
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import kind_of

NAMES = pytest.mark.parametrize("name", NAMED_RULES)
# What a run decides and no paper.
OF_RUNS = {
    *("kind", "learning_rate", "schedule", "warmup", "adam"),
    *("rollout_chunk", "baseline_decay", "kl_estimator", "mask_truncated"),
}


def value_of(config: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        config = getattr(config, part)
    return config


@NAMES
def test_a_name_stands_for_settings(name: str, tmp_path: Path) -> None:
    config = TrainConfig().with_(rule=name)
    for dotted, value in named_settings(NAMED_RULES[name]).items():
        assert value_of(config, dotted) == value, dotted
    assert kind_of("rule", config.rule) == "policy_gradient"
    assert (
        configuration(["text", "--task.path", "t.txt", "--rule", name]).rule
        == TrainConfig(rule=configuration(["text", "--task.path", "t.txt"]).rule)
        .with_(rule=name)
        .rule
    )
    (tmp_path / "run.yaml").write_text(f"rule: {name}\n")
    assert load_config(tmp_path / "run.yaml") == config
    save_config(config, tmp_path / "saved.yaml")
    assert "kind: policy_gradient" in (tmp_path / "saved.yaml").read_text()
    assert load_config(tmp_path / "saved.yaml") == config


def test_a_part_that_is_given_as_a_whole_wins_over_the_name() -> None:
    critic, groups = CriticConfig(kind="network", gae_lambda=1.0), replace(TINY.adversarial)
    config = TrainConfig().with_(rule="ppo", **{"rule.critic": critic})
    assert config.rule.critic == critic
    assert config.rule.epochs == 4
    assert TrainConfig().with_(rule="grpo", adversarial=groups).adversarial == groups


def test_a_name_sets_all_that_makes_a_method() -> None:
    """After another rule nothing of that is left."""
    names = {name.split(".")[1] for name in PLAIN if name.startswith("rule.")}
    assert names | OF_RUNS == {item.name for item in fields(PolicyGradientConfig)}
    base = TrainConfig()
    for first in NAMED_RULES:
        kept = base.with_(rule=first).with_(**{"rule.baseline_decay": 0.9})
        assert kept.with_(rule="dapo").rule == base.with_(rule="dapo").rule, first


def test_whatever_is_given_wins_over_a_name(tmp_path: Path) -> None:
    flags = ["--rule", "dr_grpo", "--rule.epochs", "4", "--adversarial.group-size", "2"]
    given = configuration(["captions", *flags, "--kl-weight", "0.2"])
    assert (given.rule.epochs, given.rule.kl_weight, given.adversarial.group_size) == (4, 0.2, 2)
    assert (given.rule.loss, given.rule.update.reduction) == ("ppo", "constant")
    assert given.rule.learning_rate == configuration(["captions"]).rule.learning_rate
    settings = {"rule": {"kind": "dr-grpo", "epochs": 4}, "adversarial": {"group_size": 2}}
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    written = load_config(tmp_path / "run.yaml")
    assert written == TrainConfig().with_(
        rule="dr-grpo", **{"rule.epochs": 4, "adversarial.group_size": 2}
    )
    assert written.rule.epochs == 4


def test_a_name_may_choose_a_kind_of_another_slot(tmp_path: Path) -> None:
    assert configuration(["captions", "--rule", "scratchgan"]).discriminator.kind == "causal"
    rule, judge = ("--rule", "scratchgan"), ("--discriminator", "cnn")
    for flags in ([*rule, *judge], [*judge, *rule]):
        assert configuration(["captions", *flags]).discriminator.kind == "cnn"
    named = TrainConfig().with_(rule="scratchgan", discriminator=TINY.discriminator)
    assert (named.discriminator, named.rule.gamma) == (TINY.discriminator, 0.23)
    (tmp_path / "run.yaml").write_text("rule: scratchgan\ndiscriminator: {kind: cnn}\n")
    assert load_config(tmp_path / "run.yaml").discriminator.kind == "cnn"
    assert TrainConfig().with_(**{"discriminator.kind": "cnn"}).discriminator.kind == "cnn"


def test_groups_of_a_name_may_be_fitted_to_a_small_batch() -> None:
    flags = ["--rule", "grpo", "--batch-size", "6"]
    with pytest.raises(ConfigurationError, match=r"^--batch-size is 6, but must be a multiple of"):
        configuration(["captions", *flags])
    assert configuration(["captions", *flags, "--adversarial.group-size", "3"]).rule.scale == (
        "group"
    )


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"^unknown rule 'grop'; did you mean grpo\? "):
        TrainConfig().with_(rule="grop")


def test_the_page_has_each_name_with_what_it_sets() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    _, page = page.split("## What the names stand for")
    for name, rule in NAMED_RULES.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert rule.paper in row
        for dotted, value in rule.settings.items():
            said = f"`{dotted.removeprefix('rule.')} {value}`"
            assert said in row, (name, said)


def trl_advantages(rewards: torch.Tensor, name: str) -> torch.Tensor:
    """TRL 1.16's, of one group: grpo_trainer.py, lines 2768 to 2787; rloo_trainer.py, 1682."""
    if name == "rloo":
        return rewards - (rewards.sum() - rewards) / (len(rewards) - 1)
    centred = rewards - rewards.mean()
    return centred if name == "dr-grpo" else centred / (rewards.std() + 1e-4)


@pytest.mark.parametrize("name", ["rloo", "grpo", "dr-grpo", "dapo", "gspo", "cispo"])
def test_a_step_has_the_advantages_of_trl(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prompts the batch is the group. The KL in a reward would be the only other part."""
    seen: list[Any] = []

    def watched(generator: Any, optimizer: Any, loss: Any, *given: Any, **_: Any) -> dict[str, Any]:
        seen.append(given)
        return {}

    monkeypatch.setattr("seqgan.learning.rules.policy_gradient.update_generator", watched)
    given = {"adversarial.batch_size": 8, "rule.kl_weight": 0.0}
    config = TINY.with_(rule=name, **given)
    trainer, _ = make_trainer(config, reward=TableReward(ENDING.num_actions))
    trainer.phase("game").rule.step(trainer.players, trainer.rng)
    trajectories: Trajectories
    trajectories, advantages, *_ = seen[0]
    expected = trl_advantages(trajectories.returns, name)[:, None].expand(-1, MAX_LENGTH)
    mask = trajectories.mask
    assert not bool(mask.all())
    torch.testing.assert_close(advantages[mask], expected[mask])


@pytest.mark.slow
@NAMES
def test_a_run_by_a_name_ends_where_it_ends_after_a_stop(name: str) -> None:
    """Everything that a rule keeps between steps is in its state."""
    config = STATEFUL.with_(
        rule=name,
        **{"adversarial.batch_size": 8, "adversarial.iterations": 4, "rule.minibatch_size": 4},
        **{"pretrain.epochs": 3, "discriminator_training.pretrain_rounds": 2},
        **{"discriminator_training.num_sequences": 16, "discriminator_training.batch_size": 16},
    )
    whole, first, second = (
        partial(stoppable, StoppingTracker(stop_after), config)() for stop_after in (99, 8, 99)
    )
    whole.train()
    with pytest.raises(Interrupted):
        first.train()
    second.load_state_dict(first.state_dict())
    second.train()
    expected, found = tensors_of(whole), tensors_of(second)
    assert found.keys() == expected.keys()
    assert found["plain"] == expected["plain"]
    for key, tensor in expected.items():
        assert key == "plain" or torch.equal(found[key], tensor), key
