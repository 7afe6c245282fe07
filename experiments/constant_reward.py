"""Claim: with the paper's update a reward that says nothing still lowers NLL_oracle.

A user of the reference code replaced the discriminator's reward by a constant and saw faster
progress (LantaoYu/SeqGAN issue 21). Positive rewards without a baseline push up whatever was
sampled, and Adam keeps the push at full size: the policy sharpens itself. NLL_oracle falls, and so
does entropy; held-out NLL pays for it. With a leave-one-out baseline the advantages are exactly
zero and nothing moves.

    python experiments/constant_reward.py --oracle oracle-paper.npz

Expected: after the game with no baseline NLL_oracle is lower and held-out NLL higher than before;
with leave-one-out both are unchanged. Numbers, time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from seqgan.evaluation.measure import Measurement
from seqgan.system.memory import keep_freed_memory
from seqgan.tasks.oracle import OracleConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import oracle_paper_preset
from seqgan.training.settings import EvaluationConfig, PretrainConfig
from seqgan.training.start import make_trainer

COLUMNS = ("nll_oracle", "entropy", "kl_generator_oracle", "nll_heldout", "kl_oracle_generator")
BASELINES = ("none", "leave_one_out")


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1, 2, 3)  # one run of each kind per seed
    epochs: int = 10  # of maximum likelihood before the game
    iterations: int = 50  # generator updates with the constant reward
    train_size: int = 9984  # training sequences
    num_samples: int = 4000  # generated, and held-out, sequences per measurement
    results: Path = Path("results/constant_reward.csv")  # CSV file to write


def main(settings: Settings) -> None:
    keep_freed_memory()
    paper = oracle_paper_preset()
    size = settings.num_samples
    rows: list[list[object]] = []
    for seed in settings.seeds:
        for baseline in BASELINES:
            started = time.perf_counter()
            config = replace(
                paper,
                task=OracleConfig(
                    path=settings.oracle,
                    train_size=settings.train_size,
                    dev_size=100,
                    test_size=size,
                ),
                pretrain=PretrainConfig(
                    epochs=settings.epochs, patience=0, learning_rate=paper.pretrain.learning_rate
                ),
                rule=replace(paper.rule, baseline=baseline, num_rollouts=0),
                adversarial=replace(paper.adversarial, iterations=settings.iterations),
                evaluation=EvaluationConfig(
                    every=settings.iterations, num_samples=size, num_heldout=size, num_shown=0
                ),
                reward=("constant",),
                seed=seed,
            )
            with Progress() as progress:
                trainer = make_trainer(
                    config, config.task.build(config.generator), MemoryTracker(), progress
                )
                trainer.run(trainer.phase("maximum_likelihood"))
                before = trainer.observer("evaluation").measure(trainer.players.generator, size)
                trainer.run(trainer.phase("game"))
                after = trainer.observer("evaluation").measure(trainer.players.generator, size)
            for when, measured in (("before", before), ("after", after)):
                rows.append([seed, baseline, when, *numbers(measured)])
                spelt = "  ".join(
                    f"{name} {value:.3f}"
                    for name, value in zip(COLUMNS, numbers(measured), strict=True)
                )
                print(f"seed {seed}  baseline {baseline}  {when}  {spelt}")
            print(f"seed {seed}  baseline {baseline}  {time.perf_counter() - started:.0f} s")
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "baseline", "when", *COLUMNS])
        writer.writerows(rows)
    print(f"written: {settings.results}")


def numbers(measured: Measurement) -> list[float]:
    return [measured.metrics[f"eval/{name}"] for name in COLUMNS]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
