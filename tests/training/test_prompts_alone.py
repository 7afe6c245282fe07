"""Prompts without continuations: training by a reward, and one line where that is not enough."""

import json
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, changed, make_trainer, trained

from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.measure import measure
from seqgan.report.summary import closing_sentences, results_dict, stored_table
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.shipped.ngrams import ngram_precision
from seqgan.rewards.shipped.novelty import novelty
from seqgan.rewards.shipped.ranking import rankgan
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import FixedTask, Split, has_texts, stand_ins
from seqgan.tasks.files.packed import PackedRows
from seqgan.tasks.files.prompt_rows import PromptRows
from seqgan.training.estimate import estimate
from seqgan.training.final import NO_TEXTS
from seqgan.training.run_rewards import named_rewards, try_rewards

WORDS = ("a", "b", "c", "d")
VOCABULARY = Vocabulary(WORDS)  # eos 4, bos 5, pad 6
ALONE = {"pretrain.epochs": 0}


def rows_of(prompts: list[tuple[int, ...]]) -> PromptRows:
    """Prompts with nothing behind them."""
    nothing = PackedRows(
        np.zeros(0, np.uint16), np.zeros(len(prompts) + 1, np.int64), VOCABULARY, 4
    )
    ids = np.concatenate([np.array(prompt, np.uint16) for prompt in prompts])
    starts = np.cumsum([0, *map(len, prompts)])
    texts = [" ".join(WORDS[word] for word in prompt) for prompt in prompts]
    return PromptRows(nothing, ids, starts, texts, {"wanted": [WORDS[p[0]] for p in prompts]})


@cache
def prompts_alone() -> FixedTask:
    """All 80 prompts of two and three words, 8 of them in dev and in test."""
    prompts = [*product(range(4), repeat=2), *product(range(4), repeat=3)]
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [prompts[place] for place in order]
    chosen: dict[Split, list[tuple[int, ...]]] = {
        "train": shuffled[16:],
        "dev": shuffled[:8],
        "test": shuffled[8:16],
    }
    splits = {split: rows_of(some) for split, some in chosen.items()}
    return FixedTask(VOCABULARY, 4, splits, max_prompt_length=3)


def share_of_a(text: str) -> float:
    words = text.split()
    return words.count("a") / max(len(words), 1)


@cache
def ended() -> tuple[Any, Any]:
    """The end of a run with a reward of the text, and the metrics that it logged."""
    settings = ALONE | {"adversarial.iterations": 20, "adversarial.batch_size": 16}
    settings |= {"rule.learning_rate": 0.05, "rule.num_rollouts": 0, "evaluation.every": 20}
    settings |= {"evaluation.resampled": 64}  # of few draws too few count
    trainer, memory = make_trainer(
        changed(TINY, settings), prompts_alone(), as_reward(share_of_a, name="a")
    )
    return trained(trainer), memory


def test_rows_without_a_token_behind_the_prompt_are_no_texts() -> None:
    assert not has_texts(prompts_alone())


def test_a_reward_alone_teaches() -> None:
    result, _ = ended()
    assert result.rewards["a"].interval[0] > 0.1


def test_the_end_leaves_out_whatever_needs_real_continuations() -> None:
    result, memory = ended()
    needing = ("nll_heldout", "bleu", "copied", "rouge", "lm_score", "checkpoint/loss")
    logged = {name for row in memory.logged for name in row}
    assert not [
        name for name in logged | {*result.final.metrics} if any(n in name for n in needing)
    ]
    assert {"eval/entropy", "eval/distinct_2", "eval/duplicate_rate"} <= logged
    assert result.price.nll_heldout is None
    assert [row.name for row in result.rows] == ["start", "start, resampled", "trained"]


def test_the_last_words_say_in_one_sentence_what_is_not_compared() -> None:
    results = json.loads(json.dumps(results_dict(ended()[0])))
    rose, price, verdict, beside = closing_sentences(results)
    assert rose.startswith("Reward 'a' rose from ")
    assert beside.startswith("Training bought ")
    assert price.startswith("The price: duplicate rate ")
    assert "KL to the start" in price
    assert verdict == NO_TEXTS
    assert results["comparison"]["verdict"] == "unknown"
    columns = stored_table(results).columns
    assert columns[0] == "reward a"
    assert {"entropy", "distinct_2", "duplicate_rate"} <= {*columns}


def test_the_time_of_texts_is_that_of_the_longest() -> None:
    trainer, _ = make_trainer(changed(TINY, ALONE), prompts_alone(), as_reward(share_of_a))
    assert trainer.players.pace.mean_length == 4
    parts = estimate(trainer).parts
    assert "pretraining" not in parts
    assert parts["final evaluation"] > 0


def test_stand_ins_repeat_the_words_of_their_prompts() -> None:
    rows = rows_of([(0, 1), (1, 2, 3)]).select(torch.arange(2))
    texts = stand_ins(rows, 6)
    assert texts.texts == ["a b a b a", "b c d b c"]
    assert texts.columns == {"wanted": ["a", "b"]}
    assert texts.mask.all()


def test_a_reward_is_tried_on_texts_that_are_not_empty() -> None:
    asked: list[tuple[str, str]] = []

    def judge(text: str, wanted: str) -> float:
        asked.append((text, wanted))
        return 1.0 / len(text)

    try_rewards(TINY, prompts_alone(), [as_reward(judge)])
    assert len(asked) == 2
    assert all(text.startswith(wanted) for text, wanted in asked)


def test_maximum_likelihood_names_its_setting() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_trainer(TINY, prompts_alone(), as_reward(share_of_a))
    assert str(error.value) == (
        "pretrain.epochs is 2, which needs real continuations, but the data are prompts alone; give"
        " --epochs 0"
    )


def test_the_likelihood_beside_the_reward_names_its_setting() -> None:
    settings = changed(TINY, ALONE | {"rule.update.mle_weight": 0.1})
    with pytest.raises(ConfigurationError, match=r"^rule\.update\.mle_weight needs real cont"):
        make_trainer(settings, prompts_alone(), as_reward(share_of_a))


def test_a_reward_that_learns_is_named() -> None:
    with pytest.raises(ConfigurationError) as error:
        named_rewards(changed(TINY, ALONE), prompts_alone())
    assert str(error.value) == (
        "reward 'discriminator' needs real continuations, but the data are prompts alone; name a"
        " reward that judges a text alone: --reward ./my_reward.py:my_function"
    )


@pytest.mark.parametrize("make", [novelty, ngram_precision, rankgan])
def test_a_reward_that_compares_with_real_texts_is_named(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^reward {make.__name__} needs real continuat"):
        make(prompts_alone())


def test_a_measurement_of_a_generator_of_prompts_alone() -> None:
    trainer, _ = make_trainer(changed(TINY, ALONE), prompts_alone(), as_reward(share_of_a))
    rng = torch.Generator().manual_seed(0)
    measured = measure(trainer.players.generator, prompts_alone(), 20, 10, rng)
    assert measured.quality.name == ""
    assert {*measured.metrics} == {
        "eval/entropy",
        "eval/mean_length",
        *(f"eval/distinct_{order}" for order in (1, 2, 3)),
        "eval/duplicate_rate",
        "eval/temperature",
    }
