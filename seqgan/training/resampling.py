"""The control that trains no generator: the start, resampled by the reward that the run has.

The optimum that training aims at, start(x) exp(reward(x) / beta) / Z, can be sampled at once. By a
discriminator alone beta is 1, and the discriminator one that has met the start alone. Other rewards
get the beta at which the resampled start is as far from the start as the trained generator is.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.decoding.measured import TiltedMeasurement, measure_tilted
from seqgan.decoding.samplers import Resample
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.weighted import TRUSTED_SHARE
from seqgan.evaluation.changes import Change
from seqgan.evaluation.planes.curves import Place, place_of
from seqgan.evaluation.planes.points import Knob, Panel, Point, point_of
from seqgan.evaluation.planes.verdict import Comparison, compare
from seqgan.functional.weights import log_mean
from seqgan.learning.players import Players
from seqgan.system.seeding import seed_of
from seqgan.tasks.base import heldout_prompts
from seqgan.training.warmed import Warmed, against_start

if TYPE_CHECKING:
    from seqgan.training.trainer import Trainer

NAME = "start, resampled"
SEED_OF_DRAWS = 2  # apart from other draws that a run's seed gives
DRAWS_OF_PROMPT = 64  # for each of the prompts by which beta is chosen
NOT_KEPT = (
    "The start, resampled, is left out: the discriminator of this run was not kept as it was before"
    " the game."
)
NO_TILT = "The start, resampled, is left out: the reward that learns is no discriminator."
ALL_ALIKE = "The start, resampled, is left out: all its texts have the same reward."
TOO_FEW = "The start, resampled, is left out: only {share:.1%} of its draws count"
BOUGHT = {
    "above": "Training bought more than cheap samples",
    "on": "Training bought cheap samples, and nothing else beyond noise",
    "under": "Training bought nothing but cheap samples",
}


@dataclass(frozen=True)
class Resampled:
    """The start, resampled.

    Args:
        found: its measurement, with the share of draws that count.
        point: its place beside the curves over temperatures.
        beta: the price of a nat of KL to the start, in units of reward.
        by_discriminator: whether the discriminator alone has judged.
    """

    found: TiltedMeasurement
    point: Point
    beta: float
    by_discriminator: bool

    @property
    def share(self) -> float:
        assert self.found.tilting is not None
        return self.found.tilting.share


def why_left_out(trainer: "Trainer", warmed: Warmed, played: bool) -> str:
    """The reason why a run that wants the row has none, in a sentence; empty where it has one."""
    learning = trainer.players.rewards.learning
    if learning is None:
        return ""
    if warmed.judge is None:
        return NO_TILT
    return NOT_KEPT if played and not warmed.kept else ""


def resample_start(
    trainer: "Trainer", warmed: Warmed, plane: Panel, kl: float | None
) -> Resampled | str:
    """Measures the start, resampled.

    Args:
        kl: of the trained generator to the start, nats per text; None without a game, where the
            discriminator judges alone.

    Returns:
        It, or a sentence where it says nothing: a reward judges all texts alike, or too few draws
        count.

    Raises:
        Interrupted, DivergedError: see `against_start`.
        RewardError: a reward failed.
    """
    players, evaluation = trainer.players, trainer.observer("evaluation")
    settings, task = evaluation.settings, players.task
    rng = torch.Generator().manual_seed(seed_of(players.seed, SEED_OF_DRAWS))
    alone = warmed.judge is not None and (kl is None or len(players.rewards.parts) == 1)
    with against_start(trainer, warmed) if warmed.judge is not None else nullcontext():
        tilt = Tilt(players.rewards)
        if alone:
            assert warmed.judge is not None
            tilt = Tilt(DiscriminatorLogit(warmed.judge))
        model = Tilted(players.reference, task.vocabulary, task.max_length, tilt)
        beta: float | None = 1.0
        if not alone:
            assert kl is not None
            beta = beta_of_kl(_rewards_of_start(players, model, settings.num_final, rng), kl)
        if beta is None:
            return ALL_ALIKE
        model = replace(model, tilt=replace(tilt, beta=beta))
        found = measure_tilted(
            Resample(model, settings.resampled),
            task,
            settings.num_final,
            settings.num_heldout,
            rng,
            players.device,
            evaluation.text_measures,
            evaluation.measures,
        )
    assert found.tilting is not None
    if found.tilting.share < TRUSTED_SHARE:
        reached = "" if alone else f" at the KL that training reached, {kl:.3g} nats per text"
        return f"{TOO_FEW.format(share=found.tilting.share)}{reached}."
    point = point_of(Knob("beta", beta), found.measurement.per_text, [plane])
    return Resampled(found, point, beta, alone)


def _rewards_of_start(
    players: Players, model: Tilted, n: int, rng: torch.Generator
) -> Float[Tensor, "group particle"]:
    """Rewards of n texts of the start; of a few prompts with many texts each, if there are any."""
    if not players.task.max_prompt_length:
        return model.propose(n, rng).log_tilts
    each = min(n, DRAWS_OF_PROMPT)
    prompts = heldout_prompts(players.task, max(n // each, 2), players.device)
    return model.propose(each, rng, prompts).log_tilts


def beta_of_kl(rewards: Float[Tensor, "group particle"], kl: float) -> float | None:
    """The beta at which weights exp(reward / beta) are a KL away from the texts' own distribution.

    KL falls as beta rises, so it is found by bisection. Where so many nats cannot be reached by
    these texts, beta is so small that the best of them has all the weight.

    Args:
        rewards: of texts of the start; those of one prompt are a group.
        kl: in nats, the mean over groups.

    Returns:
        None where all texts of each group have the same reward.
    """
    spread = float((rewards - rewards.mean(dim=1, keepdim=True)).double().std())
    if spread == 0:
        return None
    low, high = math.log(spread) - 12.0, math.log(spread) + 12.0
    for _ in range(60):
        middle = (low + high) / 2
        tilts = rewards.double() / math.exp(middle)
        reached = (tilts.softmax(dim=1) * tilts).sum(dim=1) - log_mean(tilts)
        if float(reached.mean()) > kl:
            low = middle
        else:
            high = middle
    return math.exp(high)


def compare_with_resampling(
    game: Sequence[Point], resampled: Resampled, plane: Panel, subject: str
) -> Comparison:
    """The game's curve beside the start, resampled, in a sentence of its own."""
    found = compare(game, [resampled.point], plane, subject)
    return replace(found, sentence=_sentence(found, resampled))


def _sentence(comparison: Comparison, resampled: Resampled) -> str:
    standing, quality, diversity = (
        comparison.standing,
        comparison.panel.quality,
        comparison.panel.diversity,
    )
    if standing is None or not all(map(math.isfinite, comparison.interval)):
        return _unknown(resampled)
    ends = sorted(quality.sign * end for end in standing.common)
    over = " to ".join(dict.fromkeys(f"{end:.4g}" for end in ends))
    low, high = comparison.interval
    judges = "its discriminator" if resampled.by_discriminator else "its rewards"
    return (
        f"{BOUGHT[standing.place]}: at equal {quality.title}, {over}, its {diversity.title} differs"
        f" from that of the start, resampled by {judges}, by {comparison.difference:+.4f}"
        f" ({diversity.unit}; 95% interval {low:+.4f} to {high:+.4f};"
        f" {'above' if diversity.higher_is_better else 'below'} 0 is better)."
        f" {_cost(resampled)}"
    )


def reward_beside_resampling(found: Change, resampled: Resampled) -> str:
    """A sentence about the reward of the trained generator beside that of the start, resampled.

    Args:
        found: the mean reward, before training and resampled, and after training.
    """
    low, high = found.interval
    if (place := place_of_reward(found, resampled)) is None:
        return _unknown(resampled)
    return (
        f"{BOUGHT[place]}: at the KL to the start that it reached (the start, resampled, has"
        f" {resampled.found.kl:.3g} nats per text), the mean reward is {found.after:.4g} after"
        f" training and {found.before:.4g} of the start, resampled ({found.difference:+.4g}; 95%"
        f" interval {low:+.4g} to {high:+.4g}). {_cost(resampled)}"
    )


def place_of_reward(found: Change, resampled: Resampled) -> Place | None:
    """The place of the trained generator's reward beside that of the start, resampled.

    Where too few draws of a prompt count, the start has less reward than more draws would give it:
    it may still win, but nothing can be said if it does not.

    Args:
        found: see `reward_beside_resampling`.

    Returns:
        None where nothing can be said.
    """
    place = place_of(*found.interval)
    few = bool(resampled.found.missing) and place != "under"
    return None if few or math.isinf(found.interval[1]) else place


def _cost(resampled: Resampled) -> str:
    return f"An effective text takes {1 / resampled.share:.1f} draws."


def _unknown(resampled: Resampled) -> str:
    known = "too few texts were measured"
    if resampled.found.missing:  # of prompts: each has a log Z of its own
        known = (
            f"{resampled.share:.0%} of a prompt's draws count, too few to tell (a larger"
            " --evaluation.resampled has more)"
        )
    return f"Training cannot be compared with the start, resampled: {known}."
