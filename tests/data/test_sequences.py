"""Sequences: rows in, rows out, and padding that never matters."""

from dataclasses import replace

import pytest
import torch

from seqgan.data.sequences import Sequences, Trajectories, joined, masked_mean
from seqgan.data.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("a", "b", "c"))  # eos 3, bos 4, pad 5


def make() -> Sequences:
    return Sequences.from_rows([[0, 1, 3], [2, 3], [1, 1, 1, 3]], VOCABULARY, 6)


def test_from_rows_pads_on_the_right() -> None:
    sequences = make()
    assert sequences.tokens.tolist() == [
        [0, 1, 3, 5, 5, 5],
        [2, 3, 5, 5, 5, 5],
        [1, 1, 1, 3, 5, 5],
    ]
    assert sequences.lengths.tolist() == [3, 2, 4]
    assert sequences.texts == ["a b", "c", "b b b"]


@pytest.mark.parametrize("row", [[], [0] * 7])
def test_from_rows_refuses_lengths(row: list[int]) -> None:
    with pytest.raises(ValueError, match=rf"row 1 has {len(row)} tokens, but must have 1 to 6"):
        Sequences.from_rows([[0], row], VOCABULARY, 6)


def test_select_repeats_reorders_and_takes_columns_along() -> None:
    sequences = make()
    sequences = Sequences(
        sequences.tokens, sequences.mask, columns={"label": ["x", "y", "z"]}, vocabulary=VOCABULARY
    )
    chosen = sequences.select(torch.tensor([2, 0, 2]))
    assert chosen.texts == ["b b b", "a b", "b b b"]
    assert list(chosen.columns["label"]) == ["z", "x", "z"]


def test_trimmed_drops_only_padding() -> None:
    trimmed = make().trimmed()
    assert trimmed.tokens.shape == (3, 4)
    assert trimmed.texts == make().texts
    assert trimmed.lengths.tolist() == make().lengths.tolist()


def test_given_texts_stand_in_for_decoded_ones() -> None:
    sequences = replace(make(), given_texts=["A b.", "C", "b  b b"])
    assert sequences.texts == ["A b.", "C", "b  b b"]
    assert sequences.select(torch.tensor([2, 0])).texts == ["b  b b", "A b."]
    assert sequences.trimmed().texts == sequences.texts
    assert sequences.with_completions(make()).texts == make().texts


def test_prompts_are_decoded_without_their_padding() -> None:
    sequences = replace(
        make(),
        prompts=torch.tensor([[5, 0], [1, 2], [5, 5]]),
        prompt_mask=torch.tensor([[False, True], [True, True], [False, False]]),
    )
    assert sequences.prompt_texts == ["a", "b c", ""]
    assert make().prompt_texts == ["", "", ""]
    spelt = replace(sequences, given_prompt_texts=["A", "B, c", "-"])
    assert spelt.prompt_texts == ["A", "B, c", "-"]
    assert spelt.select(torch.tensor([1, 1])).prompt_texts == ["B, c", "B, c"]
    assert spelt.with_completions(make()).prompt_texts == spelt.prompt_texts


def test_joined_texts_stay_as_they_were_given() -> None:
    given = replace(make(), given_texts=["A b.", "C", "b  b b"], given_prompt_texts=["P"] * 3)
    assert joined([given, given]).texts == given.texts * 2
    assert joined([given, make()]).texts == [*given.texts, *make().texts]
    assert joined([make(), given]).prompt_texts == ["", "", "", "P", "P", "P"]
    assert joined([make(), make()]).given_texts is None
    assert joined([make(), make()]).given_prompt_texts is None
    numbers = Sequences(make().tokens, make().mask)  # nobody can spell these
    assert joined([given, numbers]).given_texts is None
    assert joined([replace(given, vocabulary=None)] * 2).texts == given.texts * 2


def test_a_row_is_finished_by_its_eos() -> None:
    sequences = make()
    assert sequences.vocabulary is not None
    eos = sequences.vocabulary.eos_id
    rows = zip(sequences.tokens.tolist(), sequences.lengths.tolist(), strict=True)
    expected = [eos in row[:length] for row, length in rows]
    assert sequences.finished.tolist() == expected
    assert replace(sequences, given_texts=["", "", ""]).finished.tolist() == expected
    numbers = Sequences(torch.tensor([[7, 0], [7, 5]]), torch.tensor([[True, False], [True, True]]))
    assert numbers.finished.tolist() == [True, True]
    assert replace(numbers, eos_id=5).finished.tolist() == [False, True]
    assert replace(numbers, eos_id=0).finished.tolist() == [False, False]  # padding ends nothing
    assert joined([replace(numbers, eos_id=5)] * 2).finished.tolist() == [False, True] * 2


def test_texts_need_a_vocabulary() -> None:
    plain = Sequences(make().tokens, make().mask)
    with pytest.raises(ValueError, match="these sequences carry no vocabulary"):
        _ = plain.texts


def test_masked_mean_ignores_what_stands_on_padding() -> None:
    values = torch.tensor([[1.0, 2.0, float("nan")], [6.0, float("inf"), float("nan")]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert float(masked_mean(values, mask)) == pytest.approx(3.0)
    assert float(masked_mean(values, torch.zeros_like(mask))) == 0.0


def test_returns_sum_each_row() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 0.0]])
    sequences = Sequences(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))
    assert Trajectories(sequences, rewards, rewards).returns.tolist() == [7.0, 24.0]
