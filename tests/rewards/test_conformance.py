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
ALONE = "^a row's reward depends on the row alone, got"
MUTANTS = [
    (Nameless, r"^name is a string that is not empty, got ''$"),
    (Undecided, r"^per_token is True or False, got None$"),
    (List, r"^score gives a tensor, got a list$"),
    (Column, r"^score gives the shape \(16,\), as it is not per_token, got \(16, 1\)$"),
    (SilentlyPerToken, r"^score gives the shape \(16,\), as it is not per_token, got \(16, 8\)$"),
    (SilentlyPerRow, r"^score gives the shape \(16, 8\), as it is per_token, got \(16,\)$"),
    (Infinite, rf"^a reward is finite, or NaN where it does not apply, got -inf on {ROW}"),
    (OnPadding, rf"^a reward per token is 0 on padding, got 0.5 at step 1 of {ROW}"),
    (NanOnPadding, rf"^a reward per token is 0 on padding, got nan at step 1 of {ROW}"),
    (Failing, r"^score judges any sequences, got KeyError: 'mood' for 16 of them$"),
    (FailingAlone, r"^score judges any sequences, got ZeroDivisionError: .* for 1 of them$"),
    (Moody, rf"{ALONE} .* when asked again and .* in its batch on {ROW}"),
    (Centred, rf"{ALONE} .* in the first half of its batch and .* in its batch on {ROW}"),
    (ByPlace, rf"{ALONE} .* in the reverse order and .* in its batch on {ROW}"),
    (Distinct, rf"{ALONE} .* beside a copy of each row and .* in its batch on {ROW}"),
    (Padded, rf"{ALONE} .* with 3 more columns of padding and .* in its batch on {ROW}"),
    (Mean, rf"{ALONE} .* with 3 more columns of padding and .* in its batch on {ROW}"),
    (Overwriting, rf"^score leaves its input alone, got other tokens on {ROW}"),
    (OverwritingMask, rf"^score leaves its input alone, got other mask on {ROW}"),
    (OverwritingPrompts, rf"^score leaves its input alone, got other prompts on {ROW}"),
    (OverwritingPromptMask, rf"^score leaves its input alone, got other prompt_mask on {ROW}"),
    (OverwritingColumn, r"^score leaves its input alone, got another column 'mood'$"),
    (OverwritingTexts, r"^score leaves its input alone, got other texts$"),
    (View, r"^score gives a tensor of its own, got a view of the tokens$"),
    (FailingUpdate, r"^update takes real and generated sequences, got RuntimeError: no gradient$"),
    (NoMetrics, r"^update gives metrics by name, got a NoneType$"),
    (
        UnlistedMetric,
        r"^update gives listed metrics: a metric is in the list .*, got 'loss'; the near",
    ),
    (TensorMetric, r"^update gives its metrics as floats, got a Tensor for 'losses/discriminator'"),
    (UnstorableState, r"^a state is made of .*, got a set at state_dict\(\)\['moments'\]\[0\]\['s"),
    (Forgetful, rf"^a loaded state brings its rewards back, got .* after .* on {ROW}"),
    (ForgetsItsStart, rf"^a loaded state brings its rewards back, got .* after .* on {ROW}"),
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

    with pytest.raises(AssertionError, match=rf"{ALONE} .* (alone|in the first half)"):
        check_reward(ToTheLongest(), prompted())


def test_a_model_without_something():
    class Unready:
        name = "unready"

        def score(self, sequences):
            return torch.zeros(len(sequences))

    rule = r"^a reward model has .*, got a Unready without per_token$"
    with pytest.raises(AssertionError, match=rule):
        check_reward(Unready(), prompted())


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "check_reward needs sequences or a vocabulary, got neither"),
        ({"size": 1}, "check_reward needs at least 2 sequences, got 1"),
        ({"size": 2, "bare": True}, "check_reward needs a vocabulary or sequences that carry one"),
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
