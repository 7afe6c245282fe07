"""Claim: cooperative training has the best published curve on the paper's oracle; is it ours, too?

Cooperative training (CoT; Lu et al., 2019) has no rewards: a mediator learns half real, half own
texts by maximum likelihood, and the generator follows the mediator, exactly over the vocabulary.
On 10,000 sequences of the paper's oracle GansFallingShort publishes a curve over temperatures that
lies below its tuned MLE (Caccia et al., 2020; generator of 512 units, mediator of 1,024). Here are
smaller networks, what they begin from (maximum likelihood, early stopped on other sequences), and
the same curve. Both numbers can be lowered together by less entropy, so that entropy and duplicates
stand beside them.

    python experiments/cooperative_oracle.py --oracle oracle-paper.npz

Numbers, time and machine: experiments/README.md.
"""

import copy
import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from seqgan.learning.players import Players
from seqgan.learning.rules.cooperative import CooperativeConfig, MediatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.system.memory import keep_freed_memory
from seqgan.tasks.oracle import OracleConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import oracle_preset
from seqgan.training.settings import PretrainConfig, TrainConfig
from seqgan.training.start import make_trainer

# NLL_oracle: held-out NLL of the published curves at it, nats per token.
PUBLISHED = {
    "MLE, published": {8.736: 7.78, 8.0: 8.06, 7.5: 8.28},
    "CoT, published": {8.736: 7.69, 8.0: 7.92, 7.5: 8.15},
}
HEAD = [
    *("seed", "model", "updates", "seconds", "temperature"),
    *("nll_oracle", "nll_heldout", "entropy", "duplicate_rate"),
]


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1,)  # one run each
    epochs: int = 60  # of maximum likelihood before, at most; 0 begins from random weights
    updates: int = 2000  # of the generator
    every: int = 100  # updates between two looks at the NLL of the development split
    batch_size: int = 64  # own texts of an update; the mediator's minibatch is twice as large
    embedding_size: int = 64  # of both networks
    hidden_size: int = 128  # of the generator
    mediator_size: int = 256  # its hidden units; 0 copies the generator
    mediator_steps: int = 1  # updates of the mediator for each of the generator's
    alone: int = 0  # updates of the mediator before the generator's first
    dropout: float = 0.3  # the generator's
    mediator_dropout: float = 0.2  # the mediator's
    learning_rate: float = 5e-4  # the generator's
    mediator_rate: float = 5e-4  # the mediator's
    train_size: int = 10000  # training sequences
    num_samples: int = 10000  # generated, and held-out, sequences per point
    temperatures: tuple[float, ...] = (1.0, 0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
    results: Path = Path("results/cooperative_oracle.csv")  # CSV file to write


def main(settings: Settings) -> None:
    keep_freed_memory()
    rows = [row for seed in settings.seeds for row in trained(settings, seed)]
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    print(f"written: {settings.results}")


def configured(settings: Settings, seed: int) -> TrainConfig:
    mediator = MediatorConfig(
        kind="lstm" if settings.mediator_size else "copy",
        embedding_size=settings.embedding_size,
        hidden_size=settings.mediator_size or settings.hidden_size,
        dropout=settings.mediator_dropout,
        learning_rate=settings.mediator_rate,
        steps=settings.mediator_steps,
        alone=settings.alone,
    )
    preset = oracle_preset()
    return replace(
        preset,
        task=OracleConfig(
            path=settings.oracle,
            train_size=settings.train_size,
            dev_size=max(settings.num_samples // 5, 20),
            test_size=settings.num_samples,
        ),
        generator=RecurrentGeneratorConfig(
            embedding_size=settings.embedding_size,
            hidden_size=settings.hidden_size,
            dropout=settings.dropout,
        ),
        pretrain=PretrainConfig(
            epochs=settings.epochs, patience=2, decays=1, batch_size=64, learning_rate=2e-3
        ),
        rule=CooperativeConfig(learning_rate=settings.learning_rate, mediator=mediator),
        adversarial=replace(
            preset.adversarial, iterations=settings.updates, batch_size=settings.batch_size
        ),
        reward=("constant",),  # which the rule never asks
        phases=("maximum_likelihood", "game"),
        seed=seed,
    )


def trained(settings: Settings, seed: int) -> list[list[object]]:
    """The curve before, and that of the best update by the NLL of the development split."""
    config = configured(settings, seed)
    with Progress() as progress:
        trainer = make_trainer(
            config, config.task.build(config.generator), MemoryTracker(), progress
        )
        players, game, started = trainer.players, trainer.phase("game"), time.perf_counter()
        trainer.run(trainer.phase("maximum_likelihood"))
    start = [seed, "MLE, its start", 0, round(time.perf_counter() - started)]
    rows = curve(settings, players, start) if settings.epochs else []
    best, best_nll, best_at = copy.deepcopy(players.generator.state_dict()), float("inf"), 0
    started = time.perf_counter()
    for update in range(1, settings.updates + 1):
        metrics = game.unit(players, trainer.rng)
        if update % settings.every and update < settings.updates:
            continue
        nll_dev, seconds = players.nll_dev(), time.perf_counter() - started
        named = ("losses/mediator", "losses/divergence", "losses/entropy")
        shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in named if name in metrics)
        print(
            f"seed {seed}  update {update}  {seconds:.0f} s  nll_dev {nll_dev:.4f}  {shown}",
            flush=True,
        )
        if nll_dev < best_nll:
            best, best_nll, best_at = copy.deepcopy(players.generator.state_dict()), nll_dev, update
    last = [seed, "CoT, last", settings.updates, round(time.perf_counter() - started)]
    rows += curve(settings, players, last)
    players.generator.load_state_dict(best)
    return rows + curve(settings, players, [seed, "CoT, best", best_at, last[-1]])


def curve(settings: Settings, players: Players, run: list[object]) -> list[list[object]]:
    """Both NLLs, the entropy and the share of duplicates over temperatures."""
    task, generator = players.task, players.generator
    assert task.exact is not None
    rng, heldout = (
        torch.Generator().manual_seed(0),
        players.real("test", settings.num_samples, torch.Generator().manual_seed(0)),
    )
    rows = []
    for temperature in settings.temperatures:
        sampling = Sampling(temperature=temperature)
        drawn = sample(
            generator, task.vocabulary, settings.num_samples, task.max_length, rng, sampling
        )
        size = drawn.mask.sum()
        nll_oracle = -float(task.exact.log_prob(drawn).sum() / size)
        entropy = -float(sequence_log_probs(generator, drawn, sampling).double().sum() / size)
        likelihood = sequence_log_probs(generator, heldout, sampling).double().sum()
        duplicates = 1 - len(torch.unique(drawn.tokens, dim=0)) / len(drawn)
        numbers = [nll_oracle, -float(likelihood / heldout.mask.sum()), entropy, duplicates]
        rows.append([*run, temperature, *(round(number, 4) for number in numbers)])
        print(*rows[-1], sep="  ", flush=True)
    tell(f"{run[1]}, seed {run[0]}", rows)
    return rows


def tell(name: str, rows: list[list[object]]) -> None:
    """Prints the held-out NLL at the published values of NLL_oracle, between the points."""
    points = np.array(sorted((row[5], row[6]) for row in rows), dtype=float)
    for at in PUBLISHED["MLE, published"]:
        here = float(np.interp(at, points[:, 0], points[:, 1], left=np.nan, right=np.nan))
        others = ", ".join(f"{model} {values[at]}" for model, values in PUBLISHED.items())
        print(f"{name}: held-out NLL at NLL_oracle {at}: {here:.3f} ({others})", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
