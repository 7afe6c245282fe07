"""The order of things: pretrain the generator, pretrain the discriminator, play, and compare.

Training is a sequence of units (an epoch, a round, an iteration). Counters say which units are
done, so a run that was stopped anywhere goes on from its last checkpoint and ends with the same
numbers, bit for bit: every random draw comes from one generator whose state is in the checkpoint,
or from one that the counters seed.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.evaluation.game.adversary import heldout_information
from seqgan.evaluation.game.health import Trouble, find_trouble
from seqgan.evaluation.game.positions import histograms_by_position
from seqgan.evaluation.game.trajectories import describe_trajectories
from seqgan.evaluation.measure import Measurement, judged_as_texts, measure, text_measures
from seqgan.functional.advantages import (
    at_their_tokens,
    earned_before,
    kl_to_go,
    make_baseline,
    next_kl_weight,
    standardize,
)
from seqgan.functional.losses import minimax_generator_loss, reinforce
from seqgan.functional.rescaling import normalize_then_sum, rescale
from seqgan.learning.collection import collect, gathered, make_env
from seqgan.learning.replay import Replay
from seqgan.learning.rollouts import monte_carlo_action_values, monte_carlo_part_values
from seqgan.learning.updates import pretrain_epoch, train_discriminator, update_generator
from seqgan.models.generators.base import Generator, frozen_copy
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.rewards.base import Reporting, RewardError, RewardModel
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.weighted import as_weighted_sum
from seqgan.system.errors import ConfigurationError, DivergedError, Interrupted
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seed_of, seeded_from
from seqgan.system.timing import Clock, profiled
from seqgan.tasks.base import Task, heldout_prompts, prompts_of, random_rows
from seqgan.tracking.base import Histogram, Tracker
from seqgan.tracking.progress import Progress
from seqgan.training.build import build_generator, build_reward, named_rewards
from seqgan.training.checkpoints import replace_checkpoint, save_checkpoint
from seqgan.training.final import Result, final_evaluation
from seqgan.training.settings import TrainConfig
from seqgan.training.showing import sample_rows

SHOWN_ROLLOUTS = 16  # completions behind the value of each token that is shown


@dataclass
class Counters:
    """Which units are done. The only thing that decides what comes next."""

    pretrain_epochs: int = 0
    pretrain_decays: int = 0
    pretrain_stopped: bool = False  # early
    pretrained: bool = False  # the pretrained weights are in place, and samples of them shown
    discriminator_rounds: int = 0
    iterations: int = 0
    generator_steps: int = 0  # of the iteration in progress
    global_step: int = 0  # tokens generated in the game


class Trainer:
    """One run.

    Args:
        config: everything that is a setting.
        task: real sequences; data source, evaluation and learning rule are independent.
        tracker: where metrics and samples go.
        progress: what a person sees meanwhile.
        checkpoints: folder of the run's checkpoints, or None to keep none.
        best: folder for a copy of the best one, or None to keep none.
        reward_model: anything with `score`; by default those that `config.reward` names.
        found: what `named_rewards` made of these names, where it was called before.
        runtime: how several processes train together. Each collects trajectories and draws
            minibatches of its own; batch sizes are per process. The main one logs and saves.

    Raises:
        ConfigurationError: what several processes cannot do.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        tracker: Tracker,
        progress: Progress,
        checkpoints: Path | None = None,
        reward_model: RewardModel | None = None,
        found: Mapping[str, RewardModel] | None = None,
        runtime: Runtime = ALONE,
        best: Path | None = None,
    ) -> None:
        self.config, self.task = config, task
        self.tracker, self.progress = tracker, progress
        self.checkpoints, self.best = checkpoints, best
        self.runtime = runtime
        self.rng = torch.Generator().manual_seed(config.seed)
        self.counters = Counters()
        self.generator = build_generator(config, task.vocabulary, self.rng)
        trained = [p for p in self.generator.parameters() if p.requires_grad]
        self.pretrain_optimizer = torch.optim.AdamW(
            trained,
            config.pretrain.learning_rate,
            weight_decay=config.pretrain.weight_decay,
            fused=True,
        )
        self.runtime.prepare(self.generator)
        self.optimizer = torch.optim.Adam(trained, config.adversarial.learning_rate, fused=True)
        # The MLE generator: the reference of the KL penalty and the control of the final table.
        self.pretrained = frozen_copy(self.generator)
        # What completes prefixes: the generator itself, or one that follows it slowly.
        follows = config.adversarial.rollout_decay > 0
        self.rollout_policy = frozen_copy(self.generator) if follows else self.generator
        if reward_model is None:
            found = named_rewards(config, task) if found is None else found
            reward_model = build_reward(config, task, self.rng, found)
        self.reward = as_weighted_sum(reward_model)
        self.reward.watch = lambda name: self.progress.waiting(f"reward {name!r}")
        self.reward.on_skip = self.report_skipped
        self._reported: set[str] = set()  # rewards whose survived failures were mentioned
        self._failed: Counter[str] = Counter()  # survived failures since the last collection
        self.discriminator = next(
            (part for part in self.reward.parts if isinstance(part, DiscriminatorReward)), None
        )
        training = config.discriminator_training
        self.replay = Replay(training.replay, training.replay_size)
        if self.runtime.world_size > 1:
            self._join_processes()
        self.baseline = make_baseline(
            config.adversarial.baseline, config.adversarial.baseline_decay
        )
        self.kl_weight = config.adversarial.kl_weight
        self.best_nll_dev = float("inf")
        self.epochs_without_gain = 0
        self.information: list[tuple[int, float, float]] = []
        self.text_measures = None
        if judged_as_texts(task):
            asked = config.evaluation
            self.text_measures = text_measures(task, asked.embeddings, asked.mauve, asked.toxicity)
        self.start_metrics: dict[str, float | int] = {}  # of the evaluation before the game
        self.best_loss = float("inf")  # the least `checkpoint/loss` in the game
        self.alerted: list[str] = []  # kinds of trouble that were told
        self._valued: dict[str, torch.Tensor] = {}  # what the last update made of its tokens
        self.env = make_env(task, self.reward, config.adversarial.batch_size, config.device)
        self.clock = Clock()  # of the current iteration
        self.stop_requested = False
        self.stop_signal = 0
        self._last_checkpoint = time.monotonic()
        self._rng_of_unit = self.rng.get_state()  # as it was when the unit in progress began

    def _join_processes(self) -> None:
        """What several processes need besides: a learning reward that knows of them, and rng."""
        world_size, size = self.runtime.world_size, self.task.size("train")
        if size < world_size:
            raise ConfigurationError(
                f"there is a training sequence for each of {world_size} processes, got {size}"
            )
        epoch = self.config.pretrain.epoch_size
        if 0 < epoch < 2 * world_size:  # fewer may lie on both sides of the end of a pass
            raise ConfigurationError(
                f"pretrain.epoch_size is at least 2 for each of {world_size} processes, got {epoch}"
            )
        if (learning := self.reward.learning) is not None:
            if not isinstance(learning, DiscriminatorReward):
                raise ConfigurationError(
                    "the reward that learns in several processes is the discriminator, got"
                    f" {learning.name!r}"
                )
            learning.train_in(self.runtime)
        self._use_own_rng()

    def _use_own_rng(self) -> None:
        """Draws of its own for each process; the main one goes on with those of a single one."""
        rank = self.runtime.rank
        if rank > 0:
            done = vars(self.counters).values()
            self.rng.manual_seed(seed_of(self.config.seed, rank, *map(int, done)))

    # ---------------------------------------------------------------- the order of things

    def train(self) -> Result:
        """Runs whatever is not done yet.

        Raises:
            Interrupted: `stop_requested` was set; everything so far is in a checkpoint.
            DivergedError: a loss is not finite.
            RewardError: a reward failed; everything before the unit in progress is in a checkpoint.
            CheckpointError: a checkpoint cannot be written.
        """
        try:
            self.pretrain_generator()
            self.pretrain_discriminator()
            self.play()
            return final_evaluation(self)
        except RewardError as error:
            self.rng.set_state(self._rng_of_unit)
            self.save()
            self.tracker.alert("reward failed", f"iteration {self.counters.iterations}: {error}")
            raise
        except DivergedError as error:
            self.tracker.alert("diverged", f"iteration {self.counters.iterations}: {error}")
            raise

    def pretrain_generator(self) -> None:
        """Maximum likelihood, until the dev NLL stops falling or for a fixed number of epochs.

        With patience the learning rate falls a few times before the end, as a rate that is too
        high for the last step hides how good maximum likelihood is, and the generator goes on
        from its best epoch; without, from its last.
        """
        settings, counters = self.config.pretrain, self.counters
        self.progress.phase("pretrain generator", settings.epochs, counters.pretrain_epochs)
        while counters.pretrain_epochs < settings.epochs and not counters.pretrain_stopped:
            batches = self.epoch_batches()
            with seeded_from(self.rng, self.config.device):
                metrics = pretrain_epoch(
                    self.generator,
                    self.pretrain_optimizer,
                    batches,
                    settings.max_grad_norm,
                    self.runtime,
                )
            counters.pretrain_epochs += 1
            nll_dev = self.runtime.from_main(self.nll_dev())
            if not math.isfinite(nll_dev):
                raise DivergedError(f"the dev NLL is finite, got {nll_dev}")
            better = nll_dev < self.best_nll_dev
            self.best_nll_dev = min(nll_dev, self.best_nll_dev)
            self.epochs_without_gain = 0 if better else self.epochs_without_gain + 1
            if better or settings.patience == 0:
                self.pretrained.load_state_dict(self.generator.state_dict())
            if 0 < settings.patience <= self.epochs_without_gain:
                self.decay_or_stop()
            self.log(
                {
                    **metrics,
                    "pretrain/epoch": counters.pretrain_epochs,
                    "pretrain/nll_dev": nll_dev,
                    "pretrain/best_nll_dev": self.best_nll_dev,
                },
                shown=("pretrain/nll_train", "pretrain/nll_dev"),
            )
            self.unit_done()
        if not counters.pretrained:
            self.generator.load_state_dict(self.pretrained.state_dict())
            self.rollout_policy.load_state_dict(self.pretrained.state_dict())
            self.show_samples("before the game")
            counters.pretrained = True

    def decay_or_stop(self) -> None:
        """On a plateau: back to the best epoch with a third of the rate, or the end."""
        if self.counters.pretrain_decays == self.config.pretrain.decays:
            self.counters.pretrain_stopped = True
            return
        self.counters.pretrain_decays += 1
        self.epochs_without_gain = 0
        self.generator.load_state_dict(self.pretrained.state_dict())
        for group in self.pretrain_optimizer.param_groups:
            group["lr"] /= 3

    def pretrain_discriminator(self) -> None:
        """Rounds of discriminator training against the pretrained generator."""
        settings, counters = self.config.discriminator_training, self.counters
        if self.reward.learning is None:
            return
        rounds = settings.pretrain_rounds
        self.progress.phase("pretrain discriminator", rounds, counters.discriminator_rounds)
        while counters.discriminator_rounds < rounds:
            metrics = self.discriminator_round(settings.pretrain_epochs)
            counters.discriminator_rounds += 1
            heldout = self.heldout_information(self.unseen(self.config.evaluation.num_samples))
            self.log(
                {
                    "pretrain/round": counters.discriminator_rounds,
                    "pretrain/discriminator_loss": metrics.get("losses/discriminator", 0.0),
                    **{
                        f"pretrain/discriminator_{name}": heldout[f"discriminator/{name}"]
                        for name in ("accuracy_heldout", "information_heldout")
                        if heldout
                    },
                },
                shown=("pretrain/discriminator_loss", "pretrain/discriminator_information_heldout"),
            )
            self.unit_done()

    def play(self) -> None:
        """The game: generator updates and discriminator rounds in turns."""
        iterations, counters = self.config.adversarial.iterations, self.counters
        self.progress.phase("adversarial game", iterations, counters.iterations)
        if counters.iterations == 0 and iterations > 0 and not self.start_metrics:
            before = self.evaluation()
            self.log(before, advance=False)
            self.start_metrics = {name: before[name] for name in before if "eval/" in name}
        while counters.iterations < iterations:
            started = time.perf_counter()
            self.clock, tokens_before = Clock(), counters.global_step
            metrics: dict[str, float | int] = {}
            while counters.generator_steps < self.config.adversarial.g_steps:
                metrics |= self.generator_step()
                counters.generator_steps += 1
                # A reward that fails in a later step leaves a checkpoint with this one done.
                self._rng_of_unit = self.rng.get_state()
            if self.reward.learning is not None:
                metrics |= self.discriminator_steps()
            counters.iterations += 1
            counters.generator_steps = 0
            self._rng_of_unit = self.rng.get_state()
            metrics |= self.clock.seconds
            metrics["time/seconds"] = time.perf_counter() - started
            num_tokens = counters.global_step - tokens_before
            metrics["charts/SPS"] = num_tokens / metrics["time/seconds"]
            metrics |= self.axes()
            evaluated: dict[str, float | int] = {}
            try:
                if counters.iterations % self.config.evaluation.every == 0:
                    evaluated = self.evaluation()
                    metrics |= evaluated
            finally:  # a reward that fails on its samples does not take the iteration's row along
                names = (name for name in metrics if name.startswith("eval/"))
                quality = next(names, "losses/entropy")
                self.log(metrics, shown=("charts/episodic_return", "kl/reference", quality))
            if evaluated:
                self.warn(find_trouble(metrics, self.start_metrics))
                self.keep_if_best(evaluated)
            self.unit_done()

    # ---------------------------------------------------------------- units

    def generator_step(self) -> dict[str, float | int]:
        """Collect, value every token, subtract what is no credit, update: one g-step.

        Values and advantages are those of all processes' trajectories together, and each process
        updates with its own part of them.
        """
        settings, clock = self.config.adversarial, self.clock
        for part in self.reward.parts:
            if isinstance(part, Reporting):
                part.follow(
                    self.counters.global_step, self.counters.iterations, settings.iterations
                )
        self._failed.clear()
        with clock.lap("collect"):
            trajectories = self.collect(self.generator, self.rng)
        self.check_rewards_work(trajectories)
        trajectories = self.with_increments(trajectories)
        with clock.lap("rollout"):
            action_values = self.action_values(trajectories)
        everyones = gathered(trajectories, self.runtime)
        with clock.lap("update_generator"):
            anchored = settings.update.mle_weight != 0
            real = self.real("train", settings.batch_size) if anchored else None
            kl = self.runtime.gather(self.kl_to_reference(trajectories))
            past = earned_before(everyones.rewards, everyones.mask)
            values = action_values - past - self.kl_weight * kl
            centred = values - self.baseline(values, everyones)
            self._valued = {
                "action_value": action_values,
                "advantage": centred,
                "known": everyones.mask & ~centred.isnan(),
            }
            advantages = centred
            if settings.standardize:
                advantages = standardize(centred, everyones.mask)
            # A token that no reward applies to teaches nothing.
            advantages = advantages.nan_to_num(nan=0.0)
            metrics = dict(
                update_generator(
                    self.generator,
                    self.optimizer,
                    reinforce,
                    trajectories,
                    self.runtime.own(advantages),
                    settings.update,
                    self.runtime,
                    real,
                )
            )
            self.follow_generator()
        kl_per_sequence = float(kl[:, 0].mean())
        centred = centred.nan_to_num(nan=0.0)
        metrics |= self.trajectory_metrics(everyones, centred, kl_per_sequence)
        if settings.kl_target > 0:
            self.kl_weight = next_kl_weight(self.kl_weight, kl_per_sequence, settings.kl_target)
        self.counters.global_step += int(everyones.mask.sum())
        return metrics

    def with_increments(self, trajectories: Trajectories) -> Trajectories:
        """What the discriminator gives each token at that token, where it judges every prefix.

        The environment rewards texts at their end. What was earned before a token is no credit of
        its; values that are made comparable within the batch have another unit, and keep all of it.
        """
        settings, player = self.config.adversarial, self.discriminator
        comparable = settings.rescale != "none"
        comparable |= self.config.reward_aggregation != "sum_then_normalize"
        if player is None or not player.per_token or comparable:
            return trajectories
        weight = float(self.reward.weights[self.reward.parts.index(player)])
        increments = weight * player.score(trajectories.sequences)
        rewards = at_their_tokens(trajectories.rewards, increments, trajectories.mask)
        return replace(trajectories, rewards=rewards)

    def action_values(self, trajectories: Trajectories) -> torch.Tensor:
        """What each token is worth, by all rewards together; (batch, time), NaN for unknown.

        Args:
            trajectories: this process' own. The values are those of all processes' trajectories.
        """
        settings, gather = self.config.adversarial, self.runtime.gather
        rollouts: dict[str, Any] = {
            "policy": self.rollout_policy,
            "trajectories": trajectories,
            "num_rollouts": settings.num_rollouts,
            "rng": self.rng,
            "chunk_size": settings.rollout_chunk,
            "stride": settings.rollout_stride,
        }
        if self.config.reward_aggregation == "sum_then_normalize":
            values = gather(monte_carlo_action_values(reward_model=self.reward, **rollouts))
            mask = gather(trajectories.mask)
        else:
            parts = monte_carlo_part_values(rewards=self.reward, **rollouts)
            parts, mask = gather(parts.transpose(0, 1)).transpose(0, 1), gather(trajectories.mask)
            values = normalize_then_sum(parts, self.reward.weights, mask)
        return rescale(values, mask, settings.rescale)

    def discriminator_steps(self) -> dict[str, float | int]:
        """The d-steps of one iteration."""
        metrics: dict[str, float | int] = {}
        with self.clock.lap("update_discriminator"):
            for _ in range(self.config.discriminator_training.d_steps):
                metrics |= self.discriminator_round(self.config.discriminator_training.d_epochs)
        return metrics

    def discriminator_round(self, epochs: int) -> dict[str, float | int]:
        """Fresh generated sequences against real training sequences, of the same prompts."""
        assert self.reward.learning is not None
        settings = self.config.discriminator_training
        with profiled("update_discriminator / draw"):
            fresh = settings.num_sequences - self.replay.num_older(settings.num_sequences)
            if self.task.max_prompt_length:
                real = self.real("train", settings.num_sequences)
                generated = self.continued(real.select(torch.arange(fresh)), self.rng)
            else:
                generated = self.draw(fresh)
                real = self.real("train", settings.num_sequences)
            if settings.replay > 0:
                generated = self.replay.mixed(generated, settings.num_sequences, self.rng)
        with profiled("update_discriminator / train"), seeded_from(self.rng, self.config.device):
            metrics = train_discriminator(
                self.reward.learning,
                real,
                generated,
                epochs,
                settings.batch_size,
                self.rng,
                runtime=self.runtime,
            )
        return dict(metrics)

    def follow_generator(self) -> None:
        """The rollout policy's moving average: theta' <- decay theta' + (1 - decay) theta."""
        decay = self.config.adversarial.rollout_decay
        if decay == 0:
            return
        with torch.no_grad():
            for slow, fast in zip(
                self.rollout_policy.parameters(), self.generator.parameters(), strict=True
            ):
                slow.lerp_(fast, 1 - decay)

    def report_skipped(self, error: RewardError) -> None:
        """Says so the first time that a reward's failure is survived; the share is a metric."""
        if error.name not in self._reported:
            self._reported.add(error.name)
            self.progress.message(f"{error}; it does not count there, nor where it fails again")
        self._failed[error.name] += 1

    def check_rewards_work(self, trajectories: Trajectories) -> None:
        """Says so, once, where a reward applies to none of the texts collected just now.

        Raises:
            RewardError: it failed on each of them.
        """
        count = len(trajectories.returns)
        for name in self.reward.names:
            if self._failed[name] >= count:
                raise RewardError(name, f"it failed on all {count} texts of an iteration")
            if name not in self._reported and bool(trajectories.part(name).isnan().all()):
                self._reported.add(name)
                self.progress.message(
                    f"reward {name!r} applies to none of {count} texts (it gives None or NaN), and"
                    " teaches nothing there"
                )

    # ---------------------------------------------------------------- measuring

    def kl_to_reference(self, trajectories: Trajectories) -> torch.Tensor:
        """Sampled KL to the pretrained generator, from each token to the end; (batch, time)."""
        with torch.no_grad():
            reference = self.pretrained.eval().log_probs(trajectories.sequences)
        return kl_to_go(trajectories.log_probs, reference, trajectories.mask)

    def trajectory_metrics(
        self, trajectories: Trajectories, advantages: torch.Tensor, kl: float
    ) -> dict[str, float | int]:
        """What one batch of trajectories looks like; for the main process, which logs it."""
        reported = self._reports()
        if not self.runtime.is_main():
            return {}
        metrics = dict(
            describe_trajectories(trajectories, advantages, self.task.vocabulary, self.reward.names)
        )
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        metrics["kl/reference"] = kl
        metrics["kl/weight"] = self.kl_weight
        metrics = reported | metrics  # the run's own names come first
        # The discriminator has not been trained on these sequences, but it has on their prompts.
        unseen = trajectories.sequences
        if self.task.max_prompt_length:
            unseen = self.unseen(len(unseen))
        metrics |= self.heldout_information(unseen)
        if self.discriminator is not None:
            logits = self.discriminator.logits(trajectories.sequences)
            metrics["losses/minimax_generator"] = float(minimax_generator_loss(logits))
            optimizer = self.discriminator.optimizer
            metrics["charts/learning_rate_discriminator"] = optimizer.param_groups[0]["lr"]
        return metrics

    def _reports(self) -> dict[str, float | int]:
        """What rewards logged since the last call: the mean over the processes that did."""
        reported: dict[str, float | int] = {}
        for part in self.reward.parts:
            if isinstance(part, Reporting):
                logged = self.runtime.gather_objects(part.take_metrics())
                for name in dict.fromkeys(chain.from_iterable(logged)):
                    values = [metrics[name] for metrics in logged if name in metrics]
                    reported[f"rewards/{part.name}/{name}"] = sum(values) / len(values)
        return reported

    def heldout_information(self, generated: Sequences) -> dict[str, float | int]:
        """What the discriminator knows about unseen sequences; nothing for other rewards."""
        if self.discriminator is None:
            return {}
        real = self.heldout(len(generated))
        return dict(
            heldout_information(
                self.discriminator.logits(real), self.discriminator.logits(generated)
            )
        )

    def heldout(self, n: int) -> Sequences:
        """Real sequences that nothing was trained on, different ones each iteration."""
        rng = torch.Generator().manual_seed(self.counters.iterations)
        count = min(n, self.task.size("dev"))
        return self.task.real("dev", count, rng).to(self.config.device)

    def evaluation(self) -> dict[str, float | int]:
        """A measurement of the generator and, on as many sequences, of the discriminator."""
        started = time.perf_counter()
        measured = self.measure(self.generator, self.config.evaluation.num_samples)
        metrics: dict[str, float | int] = dict(measured.metrics)
        metrics |= self.heldout_information(measured.samples)
        metrics["checkpoint/loss"] = self.nll_dev() + metrics.get("eval/kl_generator_oracle", 0.0)
        self.log_samples("game", measured.samples)
        self.log_histograms()
        if "discriminator/information_heldout" in metrics:
            self.information.append(
                (
                    self.counters.iterations,
                    metrics["discriminator/information_heldout"],
                    metrics["discriminator/information_heldout_error"],
                )
            )
        metrics["time/evaluate"] = time.perf_counter() - started
        return metrics | self.axes()

    def measure(
        self,
        generator: torch.nn.Module,
        num_samples: int,
        temperature: float = 1.0,
        rng: torch.Generator | None = None,
    ) -> Measurement:
        """Measures without touching the run's random state: evaluating more changes nothing.

        Args:
            rng: of the samples, by default the one of this iteration's evaluation.
        """
        rng = self._rng_of_evaluation() if rng is None else rng
        sampling = None if temperature == 1.0 else Sampling(temperature)
        return measure(
            generator,  # type: ignore[arg-type]
            self.task,
            num_samples,
            self.config.evaluation.num_heldout,
            rng,
            sampling,
            self.config.device,
            self.text_measures,
        )

    def _rng_of_evaluation(self) -> torch.Generator:
        seed = self.config.seed * 1000003 + self.counters.iterations
        return torch.Generator().manual_seed(seed % 2**63)

    def nll_dev(self) -> float:
        """Mean NLL of the dev split, nats per token."""
        dev = self.task.real("dev", self.task.size("dev"), torch.Generator().manual_seed(0))
        log_probs = sequence_log_probs(self.generator, dev.to(self.config.device))
        return float(-log_probs.double().sum()) / float(dev.mask.sum())

    # ---------------------------------------------------------------- plumbing

    def epoch_batches(self) -> Iterator[Sequences]:
        """The minibatches of the next pretraining epoch.

        An epoch of `epoch_size` sequences begins where the one before ended, in an endless row of
        passes. Each pass has a seed of its own, so the number of epochs done is all it takes to
        go on after a stop.

        Several processes cut the same minibatches, which are larger by their number, into parts of
        one size; so all of them make as many steps, and a few sequences at the end may be left out.
        """
        settings, size = self.config.pretrain, self.task.size("train")
        done, world_size = self.counters.pretrain_epochs, self.runtime.world_size
        together = settings.batch_size * world_size
        if settings.epoch_size == 0:
            rng = self.rng if world_size == 1 else self._pass_rng(done)
            batches = self.task.batches("train", together, rng)
        else:
            batches = chain.from_iterable(
                self.task.batches("train", together, self._pass_rng(number), part)
                for number, part in parts_of_passes(
                    done * settings.epoch_size, settings.epoch_size, size
                )
            )
        if world_size > 1:
            batches = (
                batch.select(self.runtime.own(torch.arange(len(batch))))
                for batch in batches
                if len(batch) >= world_size
            )
        return (batch.to(self.config.device) for batch in batches)

    def _pass_rng(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.config.seed * 1000003 + number) % 2**63)

    def real(self, split: Any, n: int) -> Sequences:
        return self.task.real(split, n, self.rng).to(self.config.device)

    def collect(self, generator: Generator, rng: torch.Generator) -> Trajectories:
        """A batch of episodes, of training prompts that `rng` draws where there are prompts."""
        task, index, prompts = self.task, None, None
        if task.max_prompt_length:
            index = random_rows(task.size("train"), self.config.adversarial.batch_size, rng)
            prompts = task.rows("train", index).to(self.config.device)
        return collect(self.env, generator, task.vocabulary, task.max_length, rng, prompts, index)

    def draw(self, n: int) -> Sequences:
        """n generated sequences, of random training prompts where there are prompts."""
        prompts = prompts_of(self.task, "train", n, self.rng, self.config.device)
        return self.sample(n, prompts, self.rng)

    def continued(self, prompts: Sequences, rng: torch.Generator) -> Sequences:
        """A generated continuation of each row's prompt."""
        return self.sample(len(prompts), prompts, rng)

    def sample(self, n: int, prompts: Sequences | None, rng: torch.Generator) -> Sequences:
        task = self.task
        return sample(self.generator, task.vocabulary, n, task.max_length, rng, None, prompts)

    def unseen(self, n: int) -> Sequences:
        """Generated sequences that no reward was trained on, nor on their prompts."""
        if not self.task.max_prompt_length:
            return self.draw(n)
        return self.continued(self.heldout(n), self._rng_of_evaluation())

    def axes(self) -> dict[str, float | int]:
        """How far the game is."""
        return {"iteration": self.counters.iterations, "global_step": self.counters.global_step}

    def show_samples(self, title: str) -> None:
        """Prints a few samples and logs them."""
        shown = self.config.evaluation.num_shown
        if shown == 0 or not self.runtime.is_main():
            return
        rng = torch.Generator().manual_seed(self.config.seed)
        prompts = heldout_prompts(self.task, shown, self.config.device, "dev")
        texts = self.sample(shown, prompts, rng)
        self.log_samples(title, texts)
        self.progress.message(f"Samples {title}:")
        for prompt, text in zip(texts.prompt_texts, texts.texts, strict=True):
            self.progress.message(f"  {prompt} => {text}" if prompt else f"  {text}")

    def log_samples(self, phase: str, sequences: Sequences) -> None:
        """Logs a few of the generator's samples, with the value of each token."""
        settings = self.config.adversarial
        rows = torch.arange(min(self.config.evaluation.num_shown, len(sequences)))
        if not len(rows) or not self.runtime.is_main():
            return
        shown = sample_rows(
            sequences.select(rows),
            self.generator,
            self.reward,
            SHOWN_ROLLOUTS if settings.num_rollouts else 0,  # a reward may be too dear for any
            self._rng_of_evaluation(),
            settings.rollout_chunk,
            settings.rollout_stride,
        )
        about = {"step": self.counters.global_step, "phase": phase}
        self.tracker.samples([about | row for row in shown])

    def log_histograms(self) -> None:
        """Logs what the last update made of its tokens, by their positions; nothing before it."""
        histograms: dict[str, Histogram] = {}
        for area in ("action_value", "advantage"):
            if area in self._valued:
                values, known = self._valued[area], self._valued["known"]
                histograms |= histograms_by_position(area, values, known)
        if histograms:
            self.tracker.histograms(histograms, self.axes())

    def warn(self, troubles: Sequence[Trouble]) -> None:
        """Tells of each kind of trouble once in a run."""
        for trouble in troubles:
            if trouble.title not in self.alerted:
                self.alerted.append(trouble.title)
                text = f"iteration {self.counters.iterations}: {trouble.text}"
                self.progress.message(f"{trouble.title}: {text}")
                self.tracker.alert(trouble.title, text)

    def keep_if_best(self, evaluated: Metrics) -> None:
        """Keeps a copy of this state if its evaluation is the best of the game so far.

        The pretrained generator is no candidate: every checkpoint holds it anyway.
        """
        if not evaluated["checkpoint/loss"] < self.best_loss:
            return
        self.best_loss = evaluated["checkpoint/loss"]
        if self.best is not None and self.runtime.is_main():
            replace_checkpoint(self.best, self.state_dict())
            self.tracker.checkpoint(self.best, ("latest", "best"), evaluated)

    def log(self, metrics: Metrics, shown: tuple[str, ...] = (), advance: bool = True) -> None:
        if self.runtime.is_main():
            self.tracker.log(metrics)
        if advance:
            self.progress.advance(1, {name: metrics[name] for name in shown if name in metrics})

    def unit_done(self) -> None:
        """After every unit: a checkpoint if it is time, and the end if one was asked for."""
        due = time.monotonic() - self._last_checkpoint >= self.config.checkpoint_seconds
        stopping = self.asked_to_stop()
        if due or stopping:
            self.save()
        self._rng_of_unit = self.rng.get_state()
        if stopping:
            raise Interrupted("the run was stopped after a checkpoint")

    def asked_to_stop(self) -> bool:
        """Whether any process was asked to stop; all of them learn of it here."""
        self.stop_requested = self.runtime.most(float(self.stop_requested)) > 0
        self.stop_signal = int(self.runtime.most(float(self.stop_signal)))
        return self.stop_requested

    def save(self) -> Path | None:
        """Writes a checkpoint, and says where."""
        if self.checkpoints is None or not self.runtime.is_main():
            return None
        done = self.counters
        step = done.pretrain_epochs + done.discriminator_rounds + done.iterations
        path = save_checkpoint(self.checkpoints, step, self.state_dict())
        self._last_checkpoint = time.monotonic()
        return path

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        state: dict[str, Any] = {
            "counters": vars(self.counters),
            "rng": self.rng.get_state(),
            "generator": self.generator.state_dict(),
            "pretrained": self.pretrained.state_dict(),
            "pretrain_optimizer": self.pretrain_optimizer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_nll_dev": self.best_nll_dev,
            "epochs_without_gain": self.epochs_without_gain,
            "kl_weight": self.kl_weight,
            "information": self.information,
            "start_metrics": self.start_metrics,
            "best_loss": self.best_loss,
            "alerted": self.alerted,
            "tracker": self.tracker.position(),
        }
        if self.rollout_policy is not self.generator:
            state["rollout_policy"] = self.rollout_policy.state_dict()
        if self.replay.share > 0:
            state["replay"] = self.replay.state_dict()
        for name, part in self._stateful_parts().items():
            state[name] = part.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.counters = Counters(**state["counters"])
        self.rng.set_state(state["rng"])
        self.generator.load_state_dict(state["generator"])
        self.pretrained.load_state_dict(state["pretrained"])
        if self.rollout_policy is not self.generator:
            self.rollout_policy.load_state_dict(state["rollout_policy"])
        self.pretrain_optimizer.load_state_dict(state["pretrain_optimizer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_nll_dev = state["best_nll_dev"]
        self.epochs_without_gain = state["epochs_without_gain"]
        self.kl_weight = state["kl_weight"]
        self.information = [(int(i), a, b) for i, a, b in state["information"]]
        # Checkpoints of older versions lack these.
        self.start_metrics = dict(state.get("start_metrics", {}))
        self.best_loss = state.get("best_loss", float("inf"))
        self.alerted = list(state.get("alerted", []))
        self.replay.load_state_dict(
            state.get("replay", {}), self.task.vocabulary, self.config.device
        )
        for name, part in self._stateful_parts().items():
            part.load_state_dict(state[name])
        self._use_own_rng()  # the checkpoint has the main process'
        self._rng_of_unit = self.rng.get_state()

    def _stateful_parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"reward": self.reward}
        if hasattr(self.baseline, "state_dict"):
            parts["baseline"] = self.baseline
        return parts


def parts_of_passes(first: int, count: int, size: int) -> Iterator[tuple[int, slice]]:
    """Where `count` rows from row `first` on lie, when passes of `size` rows follow each other.

    Yields:
        The number of a pass, and which of its rows.
    """
    end = first + count
    while first < end:
        number, start = divmod(first, size)
        stop = min(size, start + end - first)
        yield number, slice(start, stop)
        first += stop - start
