"""Claim: a critic reaches the reward that Monte Carlo rollouts reach, at the same KL, in a third of the time.

    python experiments/critic_or_rollouts.py
"""

import copy
import csv
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import torch
import tyro

from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.updates import GeneratorUpdate
from seqgan.models.critics import CriticConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.adapters.functions import as_reward
from seqgan.tasks.captions import CaptionGrammar, CaptionsConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.settings import (
    AdversarialConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.start import make_trainer


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2, 3)
    credits: tuple[str, ...] = ("rollouts", "sequence", "head", "network")
    iterations: int = 100
    batch_size: int = 256
    learning_rate: float = 2e-3
    kl_weight: float = 0.05
    epochs: int = 60
    hidden: int = 16
    every: int = 5
    num_samples: int = 2000
    gae_lambda: float = 0.95
    target_lambda: float = 1.0
    warmup: int = 5
    critic_lr: float = 2e-3
    minibatch: int = 64
    critic_epochs: int = 4
    results: Path = Path("results/critic_or_rollouts.csv")


def main(settings: Settings) -> None:
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    base = TrainConfig(
        task=CaptionsConfig(train_size=10000),
        generator=RecurrentGeneratorConfig("lstm", 32, settings.hidden),
        pretrain=PretrainConfig(settings.epochs, batch_size=128, learning_rate=1e-2),
        rule=PolicyGradientConfig(
            learning_rate=settings.learning_rate,
            num_rollouts=0,
            kl_weight=settings.kl_weight,
        ),
        adversarial=AdversarialConfig(
            iterations=settings.iterations, batch_size=settings.batch_size
        ),
        evaluation=EvaluationConfig(every=1000, num_shown=4),
    )
    task, grammar = base.task.build(base.generator), CaptionGrammar()

    def grammatical(texts: list[str]) -> list[float]:
        return [float(g) for g in grammar.grammatical(texts)]

    critic = CriticConfig(
        gae_lambda=settings.gae_lambda,
        target_lambda=settings.target_lambda,
        warmup=settings.warmup,
        learning_rate=settings.critic_lr,
        minibatch_size=settings.minibatch,
        epochs=settings.critic_epochs,
    )
    rules = {
        "rollouts": replace(base.rule, num_rollouts=8),
        "sequence": base.rule,
        "head": replace(base.rule, critic=replace(critic, kind="head")),
        "network": replace(base.rule, critic=replace(critic, kind="network")),
    }
    for seed in settings.seeds:
        start = None
        for credit in settings.credits:
            config = replace(base, rule=rules[credit], seed=seed)
            with Progress() as progress:
                trainer = make_trainer(
                    config, task, MemoryTracker(), progress, rewards=as_reward(grammatical)
                )
                players = trainer.players
                if start is None:
                    cache = Path(f"/tmp/critic-start-{seed}-{settings.hidden}-{settings.epochs}.pt")
                    if cache.exists():
                        start = torch.load(cache, weights_only=False)
                    else:
                        trainer.run(trainer.phase("maximum_likelihood"))
                        start = copy.deepcopy(players.state_dict())
                        torch.save(start, cache)
                players.load_state_dict(copy.deepcopy(start))
                rng = torch.Generator().manual_seed(seed)
                game = trainer.phase("game")
                cpu = wall = 0.0
                metrics = {}
                while True:
                    if game.iterations % settings.every == 0:
                        reward, kl = measured(players, settings.num_samples, seed)
                        rows.append([seed, credit, game.iterations, cpu, wall, reward, kl])
                        print(f"{credit:9} {game.iterations:4} cpu {cpu:6.1f} wall {wall:6.1f} reward {reward:.4f} kl {kl:.4f} J {reward - settings.kl_weight * kl:.4f}",
                            {n: round(metrics[n], 4) for n in ("losses/value_loss", "losses/explained_variance") if n in metrics}, flush=True)
                    if game.done():
                        break
                    began = process_time(), perf_counter()
                    metrics = game.unit(players, rng)
                    cpu, wall = cpu + process_time() - began[0], wall + perf_counter() - began[1]
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        head = ["seed", "credit", "iteration", "cpu_seconds", "seconds", "grammatical", "kl"]
        csv.writer(file).writerows([head, *rows])


def measured(players, n, seed):
    texts = players.draw(n, torch.Generator().manual_seed(seed))
    reward = float(players.rewards.score(texts).mean())
    own, other = (sequence_log_probs(p, texts) for p in (players.generator, players.reference))
    return reward, float((own - other).mean())


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
