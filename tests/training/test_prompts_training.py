"""Training with prompts: where episodes start, what is compared, and that the prompt is learnt.

The world is a copying task: a prompt is two or three words, of which the last but one is to be
said again.
"""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY, changed, make_trainer, weights_of

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.rouge import rouge_pairs
from seqgan.learning.adversary import adversary_round
from seqgan.learning.collection import collect, env_arguments, make_task_env, training_prompts
from seqgan.learning.updates import train_discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.models.sampling import Sampling, sample
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardModel
from seqgan.tasks.base import FixedTask, whole_length
from seqgan.tasks.files.packed import PackedRows
from seqgan.tasks.files.prompt_rows import PromptRows
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint
from seqgan.training.estimate import estimate
from seqgan.training.facts import environment_facts, run_facts
from seqgan.training.settings import TrainConfig

WORDS = ("a", "b", "c", "d", "e", "f")
COPYING = Vocabulary(WORDS)  # eos 6, bos 7, pad 8


def rows_of(prompts: list[tuple[int, ...]]) -> PromptRows:
    """The last but one word of each prompt, and eos."""
    ends = np.arange(len(prompts) + 1)
    said = np.array([[prompt[-2], COPYING.eos_id] for prompt in prompts], np.uint16).flatten()
    lengths = np.cumsum([0, *map(len, prompts)])
    ids = np.concatenate([np.array(prompt, np.uint16) for prompt in prompts])
    texts = [" ".join(WORDS[word] for word in prompt) for prompt in prompts]
    return PromptRows(
        PackedRows(said, 2 * ends, COPYING, 3),
        ids,
        lengths,
        texts,
        {"answer": [WORDS[prompt[-2]] for prompt in prompts]},
    )


@cache
def copying_task() -> FixedTask:
    """All 252 prompts of two and of three words, 16 of them held out in dev and in test."""
    prompts = [*product(range(6), repeat=2), *product(range(6), repeat=3)]
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [prompts[place] for place in order]
    splits = {"train": shuffled[32:], "dev": shuffled[:16], "test": shuffled[16:32]}
    return FixedTask(
        COPYING,
        3,
        {split: rows_of(some) for split, some in splits.items()},  # type: ignore[misc]
        max_prompt_length=3,
    )


def right(answer: str, text: str) -> float:
    """Needs the column of the data."""
    return float(text == answer)


def share_right(trainer: Any, rows: Sequences) -> float:
    """Of one continuation of each row's prompt."""
    drawn = trainer.players.continued(rows, torch.Generator().manual_seed(0))
    pairs = zip(rows.columns["answer"], drawn.texts, strict=True)
    return float(np.mean([right(answer, text) for answer, text in pairs]))


def make(
    settings: dict[str, Any] | None = None, reward: RewardModel | None = None
) -> tuple[Any, Any]:
    return make_trainer(changed(TINY, settings or {}), copying_task(), reward)


def prompt_rows(sequences: Sequences) -> list[list[int]]:
    assert sequences.prompts is not None
    assert sequences.prompt_mask is not None
    pairs = zip(sequences.prompts, sequences.prompt_mask, strict=True)
    return [prompt[real].tolist() for prompt, real in pairs]


# The environment


def test_the_environment_starts_from_the_training_prompts_in_their_order() -> None:
    task = copying_task()
    prompts = training_prompts(task)
    assert prompts is not None
    whole = task.rows("train", torch.arange(task.size("train")))
    assert prompts.shape == (220, 3)
    assert [[i for i in row if i != COPYING.pad_id] for row in prompts.tolist()] == prompt_rows(
        whole
    )
    env = make_task_env(task, as_reward(right), 2)
    env.reset(options={"prompt_index": np.array([3, 219])})
    shown = env.single_env()
    shown.reset(options={"prompt_index": 5})
    assert env.rules.decode(prompts[5]) == whole.prompt_texts[5]
    assert np.array_equal(env.episodes.texts(np.arange(2))[2], prompts[[3, 219]])  # type: ignore[arg-type]


def test_prompts_are_none_for_a_task_without() -> None:
    task = FixedTask(COPYING, 3, {})
    assert training_prompts(task) is None
    assert make_task_env(task, as_reward(right), 2).rules.prompts is None


def test_collected_rows_keep_prompts_columns_and_their_own_rewards() -> None:
    """The reward compares with the row's answer: only rows that are right earn 1."""
    trainer, _ = make(reward=as_reward(right))
    index = torch.tensor([0, 7, 7, 160])
    prompts = copying_task().rows("train", index)
    found = collect(
        trainer.players.env,
        trainer.players.generator,
        COPYING,
        3,
        torch.Generator().manual_seed(0),
        prompts,
        index,
    )
    assert prompt_rows(found.sequences) == prompt_rows(prompts)
    assert found.sequences.columns == prompts.columns
    expected = [
        right(answer, text)
        for answer, text in zip(prompts.columns["answer"], found.sequences.texts, strict=True)
    ]
    assert found.returns.tolist() == expected


def test_log_probs_at_collection_are_those_of_the_prompt() -> None:
    trainer, _ = make(reward=as_reward(right))
    found = trainer.players.collect(torch.Generator().manual_seed(3))
    with torch.no_grad():
        again = trainer.players.generator.log_probs(found.sequences)
    assert torch.allclose(found.log_probs, again, atol=1e-5)
    flipped = {name: getattr(found.sequences, name).flip(0) for name in ("prompts", "prompt_mask")}
    other = replace(found.sequences, **flipped)
    with torch.no_grad():
        assert not torch.allclose(
            found.log_probs, trainer.players.generator.log_probs(other), atol=1e-5
        )


def test_collect_takes_prompts_with_their_numbers() -> None:
    trainer, _ = make(reward=as_reward(right))
    rng = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="prompts were given without their numbers"):
        collect(
            trainer.players.env,
            trainer.players.generator,
            COPYING,
            3,
            rng,
            copying_task().real("dev", 4, rng),
        )


def test_the_trainer_draws_the_prompts_from_its_own_generator() -> None:
    trainer, _ = make(reward=as_reward(right))
    one = trainer.players.collect(torch.Generator().manual_seed(1)).sequences
    two = trainer.players.collect(torch.Generator().manual_seed(1)).sequences
    three = trainer.players.collect(torch.Generator().manual_seed(2)).sequences
    assert prompt_rows(one) == prompt_rows(two)
    assert torch.equal(one.tokens, two.tokens)
    assert prompt_rows(one) != prompt_rows(three)


# What is compared with what


class Watching:
    """Remembers the prompts that it was to learn from."""

    name = "watching"
    per_token = False

    def __init__(self) -> None:
        self.seen: list[tuple[list[list[int]], list[list[int]]]] = []

    def score(self, sequences: Sequences) -> torch.Tensor:
        return torch.zeros(len(sequences))

    def update(self, real: Sequences, generated: Sequences) -> dict[str, float]:
        self.seen.append((prompt_rows(real), prompt_rows(generated)))
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...


def test_the_discriminator_sees_real_and_generated_rows_of_the_same_prompts() -> None:
    """In every minibatch, row by row."""
    reward = Watching()
    trainer, _ = make(reward=reward)
    adversary_round(trainer.players, TINY.discriminator_training, 2, trainer.rng)
    seen = reward.seen
    assert len(seen) == 8
    assert all(real == generated for real, generated in seen)
    assert seen[0] != seen[4]  # another order in the second epoch


def test_sets_of_other_sizes_are_not_paired() -> None:
    """The larger one is drawn from as a whole, as where there are no prompts."""
    reward, task = Watching(), copying_task()
    rng, other = (torch.Generator().manual_seed(0) for _ in range(2))
    real, generated = task.rows("train", torch.arange(8)), task.rows("train", torch.arange(12))
    train_discriminator(reward, real, generated, 1, 8, rng)
    orders = [torch.randperm(size, generator=other)[:8] for size in (8, 12)]
    (first_real, first_generated), (more_real, more_generated) = reward.seen
    assert first_real + more_real == prompt_rows(real.select(orders[0]))
    assert first_generated + more_generated == prompt_rows(generated.select(orders[1]))


def test_information_is_measured_on_heldout_prompts() -> None:
    trainer, _ = make()
    dev = {tuple(row) for row in prompt_rows(copying_task().rows("dev", torch.arange(16)))}
    assert {tuple(row) for row in prompt_rows(trainer.players.unseen(16, trainer.rng))} == dev
    before = trainer.rng.get_state()
    trainer.players.unseen(8, trainer.rng)
    assert torch.equal(trainer.rng.get_state(), before)


def test_a_measurement_continues_test_prompts() -> None:
    trainer, _ = make(reward=as_reward(right))
    measured = trainer.observer("evaluation").measure(trainer.players.generator, 48)
    test = {tuple(row) for row in prompt_rows(copying_task().rows("test", torch.arange(16)))}
    rows = [tuple(row) for row in prompt_rows(measured.samples)]
    assert set(rows) == test
    assert all(rows.count(row) == 3 for row in test)
    again = trainer.observer("evaluation").measure(trainer.players.generator, 48, 0.5)
    assert prompt_rows(again.samples) == prompt_rows(measured.samples)
    assert set(measured.samples.columns) == {"answer"}


def test_a_measurement_compares_continuations_with_those_of_their_own_prompts() -> None:
    trainer, _ = make(reward=as_reward(right))
    measured = trainer.observer("evaluation").measure(trainer.players.generator, 48)
    test = copying_task().rows("test", torch.arange(16))
    own = dict(zip(map(tuple, prompt_rows(test)), token_rows(test), strict=True))
    assert len(own) == 16
    references = [own[tuple(row)] for row in prompt_rows(measured.samples)]
    expected = rouge_pairs(token_rows(measured.samples), references)
    for name, values in expected.items():
        assert measured.metrics[f"eval/{name}"] == pytest.approx(values.mean())
        assert measured.per_text[f"eval/{name}"].values.tolist() == values.tolist()
    assert 0 < measured.metrics["eval/rouge_1"] < 1
    assert 0 < measured.metrics["eval/paired_bleu_2"] < 1


def test_discriminators_read_the_prompt() -> None:
    """Another prompt before the same completion is another text, and padding is nothing."""
    task = copying_task()
    rows = task.rows("train", torch.arange(12))
    assert rows.prompts is not None
    assert rows.prompt_mask is not None
    wider = replace(
        rows,
        prompts=torch.nn.functional.pad(rows.prompts, (2, 0), value=COPYING.pad_id),
        prompt_mask=torch.nn.functional.pad(rows.prompt_mask, (2, 0), value=False),
    )
    swapped = replace(rows, prompts=rows.prompts.flip(0), prompt_mask=rows.prompt_mask.flip(0))
    for config in (
        TINY.discriminator,
        TransformerDiscriminatorConfig(width=8, num_heads=2),
        CNNDiscriminatorConfig(filter_sizes=(1, 3), num_filters=(4, 4)),
    ):
        trainer, _ = make_trainer(replace(TINY, discriminator=config), task)
        assert trainer.players.discriminator is not None
        logits = trainer.players.discriminator.logits(rows)
        assert torch.allclose(trainer.players.discriminator.logits(wider), logits, atol=1e-5)
        assert not torch.allclose(trainer.players.discriminator.logits(swapped), logits, atol=1e-5)
        assert trainer.players.discriminator.discriminator.max_length == whole_length(task) == 7


# Whole runs


@pytest.mark.slow
def test_tokens_are_counted_with_their_prompts_and_after_a_stop() -> None:
    trainer, memory = make({"adversarial.iterations": 2})
    trainer.train()
    position = trainer.players.position
    prompts = position.num_tokens - position.global_step
    texts = 2 * trainer.players.batch_size
    assert 2 * texts <= prompts <= 3 * texts  # each prompt has two words or three
    assert memory.values("num_tokens")[-1] == position.num_tokens
    again, _ = make({"adversarial.iterations": 2})
    state = trainer.state_dict()
    again.load_state_dict(state)
    assert again.players.position.num_tokens == position.num_tokens
    del state["players"]["position"]["num_tokens"]  # as 0.2.0 wrote it
    again.load_state_dict(state)
    assert again.players.position.num_tokens == position.global_step


def test_a_run_with_prompts_ends_where_it_ends_after_a_stop(tmp_path: Path) -> None:
    """Bit for bit, from a checkpoint on the disk."""

    def play(iterations: int, state: dict[str, Any] | None = None) -> Any:
        trainer, _ = make({"adversarial.iterations": iterations, "evaluation.every": 100})
        trainer.observers = []
        if state is not None:
            trainer.load_state_dict(state)
        trainer.run(trainer.phase("maximum_likelihood"))
        trainer.run(trainer.phase("adversary"))
        trainer.run(trainer.phase("game"))
        return trainer

    save_checkpoint(tmp_path, 1, play(2).state_dict())
    stopped = load_checkpoint(tmp_path)[1]
    assert torch.equal(weights_of(play(4, stopped)), weights_of(play(4)))


def test_shown_samples_have_prompts() -> None:
    trainer, memory = make({"evaluation.num_shown": 3})
    trainer.observer("samples").show("before the game")
    rows = memory.rows
    assert len(rows) == 3
    dev = copying_task().rows("dev", torch.arange(16)).prompt_texts
    assert all(row["prompt"] in dev for row in rows)


def test_what_is_said_of_a_run_before_it() -> None:
    trainer, _ = make()
    assert estimate(trainer).total > 0
    facts = environment_facts(TINY, copying_task())
    assert facts["num_prompts"] == 220
    assert "prompts" not in facts
    networks = {"generator": trainer.players.generator}
    counted = run_facts(TINY, copying_task(), networks)["num_parameters"]
    assert counted == {"generator": sum(p.numel() for p in trainer.players.generator.parameters())}
    assert "num_prompts" not in environment_facts(TINY, FixedTask(COPYING, 3, {}))
    assert env_arguments(copying_task(), 4)["decode"] is None


def test_samples_keep_their_prompts_and_columns() -> None:
    trainer, _ = make()
    prompts = copying_task().rows("test", torch.tensor([1, 1, 5]))
    drawn = sample(
        trainer.players.generator,
        COPYING,
        3,
        3,
        torch.Generator().manual_seed(0),
        Sampling(0.5),
        prompts,
    )
    assert drawn.prompt_texts == prompts.prompt_texts
    assert drawn.columns == prompts.columns
    assert prompt_rows(joined([drawn, drawn])) == 2 * prompt_rows(prompts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "generator",
    [
        RecurrentGeneratorConfig(embedding_size=16, hidden_size=32),
        RecurrentGeneratorConfig(kind="gru", embedding_size=16, hidden_size=32),
        TransformerGeneratorConfig(width=32, num_layers=2, num_heads=2, dropout=0.0),
    ],
    ids=["lstm", "gru", "transformer"],
)
def test_generators_learn_what_the_prompt_asks_for(generator: Any) -> None:
    """Chance is 1/6; on prompts that were never seen nearly all answers are right."""
    settings = {"pretrain.epochs": 15, "pretrain.learning_rate": 1e-2, "pretrain.patience": 0}
    config = changed(replace(TINY, generator=generator), settings)
    trainer, _ = make_trainer(config, copying_task(), as_reward(right))
    trainer.run(trainer.phase("maximum_likelihood"))
    rows = copying_task().rows("test", torch.arange(16).repeat(10))
    assert share_right(trainer, rows) > 0.8


@pytest.mark.slow
def test_a_reward_on_a_column_teaches_the_prompt() -> None:
    """By the policy gradient alone, from an untrained generator. Chance is 1/6."""
    config = replace(
        TINY,
        generator=RecurrentGeneratorConfig(embedding_size=16, hidden_size=32),
    )
    settings = {
        "pretrain.epochs": 0,
        "adversarial.iterations": 60,
        "adversarial.batch_size": 64,
        "rule.learning_rate": 2e-2,
        "rule.num_rollouts": 0,
        "rule.kl_weight": 0.0,
        "evaluation.every": 1000,
    }
    trainer, _ = make_trainer(changed(config, settings), copying_task(), as_reward(right))
    trainer.observers = []
    trainer.run(trainer.phase("maximum_likelihood"))
    trainer.run(trainer.phase("game"))
    rows = copying_task().rows("train", torch.arange(220))
    assert share_right(trainer, rows) > 0.35  # without the prompt, at most about 1/5


def test_nothing_of_a_run_without_prompts_is_another() -> None:
    """`TrainConfig` without prompts takes no draw for them."""
    config: TrainConfig = TINY
    trainer, _ = make_trainer(config)
    before = trainer.rng.get_state()
    rng = torch.Generator()
    rng.set_state(before)
    one = trainer.players.draw(5, trainer.rng)
    two = sample(
        trainer.players.generator,
        trainer.players.task.vocabulary,
        5,
        trainer.players.task.max_length,
        rng,
    )
    assert torch.equal(one.tokens, two.tokens)
    assert torch.equal(trainer.rng.get_state(), rng.get_state())
