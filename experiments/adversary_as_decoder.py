"""Claim: a generator that its adversary resamples beats the generator at every temperature.

A discriminator learns to tell the start of the game, a generator after maximum likelihood, from
real texts, and no game is played. Texts of the start, drawn anew in proportion to exp(logit), are
those of a better model: better in quality and in held-out NLL. Beside it temperatures, best of
four, other betas, twisted sequential Monte Carlo, and boosting: a second discriminator learns to
tell the resampled texts from real ones, and its logit is added. Its control is the first one,
trained for as many rounds more.

    python experiments/adversary_as_decoder.py                      the demo, trained here
    python experiments/adversary_as_decoder.py --runs runs/a runs/b --no-boosting
    python experiments/adversary_as_decoder.py --runs runs/a --reward ./my_reward.py:mentions_dog

Of a run with a game, the trained generator is resampled, by the discriminator that the game has
left, and the start by the one that met it alone, where the run has kept it. With `--points`
published curves stand beside the resampled points, at equal quality. With `--reward` the tilt is
that reward, without any training, and it is the quality. `tokens` are drawn for each text, of four
proposals; the share of effective proposals says how many count. Numbers, time and machine:
experiments/README.md.
"""

import copy
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import nn

from seqgan.decoding.learned_twist import TwistTraining, learn_twist
from seqgan.decoding.measured import measure_tilted
from seqgan.decoding.samplers import SMC, BestOf, Resample, TiltedSampler
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.twists import ActionTwist, PrefixTwist, RolloutTwist
from seqgan.evaluation.measure import measure
from seqgan.evaluation.planes.points import Knob, Panel, Point, panels, point_of
from seqgan.evaluation.planes.published import PublishedCurve, read_points
from seqgan.evaluation.planes.verdict import compare
from seqgan.learning.players import Players
from seqgan.learning.updates import train_discriminator
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sequence_log_probs
from seqgan.report.frontier_chart import frontier_figure, generator_series, published_series
from seqgan.rewards.adapters.finding import find_rewards
from seqgan.rewards.base import RewardModel
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.tasks.base import Measure
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.networks import build_discriminator_reward
from seqgan.training.presets import captions_preset
from seqgan.training.runs import EVERYTHING, checkpoint_state, open_run, usable
from seqgan.training.settings import TrainConfig
from seqgan.training.start import make_players, make_trainer
from seqgan.training.tilting import before_game, own_discriminator

COLUMNS = ["run", "model", "knob", "quality", "nll_heldout", "change", "change_error", "kl"]
COLUMNS += ["share", "log_z", "log_z_error", "tokens", "duplicates"]


@dataclass(frozen=True)
class Settings:
    runs: tuple[Path, ...] = ()  # trained ones with a discriminator; none trains the demo
    seeds: tuple[int, ...] = (1, 2, 3)  # of the demo
    hidden_size: int = 16  # of the demo's generator
    epochs: int = 60  # of the demo's maximum likelihood, at most
    rounds: int = 100  # of the demo's discriminator, against the start
    reward: str = ""  # tilts in place of the discriminator: a name, or file.py:function
    num_samples: int = 2000  # texts of each row, drawn from four times as many
    temperatures: tuple[float, ...] = (1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    betas: tuple[float, ...] = (2.0, 1.0, 0.5)
    smc: bool = True  # draw by twisted sequential Monte Carlo as well
    boosting: bool = True  # train a second discriminator against the resampled texts
    boosting_rounds: int = 60  # of it, and of its control
    twist: TwistTraining = field(
        default_factory=lambda: TwistTraining(hidden_size=128, epochs=20, learning_rate=3e-3)
    )  # of sequential Monte Carlo, learnt from texts of the start
    rollouts: int = 0  # completions that value a prefix there in place of it; 0: none
    points: Path | None = None  # published curves, as `seqgan frontier --points` reads them
    results: Path = Path("results/adversary_as_decoder.csv")  # to write; a picture beside it


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def subjects(
    settings: Settings,
) -> Iterator[tuple[str, TrainConfig, Players, DiscriminatorLogit | None]]:
    """The runs, or the demo without its game; of games the judge that met the start alone."""
    for path in settings.runs:
        folder, config = open_run(path)
        config = usable(folder, config, EVERYTHING)
        task = config.task.build(config.generator)
        players = make_players(config, task, seeded(0))
        _, state = checkpoint_state(folder)
        players.load_state_dict(state["players"])
        alone = before_game(state)
        judge = None if alone is state else own_discriminator(folder, config, alone)
        yield path.name, config, players, judge
    for seed in () if settings.runs else settings.seeds:
        changes = {
            "generator.hidden_size": settings.hidden_size,
            "pretrain.epochs": settings.epochs,
            "discriminator_training.pretrain_rounds": settings.rounds,
            "discriminator_training.patience": 0,  # all of them, whatever the demo does
        }
        config = captions_preset().with_(seed=seed, **changes)
        task = config.task.build(config.generator)
        trainer = make_trainer(config, task, MemoryTracker(), Progress())
        for phase in ("maximum_likelihood", "adversary"):
            trainer.run(trainer.phase(phase))
        yield f"demo, seed {seed}", config, trainer.players, None


class Table:
    """The rows of one run, and its points in the plane of its task."""

    def __init__(self, settings: Settings, name: str, players: Players) -> None:
        self.settings, self.name, self.players = settings, name, players
        self.panel: Panel = panels(players.task, settings.num_samples, truncated=False)[0]
        self.quality = f"eval/{self.panel.quality.name}"
        self.own: dict[str, Measure] = {}
        self.rows: list[dict[str, Any]] = []

    def judge(self, reward: RewardModel) -> None:
        """A reward takes the place of the task's quality."""
        self.own, self.quality = {reward.name: Measure(reward.score)}, f"user/{reward.name}"

    def plain(self, model: str, generator: Generator) -> list[Point]:
        """The generator over temperatures."""
        points, reference = [], self.players.reference
        for temperature in self.settings.temperatures:
            sampling, count = Sampling(temperature), self.settings.num_samples
            found = measure(
                generator, self.players.task, count, 10**6, seeded(5), sampling, own=self.own
            )
            texts, metrics = found.samples, found.metrics
            own = sequence_log_probs(generator, texts, sampling)
            kl = float((own - sequence_log_probs(reference, texts)).double().mean())
            self.add(model, temperature, metrics, kl=kl, tokens=metrics["eval/mean_length"])
            points.append(point_of(Knob("temperature", temperature), found.per_text, [self.panel]))
        return points

    def tilted(
        self,
        model: str,
        generator: Generator,
        reward: RewardModel,
        beta: float,
        way: Callable[[Tilted], TiltedSampler] = Resample,
    ) -> Point:
        """The generator with a reward; the point's knob is beta."""
        task = self.players.task
        count, whole = self.settings.num_samples, tilted(self.players, generator, reward, beta)
        found = measure_tilted(way(whole), task, count, 10**6, seeded(6), own=self.own)
        extra: dict[str, float] = {}
        if (tilting := found.tilting) is not None:
            log_z = tilting.normalizer
            extra |= {"share": tilting.share, "log_z": log_z.value, "log_z_error": log_z.error}
        if (change := found.change) is not None:
            extra |= {"change": change.value, "change_error": change.error}
        metrics = found.measurement.metrics
        self.add(model, beta, metrics, kl=found.kl, tokens=found.tokens_per_text, **extra)
        return point_of(Knob("beta", beta), found.measurement.per_text, [self.panel])

    def add(self, model: str, knob: float, metrics: dict[str, float], **others: float) -> None:
        row: dict[str, Any] = {"run": self.name, "model": model, "knob": knob} | others
        row |= {"quality": metrics[self.quality], "nll_heldout": metrics.get("eval/nll_heldout")}
        row["duplicates"] = metrics["eval/duplicate_rate"]
        self.rows.append({name: row.get(name, "") for name in COLUMNS})
        shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in self.rows[-1].items()}
        print("  ".join(f"{name} {value}" for name, value in shown.items() if value), flush=True)


def tilted(players: Players, generator: Generator, reward: RewardModel, beta: float) -> Tilted:
    task = players.task
    return Tilted(generator, task.vocabulary, task.max_length, Tilt(reward, beta))


def boosted(
    settings: Settings, config: TrainConfig, players: Players, fresh: bool
) -> DiscriminatorReward:
    """A copy of the discriminator after some rounds more.

    Args:
        fresh: learn against the resampled texts, from a logit of zero; not on against the start's.
    """
    first, task, rng = players.discriminator, players.task, seeded(7)
    assert first is not None
    second, training = build_discriminator_reward(config, task, rng), config.discriminator_training
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    if fresh:
        for parameter in second.discriminator.output.parameters():
            nn.init.zeros_(parameter)
    model = tilted(players, players.generator, DiscriminatorLogit(first), 1.0)
    for _ in range(settings.boosting_rounds):
        count = training.num_sequences
        generated = (
            Resample(model).draw(count, rng).sequences if fresh else players.draw(count, rng)
        )
        real = players.real("train", count, rng)
        train_discriminator(second, real, generated, 1, training.batch_size, rng)
    return second


def at_quality(curve: PublishedCurve, panel: Panel, quality: float) -> float:
    """The diversity of a published curve at a quality; NaN where it has no points around it."""
    found = np.array(sorted(curve.on(panel)) or [(np.nan, np.nan)])
    return float(np.interp(quality, found[:, 0], found[:, 1], np.nan, np.nan))


def measured(
    settings: Settings,
    name: str,
    config: TrainConfig,
    players: Players,
    alone: DiscriminatorLogit | None,
) -> Table:
    """All rows of a run."""
    table, generator, points = Table(settings, name, players), players.generator, []
    played = players.position.iteration > 0
    who = "game" if played else "start"
    reward: RewardModel
    if settings.reward:
        (reward,) = find_rewards([settings.reward], players.task)
        table.judge(reward)
    else:
        assert players.discriminator is not None
        reward = DiscriminatorLogit(players.discriminator)
    control = table.plain("start", players.reference)
    game = table.plain("game", generator) if played else []
    table.tilted(f"{who}, best of 4", generator, reward, 1.0, BestOf)
    if played and alone is not None and not settings.reward:
        for beta in settings.betas:
            table.tilted("start, resampled", players.reference, alone, beta)
    for beta in settings.betas:
        points.append(table.tilted(f"{who}, resampled", generator, reward, beta))
    for beta in settings.betas if settings.smc else ():
        model = tilted(players, generator, reward, beta)
        twist: ActionTwist | PrefixTwist
        if settings.rollouts:
            twist = RolloutTwist(generator, model.tilt, settings.rollouts)
        else:
            proposals = model.propose(4 * settings.num_samples, seeded(8))
            twist = learn_twist(proposals, players.task.vocabulary, seeded(9), settings.twist)
        table.tilted(f"{who}, SMC", generator, reward, beta, partial(SMC, twist=twist))
    if settings.boosting and not settings.reward:
        longer = DiscriminatorLogit(boosted(settings, config, players, fresh=False))
        table.tilted(f"{who}, resampled, longer", generator, longer, 1.0)
        second = DiscriminatorLogit(boosted(settings, config, players, fresh=True))
        second.name = "second"
        table.tilted(f"{who}, resampled, boosted", generator, WeightedSum([reward, second]), 1.0)
    if not settings.reward:
        print(compare(points, control, table.panel, f"{name}: {who}, resampled,").sentence)
        if played:
            print(compare(game, control, table.panel, f"{name}: game").sentence)
        published = read_points(settings.points, [table.panel]) if settings.points else []
        for point in points:
            axes = table.panel.quality, table.panel.diversity
            quality, diversity = (point.rates[axis.name].value for axis in axes)
            for curve in published:
                there = at_quality(curve, table.panel, quality)
                print(f"beta {point.knob.value:g}: {diversity:.4f}; {curve.model} {there:.4f}")
        series = generator_series("start over temperatures", "control", control, table.panel)
        series += generator_series(f"{who} resampled, over beta", "run", points, table.panel)
        series += published_series(published, table.panel)
        picture = settings.results.with_name(f"{settings.results.stem}-{name}.png")
        frontier_figure([(table.panel, series, name)]).savefig(picture, dpi=120)
    return table


def main(settings: Settings) -> None:
    torch.set_num_threads(1)
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for subject in subjects(settings):
        rows += measured(settings, *subject).rows
        with settings.results.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
