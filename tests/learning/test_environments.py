"""Monte Carlo values as an environment reward: exact values, sums that telescope, all modes."""

import math
import warnings
from dataclasses import dataclass, field, replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toys import (
    ENDING,
    FIXED,
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    as_trajectories,
    every_sequence,
    exact_action_values,
    seeded,
)

from seqgan.data.vocabulary import Vocabulary
from seqgan.learning.dense_rewards import MonteCarloReward, VectorMonteCarloReward, dense_reward
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
VOCABULARIES = pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed", "ending"])
MODES = pytest.mark.parametrize("mode", list(AutoresetMode))
KINDS = pytest.mark.parametrize("kind", ["table", "lstm", "gru"])


def forbid_last_token(tokens, lengths, prompts):
    """Any token but the one before; V is 4."""
    masks = np.ones((len(tokens), 4), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


@dataclass
class PromptReward:
    """100 times the prompt's last id, and the tokens as digits: no two texts share a reward."""

    name: str = "prompt"
    per_token: bool = False

    def score(self, sequences):
        digits = torch.where(sequences.mask, sequences.tokens + 1, 0)
        worth = (digits * torch.tensor([0.001, 0.01, 0.1, 1.0])).sum(dim=1)
        return worth if sequences.prompts is None else worth + 100 * sequences.prompts[:, -1]


@dataclass
class RecordingReward:
    """Remembers what it judged; worth the number of tokens."""

    name: str = "recording"
    per_token: bool = False
    seen: list[list[int]] = field(default_factory=list)

    def score(self, sequences):
        self.seen += sequences.tokens.tolist()
        return sequences.mask.sum(dim=1).float()


class CountingGenerator(TableGenerator):
    """Counts how often prefixes are read from their beginning."""

    num_encoded = 0

    def encode(self, sequences):
        self.num_encoded += 1
        return super().encode(sequences)


def policy_for(kind, vocabulary, certain=False):
    """A random policy; a certain one has a single continuation of every prefix."""
    if kind == "table":
        policy = TableGenerator(vocabulary)
        if certain:
            with torch.no_grad():
                policy.logits.mul_(1e6)
        return policy
    config = RecurrentGeneratorConfig(
        kind=kind, embedding_size=4, hidden_size=5, num_layers=2, init_std=1.0
    )
    with seeded_from(seeded()):
        policy = RecurrentGenerator(config, vocabulary)
    if certain:
        with torch.no_grad():
            policy.output.weight.mul_(1e6)
            policy.output.bias.mul_(1e6)
    return policy


def arguments_for(vocabulary, **arguments):
    return {
        "words": vocabulary.words,
        "eos": vocabulary.has_eos,
        "pad_id": vocabulary.pad_id,
        "max_length": MAX_LENGTH,
        **arguments,
    }


def single(vocabulary, policy, reward, num_rollouts, **arguments):
    arguments["reward"] = as_env_reward(reward, vocabulary)
    env = TextGenerationEnv(**arguments_for(vocabulary, **arguments))
    return MonteCarloReward(env, policy, num_rollouts)


def vector(vocabulary, policy, reward, num_rollouts, num_envs, mode, **arguments):
    arguments["reward"] = as_env_reward(reward, vocabulary)
    env = TextGenerationVectorEnv(
        num_envs, autoreset_mode=mode, **arguments_for(vocabulary, **arguments)
    )
    return VectorMonteCarloReward(env, policy, num_rollouts)


def forced_values(sequences, policy, reward, num_rollouts, **arguments):
    """Every sequence in a row of its own, its tokens as actions: the running sums of rewards."""
    env = vector(
        sequences.vocabulary,
        policy,
        reward,
        num_rollouts,
        len(sequences),
        AutoresetMode.DISABLED,
        **arguments,
    )
    env.reset(seed=0)
    steps = sequences.tokens.masked_fill(~sequences.mask, 0).unbind(dim=1)
    rewards = [torch.from_numpy(env.step(tokens.numpy())[1]) for tokens in steps]
    return torch.stack(rewards, dim=1).cumsum(dim=1)


def value_of(prefix, policy, judged):
    """Q of a prefix by recursion, from the reward `judged` of every finished text."""
    if prefix in judged:
        return judged[prefix]
    code = 0
    for token in prefix:
        code = code * policy.num_actions + token + 1
    chances = policy.logits[code].softmax(dim=0).tolist()
    return sum(c * value_of((*prefix, token), policy, judged) for token, c in enumerate(chances))


@VOCABULARIES
@pytest.mark.parametrize("per_token", [False, True], ids=["whole", "per_token"])
def test_values_are_exact_where_the_policy_is_certain(vocabulary, per_token):
    """All texts, most of which the policy itself would never write."""
    policy, everything = policy_for("table", vocabulary, certain=True), every_sequence(vocabulary)
    reward = TableReward(vocabulary.num_actions, per_token)
    rows = [
        tuple(row[:length])
        for row, length in zip(everything.tokens.tolist(), everything.lengths.tolist(), strict=True)
    ]
    judged = dict(zip(rows, reward.returns(everything).tolist(), strict=True))
    values = forced_values(everything, policy, reward, num_rollouts=2)
    for row, given in zip(rows, values.tolist(), strict=True):
        expected = [value_of(row[: step + 1], policy, judged) for step in range(MAX_LENGTH)]
        assert given == pytest.approx(expected, abs=1e-6)


@VOCABULARIES
@KINDS
def test_values_converge_to_the_exact_ones(vocabulary, kind):
    """Errors are as large as independent draws make them: not larger, not smaller."""
    policy, everything = policy_for(kind, vocabulary), every_sequence(vocabulary)
    reward, num_rollouts = TableReward(vocabulary.num_actions), 1000
    judged = reward.returns(everything)
    mean = exact_action_values(policy, everything, everything, judged)
    square = exact_action_values(policy, everything, everything, judged.double() ** 2)
    deviation = ((square - mean**2).clamp(min=0) / num_rollouts).sqrt()
    error = forced_values(everything, policy, reward, num_rollouts) - mean
    random = deviation > 1e-4
    assert int(random.sum()) > 100
    assert float(error[~random].abs().max()) < 1e-3
    # Rows that share a prefix have rollouts of their own, so all these are independent.
    scores = error[random] / deviation[random]
    assert float(scores.abs().max()) < 5
    assert 0.7 < float((scores**2).mean()) < 1.3


@VOCABULARIES
@KINDS
def test_equals_the_action_values_of_rollouts(vocabulary, kind):
    """The trainer's way and the environment's way to the same number."""
    policy, everything = policy_for(kind, vocabulary, certain=True), every_sequence(vocabulary)
    reward = TableReward(vocabulary.num_actions)
    trajectories = as_trajectories(policy, everything, reward.returns(everything))
    expected = monte_carlo_action_values(policy, reward, trajectories, 1, seeded())
    values = forced_values(everything, policy, reward, 1)
    torch.testing.assert_close(values.float(), expected, atol=1e-6, rtol=0)
    assert len(values[:, 0].unique()) == vocabulary.num_actions


@MODES
@pytest.mark.parametrize("mask", [None, [True, False, True, True], forbid_last_token])
@pytest.mark.parametrize("prompts", [None, [[4, 2], [0, 1], [5, 3]]])
@pytest.mark.parametrize("observation", ["dict", "tokens"])
@pytest.mark.slow
def test_only_the_reward_changes_and_telescopes(mode, mask, prompts, observation):
    """Beside the bare environment with the same actions: every episode earns what it earns there.

    One rollout, so that values are as noisy as they can be; forbidden actions; rows reset in the
    middle of an episode, and rows that wait.
    """
    num_envs = 5
    arguments = {"action_mask": mask, "prompts": prompts, "observation": observation}
    arguments["invalid_action_penalty"] = -7.0
    reward = PromptReward()
    dense = vector(ENDING, policy_for("lstm", ENDING), reward, 1, num_envs, mode, **arguments)
    bare = TextGenerationVectorEnv(
        num_envs,
        autoreset_mode=mode,
        reward=as_env_reward(reward, ENDING),
        **arguments_for(ENDING, **arguments),
    )
    assert data_equivalence(dense.reset(seed=3), bare.reset(seed=3), exact=True)
    assert dense.autoreset_mode is dense.metadata["autoreset_mode"] is mode
    rng = np.random.default_rng(1)
    sums, ended = np.zeros(num_envs), np.zeros(num_envs, dtype=bool)
    finished, penalties, shaped, idle = 0, 0, 0, 0
    for _ in range(40):
        actions = rng.integers(4, size=num_envs)
        observed, rewards, terminated, truncated, infos = dense.step(actions)
        expected = bare.step(actions)
        assert data_equivalence(
            (observed, terminated, truncated, infos), (expected[0], *expected[2:]), exact=True
        )
        assert np.array_equal(dense.action_masks(), bare.action_masks())
        assert rewards.dtype == np.float64
        passive = ended if mode is not AutoresetMode.SAME_STEP else np.zeros_like(ended)
        assert not rewards[passive].any()
        sums += rewards
        ending = terminated & ~passive
        assert sums[ending] == pytest.approx(expected[1][ending], abs=1e-9)
        sums[ending] = 0.0
        finished += ending.sum()
        penalties += (expected[1][ending] == -7).sum()
        shaped += (rewards[~ending] != 0).sum()
        idle += passive.sum()
        ended = terminated
        if mode is AutoresetMode.DISABLED and rng.random() < 0.5:
            options = {"reset_mask": rng.random(num_envs) < 0.3}
            options["reset_mask"][0] |= not options["reset_mask"].any()
            assert data_equivalence(
                dense.reset(options=options), bare.reset(options=options), exact=True
            )
            sums[options["reset_mask"]] = 0.0
            ended = ended & ~options["reset_mask"]
    assert finished > 15
    assert shaped > 15
    assert (penalties > 0) == (mask is not None)
    assert (idle > 0) == (mode is not AutoresetMode.SAME_STEP)


@MODES
@KINDS
@pytest.mark.parametrize("mask", [None, forbid_last_token])
def test_rows_equal_single_environments_step_for_step(mode, kind, mask):
    """Also where rows are out of step, so that their states are read, not stepped."""
    policy, reward = policy_for(kind, ENDING, certain=True), TableReward(ENDING.num_actions)
    sync = SyncVectorEnv(
        [lambda: single(ENDING, policy, reward, 1, action_mask=mask) for _ in range(3)],
        autoreset_mode=mode,
    )
    native = vector(ENDING, policy, reward, 1, 3, mode, action_mask=mask)
    native.reset(seed=0)
    sync.reset(seed=0)
    rng = np.random.default_rng(2)
    for _ in range(20):
        actions = rng.integers(4, size=3)
        observed, rewards, terminated, _, _ = native.step(actions)
        expected = sync.step(actions)
        assert data_equivalence(observed, expected[0], exact=True)
        assert np.array_equal(terminated, expected[2])
        assert rewards.tolist() == pytest.approx(expected[1].tolist(), abs=1e-6)
        if mode is AutoresetMode.DISABLED and terminated.any():
            native.reset(options={"reset_mask": terminated})
            sync.reset(options={"reset_mask": terminated})


@KINDS
def test_one_row_equals_the_single_environment_bit_for_bit(kind):
    """The same seed gives the same completions, in episodes that follow one another too."""
    policy, reward = policy_for(kind, ENDING), TableReward(ENDING.num_actions)
    one = single(ENDING, policy, reward, 3)
    row = vector(ENDING, policy, reward, 3, 1, AutoresetMode.DISABLED)
    rng = np.random.default_rng(0)
    earned = []
    for episode in range(6):
        one.reset(seed=episode if episode % 3 == 0 else None)
        row.reset(seed=episode if episode % 3 == 0 else None)
        ended = False
        while not ended:
            action = rng.integers(4)
            _, reward_of_one, ended, _, _ = one.step(action)
            _, rewards, _, _, _ = row.step(np.array([action]))
            assert type(reward_of_one) is float
            assert rewards[0] == reward_of_one
            earned.append(reward_of_one)
    assert len(set(earned)) > 8


def test_the_seed_decides_and_nothing_global_does():
    policy, reward = policy_for("lstm", ENDING), TableReward(ENDING.num_actions)

    def rewards(env, seed):
        env.reset(seed=seed)
        return [env.step(0)[1] for _ in range(MAX_LENGTH - 1)]

    env, other = single(ENDING, policy, reward, 2), single(ENDING, policy, reward, 2)
    first = rewards(env, 5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert rewards(other, 5) == first
    assert rewards(env, None) != first  # the stream goes on
    assert rewards(env, 5) == first
    assert rewards(env, 6) != first
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prompts", [None, [[5, 0], [2, 1]]])
def test_gymnasium_accepts_the_wrapped_environment(prompts):
    policy = policy_for("lstm", ENDING)
    made = gymnasium.make(ENV_ID, **arguments_for(ENDING, prompts=prompts))
    made.unwrapped.set_reward(as_env_reward(TableReward(ENDING.num_actions), ENDING))
    env = MonteCarloReward(made.unwrapped, policy, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        # The two checks left out make the environment again from its spec, without live objects.
        check_env(env, skip_render_check=True, skip_close_check=True)


def test_completions_go_on_from_the_prompt():
    """Two prompts, two distributions: each row has the values of its own."""
    policy, reward, num_rollouts = policy_for("gru", ENDING), PromptReward(), 4000
    prompts, first = torch.tensor([[5, 0], [2, 1]]), 1
    everything = every_sequence(ENDING)
    begins = everything.select((everything.tokens[:, 0] == first).nonzero()[:1, 0])
    means, deviations = [], []
    for prompt in prompts:
        prompted = replace(
            everything,
            prompts=prompt.expand(len(everything), -1),
            prompt_mask=(prompt != ENDING.pad_id).expand(len(everything), -1),
        )
        worth = reward.score(prompted)
        mean, square = (
            float(exact_action_values(policy, begins, prompted, power)[0, 0])
            for power in (worth, worth.double() ** 2)
        )
        means.append(mean)
        deviations.append(math.sqrt((square - mean**2) / num_rollouts))
    # Apart from the 100 that the second prompt itself is worth, its texts are worth less.
    assert abs(means[0] - (means[1] - 100)) > 20 * max(deviations)

    chosen = np.array([0, 1, 1, 0])
    env = vector(
        ENDING,
        policy,
        reward,
        num_rollouts,
        4,
        AutoresetMode.DISABLED,
        prompts=prompts.tolist(),
    )
    env.reset(seed=0, options={"prompt_index": chosen})
    _, rewards, _, _, _ = env.step(np.full(4, first))
    for value, prompt in zip(rewards, chosen, strict=True):
        assert abs(value - means[prompt]) < 4 * deviations[prompt]


def test_what_is_equal_is_judged_once():
    """With one continuation per prefix: one judgement a step, and one at the end."""
    policy, reward = policy_for("table", FIXED, certain=True), TableReward(FIXED.num_actions)
    env = single(FIXED, policy, reward, 16)
    env.reset(seed=0)
    scored = []
    for action in (2, 0, 1, 2):
        before = reward.num_scored
        env.step(action)
        scored.append(reward.num_scored - before)
    assert scored == [1, 1, 1, 1]
    assert reward.returns(every_sequence(FIXED)).unique().numel() == 81


def test_states_are_stepped_along_and_read_only_at_a_reset():
    policy = CountingGenerator(ENDING)
    reward = TableReward(ENDING.num_actions)
    one = single(ENDING, policy, reward, 2)
    for episode in range(1, 4):
        one.reset(seed=0)
        for action in (0, 1, 2, 0):
            one.step(action)
        assert policy.num_encoded == episode
    rows = vector(ENDING, policy, reward, 2, 3, AutoresetMode.DISABLED)
    rows.reset(seed=0)
    for actions in ([0, 3, 1], [1, 0, 1], [2, 0, 3], [0, 0, 0]):  # rows end one by one
        _, _, terminated, _, _ = rows.step(np.array(actions))
    assert terminated.all()
    assert policy.num_encoded == 4


def test_completions_keep_to_a_fixed_mask():
    reward = RecordingReward()
    env = single(FIXED, TableGenerator(FIXED), reward, 50, action_mask=[True, False, True])
    env.reset(seed=0)
    for action in (0, 2, 2, 0):
        env.step(action)
    tokens = np.array(reward.seen)
    assert len(np.unique(tokens, axis=0)) >= 6
    assert set(tokens.flatten().tolist()) == {0, 2}


def test_a_completion_to_which_the_reward_does_not_apply_counts_nothing():
    @dataclass
    class Applies:
        """5 where the last token is word 2; does not apply where it is word 1."""

        name: str = "applies"
        per_token: bool = False

        def score(self, sequences):
            last = sequences.tokens[:, -1]
            return torch.where(last == 1, torch.nan, torch.where(last == 2, 5.0, 1.0))

    env = single(FIXED, TableGenerator(FIXED).always(1), Applies(), 2)
    env.reset(seed=0)
    assert [env.step(action)[1] for action in (0, 0, 0, 2)] == [0, 0, 0, 5]
    env.reset()
    assert [env.step(action)[1] for action in (0, 0, 0, 1)] == [0, 0, 0, 0]


def test_a_step_that_failed_leaves_the_next_ones_right():
    """The reward model fails once: its token's reward comes with the next token's."""

    class FailsOnce(TableReward):
        fails = False

        def score(self, sequences):
            if self.fails:
                self.fails = False
                return torch.full((len(sequences),), math.inf)
            return super().score(sequences)

    policy, reward = policy_for("lstm", FIXED, certain=True), FailsOnce(FIXED.num_actions)
    env = single(FIXED, policy, reward, 1)
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in (0, 2, 1, 0)]
    env.reset(seed=0)
    first = env.step(0)[1]
    reward.fails = True
    with pytest.raises(ValueError, match="reward 'table' failed"):
        env.step(2)
    later = [env.step(action)[1] for action in (1, 0)]
    assert [first, *later] == pytest.approx([rewards[0], rewards[1] + rewards[2], rewards[3]])


def test_tokens_that_passed_the_wrapper_by_are_read():
    policy, reward = policy_for("table", FIXED, certain=True), TableReward(FIXED.num_actions)
    env = single(FIXED, policy, reward, 1)
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in (0, 2, 1)]
    env.reset(seed=0)
    env.step(0)
    env.unwrapped.step(2)
    assert env.step(1)[1] == pytest.approx(rewards[1] + rewards[2])


def test_dropout_is_off():
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=5, init_std=1.0, dropout=0.9)
    with seeded_from(seeded()):
        policy = RecurrentGenerator(config, ENDING)
    reward, everything = TableReward(ENDING.num_actions), every_sequence(ENDING)
    quiet = forced_values(everything, policy.eval(), reward, 2)
    noisy = forced_values(everything, policy.train(), reward, 2)
    assert torch.equal(quiet, noisy)


def test_masks_are_found_through_wrappers():
    policy, reward = TableGenerator(ENDING), TableReward(ENDING.num_actions)
    env = single(ENDING, policy, reward, 1, action_mask=forbid_last_token)
    outer = gymnasium.wrappers.RecordEpisodeStatistics(env)
    outer.reset(seed=0)
    outer.step(2)
    assert env.action_masks().tolist() == [True, True, False, True]
    assert outer.get_wrapper_attr("action_masks")().tolist() == [True, True, False, True]


@MODES
def test_episode_statistics_give_the_reward_of_the_text(mode):
    reward = TableReward(ENDING.num_actions)
    dense = vector(ENDING, policy_for("table", ENDING), reward, 2, 4, mode)
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(dense)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    episodes = 0
    for _ in range(40):
        _, _, terminated, _, infos = env.step(rng.integers(4, size=4))
        if not terminated.any():
            continue
        ends = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
        for row in np.flatnonzero(terminated):
            text = torch.full((1, MAX_LENGTH), ENDING.pad_id)
            ids = torch.tensor(ends["token_ids"][row])
            text[0, : len(ids)] = ids
            sequences = every_sequence(ENDING)
            index = int((sequences.tokens == text).all(dim=1).nonzero())
            judged = float(reward.returns(sequences)[index])
            assert infos["episode"]["r"][row] == pytest.approx(judged, abs=1e-6)
            episodes += 1
        if mode is AutoresetMode.DISABLED:
            env.reset(options={"reset_mask": terminated})
    assert episodes > 20


def test_a_generator_of_other_tokens():
    with pytest.raises(ConfigurationError, match="emits 3 tokens, but the environment has 4"):
        single(ENDING, TableGenerator(FIXED), TableReward(4), 1)


def test_no_rollouts():
    with pytest.raises(ValueError, match="num_rollouts is 0, but must be at least 1"):
        single(ENDING, TableGenerator(ENDING), TableReward(4), 0)


def test_another_environment():
    with pytest.raises(ConfigurationError, match=r"CartPole.* is no TextGenerationEnv"):
        dense_reward(gymnasium.make("CartPole-v1"))
    with pytest.raises(ConfigurationError, match=r"CartPole.* is no TextGenerationVectorEnv"):
        dense_reward(gymnasium.make_vec("CartPole-v1"))


@dataclass
class FirstWordReward:
    """The share of tokens that are word 0."""

    name: str = "first_word"
    per_token: bool = False

    def score(self, sequences):
        return (sequences.tokens == 0).float().mean(dim=1)


@pytest.mark.integration
class TestStableBaselines3:
    """Their agents learn from the wrapper, without knowing of it."""

    vocabulary = Vocabulary(("a", "b", "c"), has_eos=False, bos_word=0)

    def env(self, dense, **arguments):
        env = TextGenerationEnv(
            words=self.vocabulary.words,
            eos=False,
            pad_id=self.vocabulary.pad_id,
            max_length=5,
            reward=as_env_reward(FirstWordReward(), self.vocabulary),
            **arguments,
        )
        if not dense:
            return env
        policy = policy_for("lstm", self.vocabulary)
        return MonteCarloReward(env, policy, 4)

    def learned(self, dense, seed):
        """Mean reward of the texts that PPO writes after 2,000 steps."""
        ppo = pytest.importorskip("stable_baselines3").PPO
        model = ppo(
            "MultiInputPolicy",
            self.env(dense),
            n_steps=250,
            batch_size=50,
            gamma=1.0,
            learning_rate=1e-3,
            seed=seed,
        )
        model.learn(2000)
        earned = [episode["r"] for episode in model.ep_info_buffer]
        assert [round(5 * r) / 5 for r in earned] == pytest.approx(earned, abs=1e-5)
        env, rewards = self.env(dense=False), []
        for episode in range(100):
            observation, _ = env.reset(seed=episode)
            ended = False
            while not ended:
                action, _ = model.predict(observation)
                observation, reward, ended, _, _ = env.step(action)
            rewards.append(reward)
        return float(np.mean(rewards))

    def test_ppo_learns_no_worse_than_from_the_reward_at_the_end(self):
        dense, sparse = (
            np.mean([self.learned(kind, seed) for seed in (0, 4)]) for kind in (True, False)
        )
        assert dense > 0.9
        assert dense >= sparse, (dense, sparse)

    def test_maskable_ppo_finds_the_mask(self):
        ppo = pytest.importorskip("sb3_contrib").MaskablePPO
        env = self.env(True, action_mask=[False, True, True], invalid_action_penalty=-5.0)
        model = ppo("MultiInputPolicy", env, n_steps=50, batch_size=50, gamma=1.0, seed=0)
        model.learn(250)
        assert [episode["l"] for episode in model.ep_info_buffer] == [5] * 50
        assert [e["r"] for e in model.ep_info_buffer] == pytest.approx([0.0] * 50, abs=1e-6)
