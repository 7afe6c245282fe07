"""TRL's trainers with rewards of this library, for real and small. Offline, on the CPU."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# Read when the libraries are imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.rewards.adapters.trl import TrlFunction, as_trl
from seqgan.rewards.base import Reward
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.system.errors import CheckpointError
from seqgan.system.seeding import seeded_from
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.training.checkpoints import load_checkpoint

pytestmark = [
    pytest.mark.integration,
    # TRL 1.16 asks transformers 5.23 by the old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

from seqgan.integrations.trl import AdversarialCallback  # noqa: E402

TASK = captions_task(CaptionsConfig(train_size=64, dev_size=8, test_size=8))
WORDS = TASK.vocabulary.words
BATCH_SIZE = 8
TRAINERS = ("GRPO", "RLOO")
METRICS = ("losses/discriminator", "discriminator/accuracy_real")


class LengthReward(Reward):
    """The number of tokens, eos included."""

    name = "length"

    def __init__(self) -> None:
        self.seen: list[Sequences] = []

    def score(self, sequences: Sequences) -> torch.Tensor:
        self.seen.append(sequences)
        return sequences.lengths.float()


class Reporter(transformers.TrainerCallback):
    """Stands before the other callbacks, as the one of wandb does, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.told.append({**logs, "step": state.global_step})


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 and its tokenizer, whose ids are those of the task's vocabulary."""
    folder = tmp_path_factory.mktemp("gpt2")
    vocabulary = TASK.vocabulary
    ids = {word: index for index, word in enumerate((*WORDS, "</s>", "<s>", "<pad>"))}
    model = tokenizers.models.WordLevel(ids, unk_token="<pad>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>", pad_token="<pad>"
    ).save_pretrained(folder)
    config = transformers.GPT2Config(
        vocab_size=vocabulary.size,
        n_positions=TASK.max_length + 1,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=vocabulary.bos_id,
        eos_token_id=vocabulary.eos_id,
        pad_token_id=vocabulary.pad_id,
    )
    with seeded_from(torch.Generator().manual_seed(0)):
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def discriminator_reward(seed: int = 0) -> DiscriminatorReward:
    config = CNNDiscriminatorConfig("cnn", 8, (1, 2), (8, 8), dropout=0.2)
    with seeded_from(torch.Generator().manual_seed(seed)):
        discriminator = CNNDiscriminator(config, TASK.vocabulary, TASK.max_length)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    return DiscriminatorReward(discriminator, optimizer, "logit")


def make_trainer(
    kind: str,
    language_model: Path,
    output: Path,
    function: TrlFunction,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> Any:
    arguments: dict[str, Any] = {
        "output_dir": str(output),
        "per_device_train_batch_size": BATCH_SIZE,
        "num_generations": 4,
        "max_completion_length": TASK.max_length,
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 5,
        # An untrained model would emit its special tokens inside a text.
        "generation_kwargs": {"suppress_tokens": [TASK.vocabulary.bos_id, TASK.vocabulary.pad_id]},
        **settings,
    }
    rows = {"prompt": ["<s>"] * 32, "number": list(range(32))}
    return getattr(trl, f"{kind}Trainer")(
        model=str(language_model),
        reward_funcs=function,
        args=getattr(trl, f"{kind}Config")(**arguments),
        train_dataset=datasets.Dataset.from_dict(rows),
        eval_dataset=datasets.Dataset.from_dict({"prompt": ["<s>"] * 4, "number": [90] * 4}),
        callbacks=[*callbacks],
    )


class Watched(AdversarialCallback):
    """Keeps the discriminator's parameters and the metrics as they are after each step."""

    def __init__(self, function: TrlFunction, **settings: Any) -> None:
        super().__init__(function, TASK, torch.Generator().manual_seed(1), **settings)
        self.after: dict[int, torch.Tensor] = {}
        self.measured: dict[int, dict[str, float]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self.after[state.global_step] = parameters(self.reward)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        self.after[state.global_step] = parameters(self.reward)
        self.measured[state.global_step] = dict(self.metrics)


class Recorded(DiscriminatorReward):
    """A discriminator that keeps what it was trained on."""

    def __init__(self, reward: DiscriminatorReward) -> None:
        super().__init__(reward.discriminator, reward.optimizer)
        self.real: list[str] = []
        self.numbers: list[list[int]] = []

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        assert len(real) == len(generated)
        self.real += real.texts
        self.numbers.append(list(generated.columns["number"]))
        return super().update(real, generated)


def co_trained(reward: Any, **settings: Any) -> TrlFunction:
    return as_trl(reward, TASK.vocabulary, TASK.max_length, remember=99, **settings)


def parameters(reward: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in reward.discriminator.parameters()])


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_reward_model_trains_a_language_model(
    kind: str, language_model: Path, tmp_path: Path
) -> None:
    reward = LengthReward()
    function = as_trl(reward, TASK.vocabulary, TASK.max_length)
    trainer = make_trainer(kind, language_model, tmp_path, function)
    trainer.train()
    history = [log for log in trainer.state.log_history if "loss" in log]
    assert len(history) == len(reward.seen) == 3
    for log, seen in zip(history, reward.seen, strict=True):
        lengths = seen.lengths.float()
        assert log["rewards/length/mean"] == pytest.approx(float(lengths.mean()))
        # TRL's ids are the vocabulary's here, so both must count the same tokens.
        assert log["completions/mean_length"] == pytest.approx(float(lengths.mean()))
        assert seen.prompt_texts == ["<s>"] * BATCH_SIZE
        assert set(seen.columns["number"]) <= set(range(32))


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_discriminator_learns_in_the_loop(
    kind: str, language_model: Path, tmp_path: Path
) -> None:
    reporter, callback = Reporter(), Watched(co_trained(discriminator_reward()))
    trainer = make_trainer(
        kind, language_model, tmp_path, callback.function, [reporter, callback], learning_rate=1e-3
    )
    trainer.train()
    assert sorted(callback.after) == [0, 1, 2, 3]
    for step in (1, 2, 3):
        assert not torch.equal(callback.after[step], callback.after[step - 1])
    told = [log for log in reporter.told if "loss" in log]
    history = [log for log in trainer.state.log_history if "loss" in log]
    for logs in (told, history):
        assert [log["step"] for log in logs] == [1, 2, 3]
        assert "losses/discriminator" not in logs[0]  # nothing had been trained
        for step in (2, 3):
            for name in METRICS:
                expected = callback.measured[step - 1][name]
                assert logs[step - 1][name] == pytest.approx(expected, abs=1e-6)
    assert callback.measured[1] != callback.measured[2] != callback.measured[3]
    assert callback.metrics == callback.measured[3]


def test_it_is_trained_on_the_steps_completions_and_never_on_an_evaluations(
    language_model: Path, tmp_path: Path
) -> None:
    reward = Recorded(discriminator_reward())
    callback = Watched(co_trained(reward), batch_size=BATCH_SIZE)
    settings = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    trainer = make_trainer(
        "GRPO", language_model, tmp_path, callback.function, [callback], **settings
    )
    trainer.evaluate()
    trainer.train()
    # Eight completions a step are two minibatches of four and four.
    assert [len(numbers) for numbers in reward.numbers] == [4] * 6
    for first, second in zip(reward.numbers[::2], reward.numbers[1::2], strict=True):
        assert len(set(first + second)) == 2  # the step's two prompts, four times each
    assert 90 not in {number for numbers in reward.numbers for number in numbers}
    assert set(reward.real) <= set(TASK.real("train", 64, torch.Generator()).texts)
    assert any("eval_loss" in log for log in trainer.state.log_history)
    names = {name for log in trainer.state.log_history for name in log}
    assert "losses/discriminator" in names
    assert "eval_losses/discriminator" not in names


def test_completions_that_are_used_twice_train_it_once(
    language_model: Path, tmp_path: Path
) -> None:
    reward = Recorded(discriminator_reward())
    callback = Watched(co_trained(reward), every=2)
    settings = {"num_iterations": 2, "max_steps": 8}
    settings |= {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 4}
    trainer = make_trainer(
        "GRPO", language_model, tmp_path, callback.function, [callback], **settings
    )
    trainer.train()
    assert callback.rounds == 4  # one of generation in two steps
    changed = [
        step
        for step in range(1, 9)
        if callback.measured[step] != callback.measured.get(step - 1, {})
    ]
    assert changed == [3, 7]
    assert [len(numbers) for numbers in reward.numbers] == [8, 8]
    # It is told with the next training completions: those of steps 5 and, were there more, 9.
    told = [log["step"] for log in trainer.state.log_history if METRICS[0] in log]
    assert told == [5]
    assert not any(f"eval_{METRICS[0]}" in log for log in trainer.state.log_history)


def test_it_takes_no_random_number_of_trls(language_model: Path, tmp_path: Path) -> None:
    histories = []
    for with_callback in (True, False):
        reward = discriminator_reward()
        reward.optimizer.param_groups[0]["lr"] = 0.0  # trained in vain, with dropout
        callback = Watched(co_trained(reward))
        trainer = make_trainer(
            "GRPO", language_model, tmp_path, callback.function, [callback] * with_callback
        )
        trainer.train()
        assert callback.rounds == (3 if with_callback else 0)
        rewards = [log["reward"] for log in trainer.state.log_history if "reward" in log]
        assert len(set(rewards)) == 3
        histories.append(rewards)
    assert histories[0] == histories[1]


def test_a_resumed_run_ends_as_if_it_had_not_stopped(language_model: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-3}
    whole = Watched(co_trained(discriminator_reward()), epochs=2)
    trainer = make_trainer("GRPO", language_model, tmp_path, whole.function, [whole], **settings)
    trainer.train()
    resumed = Watched(co_trained(discriminator_reward(seed=9)), epochs=2)
    again = make_trainer("GRPO", language_model, tmp_path, resumed.function, [resumed], **settings)
    resumed.rng.manual_seed(77)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert sorted(resumed.after) == [2, 3, 4]
    for step in (2, 3, 4):
        assert torch.equal(resumed.after[step], whole.after[step])
    assert resumed.metrics == whole.metrics
    assert resumed.rounds == 4
    for name in METRICS:
        logged = [log[name] for log in trainer.state.log_history if name in log]
        assert [log[name] for log in again.state.log_history if name in log] == logged
    _, saved = load_checkpoint(tmp_path / "checkpoint-4" / "adversary")
    assert saved["rounds"] == 4


def test_a_checkpoint_elsewhere_is_named_in_the_arguments(
    language_model: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    first = Watched(co_trained(discriminator_reward()))
    make_trainer(
        "GRPO", language_model, tmp_path / "one", first.function, [first], **settings
    ).train()
    checkpoint = str(tmp_path / "one" / "checkpoint-1")
    second = Watched(co_trained(discriminator_reward(seed=9)))
    trainer = make_trainer(
        "GRPO", language_model, tmp_path / "two", second.function, [second], **settings
    )
    with pytest.raises(
        CheckpointError, match=r"two/checkpoint-1/adversary has no intact checkpoint"
    ):
        trainer.train(resume_from_checkpoint=checkpoint)
    trainer.args.resume_from_checkpoint = checkpoint
    trainer.train(resume_from_checkpoint=checkpoint)
    assert torch.equal(second.after[1], first.after[1])


def test_it_runs_in_one_process(tmp_path: Path) -> None:
    class TwoProcesses(transformers.TrainingArguments):
        world_size = 2

    callback = Watched(co_trained(discriminator_reward()))
    state, control = transformers.TrainerState(), transformers.TrainerControl()
    with pytest.raises(
        ValueError, match="there are 2 processes, but a co-trained reward runs in one"
    ):
        callback.on_train_begin(TwoProcesses(str(tmp_path), use_cpu=True), state, control)


def test_real_texts_of_ones_own() -> None:
    function = co_trained(discriminator_reward())
    real = function.encode(["a dog is running .", "the man is reading a book ."])
    AdversarialCallback(function, real, torch.Generator())


def test_settings_that_cannot_work() -> None:
    def refused(message: str, function: TrlFunction, real: Any = TASK, **settings: int) -> None:
        with pytest.raises(ValueError, match=message):
            AdversarialCallback(function, real, torch.Generator(), **settings)

    reward = discriminator_reward()
    function = co_trained(reward)
    refused(
        "the reward model 'constant' has no update to call, so it cannot learn",
        co_trained(ConstantReward()),
    )
    refused("remember is 0", as_trl(reward, TASK.vocabulary, TASK.max_length))
    refused("epochs is 0, but must be at least 1", function, epochs=0)
    refused("batch_size is 0, but must be at least 1", function, batch_size=0)
    refused("every is 0, but must be at least 1", function, every=0)
    wide = TASK.max_length
    refused(
        f"are {wide} tokens wide, but must be as wide as the function's max_length, 7",
        as_trl(reward, TASK.vocabulary, 7, 9),
    )
    refused(
        f"are {wide} tokens wide, but must be as wide as the function's max_length, None",
        as_trl(reward, TASK.vocabulary, None, 9),
    )
    other = replace(TASK.real("train", 2, torch.Generator()), vocabulary=None)
    refused("the real sequences have another vocabulary than the function", function, other)
