"""Claim: a pretrained encoder knows what 1,000 captions do not say, and a generator can learn it.

Maximum likelihood on 1,000 captions, then the game against a discriminator from scratch (CNN) and
against a small head on a frozen sentence encoder (all-MiniLM-L6-v2): first held fixed, then trained
in turns. Each is compared with the MLE generator over temperatures, on held-out NLL against the
score under a language model of other captions, and against the Frechet distance to these in another
encoder (WordLlama), which no discriminator has seen.

    python experiments/pretrained_adversary.py --captions coco/train.txt

Expected: the encoder's discriminator has more than twice the held-out information of the scratch
one, and training against it moves the whole curve; against the scratch one less or nothing.
Numbers, time and machine: experiments/README.md.
"""

import copy
import csv
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from seqgan.configuration import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.evaluation.adversary import heldout_information
from seqgan.evaluation.curves import Line, common_range, gap, mean_over_runs
from seqgan.evaluation.measure import measure, token_rows
from seqgan.evaluation.points import NATS, NLL_HELDOUT, Axis, Panel
from seqgan.evaluation.texts import TextMeasures
from seqgan.frontier_chart import Series, frontier_figure
from seqgan.generators.recurrent import RecurrentGeneratorConfig
from seqgan.sampling import Sampling
from seqgan.sequences import Sequences
from seqgan.tasks.base import FixedTask
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.trainer import Trainer
from seqgan.vocabulary import Vocabulary, split_words

PANELS = [
    Panel(Axis("lm_score", "language-model score", NATS, False), NLL_HELDOUT),
    Panel(Axis("frechet_wordllama", "Frechet distance", "WordLlama", False), NLL_HELDOUT),
]
CNN = CNNDiscriminatorConfig(filter_sizes=(1, 2, 3, 4, 5), num_filters=(50,) * 5)
ENCODER = PretrainedDiscriminatorConfig(layers=(2, 4, 6), dropout=0.3, dtype="bfloat16")
GAMES = {  # whose discriminator, and how many d-steps an iteration has
    "scratch, in turns": (
        CNNDiscriminatorConfig(filter_sizes=(1, 2, 3, 4, 5), num_filters=(50,) * 5),
        1,
    ),
    "pretrained, fixed": (PretrainedDiscriminatorConfig(dropout=0.3, dtype="bfloat16"), 0),
    "pretrained, in turns": (PretrainedDiscriminatorConfig(dropout=0.3, dtype="bfloat16"), 1),
}
Row = dict[str, Any]
NAMES = ("temperature", "nll_heldout", "lm_score", "frechet_wordllama", "frechet_wordllama_floor")
STARTING = ("counters", "generator", "pretrained", "best_nll_dev")  # what the games share


@dataclass(frozen=True)
class Settings:
    captions: str  # text file, one caption a line
    seeds: tuple[int, ...] = (1, 2, 3)  # one MLE generator and three games each
    train_size: int = 1000  # training captions; 500 more decide when MLE stops, 1,000 are held out
    hidden_size: int = 256  # of the LSTM
    rounds: int = 24  # of discriminator training before each game, each with 250 fresh samples
    updates: int = 200  # of the generator in each game
    learning_rate: float = 3e-4  # of these updates
    num_samples: int = 2000  # generated texts per point
    temperatures: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6)  # of every generator
    results: Path = Path("results/pretrained_adversary.csv")  # CSV file to write, a picture beside


def make_task(settings: Settings) -> tuple[FixedTask, Sequences]:
    """The captions in three splits, and all others; words that occur once in training are <unk>."""
    lines = dict.fromkeys(Path(settings.captions).read_text(encoding="utf-8").splitlines())
    texts = [words for line in lines if len(words := split_words(line)) < 25]
    order = np.random.default_rng(0).permutation(len(texts))
    counts = Counter(word for i in order[: settings.train_size] for word in texts[i])
    known = (word for word, count in counts.most_common() if count > 1)
    vocabulary = Vocabulary(("<unk>", *known), unk_word="<unk>")
    rows = [[*vocabulary.encode(texts[i]), vocabulary.eos_id] for i in order]
    ends = np.cumsum([0, settings.train_size, 500, 1000, len(rows)])
    parts = [Sequences.from_rows(rows[a:b], vocabulary, 25) for a, b in pairwise(ends)]
    splits = dict(zip(("train", "dev", "test"), parts, strict=False))
    return FixedTask(vocabulary, 25, splits), parts[3]


def make_trainer(settings: Settings, task: FixedTask, seed: int, game: str) -> Trainer:
    discriminator, d_steps = GAMES[game]
    config = TrainConfig(
        generator=RecurrentGeneratorConfig(
            embedding_size=settings.hidden_size // 2, hidden_size=settings.hidden_size, dropout=0.5
        ),
        discriminator=discriminator,
        pretrain=PretrainConfig(batch_size=32, learning_rate=2e-3),
        discriminator_training=DiscriminatorTrainingConfig(
            settings.rounds, 7, d_steps, num_sequences=250, batch_size=128
        ),
        adversarial=AdversarialConfig(
            iterations=settings.updates,
            batch_size=192,
            learning_rate=settings.learning_rate,
            num_rollouts=0,
            kl_weight=1.0,
        ),
        evaluation=EvaluationConfig(every=10**6, num_samples=100, num_shown=0, embeddings=()),
        seed=seed,
    )
    return Trainer(config, task, MemoryTracker(), Progress())


def report(trainer: Trainer, game: str) -> None:
    """What the discriminator knows of the held-out captions beside as many samples."""
    assert trainer.discriminator is not None
    sides = trainer.task.splits["test"], trainer.draw(len(trainer.task.splits["test"]))
    found = heldout_information(*map(trainer.discriminator.logits, sides))
    nats, error = (found[f"discriminator/information_heldout{end}"] for end in ("", "_error"))
    accuracy = found["discriminator/accuracy_heldout"]
    print(
        f"{game}, {trainer.counters.iterations} updates: {nats:.3f} ({error:.3f}), {accuracy:.3f}"
    )


def measured(settings: Settings, trainer: Trainer, texts: TextMeasures, name: str) -> list[Row]:
    """Points of the trained generator, or of the pretrained one (MLE), over temperatures."""
    generator = trainer.pretrained if name == "MLE" else trainer.generator
    rows = []
    for temperature in settings.temperatures:
        rng, sampling = torch.Generator().manual_seed(5), Sampling(temperature)
        task, count = trainer.task, settings.num_samples
        found = measure(generator, task, count, 10**6, rng, sampling, texts=texts)
        known = {f"{key.removeprefix('eval/')}": value for key, value in found.metrics.items()}
        rows.append({"generator": name, "seed": trainer.config.seed} | {n: known[n] for n in NAMES})
        print("  ".join(f"{key} {value:.4g}" for key, value in list(rows[-1].items())[2:]))
    print(f"{name}: " + " | ".join(found.samples.texts[:3]), flush=True)
    return rows


def curve(rows: list[Row], generator: str, seed: int, panel: Panel) -> Line:
    points = [row for row in rows if (row["generator"], row["seed"]) == (generator, seed)]
    axes = panel.quality, panel.diversity
    return Line(*(axis.sign * np.array([point[axis.name] for point in points]) for axis in axes))


def verdict(rows: list[Row], game: str, seeds: tuple[int, ...], panel: Panel) -> str:
    """How far a game's curves lie from those of MLE, in nats of held-out NLL at equal quality."""
    differences = []
    for seed in seeds:
        pair = [[curve(rows, generator, seed, panel)] for generator in (game, "MLE")]
        if (common := common_range(pair[0], pair[1])) is not None:
            differences.append(-float(gap(pair[0], pair[1], common).mean))
    spelt = ", ".join(f"{difference:+.4f}" for difference in differences) or "none in common"
    text = f"{game}: held-out NLL at equal {panel.quality.title} differs by {spelt} nats per token"
    if len(differences) < 2:
        return text
    mean = mean_over_runs(-np.array(differences))
    low, high = (-end for end in reversed(mean.interval))
    return f"{text}; mean {-mean.difference:+.4f} (95% {low:+.4f} to {high:+.4f}), {mean.place}"


def main(settings: Settings) -> None:
    task, others = make_task(settings)
    texts = TextMeasures(token_rows(others), others.texts, embeddings=("wordllama",))
    rows: list[Row] = []
    for seed in settings.seeds:
        start: dict[str, Any] = {}
        before: dict[str, Any] = {}
        for game in GAMES:
            trainer = make_trainer(settings, task, seed, game)
            if not start:
                trainer.pretrain_generator()
                start = copy.deepcopy(trainer.state_dict())
                rows += measured(settings, trainer, texts, "MLE")
            if game == "then in turns":
                trainer.load_state_dict(before)
                trainer.counters.iterations = 0
            else:
                trainer.load_state_dict(trainer.state_dict() | {n: start[n] for n in STARTING})
                trainer.pretrain_discriminator()
            report(trainer, game)
            trainer.play()
            report(trainer, game)
            rows += measured(settings, trainer, texts, game)
            before = copy.deepcopy(trainer.state_dict())
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    planes = []
    for panel in PANELS:
        print("\n".join(verdict(rows, game, settings.seeds, panel) for game in GAMES))
        series = []
        for number, generator in enumerate(("MLE", *GAMES)):
            lines = [curve(rows, generator, seed, panel) for seed in settings.seeds]
            quality, diversity = (
                axis.sign * np.mean([getattr(line, side) for line in lines], axis=0)
                for axis, side in ((panel.quality, "quality"), (panel.diversity, "diversity"))
            )
            notes = tuple(f"{temperature:g}" for temperature in settings.temperatures)
            kind = "run" if number else "control"
            series.append(
                Series(generator, kind, quality, diversity, max(number - 1, 0), notes=notes)
            )
        planes.append((panel, series, f"mean of {len(settings.seeds)} seeds"))
    frontier_figure(planes).savefig(settings.results.with_suffix(".png"), dpi=150)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
