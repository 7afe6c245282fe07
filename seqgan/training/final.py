"""The end of a run: its rewards and their price, and the verdict beside MLE over temperatures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from seqgan.decoding.measured import of_drawn
from seqgan.evaluation.changes import Change, change
from seqgan.evaluation.measure import Measurement, heldout_texts
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.planes.points import Knob, Point, measure_point, panels, point_of
from seqgan.evaluation.planes.verdict import Comparison, best_point, compare, matched
from seqgan.learning.rules.base import asks_rewards
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sequence_log_probs
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import Interrupted
from seqgan.system.seeding import seed_of
from seqgan.tasks.base import has_texts
from seqgan.training.phases.game import Game
from seqgan.training.resampling import (
    NAME,
    compare_with_resampling,
    resample_start,
    reward_beside_resampling,
    why_left_out,
)
from seqgan.training.result import Control, Price, Result, Row, about_rewards
from seqgan.training.warmed import is_warming

if TYPE_CHECKING:
    from seqgan.training.trainer import Trainer

NO_GAME = "No game was played: this is the MLE control."
NO_TEXTS = (
    "The data are prompts alone, so nothing is compared with real continuations: no held-out NLL,"
    " no BLEU, no copies, and no verdict beside lower temperatures. Rewards, KL to the start,"
    " duplicates and diversity say what has changed."
)


def final_evaluation(trainer: "Trainer") -> Result:
    """Measures the start and the end over temperatures, and compares them.

    Raises:
        Interrupted: the run was asked to stop.
    """
    with trainer.alerting():
        result = _evaluated(trainer)
    trainer.progress.finish()
    own = trainer.observer("evaluation").measures
    return replace(result, better={f"user/{name}": one.best for name, one in own.items()})


def _evaluated(trainer: "Trainer") -> Result:
    players, evaluation = trainer.players, trainer.observer("evaluation")
    settings, task, rewards = evaluation.settings, players.task, players.rewards
    before, after = players.reference, players.evaluated
    played = any(phase.evaluated and phase.count for phase in trainer.phases)
    rules = [phase.rule for phase in trainer.phases if isinstance(phase, Game)]
    about = about_rewards(rewards, played, all(map(asks_rewards, rules)))
    saved = trainer.save()
    trainer.observer("best").finish()
    evaluation.samples.show("after the game", "" if played else "after maximum likelihood")
    real = has_texts(task)
    others = [t for t in dict.fromkeys(settings.temperatures) if t != 1.0 and real]
    trainer.progress.phase("final evaluation", (1 + about.played) * (1 + len(others)))
    (plane, *_) = panels(task, settings.num_final, truncated=False)
    heldout = heldout_texts(task, settings.num_heldout, players.device)

    def rng(which: int, temperature: float) -> torch.Generator:
        seed = seed_of(players.seed, which, round(temperature * 1_000_000))
        return torch.Generator().manual_seed(seed)

    def row(which: int, temperature: float = 1.0) -> Row:
        name, generator = ("MLE" if real else "start", about.title)[which], (before, after)[which]
        if temperature == 1.0:  # with the draws of the evaluations in the game
            measured = evaluation.measure(generator, settings.num_final)
        else:
            name = f"{name} at {temperature:g}"
            measured = evaluation.measure(
                generator, settings.num_final, temperature, rng(which, temperature)
            )
        return Row(name, temperature, measured, rewards_by_text(rewards, measured))

    def curve(which: int, at_one: Measurement) -> list[Point]:
        points = [point_of(Knob("temperature", 1.0), at_one.per_text, [plane])]
        trainer.progress.advance(1, {"temperature": 1.0})
        for temperature in others:
            if trainer.asked_to_stop():
                raise Interrupted("the run was stopped in its final evaluation")
            points.append(
                measure_point(
                    (before, after)[which],
                    task,
                    heldout,
                    settings.num_final,
                    rng(which, temperature),
                    Sampling(temperature),
                    [plane],
                )
            )
            trainer.progress.advance(1, {"temperature": temperature})
        return sorted(points, key=lambda point: point.knob.value)

    start = row(0)
    mle = curve(0, start.measured)
    if about.played:
        final = row(1)
        game = curve(1, final.measured)
        comparison = Comparison(plane, None, "unknown", NO_TEXTS)
        if real:
            comparison = compare(game, mle, plane, about.subject)
        at_match = matched_temperature(game, mle, comparison)
        at_best = best_temperature(game, mle, comparison)
        result = Result(
            about,
            start,
            start if at_match == 1.0 else row(0, at_match),
            final,
            final if at_best == 1.0 else row(1, at_best),
            comparison,
            mle,
            game,
            reward_changes(start, final, paired=task.max_prompt_length > 0),
            price(start.measured, final.measured, before),
            evaluation.information,
        )
    else:
        comparison = Comparison(plane, None, "unknown", NO_GAME)
        result = Result(about, start, start, start, start, comparison, mle)
    result = with_control(trainer, result)
    if saved is not None:
        metrics = players.position.axes() | result.final.measured.metrics
        trainer.tracker.checkpoint(saved, ("latest",), metrics)
    return result


def with_control(trainer: "Trainer", result: Result) -> Result:
    """The result with the start, resampled, if the settings want it and something judges texts.

    Without a game it is what the run is about, and takes the place of the game in the verdict.
    """
    about, plane = result.about, result.comparison.panel
    wanted = trainer.observer("evaluation").settings.resampled > 0
    judged = about.adversary and (about.played or any(map(is_warming, trainer.phases)))
    if not wanted or not (judged or (about.rewards and about.played)):
        return result
    warmed = trainer.observer("warmed")
    if reason := why_left_out(trainer, warmed, about.played):
        return replace(result, left_out=reason)
    kl = None if result.price is None else result.price.kl.value
    resampled = resample_start(trainer, warmed, plane, kl)
    if isinstance(resampled, str):
        return replace(result, left_out=resampled)
    measured, rewards = resampled.found.measurement, trainer.players.rewards
    row = Row(NAME, 1.0, measured, rewards_by_text(rewards, measured))
    if not about.played:
        found = compare([resampled.point], result.mle, plane, "The start, resampled,")
        return replace(result, comparison=found, resampled=Control(row, resampled))
    if about.adversary:
        beside = compare_with_resampling(result.game, resampled, plane, about.subject)
        control = Control(row, resampled, beside, None, beside.sentence)
    else:
        weights = dict(zip(rewards.names, rewards.weights.tolist(), strict=True))
        before, after = (_summed(each.rewards, weights) for each in (row, result.final))
        (before,) = of_drawn(resampled.found.drawn, {NAME: before}).values()
        earned = change(before, after, paired=trainer.players.task.max_prompt_length > 0)
        sentence = reward_beside_resampling(earned, resampled)
        control = Control(row, resampled, None, earned, sentence)
    return replace(result, resampled=control)


def _summed(rewards: Mapping[str, PerText], weights: Mapping[str, float]) -> PerText:
    """The weighted sum of the rewards that apply to each text."""
    values = np.sum([weights[name] * part.values for name, part in rewards.items()], axis=0)
    known = np.any([part.weights > 0 for part in rewards.values()], axis=0)
    return PerText(values, known.astype(float))


def rewards_by_text(rewards: WeightedSum, measured: Measurement) -> dict[str, PerText]:
    """Each reward that does not learn, of each sample, if it applies to any.

    One that learns says something of its last opponent only.
    """
    fixed = [part for part in rewards.parts if part is not rewards.learning]
    if not fixed:
        return {}
    judges = WeightedSum(fixed, None, rewards.failures)
    judges = judges.observed(rewards.watch, rewards.on_skip, rewards.on_change)
    scores = judges.score_parts(measured.samples).double().cpu().numpy()
    parts = zip(judges.names, map(PerText.where_known, scores), strict=True)
    return {name: part for name, part in parts if part.weights.any()}


def reward_changes(start: Row, final: Row, paired: bool) -> dict[str, Change]:
    """The change of each reward that applies before and after.

    Args:
        paired: samples of both continue the same prompts.
    """
    return {
        name: change(part, final.rewards[name], paired)
        for name, part in start.rewards.items()
        if name in final.rewards
    }


def price(start: Measurement, final: Measurement, pretrained: Generator) -> Price:
    """The things that training cost besides: likelihood, variety, distance from the start."""
    nll = [one.per_text.get("eval/nll_heldout") for one in (start, final)]
    found = None if nll[0] is None or nll[1] is None else change(nll[0], nll[1], paired=True)
    before, after = (measured.metrics["eval/duplicate_rate"] for measured in (start, final))
    with torch.no_grad():
        reference = sequence_log_probs(pretrained, final.samples).double().cpu().numpy()
    kl = PerText.mean_of(-final.per_text["eval/entropy"].values - reference)
    return Price(found, (before, after), kl)


def matched_temperature(
    game: Sequence[Point], mle: Sequence[Point], comparison: Comparison
) -> float:
    """The MLE temperature that matches the trained generator's quality at temperature 1."""
    if comparison.standing is None:
        return 1.0
    (at_one,) = [point for point in game if point.knob.value == 1.0]
    return matched(at_one, mle, comparison.panel).knob.value


def best_temperature(game: Sequence[Point], mle: Sequence[Point], comparison: Comparison) -> float:
    """The temperature at which the trained generator is furthest ahead of MLE."""
    best = best_point(game, mle, comparison)
    return 1.0 if best is None else best.knob.value
