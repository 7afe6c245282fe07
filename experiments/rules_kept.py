"""Claim: what a discriminator knows makes samples better by any rule, held-out NLL by hardly any.

A generator after maximum likelihood on 1,000 captions meets a head on a frozen sentence encoder
that stays as it is (see `pretrained_adversary.py`). The start, drawn anew in proportion to
D/(1-D), is better in two ways at once: held-out NLL, and the score under a language model of other
captions. Each rule learns from as many own texts, and its generator is then sampled plainly.
`nll_kept` is its gain in held-out NLL over the start, as a share of the resampled start's.

    python experiments/rules_kept.py --captions coco/train.txt --starts starts

Expected: the policy gradient goes further in the score and keeps little of held-out NLL. Numbers,
time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from pretrained_adversary import Settings as Captions
from pretrained_adversary import config_of, make_task, train_best
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.language_model import LanguageModel
from seqgan.learning.players import Players
from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.rules.preference import PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.rewards.discriminator import RewardShape
from seqgan.tasks.base import FixedTask
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.start import make_trainer
from seqgan.training.trainer import Trainer

RATE: Any = {"learning_rate": 1e-3, "schedule": "linear"}  # of every rule
PLAIN = PolicyGradientConfig(**RATE, num_rollouts=0, kl_weight=1.0)
HALF = GeneratorUpdate(mle_weight=0.5)
IN_LOSS = replace(PLAIN, kl_in="loss", kl_estimator="k2")
GROUP = replace(PLAIN, baseline="group_mean", scale="group", loss="ppo", kl_estimator="k3")
RULES: dict[str, tuple[RewardShape, Any]] = {
    "policy-gradient": ("logit", PLAIN),
    "with-mle": ("logit", replace(IN_LOSS, update=HALF)),
    "as-the-demo": ("centred", replace(IN_LOSS, kl_weight=0.3, update=HALF)),
    "grpo": ("logit", replace(GROUP, kl_weight=0.3, kl_in="loss")),
    "reweighting": ("logit", ReweightingConfig(**RATE, baseline=1.0, mle_weight=0.5)),
    "cloning": ("logit", CloningConfig(**RATE, mle_weight=0.5)),
    "preference": ("logit", PreferenceConfig(**RATE, beta=1.0)),
}

COLUMNS = ["seed", "model", "nll_heldout", "nll_kept", "lm_score", "lm_error", "kl", "share"]
COLUMNS += ["seconds"]


@dataclass(frozen=True)
class Settings:
    captions: str  # text file, one caption a line
    seeds: tuple[int, ...] = (1, 2, 3)  # one start, one discriminator and all rules each
    rules: tuple[str, ...] = tuple(RULES)  # those that are tried
    sizes: tuple[int, int, int] = (1000, 500, 1000)  # captions in train, dev, test
    hidden_size: int = 256  # of the LSTM
    epochs: int = 50  # of discriminator training, at most
    updates: int = 40  # of the generator by each rule
    batch_size: int = 256  # own texts of an update
    temperatures: tuple[float, ...] = (0.9, 0.8)  # of the start, beside temperature 1
    proposals: int = 8000  # of the resampled start
    num_samples: int = 4000  # generated texts of each generator that are scored
    starts: Path = Path("starts")  # folder of starts and discriminators, made where they lack
    results: Path = Path("results/rules_kept.csv")  # CSV file to write


def trainer_of(settings: Settings, task: FixedTask, seed: int, rule: str) -> Trainer:
    """A trainer with the start and the discriminator of this seed."""
    captions = Captions(settings.captions, hidden_size=settings.hidden_size)
    config, (shape, of_rule) = config_of(captions, seed, "pretrained, fixed"), RULES[rule]
    size, updates = settings.batch_size, settings.updates
    game = replace(config.adversarial, iterations=updates, batch_size=size, reward_shape=shape)
    config = replace(config, rule=of_rule, adversarial=game)
    trainer = make_trainer(config, task, MemoryTracker(), Progress())
    players, path = trainer.players, settings.starts / f"{seed}.pt"
    assert players.discriminator is not None
    if not path.exists():
        trainer.run(trainer.phase("maximum_likelihood"))
        train_best(trainer, settings.epochs)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"start": players.generator.state_dict(), "D": players.discriminator.state_dict()}
        torch.save(whole, path)
    start = torch.load(path)
    players.generator.load_state_dict(start["start"])
    players.reference.load_state_dict(start["start"])
    players.discriminator.load_state_dict(start["D"])
    return trainer


class Judge:
    """Nats per token of texts under a language model of other captions, their ends included."""

    def __init__(self, others: Sequences) -> None:
        references = token_rows(others)
        self.model = LanguageModel(references, {word for text in references for word in text})

    def __call__(self, texts: Sequences, weights: Tensor) -> tuple[float, float]:
        """The weighted mean over tokens, and its standard error."""
        words = token_rows(texts)
        nats = -torch.tensor(self.model.log_probs(words), dtype=torch.double)
        counts = torch.tensor([len(text) + 1.0 for text in words], dtype=torch.double)
        total, mean = weights @ counts, (weights @ nats) / (weights @ counts)
        error = (weights * (nats - mean * counts)).square().sum().sqrt() / total
        return float(mean), float(error)


def resampled(settings: Settings, players: Players, judge: Judge) -> dict[str, float]:
    """The numbers of the start, resampled by the discriminator as it is."""
    task, rng = players.task, torch.Generator().manual_seed(6)
    assert players.discriminator is not None
    test = next(task.chunks("test", 10**6))
    tilt = Tilt(DiscriminatorLogit(players.discriminator))
    model = Tilted(players.reference, task.vocabulary, task.max_length, tilt)
    drawn = model.propose(settings.proposals, rng)
    about, weights = drawn.summary(), drawn.log_weights[0].softmax(dim=0)
    gains = sequence_log_probs(players.reference, test).double() + tilt(test)
    nll = float((about.normalizer.value - gains).sum()) / float(test.mask.sum())
    score, error = judge(drawn.sequences, weights)
    numbers = {"nll_heldout": nll, "lm_score": score, "lm_error": error, "kl": about.kl}
    return numbers | {"share": about.share}


def plain(
    settings: Settings, players: Players, judge: Judge, temperature: float = 1.0
) -> dict[str, float]:
    """The numbers of the generator, sampled plainly."""
    task, rng, sampling = players.task, torch.Generator().manual_seed(5), Sampling(temperature)
    test, generator, n = next(task.chunks("test", 10**6)), players.generator, settings.num_samples
    own = sample(generator, task.vocabulary, n, task.max_length, rng, sampling)
    away = sequence_log_probs(generator, own, sampling)
    away = away - sequence_log_probs(players.reference, own)
    nll = -sequence_log_probs(generator, test, sampling).double().sum() / test.mask.sum()
    score, error = judge(own, torch.ones(n, dtype=torch.double))
    numbers = {"nll_heldout": float(nll), "lm_score": score, "lm_error": error}
    return numbers | {"kl": float(away.mean())}


def main(settings: Settings) -> None:
    task, others = make_task(Captions(settings.captions, sizes=settings.sizes))
    judge, rows = Judge(others), list[dict[str, Any]]()

    def add(seed: int, model: str, numbers: dict[str, float], seconds: float = 0.0) -> None:
        row = dict.fromkeys(COLUMNS, "") | {"seed": seed, "model": model, "seconds": seconds}
        rows.append(row | numbers)
        before = {row["model"]: row["nll_heldout"] for row in rows if row["seed"] == seed}
        if len(before) > 1:
            gain = before["start"] - before["start, resampled"]
            rows[-1]["nll_kept"] = (before["start"] - numbers["nll_heldout"]) / gain
        shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in rows[-1].items()}
        print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)

    for seed in settings.seeds:
        for rule in settings.rules:
            trainer = trainer_of(settings, task, seed, rule)
            players, game = trainer.players, trainer.phase("game")
            if rule == settings.rules[0]:
                add(seed, "start", plain(settings, players, judge))
                add(seed, "start, resampled", resampled(settings, players, judge))
                for temperature in settings.temperatures:
                    numbers = plain(settings, players, judge, temperature)
                    add(seed, f"start at {temperature:g}", numbers)
            began = time.process_time()
            for _ in range(settings.updates):
                game.unit(players, trainer.rng)
            seconds = time.process_time() - began
            add(seed, rule, plain(settings, players, judge), seconds)
        settings.results.parent.mkdir(parents=True, exist_ok=True)
        with settings.results.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
