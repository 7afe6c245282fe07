"""A reward model as TRL's trainers call it, by value and without TRL."""

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.trl import TrlFunction, as_trl
from seqgan.rewards.base import Reward, RewardError, returns
from seqgan.rewards.shipped.controls import ConstantReward, RandomReward

WORDS = ("a", "dog", "runs", "!")
VOCABULARY = Vocabulary(WORDS)  # eos 4, bos 5, pad 6
WITH_UNKNOWN = Vocabulary(("<unk>", *WORDS), unk_word="<unk>")  # a 1, eos 5, pad 7
ENDLESS = Vocabulary(WORDS, has_eos=False)  # bos 4, pad 5


class Recorder(Reward):
    """Gives its numbers in order, and keeps what it was asked to judge."""

    name = "recorder"

    def __init__(self, *values: float) -> None:
        self.values = torch.tensor(values)
        self.seen: list[Sequences] = []

    def score(self, sequences: Sequences) -> torch.Tensor:
        self.seen.append(sequences)
        return self.values[: len(sequences)]


class PerToken:
    """The t-th real token earns 10 ** t times its id."""

    name = "per_token"
    per_token = True

    def score(self, sequences: Sequences) -> torch.Tensor:
        places = 10.0 ** torch.arange(sequences.tokens.shape[1])
        return torch.where(sequences.mask, sequences.tokens * places, 0.0)


def call(function: TrlFunction, completions, prompts=None, completion_ids=None, **columns):
    """As TRL calls it: by keyword, with a prompt and the token ids of each completion."""
    ids = [[50]] * len(completions) if completion_ids is None else completion_ids
    given = [""] * len(completions) if prompts is None else prompts
    return function(prompts=given, completions=completions, completion_ids=ids, **columns)


def seen(completions, vocabulary=VOCABULARY, max_length=None, prompts=None, ids=None, **settings):
    """What a reward model sees of one call with these completions."""
    reward = Recorder(*range(len(completions)))
    call(as_trl(reward, vocabulary, max_length, **settings), completions, prompts, ids)
    return reward.seen[0]


def test_rewards_are_those_of_the_numbered_texts_in_the_same_order() -> None:
    function = as_trl(RandomReward(3), VOCABULARY, 5)
    rows = Sequences.from_rows([[2, 0, 4], [1, 4], [0, 1, 2, 3, 4]], VOCABULARY, 5)
    expected = returns(RandomReward(3), rows).tolist()
    assert len(set(expected)) == 3
    assert call(function, ["runs a", "dog", "A dog runs!"]) == expected


def test_increments_of_tokens_are_summed() -> None:
    function = as_trl(PerToken(), VOCABULARY, 4)
    assert call(function, ["dog runs", "runs"]) == [421.0, 42.0]


def test_the_name_is_the_reward_models() -> None:
    assert as_trl(PerToken()).__name__ == "per_token"


def test_arguments_reach_the_function() -> None:
    reward = RandomReward(3)
    function = as_trl(reward, WITH_UNKNOWN, 4, 7, 50, "meta")
    assert function.reward_model is reward
    assert function.vocabulary is WITH_UNKNOWN
    assert (function.max_length, function.remember, function.eos_token_id) == (4, 7, 50)
    assert function.device == "meta"


def test_nan_is_none() -> None:
    function = as_trl(Recorder(1.5, float("nan"), -2.0), VOCABULARY)
    assert call(function, ["a", "dog", "runs"]) == [1.5, None, -2.0]


def test_rows_are_padded_to_the_longest_or_to_max_length() -> None:
    narrow = seen(["dog", "a dog"])
    assert narrow.tokens.tolist() == [[1, 4, 6], [0, 1, 4]]
    assert narrow.mask.tolist() == [[True, True, False], [True, True, True]]
    assert seen(["dog"], max_length=4).tokens.tolist() == [[1, 4, 6, 6]]


def test_long_completions_are_cut_and_end_only_where_an_end_fits() -> None:
    cut = seen(["a dog runs !", "a dog runs", "a dog"], max_length=3)
    assert cut.tokens.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 4]]
    assert cut.mask.all()


def test_without_the_end_that_trl_emits_a_completion_has_none() -> None:
    ids = [[7, 50], [7, 8], [7, 50, 9]]
    ends = seen(["a", "dog", "runs"], eos_token_id=50, max_length=3, ids=ids)
    assert ends.tokens.tolist() == [[0, 4, 6], [1, 6, 6], [2, 4, 6]]
    assert seen(["dog"], ids=[[7, 8]], max_length=3).tokens.tolist() == [[1, 4, 6]]


def test_a_vocabulary_without_an_end_gets_none() -> None:
    assert seen(["dog", "a dog"], ENDLESS).tokens.tolist() == [[1, 5], [0, 1]]


def test_an_empty_completion_is_a_lone_end() -> None:
    empty = seen(["", "dog"])
    assert empty.tokens.tolist() == [[4, 6], [1, 4]]
    assert empty.texts == ["", "dog"]


def test_where_nothing_is_to_be_judged_the_reward_does_not_apply() -> None:
    reward = Recorder(7.0, 8.0)
    function = as_trl(reward, ENDLESS, remember=5)
    assert call(function, ["dog", " ", "runs"]) == [7.0, None, 8.0]
    assert reward.seen[0].texts == ["dog", "runs"]
    taken = function.take_generated()
    assert taken is not None
    assert taken.texts == ["dog", "runs"]
    assert call(function, ["", ""]) == [None, None]
    assert call(function, []) == []
    assert call(as_trl(reward), ["", "x"], completion_ids=[[], [3]]) == [None, 7.0]
    assert len(reward.seen) == 2
    assert function.take_generated() is None


def test_texts_and_prompts_are_trls_own() -> None:
    texts = seen(["A  DOG", "runs!"], prompts=["A dog", "<start> RUNS a !"])
    assert texts.texts == ["A  DOG", "runs!"]
    assert texts.prompt_texts == ["A dog", "<start> RUNS a !"]
    assert texts.prompts is not None
    assert texts.prompts.tolist() == [[6, 0, 1], [2, 0, 3]]  # left-padded; no "start" is known
    assert texts.prompt_mask is not None
    assert texts.prompt_mask.tolist() == [[False, True, True], [True, True, True]]
    assert texts.select(torch.tensor([1, 0])).prompt_texts == ["<start> RUNS a !", "A dog"]


def test_unknown_words_of_a_prompt_are_the_word_for_them() -> None:
    texts = seen(["a", "dog"], WITH_UNKNOWN, prompts=["a cat", "dog"])
    assert texts.prompts is not None
    assert texts.prompts.tolist() == [[1, 0], [7, 2]]


def test_prompts_of_which_nothing_is_known_are_no_prompts() -> None:
    texts = seen(["a"], prompts=["begin :"])
    assert texts.prompts is None
    assert texts.prompt_mask is None
    assert texts.prompt_texts == ["begin :"]


def test_unknown_words_are_the_word_for_them_or_an_error() -> None:
    assert seen(["a cat runs"], WITH_UNKNOWN).tokens.tolist() == [[1, 0, 3, 5]]
    with pytest.raises(RewardError) as caught:
        call(as_trl(Recorder(1.0, 2.0), VOCABULARY), ["a dog", "a cat"])
    assert str(caught.value) == (
        "reward 'recorder' failed on row 1 ('a cat'): the word 'cat' is not in the vocabulary,"
        " which has no unk_word"
    )


def test_capitals_are_kept_for_a_vocabulary_that_has_some() -> None:
    cased = Vocabulary(("Dog", "dog", "<UNK>"), unk_word="<UNK>")  # eos 3
    assert seen(["dog Dog DOG"], cased).tokens.tolist() == [[1, 0, 2, 3]]
    uncased = Vocabulary(("dog", "<UNK>"), unk_word="<UNK>")  # eos 2
    assert seen(["dog Dog DOG"], uncased).tokens.tolist() == [[0, 0, 0, 2]]


def test_characters_with_and_without_white_space() -> None:
    with_space = Vocabulary(("x", " ", "y"), level="character")  # eos 3
    assert seen(["Xy x"], with_space).tokens.tolist() == [[0, 2, 1, 0, 3]]
    without = Vocabulary(("x", "y"), level="character")  # eos 2
    assert seen(["xy x"], without).tokens.tolist() == [[0, 1, 0, 2]]


def test_without_a_vocabulary_the_ids_are_trls() -> None:
    ids = [[900, 7], [3], [5, 6, 0, 2]]
    own = seen(["Nine", "", "five"], None, 3, prompts=["p", "q", "r"], ids=ids)
    assert own.tokens.tolist() == [[900, 7, 0], [3, 0, 0], [5, 6, 0]]
    assert own.lengths.tolist() == [2, 1, 3]
    assert own.texts == ["Nine", "", "five"]
    assert own.prompt_texts == ["p", "q", "r"]
    assert own.prompts is None
    with pytest.raises(RewardError, match="there are neither completion_ids nor a vocabulary"):
        as_trl(ConstantReward())(["p"], ["c"])


def about_text(text):
    return len(text)


def about_prompts(completions, prompts):
    return [len(text) + len(prompt) for text, prompt in zip(completions, prompts, strict=True)]


@pytest.mark.parametrize(
    ("reward", "expected"),
    [(about_text, [5.0, 0.0]), (about_prompts, [5.0, 0.0]), ("regex('d.g')", [1.0, 0.0])],
)
def test_called_by_hand_a_reward_of_text_needs_the_text_alone(reward, expected) -> None:
    assert as_trl(reward)(completions=["a dog", ""]) == expected


def test_prompts_go_to_a_reward_that_is_called_by_hand() -> None:
    assert as_trl(about_prompts)(prompts=["xy"], completions=["a dog"]) == [7.0]


@pytest.mark.parametrize(
    "reward", [lambda token_ids: 1.0, lambda texts, **kwargs: [1.0], lambda text, token_ids: 1.0]
)
def test_a_reward_that_may_read_ids_is_given_no_false_ones(reward) -> None:
    with pytest.raises(RewardError, match="it may read token ids"):
        as_trl(reward)(completions=["a dog"])


def test_called_without_completions_it_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match=r'about_text needs completions: .*completions=\["..."\]'):
        as_trl(about_text)(["a dog"])


def test_with_a_vocabulary_ids_are_not_needed() -> None:
    assert as_trl(RandomReward(), VOCABULARY)(["p"], ["dog"]) == call(
        as_trl(RandomReward(), VOCABULARY), ["dog"]
    )


def test_conversations() -> None:
    prompts = [
        [{"role": "system", "content": "a"}, {"role": "user", "content": "dog"}],
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "runs"}]}],
    ]
    completions = [
        [
            {"role": "assistant", "content": None, "tool_calls": ["look"]},
            {"role": "tool", "content": "a cat"},
            {"role": "assistant", "content": "a dog"},
        ],
        [{"role": "assistant", "content": [{"type": "text", "text": "!"}]}],
    ]
    talk = seen(completions, prompts=prompts)
    assert talk.texts == ["\na dog", "!"]
    assert talk.tokens.tolist() == [[0, 1, 4], [3, 4, 6]]
    assert talk.prompt_texts == ["a\ndog", "runs"]
    assert talk.prompts is not None
    assert talk.prompts.tolist() == [[0, 1], [6, 2]]


def test_columns_with_an_entry_a_row_come_along() -> None:
    reward = Recorder(1.0, 2.0)
    function = as_trl(reward, ENDLESS, remember=9)
    columns = {"topic": ["x", "y", "z"], "level": [3, 1, 2], "trainer_state": object(), "one": [1]}
    call(function, ["dog", "", "a"], **columns)
    expected = {"topic": ["x", "z"], "level": [3, 2]}  # the empty row is not judged
    assert reward.seen[0].columns == expected
    taken = function.take_generated()
    assert taken is not None
    assert taken.columns == expected


def test_the_last_judged_completions_are_remembered_once() -> None:
    function = as_trl(ConstantReward(), VOCABULARY, 3, remember=3)
    call(function, ["a", "dog"], prompts=["runs", "!"])
    call(function, ["runs", "a dog"], prompts=["", "a"])
    taken = function.take_generated()
    assert taken is not None
    assert taken.texts == ["dog", "runs", "a dog"]
    assert taken.tokens.tolist() == [[1, 4, 6], [2, 4, 6], [0, 1, 4]]
    assert taken.prompt_texts == ["!", "", "a"]
    assert function.take_generated() is None
    forgetful = as_trl(ConstantReward(), VOCABULARY, 3)
    call(forgetful, ["a"])
    assert forgetful.take_generated() is None


def test_metrics_are_handed_to_the_log_once() -> None:
    function = as_trl(ConstantReward(), VOCABULARY)
    function.metrics = {"losses/discriminator": 0.5, "discriminator/accuracy_real": 0.25}
    call(function, ["a"])  # nobody logs
    logged: list[tuple[str, float]] = []
    for _ in range(2):
        call(function, ["a"], log_metric=lambda name, value: logged.append((name, value)))
    assert logged == [("losses/discriminator", 0.5), ("discriminator/accuracy_real", 0.25)]


def test_real_texts_are_encoded_as_completions_are() -> None:
    function = as_trl(ConstantReward(), VOCABULARY, 3)
    assert function.encode(["A dog", "a dog runs", "!"]).tokens.tolist() == [
        [0, 1, 4],
        [0, 1, 2],
        [3, 4, 6],
    ]
    with pytest.raises(RewardError, match=r"on row 1 \(''\): the real text has no token"):
        as_trl(ConstantReward(), ENDLESS).encode(["dog", ""])
    with pytest.raises(
        RewardError, match="there is neither a vocabulary nor a tokenizer to number"
    ):
        as_trl(ConstantReward()).encode(["dog"])


def test_no_gradient_is_kept() -> None:
    class Differentiable(Recorder):
        def score(self, sequences: Sequences) -> torch.Tensor:
            value = super().score(sequences).requires_grad_() * 2
            assert not value.requires_grad
            return value

    assert call(as_trl(Differentiable(1.0), VOCABULARY), ["a"]) == [2.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 0}, "max_length is 0, but must be at least 1"),
        ({"remember": -1}, "remember is -1, but must be at least 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_trl(ConstantReward(), VOCABULARY, **settings)
