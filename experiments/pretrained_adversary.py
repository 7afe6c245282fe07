"""Claim: a pretrained encoder knows what 1,000 captions do not say, and a generator can learn it.

Maximum likelihood on 1,000 captions, then the game against a discriminator from scratch (CNN) and
against a small head on a frozen sentence encoder (all-MiniLM-L6-v2), first held fixed, then trained
in turns. Each discriminator is the best of its epochs on captions that decide nothing else. Every
generator is measured over temperatures: held-out NLL, the score under a language model of other
captions, and the Frechet distance to these in an encoder that no discriminator has seen.

    python experiments/pretrained_adversary.py --captions coco/train.txt
    python experiments/compare_curves.py --table results/pretrained_adversary.csv

Expected: the encoder's discriminator has far more held-out information than the scratch one, and
training against it moves the whole curve. Numbers, time and machine: experiments/README.md.
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

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary, split_words
from seqgan.evaluation.game.adversary import heldout_information
from seqgan.evaluation.measure import measure, token_rows
from seqgan.evaluation.texts import TextMeasures
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.updates import train_discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.sampling import Sampling
from seqgan.tasks.base import FixedTask
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training import settings as settings_of
from seqgan.training.start import make_trainer
from seqgan.training.trainer import Trainer

CNN = CNNDiscriminatorConfig(filter_sizes=(1, 2, 3, 4, 5), num_filters=(50,) * 5, dropout=0.5)
ENCODER = PretrainedDiscriminatorConfig(layers=(2, 4, 6), dropout=0.3, dtype="bfloat16")
# Whose discriminator, and its rounds in an iteration. The last game goes on from the one before.
GAMES = {"scratch": (CNN, 1), "pretrained, fixed": (ENCODER, 0), "then in turns": (ENCODER, 1)}
MEASURED = ("nll_heldout", "lm_score", "frechet_wordllama", "frechet_wordllama_floor")


@dataclass(frozen=True)
class Settings:
    captions: str  # text file, one caption a line
    seeds: tuple[int, ...] = (1, 2, 3)  # one MLE generator and three games each
    sizes: tuple[int, int, int] = (1000, 500, 1000)  # captions in train, dev, test
    hidden_size: int = 256  # of the LSTM
    epochs: int = 50  # of discriminator training before each game, at most
    updates: int = 200  # of the generator in each game
    num_samples: int = 2000  # generated texts per point
    temperatures: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6)  # of every generator
    results: Path = Path("results/pretrained_adversary.csv")  # CSV file to write


def make_task(settings: Settings) -> tuple[FixedTask, Sequences]:
    """The captions in three splits, and all others; words that occur once in training are <unk>."""
    lines = dict.fromkeys(Path(settings.captions).read_text(encoding="utf-8").splitlines())
    texts = [words for line in lines if len(words := split_words(line)) < 25]
    order = np.random.default_rng(0).permutation(len(texts))
    counts = Counter(word for i in order[: settings.sizes[0]] for word in texts[i])
    known = (word for word, count in counts.most_common() if count > 1)
    vocabulary = Vocabulary(("<unk>", *known), unk_word="<unk>")
    rows = [[*vocabulary.encode(texts[i]), len(vocabulary.words)] for i in order]
    ends = [*np.cumsum([0, *settings.sizes]), len(rows)]
    parts = [Sequences.from_rows(rows[a:b], vocabulary, 25) for a, b in pairwise(ends)]
    splits = dict(zip(("train", "dev", "test"), parts, strict=False))
    return FixedTask(vocabulary, 25, splits), parts[3]


def config_of(settings: Settings, seed: int, game: str) -> settings_of.TrainConfig:
    size, (discriminator, d_steps) = settings.hidden_size, GAMES[game]
    return settings_of.TrainConfig(
        generator=RecurrentGeneratorConfig(embedding_size=size // 2, hidden_size=size, dropout=0.5),
        discriminator=discriminator,
        pretrain=settings_of.PretrainConfig(batch_size=32),
        discriminator_training=settings_of.DiscriminatorTrainingConfig(
            d_steps=d_steps, num_sequences=64, batch_size=128
        ),
        rule=PolicyGradientConfig(learning_rate=3e-4, num_rollouts=0, kl_weight=1.0),
        adversarial=settings_of.AdversarialConfig(iterations=10**6, batch_size=192),
        seed=seed,
    )


def trainer_of(settings: Settings, task: FixedTask, seed: int, game: str) -> Trainer:
    return make_trainer(config_of(settings, seed, game), task, MemoryTracker(), Progress())


def information(trainer: Trainer, real: Sequences, generated: Sequences) -> dict[str, float]:
    found = heldout_information(*map(trainer.players.discriminator.logits, (real, generated)))
    return {name.removeprefix("discriminator/"): value for name, value in found.items()}


def train_best(trainer: Trainer, epochs: int) -> None:
    """Passes over the training captions and 4,000 samples; the best epoch on dev is kept."""
    reward, rng = trainer.players.discriminator, trainer.rng
    splits, draw = trainer.players.task.splits, trainer.players.draw
    real, generated = splits["train"], draw(4 * len(splits["train"]), rng)
    dev, other = splits["dev"], draw(len(splits["dev"]), rng)
    best, state = -np.inf, reward.state_dict()
    for _ in range(epochs):
        chosen = generated.select(torch.randperm(len(generated), generator=rng)[: len(real)])
        train_discriminator(reward, real, chosen, 1, 128, rng)
        if (known := information(trainer, dev, other)["information_heldout"]) > best:
            best, state = known, copy.deepcopy(reward.state_dict())
    reward.load_state_dict(state)


def points(settings: Settings, trainer: Trainer, texts: TextMeasures, name: str) -> list[dict]:
    generator = trainer.players.reference if name == "MLE" else trainer.players.generator
    rows = []
    for temperature in settings.temperatures:
        rng, sampling = torch.Generator().manual_seed(5), Sampling(temperature)
        task, count = trainer.players.task, settings.num_samples
        found = measure(generator, task, count, 10**6, rng, sampling, texts=texts)
        row = {"model": name, "seed": trainer.players.seed, "temperature": temperature}
        rows.append(row | {key: found.metrics[f"eval/{key}"] for key in MEASURED})
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
    print(f"{name}: " + " | ".join(found.samples.texts[:3]), flush=True)
    return rows


def main(settings: Settings) -> None:
    task, others = make_task(settings)
    texts = TextMeasures(token_rows(others), others.texts, embeddings=("wordllama",))
    rows: list[dict[str, Any]] = []
    for seed in settings.seeds:
        start: dict[str, Any] = {}
        for game in GAMES:
            trainer = trainer_of(settings, task, seed, game)
            if not start:
                trainer.run(trainer.phase("maximum_likelihood"))
                start = copy.deepcopy(trainer.state_dict())
                rows += points(settings, trainer, texts, "MLE")
            if game == "then in turns":
                trainer.load_state_dict(start["after"])
            else:
                pretrained = {key: start["players"][key] for key in ("generator", "reference")}
                state = trainer.state_dict()
                trainer.load_state_dict(state | {"players": state["players"] | pretrained})
                train_best(trainer, settings.epochs)
            for update in range(settings.updates + 1):
                if update % 100 == 0 or update == settings.updates:
                    test = task.splits["test"]
                    known = information(trainer, test, trainer.players.draw(len(test), trainer.rng))
                    print(f"{game}, {update} updates: {known}", flush=True)
                if update < settings.updates:
                    trainer.phase("game").unit(trainer.players, trainer.rng)
            start["after"] = copy.deepcopy(trainer.state_dict())
            rows += points(settings, trainer, texts, game)
        settings.results.parent.mkdir(parents=True, exist_ok=True)
        with settings.results.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
