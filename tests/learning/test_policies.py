"""Policies that complete texts: dense rewards are the exact expectations under each of them."""

import itertools

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from toys import TableGenerator

import seqgan
from seqgan.data.vocabulary import Vocabulary
from seqgan.learning.dense_rewards import dense_reward
from seqgan.learning.environments import make_env
from seqgan.system.errors import ConfigurationError
from seqgan_envs import TextGenerationEnv

WORDS, EOS, LENGTH = ("a", "b"), 2, 3
VOCABULARY = Vocabulary(WORDS)
NUM_ROLLOUTS = 1000
TOLERANCE = 5 * 0.5 / NUM_ROLLOUTS**0.5  # five deviations of a mean of numbers in [0, 1]


def worth(token_ids):
    """A number in [0, 1]; no two texts share one."""
    return sum((token + 1) * 4.0**-place for place, token in enumerate(token_ids, 1))


def weights_of(prefix):
    """Weights of the next token, different after each prefix; they do not add up to 1."""
    code = sum((token + 1) * 3**place for place, token in enumerate(prefix))
    return [1.0 + (7 * code + 5 * token) % 11 for token in range(3)]


def even(prefix):
    return [1.0, 1.0, 1.0]


def everything_may_follow(prefix):
    return [True, True, True]


def no_word_twice(prefix):
    return [token not in prefix[-1:] for token in range(3)]


def exact_value(prefix, weights, allowed):
    """The expected worth of a text's completions, by recursion."""
    if prefix[-1:] == (EOS,) or len(prefix) == LENGTH:
        return worth(prefix)
    masked = [w * a for w, a in zip(weights(prefix), allowed(prefix), strict=True)]
    return sum(
        weight / sum(masked) * exact_value((*prefix, token), weights, allowed)
        for token, weight in enumerate(masked)
        if weight
    )


def as_mask(allowed):
    def mask(tokens, lengths, prompts):
        return np.array([allowed(tuple(row[:n])) for row, n in zip(tokens, lengths, strict=True)])

    return None if allowed is everything_may_follow else mask


def texts(allowed):
    """Every finished text that obeys the mask."""
    found = []
    for length in range(1, LENGTH + 1):
        for text in itertools.product(range(3), repeat=length):
            ended = text[-1] == EOS or length == LENGTH
            kept = all(allowed(text[:step])[text[step]] for step in range(length))
            if ended and kept and EOS not in text[:-1]:
                found.append(text)
    return found


def check_values(policy, weights, allowed=everything_may_follow, follow_later=False):
    """Writes each text in a row of its own: the running sums of its rewards are its values."""
    rows = texts(allowed)
    env = make_env(
        VOCABULARY,
        worth,
        max_length=LENGTH,
        num_envs=len(rows),
        action_mask=as_mask(allowed),
        autoreset_mode=AutoresetMode.DISABLED,
    )
    dense = dense_reward(env, NUM_ROLLOUTS, None if follow_later else policy)
    if follow_later:
        dense.follow(policy)
    dense.reset(seed=1)
    values, compared = np.zeros(len(rows)), 0
    for step in range(LENGTH):
        actions = np.array([row[min(step, len(row) - 1)] for row in rows])
        values += dense.step(actions)[1]
        for value, row in zip(values, rows, strict=True):
            exact = exact_value(row[: step + 1], weights, allowed)
            certain = step + 1 >= len(row)
            assert value == pytest.approx(exact, abs=1e-6 if certain else TOLERANCE)
            compared += not certain
    assert compared >= 10


def prefix_weights(tokens, lengths):
    rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
    return [weights_of(tuple(row[:length])) for row, length in rows]


def text_weights(texts):
    ids = {"a": 0, "b": 1}
    return torch.tensor([weights_of(tuple(ids[word] for word in text.split())) for text in texts])


def observation_weights(observation):
    return prefix_weights(observation["tokens"], observation["length"])


class Drawing:
    """Gives tokens in place of weights."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, tokens, lengths, action_mask):
        weights = np.array(prefix_weights(tokens, lengths)) * action_mask
        return np.array([self.rng.choice(3, p=row / row.sum()) for row in weights])


ALLOWED = pytest.mark.parametrize("allowed", [everything_may_follow, no_word_twice])


@ALLOWED
def test_by_default_all_tokens_that_may_follow_are_equally_likely(allowed):
    check_values(None, even, allowed)


@ALLOWED
@pytest.mark.parametrize(
    "policy",
    [prefix_weights, text_weights, observation_weights, Drawing()],
    ids=["tokens", "texts", "observation", "drawing"],
)
def test_values_are_exact_under_a_function(policy, allowed):
    check_values(policy, weights_of, allowed, follow_later=True)


@ALLOWED
def test_values_are_exact_under_a_generator(allowed):
    generator = TableGenerator(VOCABULARY, max_length=LENGTH)

    def weights(prefix):
        code = 0
        for token in prefix:
            code = code * 3 + token + 1
        return generator.logits[code].softmax(dim=0).tolist()

    check_values(generator, weights, allowed)


def test_a_policy_that_is_followed_later_takes_over_amid_a_text():
    env = dense_reward(make_env(WORDS, lambda text: float(text == "a a"), max_length=2), 50)
    env.reset(seed=0)
    env.follow(lambda tokens: [[1, 0, 0]] * len(tokens))
    assert env.step(0)[1] == 1.0
    env.reset()
    env.follow(lambda tokens: [[0, 1, 0]] * len(tokens))
    assert env.step(0)[1] == 0.0


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (3, "a int completes no texts"),
        (lambda state: state, "the policy takes 'state', but a policy's parameters are any of obs"),
        (lambda: 3, "the policy takes no argument"),
        (lambda tokens: [[0.5, 0.5]] * len(tokens), "gave float64 of shape .*, but gives weights"),
        (lambda tokens: [[-1.0, 0.0, 1.0]] * len(tokens), "of logits, return the softmax"),
        (lambda tokens: [[np.nan, 0.0, 1.0]] * len(tokens), "the policy gave the weight nan"),
        (lambda tokens: [[0.0, 0.0, 0.0]] * len(tokens), "no finite weight to any allowed token"),
        (lambda tokens: [7] * len(tokens), "gave the token 7, but here it is outside 0 to 2"),
        (TableGenerator(Vocabulary(("a", "b", "c"))), "emits 4 tokens, but the environment has 3"),
    ],
)
def test_an_unusable_policy_is_named(policy, message):
    def step():
        dense = dense_reward(make_env(WORDS, worth, max_length=LENGTH), 2, policy)
        dense.reset(seed=0)
        dense.step(0)

    with pytest.raises(ConfigurationError, match=message):
        step()


def test_the_seed_decides_the_completions():
    def rewards(seed, policy=None):
        env = dense_reward(make_env(WORDS, worth, max_length=LENGTH), 3, policy)
        env.reset(seed=seed)
        return [env.step(0)[1], env.step(1)[1]]

    assert rewards(1) == rewards(1) != rewards(2)
    assert rewards(1, prefix_weights) == rewards(1, prefix_weights)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["b", "a"], ("b", "a")),
        ("the dog sees the cat", ("the", "dog", "sees", "cat")),
        (["The dog barks.", "a dog"], ("the", "dog", "barks", ".", "a")),
        ("to be or not to be".split(), ("to", "be", "or", "not")),
        (Vocabulary(("x", "y"), level="character", has_eos=False), ("x", "y")),
    ],
)
def test_words_are_words_texts_or_a_vocabulary(words, expected):
    env = make_env(words, lambda text: 1.0)
    assert env.rules.words == expected
    assert (env.rules.eos_id is None) == isinstance(words, Vocabulary)
    assert isinstance(env, TextGenerationEnv)


def test_a_reward_of_any_kind_judges_the_texts():
    for reward in (
        lambda text: len(text.split()) / 2,
        lambda texts: [len(text.split()) / 2 for text in texts],
        lambda token_ids: (len(token_ids) - 1) / 2,
        seqgan.as_reward(lambda tokens, mask: (mask.sum(dim=1) - 1) / 2),
        "length(target=2)",
    ):
        env = make_env(["dog", "barks"], reward, num_envs=2, max_length=4)
        env.reset(seed=0)
        assert env.step([0, 1])[1].tolist() == [0.0, 0.0]
        assert env.step([1, 2])[1].tolist() == [0.0, -0.5 if isinstance(reward, str) else 0.5]


def test_prompts_are_texts():
    def repeats(text, prompt):
        return float(text.split()[:1] == prompt.split()[-1:])

    env = make_env("the dog sees the cat", repeats, prompts=["the dog", "cat"], max_length=2)
    for number, word in enumerate(("dog", "cat")):
        observation, _ = env.reset(options={"prompt_index": number})
        env.step(env.rules.words.index(word))
        assert env.step(env.rules.eos_id)[1] == 1.0
        assert len(observation["prompt"]) == 2
    with pytest.raises(ConfigurationError, match="'the fox' has the word 'fox', which is not"):
        make_env("the dog", repeats, prompts=["the fox"])
