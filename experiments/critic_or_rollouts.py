"""Claim: a critic takes a third of the time of Monte Carlo rollouts to the same reward and KL.

The reward is 1 for a grammatical caption and 0 for another. From one pretrained generator of 16
units, with the same batches, learning rate and KL weight, each way of credit goes on until its last
9 batches are `gain` more grammatical than the start: 8 rollouts of each prefix, the text's own
reward for each of its tokens, and a critic with generalized advantages.

    python experiments/critic_or_rollouts.py

Expected: the critic needs a little more than a quarter of the rollouts' processor time, at lambda 1
at their KL. The text's own reward needs a sixth: a batch of 256 captions says as much as a critic.
Numbers, time, machine: experiments/README.md.
"""

import copy
import csv
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time

import torch
import tyro

from seqgan.learning.critic import CriticConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.rewards.adapters.functions import as_reward
from seqgan.tasks.captions import CaptionGrammar
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import captions_preset
from seqgan.training.start import make_trainer

COLUMNS = ("grammatical", "nll_heldout", "entropy", "distinct_2")
WINDOW = 9  # batches whose mean reward and KL are compared


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2, 3)  # one run of each kind of credit per seed
    gain: float = 0.15  # of the share of grammatical captions, at which a run ends
    iterations: int = 150  # updates at most
    kl_weight: float = 0.05  # of the KL to the pretrained generator, reward units per nat
    epochs: int = 30  # of maximum likelihood before, at most
    num_samples: int = 2000  # generated texts per measurement
    results: Path = Path("results/critic_or_rollouts.csv")  # CSV file to write


def main(settings: Settings) -> None:
    preset, grammar = captions_preset(), CaptionGrammar()
    torch.set_num_threads(1)
    sequence = PolicyGradientConfig(
        learning_rate=2e-3, num_rollouts=0, kl_weight=settings.kl_weight
    )
    critic = CriticConfig(kind="head")
    rules = {
        "rollouts, N 8": replace(sequence, num_rollouts=8),
        "sequence": sequence,
        "critic, lambda 1": replace(sequence, critic=replace(critic, gae_lambda=1.0)),
        "critic, lambda .95": replace(sequence, critic=critic),
    }
    base = replace(
        preset,
        pretrain=replace(preset.pretrain, epochs=settings.epochs),
        adversarial=replace(preset.adversarial, iterations=settings.iterations),
        evaluation=replace(preset.evaluation, num_final=settings.num_samples, num_shown=0),
    )
    task = base.task.build(base.generator)

    def grammatical(texts: list[str]) -> list[float]:
        return [float(good) for good in grammar.grammatical(texts)]

    rows: list[list[object]] = []
    for seed in settings.seeds:
        start, goal, first = None, 0.0, (0.0, 0.0)
        for credit, rule in rules.items():
            config, reward = replace(base, rule=rule, seed=seed), as_reward(grammatical)
            with Progress() as progress:
                trainer = make_trainer(config, task, MemoryTracker(), progress, rewards=reward)
                players, evaluation = trainer.players, trainer.observer("evaluation")
                if start is None:
                    trainer.run(trainer.phase("maximum_likelihood"))
                    start = copy.deepcopy(players.state_dict())
                    before = evaluation.measure(players.generator, settings.num_samples).metrics
                    goal = before["eval/grammatical"] + settings.gain
                    row = [seed, "start", 0, 0.0, 0.0, 1.0, 1.0, "", 0.0]
                    rows.append([*row, *(before[f"eval/{name}"] for name in COLUMNS)])
                players.load_state_dict(copy.deepcopy(start))
                game, rng = trainer.phase("game"), torch.Generator().manual_seed(seed)
                rewards: deque[float] = deque(maxlen=WINDOW)
                distances: deque[float] = deque(maxlen=WINDOW)
                began = process_time(), perf_counter()
                while not game.done() and (len(rewards) < WINDOW or mean(rewards) < goal):
                    metrics = game.unit(players, rng)
                    rewards.append(metrics["charts/episodic_return"])
                    distances.append(metrics["kl/reference"])
                seconds = process_time() - began[0], perf_counter() - began[1]
                first = seconds if credit.startswith("rollouts") else first
                after = evaluation.measure(players.generator, settings.num_samples).metrics
            shares = [some / most for some, most in zip(seconds, first, strict=True)]
            known = metrics.get("losses/explained_variance", "")
            row = [seed, credit, game.iterations, *seconds, *shares, known, mean(distances)]
            rows.append([*row, *(after[f"eval/{name}"] for name in COLUMNS)])
            print(
                f"seed {seed}  {credit:18}  {game.iterations} updates, {seconds[0]:.1f} s of the"
                f" processor ({shares[0]:.2f} of the rollouts'), {seconds[1]:.1f} s"
                f" ({shares[1]:.2f}), kl {mean(distances):.3f}, grammatical"
                f" {before['eval/grammatical']:.3f} to {after['eval/grammatical']:.3f}",
                flush=True,
            )
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        head_row = ["seed", "credit", "updates", "processor_seconds", "seconds"]
        head_row += ["processor_share", "share", "explained_variance", "kl", *COLUMNS]
        csv.writer(file).writerows([head_row, *rows])
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
