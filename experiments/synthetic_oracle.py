"""Claim: the published NLL_oracle of MLE, 9.04 (Yu et al., 2017), is that of an overfitted model.

Trains the paper's generator by maximum likelihood for the paper's 120 epochs on 9,984 sequences
and measures it on the way. NLL_oracle keeps falling because entropy falls; both KLs to the true
model are lowest early on.

    python experiments/synthetic_oracle.py --oracle oracle-paper.npz

Expected: NLL_oracle within 0.1 of 9.04 at epoch 120. Without `--oracle`, the weights are drawn
from a seed and the numbers are those of another task. Time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from seqgan.evaluation.measure import measure
from seqgan.learning.updates import pretrain_epoch
from seqgan.system.memory import keep_freed_memory
from seqgan.system.runtime import SingleProcess
from seqgan.system.seeding import seeded_from
from seqgan.tasks.oracle import OracleConfig, oracle_task
from seqgan.training.networks import build_generator
from seqgan.training.presets import oracle_paper_preset

COLUMNS = (
    "nll_oracle",
    "entropy",
    "kl_generator_oracle",
    "nll_heldout",
    "kl_oracle_generator",
)


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1,)  # one run each
    epochs: int = 120  # of maximum likelihood
    measured: tuple[int, ...] = (5, 15, 35, 120)  # epochs after which to measure
    train_size: int = 9984  # training sequences
    num_samples: int = 9984  # generated, and held-out, sequences per measurement
    threads: int = 0  # CPU threads; 0 leaves PyTorch's choice
    results: Annotated[Path, tyro.conf.arg(help="CSV file to write")] = Path(
        "results/synthetic_oracle.csv"
    )


def main(settings: Settings) -> None:
    keep_freed_memory()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    config = oracle_paper_preset()
    task = oracle_task(
        OracleConfig(
            path=settings.oracle,
            train_size=settings.train_size,
            dev_size=100,
            test_size=settings.num_samples,
        )
    )
    print(task.description)
    rows = []
    for seed in settings.seeds:
        started = time.perf_counter()
        rng = torch.Generator().manual_seed(seed)
        generator = build_generator(replace(config, seed=seed), task.vocabulary, rng)
        optimizer = torch.optim.Adam(generator.parameters(), config.pretrain.learning_rate)
        for epoch in range(1, settings.epochs + 1):
            batches = task.batches("train", config.pretrain.batch_size, rng)
            with seeded_from(rng):
                pretrain_epoch(
                    generator,
                    optimizer,
                    batches,
                    config.pretrain.max_grad_norm,
                    SingleProcess(),
                )
            if epoch in settings.measured or epoch == settings.epochs:
                fresh = torch.Generator().manual_seed(seed)
                size = settings.num_samples
                metrics = measure(generator, task, size, size, fresh).metrics
                values = [metrics[f"eval/{name}"] for name in COLUMNS]
                rows.append([seed, epoch, *values])
                spelt = "  ".join(f"{n} {v:.3f}" for n, v in zip(COLUMNS, values, strict=True))
                seconds = time.perf_counter() - started
                print(f"seed {seed}  epoch {epoch}  {spelt}  ({seconds:.0f} s)", flush=True)
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "epoch", *COLUMNS])
        writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
