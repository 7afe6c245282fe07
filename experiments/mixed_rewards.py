"""Claim: added as they are, two rewards count by their scales; normalised first, by their weights.

One reward is 1 for a grammatical caption and 0 for another, the second minus the distance of its
number of words from a target. Both have weight 1, but the second varies several times as much.
`sum_then_normalize` adds them as they are; `normalize_then_sum` (GDPO) divides each by its
deviation first, and the grammar gets a larger share of what the KL penalty lets pass.

    python experiments/mixed_rewards.py

Expected: about as far from the same pretrained generator, `normalize_then_sum` is the more
grammatical, `sum_then_normalize` the nearer to the length. With a tenth of the KL weight both reach
nearly all of both. Numbers, time, machine: experiments/README.md.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import tyro

from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.weighted import WeightedSum
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

COLUMNS = ("grammatical", "distance", "mean_length", "nll_heldout", "entropy", "distinct_2")
RULES = ("sum_then_normalize", "normalize_then_sum")


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2, 3)  # one run of each rule per seed
    target: int = 12  # words that a caption should have
    iterations: int = 120  # generator updates with the two rewards
    kl_weight: float = 0.5  # of the KL to the pretrained generator, reward units per nat
    epochs: int = 60  # of maximum likelihood before, at most
    num_samples: int = 4000  # generated texts per measurement
    results: Path = Path("results/mixed_rewards.csv")  # CSV file to write


def main(settings: Settings) -> None:
    rows: list[list[object]] = []
    base = TrainConfig(
        task=CaptionsConfig(train_size=10000),
        generator=RecurrentGeneratorConfig("lstm", 32, 64, dropout=0.1),
        pretrain=PretrainConfig(settings.epochs, learning_rate=5e-3),
        rule=PolicyGradientConfig(
            learning_rate=2e-3,
            num_rollouts=0,
            kl_weight=settings.kl_weight,
            update=GeneratorUpdate(mle_weight=0.05),
        ),
        adversarial=AdversarialConfig(iterations=settings.iterations, batch_size=512),
        evaluation=EvaluationConfig(every=1000, num_final=settings.num_samples, num_shown=4),
    )
    task, grammar = base.task.build(base.generator), CaptionGrammar()

    def distance(text: str) -> float:
        return -abs(len(text.split()) - settings.target)

    def grammatical(text: str) -> float:
        return float(grammar.grammatical([text])[0])

    for seed in settings.seeds:
        for rule in RULES:
            config = replace(base, rule=replace(base.rule, aggregation=rule), seed=seed)
            rewards = WeightedSum([as_reward(grammatical), as_reward(distance)])
            with Progress() as progress:
                trainer = make_trainer(config, task, MemoryTracker(), progress, rewards=rewards)
                trainer.run(trainer.phase("maximum_likelihood"))
                before = trainer.observer("evaluation").measure(
                    trainer.players.generator, settings.num_samples
                )
                trainer.run(trainer.phase("game"))
                after = trainer.observer("evaluation").measure(
                    trainer.players.generator, settings.num_samples
                )
            moved = [
                sequence_log_probs(policy, after.samples)
                for policy in (trainer.players.generator, trainer.players.reference)
            ]
            kl = float((moved[0] - moved[1]).mean())
            for when, measured, divergence in (("before", before, 0.0), ("after", after, kl)):
                numbers = {name.removeprefix("eval/"): n for name, n in measured.metrics.items()}
                numbers["distance"] = -float(rewards.score_parts(measured.samples)[1].mean())
                rows.append([seed, rule, when, *(numbers[name] for name in COLUMNS), divergence])
                spelt = "  ".join(f"{name} {numbers[name]:.4g}" for name in COLUMNS)
                print(f"seed {seed}  {rule}  {when}  {spelt}  kl {divergence:.3f}")
            print(*after.samples.texts[:4], f"{process_time():.0f} s", sep="\n", flush=True)
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        head = ["seed", "rule", "when", *COLUMNS, "kl_pretrained"]
        csv.writer(file).writerows([head, *rows])
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
