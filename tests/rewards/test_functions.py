"""Plain functions and modules as rewards: what they are called with, and what is made of it."""

import asyncio
import copy
import functools
import math
import re
import threading
import typing
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.adapters.modules import ModuleReward
from seqgan.rewards.base import (
    Reporting,
    Reward,
    RewardError,
    RewardModel,
    increments,
    returns,
)
from seqgan.rewards.conformance import check_reward
from seqgan.rewards.guard import FailurePolicy, careful_returns
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.rewards.weighted import WeightedSum
from seqgan_envs.functions import ROWS_IN_FLIGHT

VOCABULARY = Vocabulary(("a", "b", "c", "d"))  # eos 4, bos 5, pad 6
ROWS = [[0, 1, 2, 3, 0], [4], [3, 3, 4]]
IDS = torch.tensor([[0, 1, 2, 3, 0], [4, 6, 6, 6, 6], [3, 3, 4, 6, 6]])
BATCH = replace(
    Sequences.from_rows(ROWS, VOCABULARY, 5),
    prompts=torch.tensor([[6, 2], [1, 1], [3, 0]]),
    prompt_mask=torch.tensor([[False, True], [True, True], [True, True]]),
    columns={"mood": ["happy", "sad", "calm"], "weight": [1.0, 10.0, 100.0]},
)
TEXTS = ["a b c d a", "", "d d"]
PROMPTS = ["c", "b b", "d a"]


def from_rows(rows, width=5):
    return Sequences.from_rows(rows, VOCABULARY, width)


def scored(function, sequences=BATCH, **settings):
    return as_reward(function, **settings).score(sequences).tolist()


class TestWhatAFunctionIsCalledWith:
    def test_a_text(self):
        assert scored(lambda text: len(text)) == [9, 0, 3]

    def test_token_ids_without_padding_and_with_eos(self):
        seen = []

        def judge(token_ids):
            seen.append(token_ids)
            return sum(token_ids)

        assert scored(judge) == [6, 4, 10]
        assert seen == ROWS

    def test_texts(self):
        seen = []

        def judge(texts):
            seen.append(texts)
            return [len(text) for text in texts]

        assert scored(judge) == [9, 0, 3]
        assert seen == [TEXTS]

    def test_tensors(self):
        def judge(tokens, mask):
            assert torch.equal(tokens, IDS)
            assert torch.equal(mask, BATCH.mask)
            return mask.sum(dim=1)

        assert scored(judge) == [5, 1, 3]

    def test_tokens_alone(self):
        assert scored(lambda tokens: tokens[:, 0] * 2) == [0, 8, 6]

    @pytest.mark.parametrize("name", ["prompts", "completions", "completion_ids"])
    def test_any_of_the_names_of_trl(self, name):
        seen = []
        scope = {"seen": seen}
        exec(f"def judge({name}):\n    seen.append({name})\n    return [1, 2, 3]", scope)
        assert scored(scope["judge"]) == [1, 2, 3]
        expected = {"prompts": PROMPTS, "completions": TEXTS, "completion_ids": ROWS}
        assert seen == [expected[name]]

    def test_a_row_with_its_prompt_and_its_columns(self):
        seen = []

        def judge(text, prompt, mood, *, weight=0.0, temperature=0.5):
            seen.append((text, prompt, mood, temperature))
            return weight

        assert scored(judge) == [1, 10, 100]
        assert seen == [
            (t, p, BATCH.columns["mood"][i], 0.5)
            for i, (t, p) in enumerate(zip(TEXTS, PROMPTS, strict=True))
        ]

    def test_a_batch_with_its_prompts_and_its_columns(self):
        def judge(texts, prompts, mood, weight):
            assert (texts, prompts, mood) == (TEXTS, PROMPTS, ["happy", "sad", "calm"])
            return weight

        assert scored(judge) == [1, 10, 100]

    def test_all_of_it(self):
        def judge(completions, **kwargs):
            seen.append((completions, kwargs))
            return [0.0] * 3

        seen = []
        scored(judge)
        ((completions, others),) = seen
        assert completions == TEXTS
        assert list(others) == [
            "prompts",
            "completion_ids",
            "trainer_state",
            "log_metric",
            "log_extra",
            "mood",
            "weight",
        ]
        assert others["prompts"] == PROMPTS
        assert others["completion_ids"] == ROWS
        assert others["mood"] == ["happy", "sad", "calm"]

    def test_all_of_it_and_nothing_by_name(self):
        def judge(**kwargs):
            assert kwargs["completions"] == TEXTS
            return [3.0, 2.0, 1.0]

        assert scored(judge) == [3, 2, 1]

    def test_all_of_a_row(self):
        seen = []

        def judge(text, **kwargs):
            seen.append(kwargs)
            return 0

        scored(judge)
        assert seen[1] == {"token_ids": [4], "prompt": "b b", "mood": "sad", "weight": 10.0}

    def test_a_parameter_by_place_only(self):
        def judge(text, mood, /, prompt):
            return len(text) * 100 + len(mood) * 10 + len(prompt)

        assert scored(judge) == [951, 33, 343]

    def test_bound_arguments_stay_bound(self):
        def judge(text, weight, mood):
            return weight

        bound = as_reward(functools.partial(judge, weight=7.0))
        assert bound.score(BATCH).tolist() == [7, 7, 7]
        assert bound.name == "judge"

    def test_a_column_hides_behind_what_is_always_there(self):
        batch = replace(BATCH, columns={"texts": [1, 2, 3], "prompt": ["x", "y", "z"]})

        def judge(texts, prompt):
            assert texts == TEXTS
            return [ord(each) for each in prompt]

        assert scored(judge, batch) == [120, 121, 122]

    def test_chat_messages(self):
        def judge(prompts, completions):
            assert prompts == [[{"role": "user", "content": text}] for text in PROMPTS]
            assert completions == [[{"role": "assistant", "content": text}] for text in TEXTS]
            return [0, 0, 0]

        scored(judge, messages=True)

    @pytest.mark.parametrize(
        ("takes", "function", "expected"),
        [
            ("text", len, [9, 0, 3]),
            ("text", lambda s: len(s), [9, 0, 3]),
            ("text", lambda texts: len(texts), [9, 0, 3]),  # what is said wins
            ("token_ids", sum, [6, 4, 10]),
            ("texts", lambda x, weight: [w * len(x) for w in weight], [3, 30, 300]),
            ("tokens", lambda ids, real: (ids * real).sum(dim=1), [6, 4, 10]),
            ("completions", lambda x, prompts: [len(p) for p in prompts], [1, 3, 3]),
        ],
    )
    def test_it_can_be_said(self, takes, function, expected):
        assert scored(function, takes=takes) == expected

    def test_methods_and_objects(self):
        class Judge:
            def __call__(self, text):
                return 1

            def other(self, text):
                return 2

        assert scored(Judge()) == [1, 1, 1]
        assert as_reward(Judge()).name == "Judge"
        assert scored(Judge().other) == [2, 2, 2]
        assert as_reward(Judge().other).name == "other"


class TestWhatIsUnclear:
    FORMS = (
        r"but must take \(text\), \(texts\), \(token_ids\),"
        r" \(tokens, lengths, prompts\), \(tokens, mask\), \(sequences\) or any of"
        r" \(prompts, completions, completion_ids\)"
    )

    @pytest.mark.parametrize(
        ("function", "got"),
        [
            (lambda x: 0, r"\(x\)"),
            (lambda: 0, r"\(\)"),
            (lambda caption, *, mood: 0, r"\(caption, mood\)"),
            (lambda x, **kwargs: 0, r"\(x\)"),
            (lambda mask: 0, r"\(mask\)"),
        ],
    )
    def test_names_that_say_nothing(self, function, got):
        with pytest.raises(ValueError, match=f"^the function takes {got}, {self.FORMS}$"):
            as_reward(function)

    def test_a_signature_that_cannot_be_read(self):
        with pytest.raises(
            ValueError, match=f"^the function has no readable signature, {self.FORMS} "
        ):
            as_reward(max)

    def test_a_row_and_a_batch_at_once(self):
        with pytest.raises(
            ValueError,
            match=r"the function takes text and prompts, but must take one row or a batch of them",
        ):
            as_reward(lambda text, prompts: 0)

    def test_unknown_takes(self):
        with pytest.raises(Exception, match="takes"):
            as_reward(len, takes="words")

    @pytest.mark.parametrize(
        ("function", "own"),
        [
            (lambda text, colour: 0, "text, token_ids, prompt"),
            (lambda text, colour, /: 0, "text, token_ids, prompt"),
            (
                lambda texts, colour: 0,
                "texts, prompts, completions, completion_ids, tokens, mask, sequences,"
                " trainer_state, log_metric, log_extra",
            ),
        ],
    )
    def test_a_parameter_that_nothing_fills(self, function, own):
        rule = (
            f"^reward 'lambda' failed: the function takes 'colour', but a parameter must be one of"
            rf" {own} or a column of the data \(here mood, weight\)$"
        )
        with pytest.raises(RewardError, match=rule):
            scored(function)

    @pytest.mark.parametrize(
        ("judge", "rule"),
        [
            (3, "the int is no reward: it must be a reward model, a function or a module"),
            (
                "politeness",
                "the str is no reward: it must be a reward model, a function or a module",
            ),
            (
                ConstantReward,
                (
                    "the class ConstantReward itself is given as a reward, but a reward must be"
                    " an object"
                ),
            ),
        ],
    )
    def test_what_is_no_reward(self, judge, rule):
        with pytest.raises(ValueError, match=f"^{rule}$"):
            as_reward(judge)

    def test_a_reward_model_that_lacks_something(self):
        class Nameless:
            per_token = False

            def score(self, sequences):
                return torch.zeros(len(sequences))

        with pytest.raises(ValueError, match=r"^the Nameless has no name, but "):
            as_reward(Nameless())


def test_a_reward_model_is_returned_as_it_is():
    model = ConstantReward()
    assert as_reward(model) is model


def test_names():
    def politeness(text):
        return 0

    assert as_reward(politeness).name == "politeness"
    assert as_reward(politeness, name="manners").name == "manners"
    assert as_reward(lambda text: 0).name == "lambda"
    assert isinstance(as_reward(politeness), RewardModel)
    assert isinstance(as_reward(politeness), Reward)
    assert as_reward(politeness).per_token is False


@pytest.mark.parametrize(
    ("function", "decoded"),
    [
        (lambda token_ids: 0, 0),
        (lambda tokens, mask: tokens[:, 0], 0),
        (lambda completion_ids: [0, 0, 0], 0),
        (lambda completion_ids, mood: [0, 0, 0], 0),
        (lambda token_ids, prompt: 0, 3),
        (lambda text: 0, 3),
        (lambda completions: [0, 0, 0], 3),
        (lambda completions, prompts: [0, 0, 0], 6),
    ],
)
def test_text_is_decoded_only_when_it_is_asked_for(function, decoded, monkeypatch):
    calls = []
    monkeypatch.setattr(Vocabulary, "decode", lambda self, ids: calls.append(ids) or "")
    as_reward(function).score(replace(BATCH))
    assert len(calls) == decoded


def test_a_vocabulary_for_sequences_without_one():
    bare = Sequences(BATCH.tokens, BATCH.mask)
    assert scored(lambda text: len(text), bare, vocabulary=VOCABULARY) == [9, 0, 3]
    with pytest.raises(ValueError, match="these sequences carry no vocabulary"):
        scored(lambda text: len(text), bare)


class TestValues:
    def test_none_says_that_it_does_not_apply(self):
        for function in (
            lambda text: None if text == "" else 2,
            lambda texts: [2, None, 2.0],
            lambda completions, **kwargs: (2, None, np.float32(2)),
        ):
            values = scored(function)
            assert (values[0], values[2]) == (2, 2)
            assert math.isnan(values[1])

    @pytest.mark.parametrize(
        "given",
        [
            [1, True, 3.5],
            (1, 1, 3.5),
            np.array([1, 1, 3.5]),
            torch.tensor([1, 1, 3.5], dtype=torch.double),
            [torch.tensor(1), np.int64(1), torch.tensor([3.5])],
            (value for value in (1, 1, 3.5)),
        ],
    )
    def test_numbers_of_any_kind(self, given):
        reward = as_reward(lambda texts: given)
        values = reward.score(BATCH)
        assert values.dtype == torch.float32
        assert values.tolist() == [1, 1, 3.5]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39, "3", "polite", {}])
    def test_what_is_no_finite_number(self, bad):
        rule = re.escape(
            f"on row 2 ('d d'): it gave {bad!r}, but a value must be a finite number, or"
            " None where the reward does not apply"
        )
        with pytest.raises(RewardError, match=rule):
            scored(lambda texts: [0, None, bad])
        with pytest.raises(RewardError, match=rule):
            scored(lambda text: bad if text == "d d" else 0)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_tensor_cannot_say_that_it_does_not_apply(self, bad):
        with pytest.raises(
            RewardError, match=r"on row 0 \('a b c d a'\): it gave .*, but a value must be a finite"
        ):
            scored(lambda tokens, mask: torch.tensor([bad, 0.0, bad]))

    @pytest.mark.parametrize(
        ("given", "rule"),
        [
            ([1, 2], "it gave 2 values, but must give one per text, 3"),
            ([], "it gave 0 values, but must give one per text, 3"),
            (1.0, "it gave a float, but must give one value per text, 3"),
            (None, "it gave a NoneType, but must give one value per text, 3"),
            ("abc", "it gave a str, but must give one value per text, 3"),
            ({"a": 1, "b": 2, "c": 3}, "it gave a dict, but must give one value per text, 3"),
            (
                torch.tensor(1.0),
                r"it gave a Tensor of shape \(\), but must give one value per text, 3",
            ),
            (torch.zeros(4), "it gave 4 values, but must give one per text, 3"),
            (np.float64(2.0), "it gave a float64, but must give one value per text, 3"),
        ],
    )
    def test_one_value_per_text(self, given, rule):
        with pytest.raises(RewardError, match=f"^reward 'lambda' failed: {rule}$"):
            scored(lambda texts: given)

    def test_an_empty_batch(self):
        nothing = BATCH.select(torch.arange(0))
        for function in (lambda text: 1, lambda texts: [], lambda tokens, mask: tokens[:, 0]):
            assert as_reward(function).score(nothing).shape == (0,)

    def test_an_exception_names_the_row(self):
        def judge(text):
            return 1 / len(text)

        with pytest.raises(RewardError) as caught:
            scored(judge)
        assert str(caught.value) == (
            "reward 'judge' failed on row 1 (''): ZeroDivisionError: division by zero"
        )
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def overwrite(values):
    for each in values:
        each.clear()


@pytest.mark.parametrize(
    "function",
    [
        lambda texts, mood: [len(texts.pop()), *mood, mood.clear()][:1] * 3,
        lambda tokens, mask: tokens.zero_()[:, 0] + mask.zero_()[:, 0],
        lambda completion_ids: [0, overwrite(completion_ids), 0],
        lambda token_ids: token_ids.clear(),
        lambda prompts, completions: [prompts.clear(), completions.clear(), None],
    ],
)
def test_a_function_may_change_what_it_is_given(function):
    batch = copy.deepcopy(BATCH)
    as_reward(function).score(batch)
    assert torch.equal(batch.tokens, IDS)
    assert torch.equal(batch.mask, BATCH.mask)
    assert batch.texts == TEXTS
    assert batch.prompt_texts == PROMPTS
    assert batch.columns == BATCH.columns


class TestOptionsOfItsOwn:
    """TRL's usual shape: options with defaults, and `**kwargs` for all that the trainer gives."""

    def test_an_option_keeps_its_default_beside_all_others(self):
        def judge(completions, target=4, *, strict=True, **kwargs):
            assert (target, strict) == (4, True)
            assert {"prompts", "mood", "trainer_state"} <= {*kwargs}
            return [len(text) - target for text in completions]

        assert scored(judge) == [5, -4, -1]

    def test_an_option_of_a_row_keeps_its_default(self):
        def judge(text, lower=False, **kwargs):
            assert kwargs["mood"]
            return 1 - lower

        assert scored(judge) == [1, 1, 1]

    def test_a_column_fills_an_option_of_its_name(self):
        def judge(completions, weight=None, **kwargs):
            return weight

        assert scored(judge) == [1, 10, 100]

    def test_a_bound_option_is_not_filled_again(self):
        def judge(completions, weight=1, **kwargs):
            return [weight] * len(completions)

        assert scored(functools.partial(judge, weight=7)) == [7, 7, 7]

    def test_only_all_the_others(self):
        assert scored(lambda completions, *args, flag=2, **others: [flag] * 3) == [2, 2, 2]


def contents(completions):
    return [len(completion[0]["content"]) for completion in completions]


class TestChatMessages:
    def test_the_annotation_says_it(self):
        def typed(completions: list[list[dict[str, str]]], **kwargs) -> list[float]:
            assert kwargs["prompts"][0] == [{"role": "user", "content": "c"}]
            return contents(completions)

        def written(completions: "list[list[dict]]"):
            return contents(completions)

        def aliased(completions: list[Messages]):
            return contents(completions)

        for judge in (typed, written, aliased):
            assert as_reward(judge).messages is True
            assert scored(judge) == [9, 0, 3]

    @pytest.mark.parametrize(
        "annotation",
        ["list[str]", "list[str] | list[list[dict[str, str]]]", "typing.Sequence[str]"],
    )
    def test_the_annotation_says_strings(self, annotation):
        scope = {"typing": typing}
        exec(f"def judge(completions: {annotation}):\n return [*map(len, completions)]", scope)
        assert as_reward(scope["judge"]).messages is False
        assert scored(scope["judge"]) == [9, 0, 3]

    @pytest.mark.parametrize("annotation", ["list", "list[typing.Any]", "NotThere[str]", "3"])
    def test_other_annotations_say_nothing(self, annotation):
        scope = {"typing": typing}
        exec(f"def judge(completions: '{annotation}'):\n return [*map(len, completions)]", scope)
        assert scored(scope["judge"]) == [9, 0, 3]

    def test_a_function_that_does_not_say_it_shows_it(self):
        assert scored(contents) == [9, 0, 3]
        reward = as_reward(contents)
        reward.score(BATCH)
        assert reward.messages is True
        last = as_reward(lambda completions, **kwargs: [len(c[-1]["content"]) for c in completions])
        assert last.score(BATCH).tolist() == [9, 0, 3]

    def test_an_asynchronous_one_shows_it_too(self):
        async def of_batch(completions):
            return contents(completions)

        async def of_row(completion):
            return len(completion[0]["content"])

        batch = BATCH.select(torch.tensor([0, 2]))
        assert scored(of_batch, batch) == [9, 3]
        assert scored(of_row, batch) == [9, 3]

    def test_an_error_that_messages_do_not_cure_is_told_as_it_was(self):
        with pytest.raises(TypeError, match="string indices must be integers"):
            scored(lambda completions, mood: [row["score"] for row in mood])

    def test_what_is_said_wins(self):
        def judge(completions: list[str]):
            return contents(completions)

        assert scored(judge, messages=True) == [9, 0, 3]
        with pytest.raises(TypeError, match="string indices"):
            scored(judge)

    @pytest.mark.integration
    @pytest.mark.parametrize("name", ["think_format_reward", "accuracy_reward"])
    def test_those_of_trl(self, name):
        rewards = pytest.importorskip("trl.rewards")
        assert as_reward(getattr(rewards, name)).messages is True


Messages = list[dict[str, str]]


class TestNamesOfOtherLibraries:
    def test_verifiers(self):
        def judge(completion, mood, **kwargs):
            assert kwargs["prompt"] in PROMPTS
            return len(completion) + 100 * (mood == "calm")

        assert scored(judge) == [9, 0, 103]

    def test_verl(self):
        def compute_score(mood, solution_str, weight, extra_info=None):
            return len(solution_str) * weight

        assert scored(compute_score) == [9, 0, 300]

    def test_trlx(self):
        def reward_fn(samples, prompts, outputs, **kwargs):
            assert samples == ["c a b c d a", "b b ", "d a d d"]
            assert (prompts, outputs) == (PROMPTS, TEXTS)
            return [float(len(sample)) for sample in samples]

        assert scored(reward_fn) == [11, 4, 7]
        assert scored(lambda samples, **kwargs: [*map(len, samples)]) == [11, 4, 7]

    def test_rl4lms(self):
        def judge(prompt_texts, gen_texts):
            return [len(p) + 100 * len(t) for p, t in zip(prompt_texts, gen_texts, strict=True)]

        assert scored(judge) == [901, 3, 303]

    def test_a_column_goes_first(self):
        batch = replace(BATCH, columns={"response": ["x", "yy", "zzz"]})
        assert scored(lambda text, response: len(response), batch) == [1, 2, 3]


class TestSeveralHeads:
    @staticmethod
    def rows(texts):
        return [{"size": len(text), "empty": None if text else 1} for text in texts]

    @pytest.mark.parametrize(
        "judge",
        [
            lambda texts: TestSeveralHeads.rows(texts),
            lambda text: TestSeveralHeads.rows([text])[0],
            lambda texts: {"size": np.array([9, 0, 3]), "empty": [None, 1, None]},
            lambda texts: [{"size": 9}, {"size": 0, "empty": torch.tensor(1)}, {"size": 3}],
        ],
    )
    def test_a_mapping_gives_several_rewards(self, judge):
        rewards = WeightedSum([ConstantReward(), as_reward(judge, name="judge")], [0.5, 2.0])
        assert rewards.names == ("constant", "judge")
        scores = rewards.score_parts(BATCH)
        assert rewards.names == ("constant", "judge_size", "judge_empty")
        assert rewards.weights.tolist() == [0.5, 2, 2]
        assert scores[1].tolist() == [9, 0, 3]
        assert scores[2].isnan().tolist() == [True, False, True]
        total = rewards.score(BATCH) - 0.5 * scores[0]
        assert total.tolist() == [18, 2, 6]
        assert as_reward(judge).score(BATCH).tolist() == [9, 1, 3]

    def test_a_skipped_row_has_no_head(self):
        def judge(text):
            return {"one": 1 / len(text), "two": 2}

        policy = FailurePolicy(on_failure="skip")
        rewards = WeightedSum([as_reward(judge)], failures=policy)
        assert rewards.score_parts(BATCH).isnan().tolist() == [[False, True, False]] * 2

    def test_a_batch_without_any_answer_comes_before_the_heads(self):
        rewards = WeightedSum([as_reward(lambda text: {"a": 1, "b": 2} if text else None)])
        assert rewards.score_parts(BATCH.select(torch.tensor([1]))).isnan().tolist() == [[True]]
        assert rewards.score_parts(BATCH).shape == (2, 3)
        assert rewards.score_parts(BATCH.select(torch.tensor([1]))).shape == (2, 1)

    @pytest.mark.parametrize(
        ("second", "rule"),
        [
            ({"c": 1}, "it gave {'c': 1}, but must give the same heads for each text, a, b"),
            (1.0, "it gave 1.0, but must give the same heads for each text, a, b"),
            (
                {"a": "high"},
                (
                    "it gave 'high', but a value must be a finite number, or None where the"
                    " reward does not apply (head 'a')"
                ),
            ),
        ],
    )
    def test_other_answers_after_that_are_failures(self, second, rule):
        answers = iter([[{"a": 1, "b": 2}] * 3, [{"a": 1}, second, {"b": 1}]])
        reward = as_reward(lambda texts: next(answers))
        reward.score_heads(BATCH)
        with pytest.raises(RewardError, match=re.escape(rule) + "$") as caught:
            reward.score_heads(BATCH)
        assert caught.value.row == 1

    def test_a_name_that_another_reward_has(self):
        rewards = WeightedSum(
            [
                as_reward(lambda text: 1, name="judge_a"),
                as_reward(lambda text: {"a": 1}, name="judge"),
            ]
        )
        with pytest.raises(
            RewardError, match="two rewards are called 'judge_a', but their names must be distinct"
        ):
            rewards.score_parts(BATCH)


class TestValuesOfTokens:
    @pytest.mark.parametrize(
        "judge",
        [
            lambda completion_ids: [[1.0 * index for index in ids] for ids in completion_ids],
            lambda token_ids: token_ids,
            lambda token_ids: torch.tensor(token_ids),
            lambda tokens, mask: tokens * 1.0,
            lambda tokens, mask: (tokens * mask).numpy(),
        ],
    )
    def test_lists_are_rewards_of_tokens(self, judge):
        reward = as_reward(judge)
        expected = [[0, 1, 2, 3, 0], [4, 0, 0, 0, 0], [3, 3, 4, 0, 0]]
        assert increments(reward, BATCH).tolist() == expected
        assert reward.per_token
        assert returns(reward, BATCH).tolist() == [6, 4, 10]
        assert WeightedSum([reward], [10.0]).increments(BATCH)[2].tolist() == [30, 30, 40, 0, 0]
        assert WeightedSum([reward]).score_parts(BATCH).tolist() == [[6, 4, 10]]

    def test_words_without_the_eos(self):
        reward = as_reward(lambda text: [float(ord(word)) for word in text.split()])
        assert increments(reward, BATCH)[:, :3].tolist() == [[97, 98, 99], [0, 0, 0], [100, 100, 0]]

    def test_none_and_a_number_among_lists(self):
        reward = as_reward(lambda texts: [None, 5, [1, 2, 3]])
        values = increments(reward, BATCH)
        assert values[0].isnan().all()
        assert values[1:].tolist() == [[5, 0, 0, 0, 0], [1, 2, 3, 0, 0]]

    def test_as_many_as_tokens(self):
        with pytest.raises(
            RewardError,
            match=r"on row 2 \('d d'\): it gave 4 values, but must give one for each token, 3",
        ):
            scored(lambda token_ids: [0.0] * (4 if len(token_ids) == 3 else len(token_ids)))

    @pytest.mark.parametrize("column", [torch.ones(3, 1), np.ones((3, 1)), [[1], (1,), [1.0]]])
    def test_a_column_of_numbers_is_one_for_each_text(self, column):
        reward = as_reward(lambda texts: column)
        assert reward.score(BATCH).tolist() == [1, 1, 1]
        assert not reward.per_token


class TestBadRewardsAreSurvived:
    """Together with the guard: the row among 64 is named, or skipped."""

    WORDS = Vocabulary(tuple("abcdefgh"))
    SIXTY_FOUR = Sequences.from_rows([[row // 8, row % 8] for row in range(64)], WORDS, 3)

    @staticmethod
    def short_by_tensor(tokens, mask):
        bad = (tokens[:, :2] == torch.tensor([4, 5])).all(dim=1)
        return torch.ones(len(tokens))[~bad]

    @pytest.mark.parametrize(
        ("function", "problem"),
        [
            (
                lambda texts: [1 for text in texts if text != "e f"],
                "it gave 0 values, but must give one per text, 1",
            ),
            (
                lambda texts: [math.inf if text == "e f" else 1 for text in texts],
                "it gave inf, but a value must be a finite number, or None where the reward does"
                " not apply",
            ),
            (
                lambda texts: [math.nan if text == "e f" else 1 for text in texts],
                "it gave nan, but a value must be a finite number, or None where the reward does"
                " not apply",
            ),
            (lambda texts: [1 / (text != "e f") for text in texts], "division by zero"),
            (lambda text: 1 / (text != "e f"), "ZeroDivisionError: division by zero"),
            (short_by_tensor, "it gave 0 values, but must give one per text, 1"),
        ],
    )
    def test_row_37(self, function, problem):
        model = as_reward(function, name="mine")
        with pytest.raises(RewardError) as caught:
            careful_returns(model, self.SIXTY_FOUR)
        assert str(caught.value).startswith("reward 'mine' failed on row 37 ('e f'): ")
        assert str(caught.value).endswith(problem)
        values = careful_returns(model, self.SIXTY_FOUR, FailurePolicy(on_failure="skip"))
        assert values.isnan().nonzero().tolist() == [[37]]
        assert set(values[~values.isnan()].tolist()) == {1.0}


class TestReporting:
    def test_metrics_are_means_since_they_were_taken(self):
        def judge(completions, log_metric):
            for text in completions:
                log_metric("length", len(text))
            log_metric("accuracy", torch.tensor(0.25))
            return [0.0] * len(completions)

        reward = as_reward(judge)
        assert isinstance(reward, Reporting)
        assert reward.take_metrics() == {}
        reward.score(BATCH)
        reward.score(BATCH.select(torch.tensor([0])))
        assert reward.take_metrics() == {"length": (9 + 0 + 3 + 9) / 4, "accuracy": 0.25}
        assert reward.take_metrics() == {}

    def test_extras_are_those_of_the_last_scoring(self):
        def judge(completions, log_extra):
            log_extra("upper", [text.upper() for text in completions])
            return [0.0] * len(completions)

        reward = as_reward(judge)
        reward.score(BATCH.select(torch.tensor([0])))
        reward.score(BATCH)
        assert reward.take_extras() == {"upper": ["A B C D A", "", "D D"]}
        assert reward.take_extras() == {}

    def test_trainer_state(self):
        seen = []

        def judge(prompts, trainer_state):
            seen.append(trainer_state)
            return [trainer_state.global_step / max(trainer_state.max_steps, 1)] * len(prompts)

        reward = as_reward(judge)
        assert reward.score(BATCH).tolist() == [0, 0, 0]
        reward.follow(global_step=640, iteration=3, iterations=12)
        assert reward.score(BATCH).tolist() == [0.25] * 3
        assert (seen[1].epoch, seen[1].num_input_tokens_seen) == (0.25, 640)

    def test_only_function_rewards_report(self):
        assert not isinstance(ConstantReward(), Reporting)


class TestAsynchronous:
    @staticmethod
    async def of_text(text):
        await asyncio.sleep(0)
        return None if text == "" else len(text)

    @staticmethod
    async def of_texts(completions, **kwargs):
        await asyncio.sleep(0)
        return [None if text == "" else len(text) for text in completions]

    @pytest.mark.parametrize("form", ["of_text", "of_texts"])
    def test_it_runs_to_its_end(self, form):
        reward = as_reward(getattr(self, form))
        assert reward.is_async
        for _ in range(2):
            values = reward.score(BATCH).tolist()
            assert (values[0], values[2]) == (9, 3)
            assert math.isnan(values[1])

    @pytest.mark.parametrize("form", ["of_text", "of_texts"])
    def test_inside_a_running_loop(self, form):
        async def notebook():
            return as_reward(getattr(self, form)).score(BATCH).tolist()

        assert asyncio.run(notebook())[0] == 9

    def test_an_object_and_a_bound_argument(self):
        class Judge:
            async def __call__(self, text, scale=1):
                return scale * len(text)

        assert as_reward(Judge()).is_async
        assert scored(Judge()) == [9, 0, 3]
        bound = functools.partial(self.of_texts, scale=2)
        assert as_reward(bound).is_async
        assert not as_reward(lambda text: 0).is_async

    def test_rows_are_asked_together_but_not_all_at_once(self):
        going, most = 0, 0

        async def judge(token_ids):
            nonlocal going, most
            going += 1
            most = max(most, going)
            await asyncio.sleep(0.001)
            going -= 1
            return token_ids[0]

        many = from_rows([[row % 4] for row in range(2 * ROWS_IN_FLIGHT + 5)])
        assert scored(judge, many) == [row % 4 for row in range(2 * ROWS_IN_FLIGHT + 5)]
        assert most == ROWS_IN_FLIGHT

    def test_a_failing_row_is_named(self):
        async def judge(text):
            return 1 / len(text)

        with pytest.raises(RewardError, match=r"on row 1 \(''\): ZeroDivisionError: division"):
            scored(judge)

    def test_a_failing_batch_keeps_its_exception(self):
        async def judge(texts):
            raise KeyError("mood")

        with pytest.raises(KeyError, match="mood"):
            scored(judge)

    def test_one_loop_serves_all_calls(self):
        loops = set()

        async def judge(texts):
            loops.add(asyncio.get_running_loop())
            return [0] * len(texts)

        reward = as_reward(judge)
        reward.score(BATCH)
        reward.score(BATCH)
        assert len(loops) == 1

    def test_the_thread_ends_with_the_reward(self):
        reward = as_reward(self.of_texts)
        reward.score(BATCH)
        (thread,) = [t for t in threading.enumerate() if t.name.endswith("(_serve)")][-1:]
        del reward
        thread.join(timeout=30)
        assert not thread.is_alive()


class Bag(nn.Module):
    """The sum of random numbers of the real tokens: with the mask, or told by the padding's 0."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 1, padding_idx=6)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.tensor([1.0, 10, 100, 1000, 0.5, 9, 0])[:, None])
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids):
        return self.dropout(self.embedding(ids).sum(dim=1))


class MaskedBag(Bag):
    def forward(self, tokens, mask):
        return super().forward(tokens.masked_fill(~mask, 2) * 1)[:, 0] - 100 * (~mask).sum(dim=1)


class TestModules:
    @pytest.mark.parametrize("module", [Bag(), MaskedBag()])
    def test_padded_ids_in_evaluation_mode(self, module):
        reward = as_reward(module)
        assert isinstance(reward, ModuleReward)
        assert reward.name == type(module).__name__
        module.train()
        scores = reward.score(BATCH)
        assert scores.tolist() == [1112, 0.5, 2000.5]
        assert not scores.requires_grad
        assert as_reward(module, name="mine").name == "mine"

    @pytest.mark.parametrize(
        ("gives", "got"),
        [
            (lambda ids: ids.float(), r"\(3, 5\)"),
            (lambda ids: ids[:2, 0].float(), r"\(2,\)"),
            (lambda ids: [1.0, 2.0, 3.0], "a list"),
        ],
    )
    def test_one_value_per_text(self, gives, got):
        module = Bag()
        module.forward = gives
        with pytest.raises(
            RewardError, match=rf"it gave {got}, but must give one value per text, \(3,\)$"
        ):
            as_reward(module).score(BATCH)

    @pytest.mark.parametrize("bad", [math.nan, -math.inf])
    def test_values_are_finite(self, bad):
        module = Bag()
        module.forward = lambda ids: torch.tensor([0.0, bad, 0.0])
        with pytest.raises(
            RewardError, match=rf"on row 1 \(''\): it gave {bad}, but must give a finite number$"
        ):
            as_reward(module).score(BATCH)

    def test_a_discriminator_gives_its_logits(self):
        config = RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=5, dropout=0.5)
        discriminator = RecurrentDiscriminator(config, VOCABULARY, 5)
        reward = as_reward(discriminator)
        check_reward(reward, BATCH)
        logits = discriminator.eval()(BATCH)
        assert torch.equal(reward.score(BATCH), logits)
        assert not reward.score(BATCH).requires_grad

    @pytest.mark.filterwarnings("ignore")  # that TorchScript is deprecated; yet people have files
    def test_a_scripted_module(self):
        scripted = torch.jit.trace(Bag().eval(), IDS)
        assert as_reward(scripted).score(BATCH).tolist() == [1112, 0.5, 2000.5]

    def test_a_module_that_is_a_reward_model(self):
        class Own(nn.Module):
            name = "own"
            per_token = True

            def score(self, sequences):
                return torch.ones(sequences.tokens.shape)

        own = Own()
        assert as_reward(own) is own
        assert returns(own, BATCH).tolist() == [5, 1, 3]


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("by_row", [True, False])
def test_an_asynchronous_function_that_gives_up_fails_and_hangs_nothing(raised, by_row):
    async def of_row(text):
        raise raised

    async def of_batch(texts):
        raise raised

    with pytest.raises((RewardError, RuntimeError), match=f"{raised.__name__} in an asynchronous"):
        as_reward(of_row if by_row else of_batch, vocabulary=VOCABULARY).score(BATCH)
