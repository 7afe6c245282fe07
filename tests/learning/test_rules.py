"""Rules that are no policy gradient: stop and resume, processes, metrics."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from tiny_runs import TINY, make_trainer, trained
from toys import seeded

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.learning.players import Players
from seqgan.learning.rules.base import asks_rewards
from seqgan.learning.rules.cooperative import CooperativeConfig, MediatorConfig
from seqgan.learning.rules.gumbel import GumbelConfig, GumbelSoftmax
from seqgan.learning.rules.preference import Pairs, Preference, PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig
from seqgan.system.errors import Interrupted
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seeded_from
from seqgan.tracking.metrics import METRICS
from seqgan.training.checkpoints import flatten, unflatten
from seqgan.training.trainer import Trainer

RULES = {
    "cooperative": CooperativeConfig(
        mediator=MediatorConfig(kind="lstm", embedding_size=3, hidden_size=5)
    ),
    "reweighting": ReweightingConfig(beta=2.0, baseline=0.5, mle_weight=0.3),
    "cloning": CloningConfig(),
    "preference": PreferenceConfig(refresh_every=2, reference="opponent", mle_weight=0.1),
    "preference by reward": PreferenceConfig(pairs="reward", loss="ipo"),
    "gumbel": GumbelConfig(beta_max=4.0, inputs="straight_through", kl_weight=0.1, mle_weight=0.3),
    "cooperative with a copy": CooperativeConfig(mediator=MediatorConfig(steps=2)),
}
EACH = pytest.mark.parametrize("name", RULES)


def configured(name: str) -> Any:
    generator = replace(TINY.generator, dropout=0.2)
    return replace(TINY, rule=RULES[name], generator=generator)


@EACH
@pytest.mark.slow
def test_a_run_logs_what_the_list_says_and_ends_with_the_same_numbers_after_a_stop(
    name: str,
) -> None:
    whole, whole_log = make_trainer(configured(name))
    whole.train()
    check_logged(name, whole, whole_log.logged)

    begun, _ = make_trainer(configured(name))
    game, unit = begun.phase("game"), begun.phase("game").unit

    def stopping(players: Players, rng: torch.Generator) -> Metrics:
        begun.stop_requested = True
        done: Metrics = unit(players, rng)
        return done

    game.unit = stopping
    with pytest.raises(Interrupted):
        begun.train()
    assert game.count == 1
    plain, tensors = flatten(begun.state_dict())
    goes_on, log = make_trainer(configured(name))
    goes_on.load_state_dict(unflatten(plain, tensors))
    goes_on.train()

    ends, expected = flatten(goes_on.state_dict()), flatten(whole.state_dict())
    assert ends[1].keys() == expected[1].keys()
    assert all(torch.equal(ends[1][key], expected[1][key]) for key in expected[1])
    times = ("time/", "charts/SPS")
    last, other = (
        {key: value for key, value in rows[-1].items() if not key.startswith(times)}
        for rows in (log.logged, whole_log.logged)
    )
    assert last == other


def check_logged(name: str, trainer: Trainer, rows: list[dict[str, float | int]]) -> None:
    """All that the list of metrics says of a rule was logged, and what its progress bar shows."""
    logged = {key for row in rows for key in row}
    listed = {
        metric.name
        for metric in METRICS
        if metric.applies.startswith("rule") and RULES[name].kind in metric.applies.split()
    }
    assert listed
    assert listed <= logged
    assert set(trainer.phase("game").shown) <= logged


def at_start(
    name: str, runtime: Runtime, batch_size: int, grouped: bool = True
) -> tuple[Players, Any]:
    """Players and a rule before any training, in one of several processes.

    All optimisers are plain gradient descent: Adam would hide a gradient of the wrong scale. Each
    process has its part of what a single one draws with the same `rng`.
    """
    trainer, _ = make_trainer(replace(TINY, rule=RULES[name]))
    start = trainer.players
    sizes = (start.task, start.generator, start.reference, start.rewards)
    players = Players(*sizes, batch_size, runtime=runtime)
    whole = Players(*sizes, batch_size * runtime.world_size)
    with seeded_from(seeded(5)):
        rule = RULES[name].build(players)
    for module in players.learning:
        runtime.prepare(module)
    for optimizer in [key for key in vars(rule) if key.endswith("optimizer")]:
        groups = getattr(rule, optimizer).param_groups
        setattr(rule, optimizer, torch.optim.SGD(groups[0]["params"], 0.5))

    def own(texts: Sequences) -> Sequences:
        return texts.select(runtime.own(torch.arange(len(texts))))

    def collect(rng: torch.Generator) -> Trajectories:
        episodes = whole.collect(rng)
        groups = torch.arange(len(episodes.mask)) // 4  # none reaches into two processes
        rows = runtime.own(torch.arange(len(episodes.mask)))
        return Trajectories(
            episodes.sequences.select(rows),
            episodes.log_probs[rows],
            episodes.rewards[rows],
            {name: part[rows] for name, part in (episodes.parts or {}).items()},
            groups[rows] if grouped else None,
        )

    players.collect = collect  # type: ignore[method-assign]
    if isinstance(rule, Preference):
        real_pairs = rule.real_pairs

        def own_pairs(_: Players, rng: torch.Generator) -> Pairs:
            pairs = real_pairs(whole, rng)
            parts = [own(texts) for texts in (pairs.chosen, pairs.rejected)]
            players.count_tokens(parts[1])
            return Pairs(*parts, runtime.own(pairs.known))

        rule.real_pairs = own_pairs  # type: ignore[method-assign]
    if isinstance(rule, GumbelSoftmax):
        noise = rule.noise
        rule.noise = lambda _, rng: runtime.own(noise(whole, rng))  # type: ignore[method-assign]
    players.real = lambda split, n, rng: own(whole.real(split, n * runtime.world_size, rng))  # type: ignore[method-assign]
    players.draw = lambda n, rng: own(whole.draw(n * runtime.world_size, rng))  # type: ignore[method-assign]
    return players, rule


def test_pairs_by_reward_are_those_of_the_joined_batch() -> None:
    """Where there are no prompts, a pair may have texts of two processes."""
    name = "preference by reward"
    alone, rule = at_start(name, ALONE, 6, grouped=False)
    rule.step(alone, seeded(2))
    together = [at_start(name, process, 3, grouped=False) for process in fake_processes()]
    all_at_once([partial(each.step, players, seeded(2)) for players, each in together])
    for players, _ in together:
        for one, other in zip(
            players.generator.parameters(), alone.generator.parameters(), strict=True
        ):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@EACH
def test_two_processes_do_what_one_does_with_both_batches(name: str) -> None:
    alone, rule = at_start(name, ALONE, 8)
    rng = seeded(2)
    expected = [rule.step(alone, rng) for _ in range(2)]
    together = [at_start(name, process, 4) for process in fake_processes()]

    def stepped(players: Players, rule: Any) -> list[Any]:
        rng = seeded(2)
        return [rule.step(players, rng) for _ in range(2)]

    found = all_at_once([partial(stepped, *each) for each in together])
    for players, _ in together:
        for one, other in zip(
            players.generator.parameters(), alone.generator.parameters(), strict=True
        ):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    for key, value in expected[-1].items():
        if not key.startswith("time/") and key != "completions/unique_fraction":
            assert found[0][-1][key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
    assert alone.position.global_step == together[0][0].position.global_step


def test_rules_say_whether_they_ask_for_rewards() -> None:
    """And a discriminator that teaches nobody is told of."""
    asking = {name: asks_rewards(at_start(name, ALONE, 4)[1]) for name in RULES}
    without = ("cooperative", "cooperative with a copy", "preference")
    assert asking == {name: name not in without for name in RULES}
    assert asks_rewards(object())  # a rule of one's own
    for name in ("preference", "preference by reward"):
        trainer, _ = make_trainer(replace(TINY, rule=RULES[name]))
        note = trainer.phase("game").note(trainer.players)
        assert ("trains to measure it alone; --reward constant --phases" in note) == (
            name in without
        )
    trainer, _ = make_trainer(replace(TINY, rule=RULES["cooperative"], reward=("constant",)))
    assert trainer.phase("game").note(trainer.players) == ""


@pytest.mark.slow
def test_a_rule_without_rewards_is_no_control() -> None:
    config = replace(TINY, rule=RULES["preference"], reward=("constant",))
    trainer, _ = make_trainer(config)
    about = trained(trainer).about
    assert (about.controls, about.subject) == ((), "Training without a reward")
    config = replace(config, rule=RULES["cloning"])
    trainer, _ = make_trainer(config)
    assert trained(trainer).about.controls == ("constant",)
