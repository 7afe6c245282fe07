"""Older generated sequences beside fresh ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reward_suite import VOCABULARY, from_rows, seeded

from seqgan.data.sequences import Sequences
from seqgan.learning.replay import Replay
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint


def numbered(first: int, count: int) -> Sequences:
    """Texts of two tokens, each another one."""
    return from_rows([[number // 4, number % 4] for number in range(first, first + count)])


def numbers(sequences: Sequences) -> list[int]:
    return (sequences.tokens[:, 0] * 4 + sequences.tokens[:, 1]).tolist()


def test_a_share_of_each_round_is_older() -> None:
    replay, rng = Replay(share=0.5, size=5), seeded()
    assert replay.num_older(4) == 0  # nothing is known yet
    assert numbers(replay.mixed(numbered(0, 4), 4, rng)) == [0, 1, 2, 3]
    assert replay.num_older(4) == 2
    second = numbers(replay.mixed(numbered(4, 2), 4, rng))
    assert second[:2] == [4, 5]
    assert len(set(second[2:])) == 2
    assert set(second[2:]) < {0, 1, 2, 3}
    assert replay.kept is not None
    assert numbers(replay.kept) == [1, 2, 3, 4, 5]  # the last five
    assert replay.num_older(100) == 5
    seen = set()
    for _ in range(40):
        older = numbers(replay.mixed(numbered(6, 1), 2, rng))[1]
        replay.kept = numbered(1, 5)
        seen.add(older)
    assert seen == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("spelt", [False, True])
@pytest.mark.parametrize("prompted", [False, True])
def test_goes_on_from_its_state(prompted: bool, spelt: bool, tmp_path: Path) -> None:
    replay = Replay(share=0.5, size=5)
    fresh = numbered(0, 4)
    if prompted:
        ids = torch.tensor([[6, 0], [1, 2], [6, 3], [2, 2]])
        fresh = replace(fresh, prompts=ids, prompt_mask=ids != VOCABULARY.pad_id)
        if spelt:
            fresh = replace(fresh, given_prompt_texts=["A", "B c", "D", "C: é"])
    replay.mixed(fresh, 4, seeded())
    again = Replay(share=0.5, size=5)
    save_checkpoint(tmp_path / "replay", 1, {"replay": replay.state_dict()})
    _, state = load_checkpoint(tmp_path / "replay")
    again.load_state_dict(state["replay"], VOCABULARY, "cpu")
    first, second = (each.mixed(fresh, 6, seeded(1)) for each in (replay, again))
    assert torch.equal(first.tokens, second.tokens)
    assert first.prompt_texts == second.prompt_texts
    assert any(first.prompt_texts) == prompted
    again.load_state_dict({}, VOCABULARY, "cpu")
    assert again.kept is None


def test_a_text_of_each_round_is_fresh_whatever_the_share() -> None:
    replay = Replay(share=0.999, size=100)
    replay.mixed(numbered(0, 16), 16, seeded())
    assert replay.num_older(16) == 15
