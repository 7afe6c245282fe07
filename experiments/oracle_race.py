"""Claim: NLL_oracle 8.736 and a held-out NLL below the sharpened MLE model's prove little.

SeqGAN's published NLL_oracle on its synthetic data is 8.736 (Yu et al., 2017). Here the paper's
generator gets there in minutes, at temperature 1, and better on held-out data than its MLE start
sharpened by a temperature to the same NLL_oracle: the generator's update lowers the entropy of
every step a little and keeps up the likelihood of training sequences. It does so with a
discriminator and Monte Carlo rollouts, and beside it with a constant reward and neither.

    python experiments/oracle_race.py --oracle oracle-paper.npz

Expected: both reach 8.736 and pay less held-out NLL than temperature; what the discriminator adds
is the difference between the two. Numbers, time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.system.memory import keep_freed_memory
from seqgan.tasks.oracle import OracleConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.final import final_evaluation
from seqgan.training.presets import oracle_preset
from seqgan.training.settings import EvaluationConfig, TrainConfig
from seqgan.training.start import make_trainer

Reward = Literal["discriminator", "constant"]
PUBLISHED = 8.736  # SeqGAN's NLL_oracle
NUMBERS = ("nll_oracle", "nll_heldout", "entropy", "distinct_2", "duplicate_rate")
HEAD = ["seed", "reward", "updates", "seconds", "what", *NUMBERS, "difference", "error"]


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1,)  # one run of each reward per seed
    rewards: tuple[Reward, ...] = ("discriminator", "constant")
    limit: int = 600  # generator updates after which a run gives up
    every: int = 20  # updates between two looks at NLL_oracle
    num_looked_at: int = 4000  # sequences of such a look
    num_rollouts: int = 4  # completions per prefix, for the discriminator's reward
    d_sequences: int = 640  # real, and generated, in each round of discriminator training
    sharpening: float = 0.2  # weight of minus the entropy
    train_size: int = 9984  # training sequences
    num_samples: int = 9984  # generated, and held-out, sequences of the last measurements
    results: Path = Path("results/oracle_race.csv")  # CSV file to write


def main(settings: Settings) -> None:
    keep_freed_memory()
    runs = [(seed, reward) for seed in settings.seeds for reward in settings.rewards]
    rows = [row for seed, reward in runs for row in race(settings, seed, reward)]
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    print(f"written: {settings.results}")


def configured(settings: Settings, seed: int, reward: Reward) -> TrainConfig:
    preset, size = oracle_preset(), settings.num_samples
    return replace(
        preset,
        task=OracleConfig(
            path=settings.oracle, train_size=settings.train_size, dev_size=size // 5, test_size=size
        ),
        discriminator_training=replace(
            preset.discriminator_training, num_sequences=settings.d_sequences, learning_rate=3e-4
        ),
        rule=replace(
            preset.rule,
            learning_rate=2e-3,
            num_rollouts=settings.num_rollouts if reward == "discriminator" else 0,
            kl_weight=0.0,
            update=GeneratorUpdate(mle_weight=1.0, entropy_weight=-settings.sharpening),
        ),
        adversarial=replace(preset.adversarial, reward_shape="probability"),
        evaluation=EvaluationConfig(num_final=size, num_heldout=size, num_shown=0, resampled=0),
        reward=(reward,),
        seed=seed,
    )


def race(settings: Settings, seed: int, reward: Reward) -> list[list[object]]:
    """From nothing to the published number, or to the limit."""
    config = configured(settings, seed, reward)
    with Progress() as progress:
        trainer = make_trainer(
            config, config.task.build(config.generator), MemoryTracker(), progress
        )
        players = trainer.players
        nll_oracle, started = float("inf"), time.perf_counter()
        trainer.run(trainer.phase("maximum_likelihood"))
        trainer.run(trainer.phase("adversary"))
        while nll_oracle > PUBLISHED and players.position.iteration < settings.limit:
            for _ in range(settings.every):
                trainer.phase("game").unit(players, trainer.rng)
            drawn = players.draw(settings.num_looked_at, trainer.rng)
            nll_oracle = -float(players.task.exact.log_prob(drawn).sum() / drawn.mask.sum())
        seconds = time.perf_counter() - started
        result = final_evaluation(trainer)  # on fresh samples: those that ended it were chosen
    run = [seed, reward, players.position.iteration, round(seconds)]
    print(*run, result.comparison.sentence, flush=True)
    rows: list[list[object]] = []
    for row in result.rows:
        numbers = [row.metrics[f"eval/{name}"] for name in NUMBERS]
        print(row.name, *(f"{n} {v:.3f}" for n, v in zip(NUMBERS, numbers, strict=True)), sep="  ")
        rows.append([*run, row.name, *numbers])
    rows[-1] += [result.comparison.difference, result.comparison.error]
    return rows


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
