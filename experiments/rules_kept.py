"""Claim: no rule keeps all that a discriminator knows; which part, the shares of the table say.

A generator after maximum likelihood on 1,000 captions meets a head on a frozen sentence encoder
that stays as it is (see `pretrained_adversary.py`). The start, drawn anew in proportion to
D/(1-D), is better in two ways at once: held-out NLL, and the score under a language model of other
captions. Each rule learns from as many own texts, and its generator is then sampled plainly. Its
share is its gain over the start in units of the resampled start's gain.

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
from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.rules.preference import PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import sequence_log_probs
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
    "policy gradient, KL 1": ("logit", PLAIN),
    "KL 1 by k2 in the loss, MLE .5": ("logit", replace(IN_LOSS, update=HALF)),
    "2 D - 1, KL .3 by k2, MLE .5": ("centred", replace(IN_LOSS, kl_weight=0.3, update=HALF)),
    "GRPO, KL .3 by k3": ("logit", replace(GROUP, kl_weight=0.3, kl_in="loss")),
    "reweighting, MLE .5": ("logit", ReweightingConfig(**RATE, baseline=1.0, mle_weight=0.5)),
    "cloning, MLE .5": ("logit", CloningConfig(**RATE, mle_weight=0.5)),
    "preference, real against start": ("logit", PreferenceConfig(**RATE, beta=1.0)),
}


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


def of_start(settings: Settings, trainer: Trainer, judge: Judge) -> list[list[float]]:
    """The start and the start resampled: held-out NLL, score and its error."""
    players, rng = trainer.players, torch.Generator().manual_seed(6)
    task, start = players.task, players.reference
    assert players.discriminator is not None
    test = next(task.chunks("test", 10**6))
    tilt = Tilt(DiscriminatorLogit(players.discriminator))
    drawn = Tilted(start, task.vocabulary, task.max_length, tilt).propose(settings.proposals, rng)
    about, weights = drawn.summary(), drawn.log_weights[0].softmax(dim=0)
    gain = float((tilt(test) - about.normalizer.value).sum()) / float(test.mask.sum())
    print(f"KL {about.kl:.3f} nats per text, effective share {about.share:.3f}", flush=True)
    nll, even = nll_of(start, test), torch.full_like(weights, 1.0)
    shown = (nll, *judge(drawn.sequences, even)), (nll - gain, *judge(drawn.sequences, weights))
    return [list(point) for point in shown]


def nll_of(generator: Generator, texts: Sequences) -> float:
    return float(-sequence_log_probs(generator, texts).double().sum() / texts.mask.sum())


def main(settings: Settings) -> None:
    task, others = make_task(Captions(settings.captions, sizes=settings.sizes))
    judge, test = Judge(others), next(task.chunks("test", 10**6))
    rows: list[dict[str, Any]] = []

    def add(
        seed: int, rule: str, point: list[float], start: list[list[float]], **more: Any
    ) -> None:
        row = dict(zip(("nll_heldout", "lm_score", "lm_error"), point, strict=True))
        gains = [(start[0][i] - point[i]) / (start[0][i] - start[1][i]) for i in (0, 1)]
        shares = dict(zip(("nll_kept", "score_kept"), gains, strict=True))
        rows.append({"seed": seed, "rule": rule} | row | shares | more)
        shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in rows[-1].items()}
        print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)

    for seed in settings.seeds:
        start: list[list[float]] = []
        for rule in settings.rules:
            trainer = trainer_of(settings, task, seed, rule)
            if not start:
                start = of_start(settings, trainer, judge)
                add(seed, "the start", start[0], start, seconds=0.0, kl=0.0)
                add(seed, "the start, resampled", start[1], start, seconds=0.0, kl=0.0)
            began = time.process_time()
            for _ in range(settings.updates):
                trainer.phase("game").unit(trainer.players, trainer.rng)
            seconds, players = time.process_time() - began, trainer.players
            own = players.draw(settings.num_samples, torch.Generator().manual_seed(5))
            away = sequence_log_probs(players.generator, own)
            away = away - sequence_log_probs(players.reference, own)
            point = [nll_of(players.generator, test), *judge(own, torch.ones(len(own)).double())]
            add(seed, rule, point, start, seconds=seconds, kl=float(away.mean()))
        settings.results.parent.mkdir(parents=True, exist_ok=True)
        with settings.results.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
