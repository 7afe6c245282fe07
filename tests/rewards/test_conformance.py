"""The check for reward models: every broken promise is found, and named."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.conformance import check_reward, random_sequences
from tests.toys import TableReward

VOCABULARY = Vocabulary(("a", "b", "c", "d"))  # eos 4, bos 5, pad 6
FIXED = Vocabulary(("a", "b", "c"), has_eos=False, bos_word=0)


class Good:
    """The sum of a row's ids. The mutants below each break one promise."""

    name = "good"
    per_token = False

    def score(self, sequences):
        return torch.where(sequences.mask, sequences.tokens, 0).sum(dim=1).float()


class GoodPerToken(Good):
    per_token = True

    def score(self, sequences):
        return torch.where(sequences.mask, sequences.tokens, 0).float()


class GoodTrainable(Good):
    """Counts its updates; the count is part of its scores."""

    def __init__(self):
        self.weight, self.moments = torch.tensor(1.0), {0: (torch.tensor(2.0), 3)}

    def score(self, sequences):
        return super().score(sequences) * self.weight

    def update(self, real, generated):
        self.weight = self.weight + float(super().score(real).mean())
        return {"losses/discriminator": 0.5}

    def state_dict(self):
        return {"weight": self.weight, "moments": self.moments, "kind": "sum", "rate": 0.1}

    def load_state_dict(self, state):
        self.weight, self.moments = state["weight"], state["moments"]


class Partial(Good):
    """Does not apply to rows that begin with word 1."""

    def score(self, sequences):
        return torch.where(sequences.tokens[:, 0] == 1, math.nan, super().score(sequences))


@pytest.mark.parametrize(
    "reward",
    [
        Good(),
        GoodPerToken(),
        GoodTrainable(),
        Partial(),
        TableReward(VOCABULARY.num_actions),
        TableReward(VOCABULARY.num_actions, per_token=True),
        as_reward(lambda text: len(text)),
    ],
)
def test_what_keeps_its_promises_passes(reward):
    check_reward(reward, vocabulary=VOCABULARY, max_length=4)


def test_a_text_without_end_passes():
    check_reward(TableReward(FIXED.num_actions), vocabulary=FIXED, max_length=4)


def test_a_trainable_reward_is_put_back():
    reward = GoodTrainable()
    check_reward(reward, vocabulary=VOCABULARY)
    assert reward.weight == 1


class Nameless(Good):
    name = ""


class Undecided(Good):
    per_token = None


class List(Good):
    def score(self, sequences):
        return super().score(sequences).tolist()


class Column(Good):
    def score(self, sequences):
        return super().score(sequences)[:, None]


class SilentlyPerToken(GoodPerToken):
    per_token = False


class SilentlyPerRow(Good):
    per_token = True


class Infinite(Good):
    def score(self, sequences):
        values = super().score(sequences)
        return torch.where(sequences.tokens[:, 0] == 3, -math.inf, values)


class OnPadding(GoodPerToken):
    def score(self, sequences):
        return torch.where(sequences.mask, super().score(sequences), 0.5)


class NanOnPadding(GoodPerToken):
    def score(self, sequences):
        return torch.where(sequences.mask, super().score(sequences), math.nan)


class Failing(Good):
    def score(self, sequences):
        raise KeyError("mood")


class FailingAlone(Good):
    def score(self, sequences):
        return super().score(sequences) + 0 * 1 / (len(sequences) - 1)


class Moody(Good):
    """Another reward at each asking."""

    calls = 0

    def score(self, sequences):
        self.calls += 1
        return super().score(sequences) + self.calls


class Centred(Good):
    """Compares with the batch."""

    def score(self, sequences):
        values = super().score(sequences)
        return values - values.mean()


class ByPlace(Good):
    def score(self, sequences):
        return super().score(sequences) + torch.arange(len(sequences))


class Distinct(Good):
    """A repeated row earns less."""

    def score(self, sequences):
        values = super().score(sequences)
        rows = [tuple(row) for row in sequences.tokens.tolist()]
        return values - torch.tensor([float(rows.count(row)) for row in rows])


class Padded(Good):
    """The padding counts."""

    def score(self, sequences):
        return sequences.tokens.sum(dim=1).float()


class Mean(Good):
    """Divides by the width."""

    def score(self, sequences):
        return super().score(sequences) / sequences.tokens.shape[1]


class Overwriting(Good):
    attribute = "tokens"

    def score(self, sequences):
        values = super().score(sequences)
        getattr(sequences, self.attribute)[2] = 0
        return values


class OverwritingMask(Overwriting):
    attribute = "mask"


class OverwritingPrompts(Overwriting):
    attribute = "prompts"


class OverwritingPromptMask(Overwriting):
    attribute = "prompt_mask"


class OverwritingColumn(Good):
    def score(self, sequences):
        sequences.columns["mood"].reverse()
        return super().score(sequences)


class OverwritingTexts(Good):
    def score(self, sequences):
        sequences.texts.reverse()
        return super().score(sequences)


class View(Good):
    def score(self, sequences):
        return sequences.tokens[:, 0]


class FailingUpdate(GoodTrainable):
    def update(self, real, generated):
        raise RuntimeError("no gradient")


class NoMetrics(GoodTrainable):
    def update(self, real, generated):
        return None


class UnlistedMetric(GoodTrainable):
    def update(self, real, generated):
        return {"loss": 0.5}


class TensorMetric(GoodTrainable):
    def update(self, real, generated):
        return {"losses/discriminator": torch.tensor(0.5)}


class UnstorableState(GoodTrainable):
    def state_dict(self):
        return {"moments": [{"seen": {1, 2}}]}


class Forgetful(GoodTrainable):
    def load_state_dict(self, state):
        """Does nothing."""


class ForgetsItsStart(GoodTrainable):
    """Loads what it finds better only."""

    def load_state_dict(self, state):
        self.weight = torch.maximum(self.weight, state["weight"])


ROW = r"row \d+ \('.*'\)$"
ALONE = "break the promise: a row's reward depends on the row alone"
MUTANTS = [
    (Nameless, r"^'' breaks the promise: name is a string that is not empty$"),
    (Undecided, r"^None breaks the promise: per_token is True or False$"),
    (List, r"^a list breaks the promise: score gives a tensor$"),
    (
        Column,
        r"^\(16, 1\) breaks the promise: score gives the shape \(16,\), as it is not per_token$",
    ),
    (
        SilentlyPerToken,
        r"^\(16, 8\) breaks the promise: score gives the shape \(16,\), as it is not per_token$",
    ),
    (
        SilentlyPerRow,
        (
            r"^\(16,\) breaks the promise: score gives the shape \(16, 8\), as it is"
            r" per_token$"
        ),
    ),
    (
        Infinite,
        (
            rf" breaks the promise: a reward is finite, or NaN where it does not apply, on"
            rf" {ROW}"
        ),
    ),
    (
        OnPadding,
        (
            rf"^0.5 breaks the promise: a reward per token is 0 on padding, at step 1 of"
            rf" {ROW}"
        ),
    ),
    (
        NanOnPadding,
        (
            rf"^nan breaks the promise: a reward per token is 0 on padding, at step 1 of"
            rf" {ROW}"
        ),
    ),
    (
        Failing,
        (
            r"^KeyError: 'mood' breaks the promise: score judges any sequences, here 16 of"
            r" them$"
        ),
    ),
    (
        FailingAlone,
        (
            r"^ZeroDivisionError: .* breaks the promise: score judges any sequences, here"
            r" 1 of them$"
        ),
    ),
    (Moody, rf" when asked again and .* in its batch {ALONE}, on {ROW}"),
    (Centred, rf" in the first half of its batch and .* in its batch {ALONE}, on {ROW}"),
    (ByPlace, rf" in the reverse order and .* in its batch {ALONE}, on {ROW}"),
    (Distinct, rf" beside a copy of each row and .* in its batch {ALONE}, on {ROW}"),
    (Padded, rf" with 3 more columns of padding and .* in its batch {ALONE}, on {ROW}"),
    (Mean, rf" with 3 more columns of padding and .* in its batch {ALONE}, on {ROW}"),
    (Overwriting, rf"^other tokens breaks the promise: score leaves its input alone, on {ROW}"),
    (OverwritingMask, rf"^other mask breaks the promise: score leaves its input alone, on {ROW}"),
    (
        OverwritingPrompts,
        rf"^other prompts breaks the promise: score leaves its input alone, on {ROW}",
    ),
    (
        OverwritingPromptMask,
        (
            rf"^other prompt_mask breaks the promise: score leaves its input alone, on"
            rf" {ROW}"
        ),
    ),
    (
        OverwritingColumn,
        r"^another column 'mood' breaks the promise: score leaves its input alone$",
    ),
    (OverwritingTexts, r"^other texts break the promise: score leaves its input alone$"),
    (View, r"^a view of the tokens breaks the promise: score gives a tensor of its own$"),
    (
        FailingUpdate,
        (
            r"^RuntimeError: no gradient breaks the promise: update takes real and"
            r" generated sequences$"
        ),
    ),
    (NoMetrics, r"^a NoneType breaks the promise: update gives metrics by name$"),
    (
        UnlistedMetric,
        r"^a metric breaks the promise: update gives listed metrics: unknown metric 'loss' ",
    ),
    (
        TensorMetric,
        (
            r"^a Tensor for 'losses/discriminator' breaks the promise: update gives its"
            r" metrics as floats"
        ),
    ),
    (
        UnstorableState,
        r"^a set at state_dict\(\)\['moments'\]\[0\]\['s.* breaks the promise: a state is made of ",
    ),
    (
        Forgetful,
        (
            rf"^.* after .* breaks the promise: a loaded state brings its rewards back,"
            rf" on {ROW}"
        ),
    ),
    (
        ForgetsItsStart,
        (
            rf"^.* after .* breaks the promise: a loaded state brings its rewards back,"
            rf" on {ROW}"
        ),
    ),
]


def prompted():
    sequences = random_sequences(VOCABULARY, 8)
    return replace(
        sequences,
        prompts=torch.ones(16, 2, dtype=torch.long),
        prompt_mask=torch.ones(16, 2, dtype=torch.bool),
        columns={"mood": list(range(16))},
    )


@pytest.mark.parametrize(("mutant", "rule"), MUTANTS, ids=[each.__name__ for each, _ in MUTANTS])
def test_a_broken_promise_is_found(mutant, rule):
    sequences = prompted()
    before = copy.deepcopy(sequences)
    with pytest.raises(AssertionError, match=rule) as caught:
        check_reward(mutant(), sequences)
    assert "\n" not in str(caught.value)
    assert torch.equal(sequences.tokens, before.tokens)
    assert sequences.columns == before.columns


def test_padding_inside_the_batch_is_found_too():
    """Adds the padding of a row, as far as the longest row of its batch goes, to its reward."""

    class ToTheLongest(Good):
        def score(self, sequences):
            width = int(sequences.lengths.max())
            return sequences.tokens[:, :width].sum(dim=1).float()

    with pytest.raises(AssertionError, match=rf"(alone|in the first half) .* {ALONE}"):
        check_reward(ToTheLongest(), prompted())


def test_a_model_without_something():
    class Unready:
        name = "unready"

        def score(self, sequences):
            return torch.zeros(len(sequences))

    rule = r"^a Unready without per_token breaks the promise: a reward model has "
    with pytest.raises(AssertionError, match=rule):
        check_reward(Unready(), prompted())


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "check_reward was given neither sequences nor a vocabulary, but needs one of them"),
        ({"size": 1}, "check_reward was given 1 sequences, but needs at least 2"),
        (
            {"size": 2, "bare": True},
            "the sequences carry no vocabulary, but check_reward needs one",
        ),
    ],
)
def test_something_to_score(arguments, rule):
    sequences = None
    if arguments:
        sequences = prompted().select(torch.arange(arguments["size"]))
        sequences = replace(sequences, vocabulary=None) if "bare" in arguments else sequences
    with pytest.raises(ValueError, match=f"^{rule}$"):
        check_reward(Good(), sequences)


def test_a_vocabulary_for_sequences_without_one():
    bare = Sequences(prompted().tokens, prompted().mask)
    check_reward(as_reward(lambda text: len(text)), bare, VOCABULARY)


@pytest.mark.parametrize(("vocabulary", "lengths"), [(VOCABULARY, {1, 2, 3}), (FIXED, {3})])
def test_random_sequences(vocabulary, lengths):
    sequences = random_sequences(vocabulary, 3)
    assert set(sequences.lengths.tolist()) == lengths
    assert len(sequences) == 16
    again = random_sequences(vocabulary, 3)
    assert torch.equal(sequences.tokens, again.tokens)
    for row, length in zip(sequences.tokens.tolist(), sequences.lengths.tolist(), strict=True):
        assert (vocabulary.eos_id in row[:length]) == (length < 3)
