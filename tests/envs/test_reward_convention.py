"""One convention for reward functions: the same one in the environment, in a run and in TRL."""

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.learning.environments import make_env
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.adapters.trl import as_trl
from seqgan.rewards.base import returns
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

VOCABULARY = Vocabulary(("red", "dog", "cat"))  # eos 3, bos 4, pad 5
ROWS = [[1, 0, 3], [3], [2, 2, 2, 1], [0, 3]]
TEXTS = ["dog red", "", "cat cat cat dog", "red"]
PROMPTS = [[5, 0], [1, 2], [5, 1], [2, 2]]
PROMPT_TEXTS = ["red", "dog cat", "dog", "cat cat"]
WORTH = [
    float(len(text) + 100 * len(prompt)) for text, prompt in zip(TEXTS, PROMPT_TEXTS, strict=True)
]


def letters(ids, prompt):
    """The same number as the functions of texts give, from ids."""
    words = [[VOCABULARY.words[i] for i in row if i < 3] for row in (ids, prompt)]
    text, context = (" ".join(each) for each in words)
    return float(len(text) + 100 * len(context))


def of_text(text, prompt):
    return len(text) + 100 * len(prompt)


def of_texts(texts, prompts):
    return [len(text) + 100 * len(prompt) for text, prompt in zip(texts, prompts, strict=True)]


def of_completions(prompts, completions, completion_ids, **kwargs):
    assert [len(ids) - (3 in ids) for ids in completion_ids] == [
        len(c.split()) for c in completions
    ]
    return of_texts(completions, prompts)


def of_token_ids(token_ids, prompt):
    text = " ".join(VOCABULARY.words[i] for i in token_ids if i < 3)
    return len(text) + 100 * len(prompt)


def of_arrays(tokens, lengths, prompts):
    assert isinstance(tokens, np.ndarray)
    assert tokens.dtype == lengths.dtype == prompts.dtype == np.int64
    rows = zip(tokens.tolist(), lengths.tolist(), prompts.tolist(), strict=True)
    return np.array([letters(row[:length], prompt) for row, length, prompt in rows])


def of_arrays_in_another_order(prompts, lengths, tokens):
    return of_arrays(tokens, lengths, prompts)


def of_arrays_and_texts(lengths, texts, prompts):
    return [
        len(text) + 100 * len(VOCABULARY.decode_prompt(row))
        for text, row in zip(texts, prompts.tolist(), strict=True)
    ]


async def awaited(text, prompt):
    return of_text(text, prompt)


def with_heads(text, prompt):
    return {"text": len(text), "prompt": 100 * len(prompt)}


def by_token(token_ids, prompt):
    worth = of_token_ids(token_ids, prompt)
    return [worth - 1.0, *[0.0] * (len(token_ids) - 2), 1.0] if len(token_ids) > 1 else [worth]


def of_tensors(tokens, mask, prompts):
    assert isinstance(tokens, torch.Tensor)
    rows = zip(tokens, mask, prompts, strict=True)
    texts = [VOCABULARY.decode(row[real].tolist()) for row, real, _ in rows]
    return of_texts(texts, prompts)


def of_sequences(sequences):
    return of_texts(sequences.texts, sequences.prompt_texts)


PLAIN = [
    *(of_text, of_texts, of_completions, of_token_ids, of_arrays, of_arrays_in_another_order),
    *(of_arrays_and_texts, awaited, with_heads, by_token),
]
FUNCTIONS = pytest.mark.parametrize("function", [*PLAIN, of_tensors, of_sequences])


def played(env):
    """The rewards of the texts in ROWS, after the prompts, by the environment."""
    env.reset(seed=0, options={"prompt_index": np.arange(len(ROWS))})
    earned = np.zeros(len(ROWS))
    for step in range(4):
        earned += env.step([row[min(step, len(row) - 1)] for row in ROWS])[1]
    return earned.tolist()


def arguments(**more):
    return {"max_length": 4, "prompts": PROMPTS, "autoreset_mode": "Disabled", **more}


@FUNCTIONS
def test_a_function_means_the_same_in_make_env(function):
    env = make_env(VOCABULARY, function, num_envs=len(ROWS), **arguments())
    assert played(env) == WORTH


@pytest.mark.parametrize("function", PLAIN)
def test_and_in_set_reward_of_the_plain_environment(function):
    env = TextGenerationVectorEnv(len(ROWS), words=VOCABULARY.words, pad_id=5, **arguments())
    env.set_reward(function)
    assert played(env) == WORTH


def sequences():
    batch = Sequences.from_rows(ROWS, VOCABULARY, 4)
    prompts = torch.tensor(PROMPTS)
    return Sequences(batch.tokens, batch.mask, prompts, prompts != 5, vocabulary=VOCABULARY)


@FUNCTIONS
def test_and_in_a_run(function):
    assert returns(as_reward(function), sequences()).tolist() == WORTH


@pytest.mark.parametrize("function", [f for f in PLAIN if f is not of_arrays_and_texts])
def test_and_in_trl(function):
    """The vocabulary numbers TRL's texts."""
    judged = as_trl(function, VOCABULARY, 4)(prompts=PROMPT_TEXTS, completions=TEXTS)
    assert judged == WORTH


@FUNCTIONS
def test_and_as_the_environments_reward_by_way_of_a_reward_model(function):
    env = TextGenerationVectorEnv(len(ROWS), words=VOCABULARY.words, pad_id=5, **arguments())
    env.set_reward(as_env_reward(as_reward(function), VOCABULARY))
    assert played(env) == WORTH


def test_the_plain_environment_has_no_tensors():
    for function in (of_tensors, of_sequences):
        with pytest.raises(ValueError, match=f"'{function.__name__}' takes tensors, but the env"):
            TextGenerationEnv(words=["a"], reward=function)


def test_a_name_that_says_nothing_is_refused():
    with pytest.raises(ValueError, match=r"the function takes \(caption\), but must take \(text\)"):
        TextGenerationEnv(words=["a"], reward=lambda caption: 1.0)
    with pytest.raises(ValueError, match="takes 'mood', but"):
        TextGenerationEnv(words=["a"], reward=lambda text, mood: 1.0)


@pytest.mark.parametrize(
    "reward", [lambda text: None, lambda texts: [None], lambda tokens, lengths: [None]]
)
def test_a_text_to_which_a_reward_does_not_apply_is_worth_nothing(reward):
    env = TextGenerationEnv(words=["a"], reward=reward)
    env.reset()
    _, earned, _, _, info = env.step(1)
    assert earned == 0.0
    assert info.get("reward_components", {}) == {}


def test_parts_and_names_stand_in_the_infos():
    def _polite(text):
        return {"please": float("please" in text), "length": len(text)}

    for reward in (_polite, as_env_reward(as_reward(_polite), Vocabulary(("please", "go")))):
        env = TextGenerationEnv(words=["please", "go"], pad_id=4, reward=reward)
        env.reset()
        env.step(0)
        _, earned, _, _, info = env.step(2)
        assert earned == 7.0
        assert info["reward_components"] == {"polite_please": 1.0, "polite_length": 6.0}


def test_a_failure_names_the_text():
    env = TextGenerationEnv(words=["a", "b"], reward=lambda text: 1 / len(text))
    env.reset()
    with pytest.raises(ValueError, match="'lambda' failed on '': ZeroDivisionError: division"):
        env.step(2)
    env.set_reward(lambda texts: [1.0, 2.0])
    env.reset()
    with pytest.raises(
        ValueError, match="'lambda' failed: it gave 2 values, but must give one per text, 1"
    ):
        env.step(2)


def test_the_number_of_the_prompt_is_there_for_functions_of_texts_too():
    answers = ["b", "a"]
    env = TextGenerationEnv(
        words=["a", "b"],
        prompts=[[0], [1]],
        reward=lambda text, prompt_index: float(text == answers[prompt_index]),
    )
    for number, token in ((0, 1), (1, 0)):
        env.reset(options={"prompt_index": number})
        env.step(token)
        assert env.step(2)[1] == 1.0


def test_the_parts_of_a_function_of_arrays_are_metrics_of_a_run():
    def parted(tokens, lengths):
        return lengths * 2.0, {"one": lengths * 1.0, "none": np.full(len(lengths), np.nan)}

    reward = as_reward(parted)
    assert reward.score(sequences()).tolist() == [6.0, 2.0, 8.0, 4.0]
    assert reward.take_metrics() == {"one": 2.5}
