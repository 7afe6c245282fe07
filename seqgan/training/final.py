"""The end of a run: the start and the final generator measured, and the temperature control."""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import Measurement
from seqgan.evaluation.planes.temperatures import Comparison, compare, temperature_curve
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import Interrupted

if TYPE_CHECKING:
    from seqgan.training.trainer import Trainer


@dataclass(frozen=True)
class Result:
    """What a finished run found, for the table and `results.json`."""

    start: Measurement  # the pretrained generator at temperature 1
    final: Measurement  # after the game, at temperature 1
    curve: dict[float, Measurement]  # the pretrained generator over temperatures
    comparison: Comparison
    information: list[tuple[int, float, float]] = field(default_factory=list)
    rewards: dict[str, tuple[float, float]] = field(default_factory=dict)  # at start and final


def final_evaluation(trainer: "Trainer") -> Result:
    """The final measurements: start, end, and the temperature control."""
    players, evaluation = trainer.players, trainer.observer("evaluation")
    settings = evaluation.settings
    saved = trainer.save()
    evaluation.samples.show("after the game")
    trainer.progress.phase("final evaluation", len(settings.temperatures) + 2)

    def pretrained_at(temperature: float) -> Measurement:
        if trainer.asked_to_stop():
            raise Interrupted("the run was stopped in its final evaluation")
        measured = evaluation.measure(players.reference, settings.num_final, temperature)
        trainer.progress.advance(1, {"temperature": temperature})
        return measured

    curve = temperature_curve(pretrained_at, settings.temperatures)
    start = curve[1.0] if 1.0 in curve else pretrained_at(1.0)
    final = evaluation.measure(players.generator, settings.num_final)
    trainer.progress.advance(1)
    comparison = compare(final, curve, pretrained_at)
    if players.position.iterations == 0:
        comparison = replace(comparison, sentence="No game was played: this is the MLE control.")
    rewards = mean_rewards(players.rewards, start.samples, final.samples)
    if saved is not None:
        trainer.tracker.checkpoint(saved, ("latest",), players.position.axes() | final.metrics)
    return Result(start, final, curve, comparison, evaluation.information, rewards)


def mean_rewards(
    rewards: WeightedSum, before: Sequences, after: Sequences
) -> dict[str, tuple[float, float]]:
    """The mean of each reward that does not learn over both sets of texts, if it applies.

    What a reward that learns says of them is about its last opponent only.
    """
    fixed = [part for part in rewards.parts if part is not rewards.learning]
    if not fixed:
        return {}
    judges = WeightedSum(fixed, None, rewards.failures, rewards.watch, rewards.on_skip)
    pairs = zip(judges.score_parts(before), judges.score_parts(after), strict=True)
    means = [(float(old.nanmean()), float(new.nanmean())) for old, new in pairs]
    named = zip(judges.names, means, strict=True)
    return {name: pair for name, pair in named if all(map(math.isfinite, pair))}
