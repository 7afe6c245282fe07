"""Trains a reward model inside TRL's loop: an adversarial reward for TRL's trainers.

TRL keeps its reward models frozen. At the end of every step, a callback trains the reward model on
the completions that it has just judged and on as many real texts:

    function = as_trl(reward, task.vocabulary, task.max_length, remember=4096)
    callback = AdversarialCallback(function, task, torch.Generator().manual_seed(0))
    GRPOTrainer(model, reward_funcs=function, callbacks=[callback], ...).train()
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.learning.updates import train_discriminator
from seqgan.rewards.adapters.trl import TrlFunction
from seqgan.rewards.base import TrainableReward
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import Rows, Task, random_rows
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint

FOLDER = "adversary"  # name of our folder in each of TRL's checkpoints


class AdversarialCallback(TrainerCallback):
    """Trains a function's reward model after each optimiser step for which TRL has generated.

    The training's metrics are logged through TRL's `log_metric` with the next completions, so a
    step's log shows the metrics of the reward model that judged that step. `metrics` keeps the last
    ones. Completions of evaluation prompts are never used for training.

    Each of TRL's checkpoints gets a folder `adversary` with the reward model's state and the random
    state. A resumed run reads it from `args.resume_from_checkpoint` if that is set, else from the
    checkpoint of its step in `args.output_dir`.

    Without prompts in the real texts, the reward model is shown none of TRL's either: it would else
    learn who has a prompt.

    With a function that has TRL's tokenizer in place of a vocabulary, the reward model reads texts
    (a discriminator on a pretrained body does). Then the real texts are those of a task of
    subwords, or `function.encode(texts)`.

    The run must have one process, because copies of the reward model in several would drift apart.

    Args:
        function: the reward function of a trainable reward model; it remembers judged completions.
        real: a task, whose training split is used, or sequences, for instance
            `function.encode(texts)`.
        rng: draws the real sequences, the minibatches and the dropout.
        epochs: number of passes over a step's completions and as many real sequences.
        batch_size: sequences per minibatch, real and generated together.
        every: number of TRL's rounds of generation per training; the completions of the other
            rounds are dropped.

    Raises:
        ConfigurationError: a setting breaks these rules, or the real sequences have another
            vocabulary or another width than the function's, or their spelling is lost.
    """

    def __init__(
        self,
        function: TrlFunction,
        real: Task | Rows,
        rng: torch.Generator,
        epochs: int = 1,
        batch_size: int = 64,
        every: int = 1,
    ) -> None:
        reward = function.reward_model
        if not isinstance(reward, TrainableReward):
            raise ConfigurationError(
                f"the reward model {reward.name!r} has no update to call, so it cannot learn"
            )
        if function.remember < 1:
            raise ConfigurationError(
                "remember is 0, but must be more, so that the function remembers what it judged"
            )
        for name, value in {"epochs": epochs, "batch_size": batch_size, "every": every}.items():
            if value < 1:
                raise ConfigurationError(f"{name} is {value}, but must be at least 1")
        self.function = function
        self.reward = reward
        self.real = real
        self.rng = rng
        self.epochs = epochs
        self.batch_size = batch_size
        self.every = every
        self.rounds = 0  # number of TRL's rounds of generation so far
        self.metrics: Metrics = {}  # metrics of the last training
        self._unlogged: Metrics = {}
        self._check_spelling()
        example = self._draw(1, torch.Generator())
        function.sees_prompts = any(example.prompt_texts)
        if example.tokens.shape[1] != function.max_length:
            raise ConfigurationError(
                f"the real sequences are {example.tokens.shape[1]} tokens wide, but must be"
                f" as wide as the function's max_length, {function.max_length}"
            )
        if example.vocabulary != function.vocabulary:
            raise ConfigurationError("the real sequences have another vocabulary than the function")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restores the reward model if TRL resumes a run.

        Raises:
            ConfigurationError: TRL runs in several processes.
            CheckpointError: the checkpoint holds no intact reward model.
        """
        if args.world_size > 1:
            raise ConfigurationError(
                f"there are {args.world_size} processes, but a co-trained reward runs in one"
            )
        self.function.take_generated()
        if state.global_step > 0:
            named = args.resume_from_checkpoint
            checkpoint = _checkpoint(args, state) if named is None else Path(named)
            _, saved = load_checkpoint(checkpoint / FOLDER)
            self.reward.load_state_dict(saved["reward"])
            self.rng.set_state(saved["rng"])
            self.rounds = saved["rounds"]
            self.metrics, self._unlogged = saved["metrics"], saved["unlogged"]

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.function.metrics = self._unlogged

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Trains on the completions of this step, if TRL generated any."""
        # If no batch was judged, the metrics are still unlogged. They are taken back here, so that
        # an evaluation does not log them as its own.
        self._unlogged, self.function.metrics = self.function.metrics, {}
        generated = self.function.take_generated()
        if generated is None:
            return
        self.rounds += 1
        if self.rounds % self.every == 0:
            real = self._draw(len(generated), self.rng).to(self.function.device)
            # Dropout draws from the global random state, which TRL's sampling continues to use.
            with seeded_from(self.rng, self.function.device):
                self.metrics = train_discriminator(
                    self.reward, real, generated, self.epochs, self.batch_size, self.rng
                )
            self._unlogged = self.metrics

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.function.take_generated()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Writes the reward model's state beside TRL's.

        Raises:
            CheckpointError: the state cannot be written.
        """
        saved = {
            "reward": self.reward.state_dict(),
            "rng": self.rng.get_state(),
            "rounds": self.rounds,
            "metrics": dict(self.metrics),
            "unlogged": dict(self._unlogged),
        }
        save_checkpoint(_checkpoint(args, state) / FOLDER, state.global_step, saved)

    def _check_spelling(self) -> None:
        """Raises ConfigurationError if TRL's tokenizer cannot read the real texts as written."""
        known = self.real.vocabulary if isinstance(self.real, Task) else None
        if self.function.vocabulary is None and known is not None and known.level != "subword":
            raise ConfigurationError(
                f"the real texts are those of a task of {known.level}s, whose spelling is"
                " lost: give function.encode(texts), a task of subwords, or a vocabulary"
            )

    def _draw(self, n: int, rng: torch.Generator) -> Sequences:
        if not isinstance(self.real, Task):
            return self.real.select(random_rows(len(self.real), n, rng))
        real = self.real.real("train", n, rng)
        if self.function.vocabulary is None:
            return self.function.encode(real.texts, real.prompt_texts)
        return real


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    """TRL's folder of this step's checkpoint."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
