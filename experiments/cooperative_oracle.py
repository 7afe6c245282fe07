"""Claim: with a mediator like the generator, cooperative training gains nothing over its start.

Cooperative training (CoT; Lu et al., 2019) has no rewards: a mediator learns half real, half own
texts by maximum likelihood, and the generator follows it, exactly over the vocabulary. The best
published curve on 10,000 sequences of the paper's oracle is its (Caccia et al., 2020; a generator
of 512 units, a mediator of 1,024, dropout). Here the paper's generator (32 units) is trained by
maximum likelihood, then cooperatively with a mediator of its own size, and both are measured over
temperatures. Both NLLs can be lowered by less entropy, so entropy and duplicates stand beside them.

    python experiments/cooperative_oracle.py --oracle oracle-paper.npz

Expected: the NLL of the development split rises from the first updates on. Numbers, time and
machine: experiments/README.md.
"""

import copy
import csv
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from seqgan.learning.players import Players
from seqgan.learning.rules.cooperative import CooperativeConfig, MediatorConfig
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.system.memory import keep_freed_memory
from seqgan.tasks.oracle import OracleConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import oracle_paper_preset
from seqgan.training.settings import TrainConfig
from seqgan.training.start import make_trainer

PUBLISHED_AT = (8.736, 8.0, 7.5)  # NLL_oracle; held-out NLL at each, nats per token:
PUBLISHED = {"MLE": (7.78, 8.06, 8.28), "CoT": (7.69, 7.92, 8.15)}
HEAD = ["seed", "model", "updates", "seconds", "temperature"]
NUMBERS = ["nll_oracle", "nll_heldout", "entropy", "duplicate_rate"]


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1,)  # one run each
    epochs: int = 5  # of maximum likelihood before
    hidden_size: int = 32  # units of the generator
    learning_rate: float = 3e-4  # of the generator, in cooperative training
    # A copy of the generator, or another kind with sizes of its own.
    mediator: MediatorConfig = field(default_factory=lambda: MediatorConfig(learning_rate=3e-4))
    updates: int = 600  # of the generator
    every: int = 50  # updates between two looks at the NLL of the development split
    train_size: int = 10000  # training sequences
    num_samples: int = 4000  # generated, and held-out, sequences per point
    temperatures: tuple[float, ...] = (1.0, 0.8, 0.7, 0.65, 0.6)
    results: Path = Path("results/cooperative_oracle.csv")  # CSV file to write


def main(settings: Settings) -> None:
    keep_freed_memory()
    rows = [row for seed in settings.seeds for row in trained(settings, seed)]
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD + NUMBERS, *rows])
    print(f"written: {settings.results}")


def configured(settings: Settings, seed: int) -> TrainConfig:
    preset, size = oracle_paper_preset(), settings.num_samples
    config = replace(
        preset,
        task=OracleConfig(
            path=settings.oracle,
            train_size=settings.train_size,
            dev_size=min(size, 1000),
            test_size=size,
        ),
        pretrain=replace(preset.pretrain, epochs=settings.epochs),
        rule=CooperativeConfig(learning_rate=settings.learning_rate, mediator=settings.mediator),
        adversarial=replace(preset.adversarial, iterations=settings.updates),
        reward=("constant",),  # which the rule never asks for
        phases=("maximum_likelihood", "game"),
        seed=seed,
    )
    return config.with_(**{"generator.hidden_size": settings.hidden_size})


def trained(settings: Settings, seed: int) -> list[list[object]]:
    """The curves of the start, of the last update, and of the best by the development split."""
    config = configured(settings, seed)
    with Progress() as progress:
        trainer = make_trainer(
            config, config.task.build(config.generator), MemoryTracker(), progress
        )
        trainer.run(trainer.phase("maximum_likelihood"))
    players, game, started = trainer.players, trainer.phase("game"), time.perf_counter()
    rows = curve(settings, players, [seed, "MLE, its start", 0, 0])
    best, best_nll, best_at = copy.deepcopy(players.generator.state_dict()), players.nll_dev(), 0
    for update in range(1, settings.updates + 1):
        metrics = game.unit(players, trainer.rng)
        if update % settings.every and update < settings.updates:
            continue
        nll_dev, seconds = players.nll_dev(), round(time.perf_counter() - started)
        shown = " ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))
        print(
            f"seed {seed}, update {update}, {seconds} s: nll_dev {nll_dev:.4f} {shown}", flush=True
        )
        if nll_dev < best_nll:
            best, best_nll, best_at = copy.deepcopy(players.generator.state_dict()), nll_dev, update
    rows += curve(settings, players, [seed, "CoT, last", settings.updates, seconds])
    players.generator.load_state_dict(best)
    return rows + curve(settings, players, [seed, "CoT, best", best_at, seconds])


def curve(settings: Settings, players: Players, run: list[object]) -> list[list[object]]:
    """Both NLLs, the entropy and the share of duplicates over temperatures."""
    task, generator, n = players.task, players.generator, settings.num_samples
    assert task.exact is not None
    rng = torch.Generator().manual_seed(0)
    heldout, points = players.real("test", n, rng), []
    for temperature in settings.temperatures:
        sampling = Sampling(temperature=temperature)
        drawn = sample(generator, task.vocabulary, n, task.max_length, rng, sampling)
        nats = (
            -task.exact.log_prob(drawn).double().mean(),
            -sequence_log_probs(generator, heldout, sampling).double().mean(),
            -sequence_log_probs(generator, drawn, sampling).double().mean(),
        )  # per sequence; every sequence has as many tokens
        numbers = [round(float(each) / task.max_length, 4) for each in nats]
        points.append([*numbers, round(1 - len(torch.unique(drawn.tokens, dim=0)) / n, 4)])
        print(*run, temperature, *points[-1], flush=True)
    line = np.array(sorted(points))
    for place, at in enumerate(PUBLISHED_AT):
        here = np.interp(at, line[:, 0], line[:, 1], left=np.nan, right=np.nan)
        others = ", ".join(f"{model} {values[place]}" for model, values in PUBLISHED.items())
        print(f"{run[1]}: held-out NLL {here:.3f} at NLL_oracle {at}; published: {others}")
    pairs = zip(settings.temperatures, points, strict=True)
    return [[*run, temperature, *point] for temperature, point in pairs]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
