"""The players of a run: what learns, what it is compared with, and how they draw texts."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import nn

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.evaluation.game.adversary import heldout_information
from seqgan.learning.averaging import WeightAverage
from seqgan.learning.collection import collect, groups_of_batch, make_task_env
from seqgan.learning.pace import Pace
from seqgan.learning.replay import Replay
from seqgan.learning.reward_failures import RewardFailures
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import sample, sequence_log_probs
from seqgan.rewards.base import Reporting, RewardModel
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.guard import Watch
from seqgan.rewards.weighted import as_weighted_sum
from seqgan.system.runtime import ALONE, Runtime
from seqgan.tasks.base import Split, Task, prompts_of, random_rows


@dataclass
class Position:
    """The position of a run."""

    iteration: int = 0  # iterations of the game that are done
    iterations: int = 0  # iterations in all
    global_step: int = 0  # tokens that the generator emitted in the game
    num_tokens: int = 0  # those, and the tokens of the prompts that they continue

    def axes(self) -> dict[str, float | int]:
        """The metrics that others are plotted against."""
        return {"iteration": self.iteration, "global_step": self.global_step}


class Players:
    """A generator, its reference and its rewards, on one task.

    A phase trains them and a rule improves the generator. Neither knows how they were made.

    Args:
        task: real sequences.
        generator: the policy that learns.
        reference: a frozen generator. Maximum likelihood leaves its result here; the KL penalty
            and the temperature control refer to it.
        rewards: anything with `score`. The caller's object is not changed.
        batch_size: episodes of one batch, in each process.
        seed: of draws that must not touch the run's own random state.
        device: where the networks live.
        runtime: how several processes train together.
        replay: generated texts of earlier rounds, for a reward that learns; None keeps none.
        group_size: episodes of a batch that go on from one prompt, side by side.
        average: of the generator's weights in the game; None keeps none.
    """

    def __init__(
        self,
        task: Task,
        generator: Generator,
        reference: Generator,
        rewards: RewardModel,
        batch_size: int,
        seed: int = 0,
        device: str = "cpu",
        runtime: Runtime = ALONE,
        replay: Replay | None = None,
        group_size: int = 1,
        average: WeightAverage | None = None,
    ) -> None:
        self.task, self.generator, self.reference = task, generator, reference
        self.batch_size, self.seed, self.device, self.runtime = batch_size, seed, device, runtime
        self.replay = Replay(0.0, 1) if replay is None else replay
        self.group_size = group_size if task.max_prompt_length else 1
        self.average = WeightAverage() if average is None else average
        self.position = Position()
        self._tell: Callable[[str], object] = lambda message: None
        self._watch: Watch = nullcontext
        self.failures = RewardFailures(self.tell)
        self.rewards = as_weighted_sum(rewards).observed(
            lambda name: self._watch(name), self.failures.skipped, self.failures.changed
        )
        self.discriminator = next(
            (part for part in self.rewards.parts if isinstance(part, DiscriminatorReward)), None
        )
        self.env = make_task_env(task, self.rewards, batch_size, device)
        # Modules that learn besides the reward's; a rule or a phase adds its own when it is built,
        # and they are joined over the processes before training begins.
        self.learning: list[nn.Module] = [generator]
        self.pace = Pace(self)

    @property
    def evaluated(self) -> Generator:
        """The generator that is measured, shown and kept: of averaged weights, if there are any."""
        return self.generator if self.average.generator is None else self.average.generator

    def listen(self, tell: Callable[[str], object], watch: Watch) -> None:
        """Sends messages for whoever watches the run to `tell`.

        Args:
            watch: a context around each call of a reward, made from the reward's name.
        """
        self._tell, self._watch = tell, watch

    def tell(self, message: str) -> None:
        """Passes a message on to whoever watches the run."""
        self._tell(message)

    def real(self, split: Split, n: int, rng: torch.Generator) -> Sequences:
        """n real sequences of a split in random order."""
        return self.task.real(split, n, rng).to(self.device)

    def heldout(self, n: int) -> Sequences:
        """At most n real sequences that nothing trains on, different ones each iteration."""
        rng = torch.Generator().manual_seed(self.position.iteration)
        return self.real("dev", min(n, self.task.size("dev")), rng)

    def collect(self, rng: torch.Generator) -> Trajectories:
        """A batch of episodes; where there are prompts, of training prompts that `rng` draws.

        Each prompt has `group_size` episodes, which lie side by side and are a group.

        Raises:
            RewardError: a reward failed, or failed on every text and was skipped.
        """
        task, index, prompts, size = self.task, None, None, self.group_size
        if task.max_prompt_length:
            index = random_rows(task.size("train"), self.batch_size // size, rng)
            index = index.repeat_interleave(size)
            prompts = task.rows("train", index).to(self.device)
        trajectories = collect(
            self.env, self.generator, task.vocabulary, task.max_length, rng, prompts, index
        )
        self.failures.check(trajectories, self.rewards.names)
        if size == 1:
            return trajectories
        groups = groups_of_batch(self.batch_size, size, self.runtime.rank)
        return replace(trajectories, groups=groups.to(self.device))

    def draw(self, n: int, rng: torch.Generator) -> Sequences:
        """n generated sequences; where there are prompts, of random training prompts."""
        prompts = prompts_of(self.task, "train", n, rng, self.device)
        return self.sample(n, prompts, rng)

    def continued(self, prompts: Sequences, rng: torch.Generator) -> Sequences:
        """A generated continuation of each row's prompt."""
        return self.sample(len(prompts), prompts, rng)

    def sample(
        self,
        n: int,
        prompts: Sequences | None,
        rng: torch.Generator,
        generator: Generator | None = None,
    ) -> Sequences:
        """n generated sequences, each of which continues its row of `prompts`, if there are any.

        Args:
            generator: None is the one that learns.
        """
        policy, task = self.generator if generator is None else generator, self.task
        return sample(policy, task.vocabulary, n, task.max_length, rng, None, prompts)

    def unseen(self, n: int, rng: torch.Generator) -> Sequences:
        """n generated sequences that no reward was trained on, nor on their prompts."""
        if not self.task.max_prompt_length:
            return self.draw(n, rng)
        return self.continued(self.heldout(n), self.rng_of_evaluation())

    def rng_of_evaluation(self) -> torch.Generator:
        """A generator for draws that must leave the run's own alone; another each iteration."""
        seed = self.seed * 1000003 + self.position.iteration
        return torch.Generator().manual_seed(seed % 2**63)

    def heldout_information(self, generated: Sequences) -> Metrics:
        """The discriminator's information about unseen sequences; empty without a discriminator."""
        if self.discriminator is None:
            return {}
        real = self.heldout(len(generated))
        return heldout_information(
            self.discriminator.logits(real), self.discriminator.logits(generated)
        )

    def nll_dev(self) -> float:
        """Mean negative log-likelihood of the dev split under the generator, nats per token."""
        dev = self.real("dev", self.task.size("dev"), torch.Generator().manual_seed(0))
        log_probs = sequence_log_probs(self.evaluated, dev)
        return float(-log_probs.double().sum()) / float(dev.mask.sum())

    def begin_step(self) -> None:
        """Tells the rewards that follow the run how far it is, and counts failures from here."""
        position = self.position
        for part in self.rewards.parts:
            if isinstance(part, Reporting):
                part.follow(position.global_step, position.iteration, position.iterations)
        self.failures.restart()

    def count_tokens(self, texts: Sequences | Trajectories) -> None:
        """Adds the real tokens of all processes' own texts to the run's position."""
        sequences = texts.sequences if isinstance(texts, Trajectories) else texts
        emitted, prompts = texts.mask, sequences.prompt_mask
        self.position.global_step += (new := int(self.runtime.total(float(emitted.sum()))))
        self.position.num_tokens += new
        if prompts is not None:
            self.position.num_tokens += int(self.runtime.total(float(prompts.sum())))

    def reward_reports(self) -> Metrics:
        """The numbers that rewards logged since the last call: the mean over the processes."""
        reports: dict[str, float | int] = {}
        for part in self.rewards.parts:
            if isinstance(part, Reporting):
                logged = self.runtime.gather_objects(part.take_metrics())
                for name in dict.fromkeys(chain.from_iterable(logged)):
                    values = [metrics[name] for metrics in logged if name in metrics]
                    reports[f"rewards/{part.name}/{name}"] = sum(values) / len(values)
        return reports

    def state_dict(self) -> dict[str, Any]:
        # "generator" is what others read: the one that is evaluated.
        learner = {"updates": self.average.updates, "learner": self.generator.state_dict()}
        return {
            **({} if self.average.generator is None else {"average": learner}),
            "generator": self.evaluated.state_dict(),
            "reference": self.reference.state_dict(),
            "rewards": self.rewards.state_dict(),
            "replay": self.replay.state_dict() if self.replay.share > 0 else {},
            "position": {**self.position.axes(), "num_tokens": self.position.num_tokens},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.average.forget()
        self.generator.load_state_dict(state["generator"])
        if average := state.get("average"):
            self.generator.load_state_dict(average["learner"])
            self.average.load(self.generator, state["generator"], average["updates"])
        self.reference.load_state_dict(state["reference"])
        self.rewards.load_state_dict(state["rewards"])
        self.replay.load_state_dict(state["replay"], self.task.vocabulary, self.device)
        position = state["position"]
        self.position.iteration = position["iteration"]
        self.position.global_step = position["global_step"]
        # Checkpoints of 0.2.0 and before count no tokens of prompts.
        self.position.num_tokens = position.get("num_tokens", position["global_step"])
