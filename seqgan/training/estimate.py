"""The cost of a run: its time, from a few steps on copies of its parts, and its rewards' calls."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from seqgan.evaluation.measure import sample_scores, token_rows
from seqgan.evaluation.texts import bleu_scores
from seqgan.learning.pace import MOST, is_own
from seqgan.learning.players import Players
from seqgan.learning.rules.base import DrawsMore
from seqgan.system.tables import aligned
from seqgan.system.terminal import wrapped
from seqgan.system.timing import seconds_at
from seqgan.tasks.base import has_texts
from seqgan.training.observers import Evaluation, RolloutSettings
from seqgan.training.phases.adversary import AT_MOST
from seqgan.training.resampling import DRAWS_OF_PROMPT
from seqgan.training.settings import EvaluationConfig, TrainConfig
from seqgan.training.warmed import has_settled, is_warming

if TYPE_CHECKING:
    from seqgan.training.trainer import Trainer

FINAL_ROWS = 4  # generators in the final table, at most: before, after, at the match, and the best
BLOCK = 32  # texts whose measurement is timed at a time; fewer cannot be measured in all ways
SHORT = 120.0  # seconds of a run that nobody wants to make shorter
LARGE = 0.1  # share of a part that is worth a hint

EVALUATIONS, FINAL = "evaluations", "final evaluation"
RESAMPLED = "resampling the start"
WIDE = 34  # columns of a hint beside its part
# Take some seconds in every run; the start is over when a run says how long it takes.
START, REST = "the start", "records and pictures"
# What makes a part shorter, by its name.
SHORTER = {
    "pretraining": "fewer --epochs",
    "discriminator pretraining": "fewer --discriminator-training.pretrain-rounds",
    "discriminator pretraining at most": (
        "fewer --discriminator-training.pretrain-rounds or --discriminator-training.patience"
    ),
    "generator in the game": "fewer --rollouts or --iterations",
    "discriminator in the game": "fewer --iterations or --discriminator-training.num-sequences",
    EVALUATIONS: "a larger --eval-every, fewer --evaluation.num-samples",
    FINAL: "fewer --evaluation.num-final or --evaluation.temperatures",
    RESAMPLED: "fewer --evaluation.resampled (0 leaves it out)",
}


@runtime_checkable
class Estimates(Protocol):
    """A phase that can say how long it takes."""

    def expected_seconds(self, players: Players) -> Mapping[str, float]:
        """Seconds of the units that are left, by the names of their parts, measured just now.

        The players are left as they were.
        """
        ...


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of the rest of a run on this machine.

    Args:
        parts: by their names.
        unknown: phases, rewards and measures that cannot say.
    """

    parts: Mapping[str, float]
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def sentence(self) -> str:
        """One line; of a run that takes long, with the part that takes most of it."""
        spelt = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in self.parts.items())
        said = f"expected time: about {_duration(self.total)} ({spelt};"
        said += f" {', '.join([REST, *self.unknown])} apart)"
        if self.total < SHORT:
            return said
        most = max(self.parts, key=lambda name: self.parts[name])
        hint = f" ({SHORTER[most]} make it shorter)" if most in SHORTER else ""
        return f"{said}; most of it: {most.removesuffix(AT_MOST)}{hint}"

    def lines(self, columns: int | None = None) -> list[str]:
        """A table of the parts, the longest first, with the settings that make them shorter.

        Args:
            columns: of the terminal; None for none.
        """
        parts = sorted(self.parts.items(), key=lambda part: -part[1])
        rows = [["", "time", "share", "made shorter by"]]
        for name, seconds in parts:
            share = seconds / max(self.total, 1e-9)
            hint = SHORTER.get(name, "") if share >= LARGE else ""
            rows.append([name, _duration(seconds), f"{share:.0%}", hint])
        rows.append(["in all, about", _duration(self.total), "", ""])
        table = aligned(rows, left=(0, 3))
        hints = table[0].index(rows[0][-1])  # the column where they begin
        lines = []
        for line in table:
            if columns is None or columns >= hints + WIDE:
                lines += wrapped(line, columns, hints)
            else:  # a hint has lines of its own
                lines.append(line[:hints].rstrip())
                lines += wrapped(f"  {line[hints:]}", columns) if line[hints:] else []
        return [*lines, *wrapped(f"not in it: {', '.join([START, REST, *self.unknown])}", columns)]


def estimate(trainer: "Trainer") -> Estimate:
    """Times a few steps of each kind and multiplies; the players are left as they were.

    Code of the user's own is not asked: its time is unknown.
    """
    players = trainer.players
    parts: dict[str, float] = {}
    evaluation: Evaluation = trainer.observer("evaluation")
    players.pace.together = min(evaluation.settings.num_final, MOST)
    unknown = [f"reward {part.name!r}" for part in players.rewards.parts if is_own(part)]
    for phase in trainer.phases:
        if isinstance(phase, Estimates):
            for name, seconds in phase.expected_seconds(players).items():
                parts[name] = parts.get(name, 0.0) + seconds
        else:
            unknown.append(phase.title)
    left = sum(phase.total - phase.count for phase in trainer.phases if phase.evaluated)
    played = any(phase.evaluated and phase.total for phase in trainer.phases)
    parts |= _evaluations(evaluation, left, played)
    parts |= _resampled(trainer, evaluation.settings, played)
    unknown += [f"measure {name!r}" for name in evaluation.measures]
    if evaluation.text_measures is not None and _takes_long(evaluation.settings):
        unknown.append("comparisons by networks")
    return Estimate(parts, tuple(unknown))


def _evaluations(evaluation: Evaluation, left: float | int, played: bool) -> dict[str, float]:
    """Seconds of the evaluations in the game, and of the one at the end.

    Args:
        left: steps that are left of phases that are evaluated.
        played: whether there is any such phase.
    """
    players, settings, samples = evaluation.players, evaluation.settings, evaluation.samples
    pace, task = players.pace, players.task
    real = has_texts(task)
    heldout = min(settings.num_heldout, task.size("test")) if real else 0
    compared = _compared(evaluation)

    def drawn(n: int) -> float:
        return pace.draw(n) + pace.score(n + heldout) + n * compared

    shown = pace.complete(samples.num_shown, samples.stride, samples.num_rollouts)
    each = drawn(settings.num_samples) + pace.judge(2 * settings.num_samples)
    each += (pace.score(task.size("dev")) if real else 0) + shown
    generators, rows, temperatures = 1 + played, FINAL_ROWS if played else 1, 0
    if real:
        temperatures = len([t for t in {*settings.temperatures} if t != 1.0])
    points = min(rows, generators * (1 + temperatures)) + generators * temperatures
    parts = {FINAL: points * drawn(settings.num_final) + shown}
    if not played:
        return parts
    return {EVALUATIONS: (1 + -(-left // settings.every)) * each, **parts}


def _resampled(trainer: "Trainer", settings: EvaluationConfig, played: bool) -> dict[str, float]:
    """Seconds of the start, resampled: rounds of its discriminator at most, draws and opinions."""
    players, warmed = trainer.players, trainer.observer("warmed")
    learning, pace = players.rewards.learning, players.pace
    judged = played or any(map(is_warming, trainer.phases))
    if settings.resampled == 0 or not judged or (learning and not warmed.judge):
        return {}
    task = players.task
    heldout = min(settings.num_heldout, task.size("test")) if has_texts(task) else 0
    of_prompts = heldout if task.max_prompt_length else 0  # whose log Z is drawn apart
    draws = settings.resampled * (settings.num_final + of_prompts)
    seconds = pace.draw(draws) + pace.score(draws + heldout) + pace.reward(draws + heldout)
    iterations = sum(phase.total for phase in trainer.phases if phase.evaluated)
    if learning:
        seconds += warmed.expected_seconds(has_settled(trainer), iterations)
    return {RESAMPLED: seconds}


def _compared(evaluation: Evaluation) -> float:
    """Seconds to compare a text with real ones and with the exact distribution, if it is known."""
    players, texts = evaluation.players, evaluation.text_measures
    task, usual = players.task, not _takes_long(evaluation.settings)
    num_blocks = max(players.pace.together // (4 * BLOCK), 1)
    some = players.pace.texts(num_blocks * BLOCK)

    def compare(blocks: int) -> None:
        part = some.select(torch.arange(blocks * BLOCK))
        sample_scores(part, task)
        if task.exact is not None:
            task.exact.log_prob(part)
        if texts is not None and usual:
            rows = token_rows(part)
            bleu_scores(rows, texts.references)
            texts.scores(rows, part.texts)

    return seconds_at(compare, num_blocks) / (num_blocks * BLOCK)


def _takes_long(settings: EvaluationConfig) -> bool:
    """True for comparisons by networks, which are not tried."""
    return settings.mauve or settings.toxicity or settings.embeddings != ("hashed",)


@dataclass(frozen=True)
class RewardCalls:
    """The number of texts that each reward of a run is asked about, at most.

    Equal completions are asked about once, so there may be fewer. Texts that failed are asked about
    again, and those of a batch once more by a reward per token, so there may be more.
    """

    iteration: int  # in one iteration of the game
    evaluation: int  # in one evaluation: of the texts that it shows
    end: int  # in the final evaluation
    iterations: int
    evaluations: int  # with those before the game

    @property
    def total(self) -> int:
        return self.iterations * self.iteration + self.evaluations * self.evaluation + self.end

    def sentence(self, names: Iterable[str]) -> str:
        """One line for the rewards of these names."""
        asked = " and ".join(repr(name) for name in names)
        return (
            f"rewards are asked about at most {self.iteration:,} texts in an iteration,"
            f" {self.evaluation:,} in an evaluation, {self.end:,} at the end, {self.total:,} in"
            f" all: {asked}"
        )


def reward_calls(
    config: TrainConfig, max_length: int, processes: int = 1, prompts: bool = False
) -> RewardCalls | None:
    """Counts the texts that each reward will be asked about; nothing is asked for that.

    Args:
        max_length: tokens of the longest text.
        processes: that train together.
        prompts: whether texts go on from some.

    Returns:
        None where a phase or a rule of the user's own asks in ways of its own.
    """
    known = {"maximum_likelihood", "adversary", "game"}
    rule, evaluation, game = config.rule, config.evaluation, config.adversarial
    if not isinstance(rule, RolloutSettings) or not {*config.phases} <= known:
        return None
    iterations = game.iterations if "game" in config.phases else 0
    prefixes = -(-(max_length - 1) // rule.rollout_stride)  # of one text that are completed
    each = 1 + prefixes * rule.num_rollouts
    shown = min(evaluation.num_shown, evaluation.num_samples) * each
    rows = FINAL_ROWS if iterations else 1
    resampled, n = 0, evaluation.num_final
    if iterations and evaluation.resampled:
        by_beta = max(n, 2 * min(n, DRAWS_OF_PROMPT)) if prompts else n
        draws = evaluation.resampled * (n + prompts * evaluation.num_heldout)
        resampled = by_beta + draws + n + evaluation.num_heldout
    group = game.group_size if prompts else game.batch_size
    more = rule.more_texts(game.batch_size, group) if isinstance(rule, DrawsMore) else 0
    return RewardCalls(
        game.g_steps * (game.batch_size * each + more) * processes,
        shown,
        shown + rows * n + resampled,
        iterations,
        # Samples and an evaluation before the game, and the evaluations in it.
        2 + -(-iterations // evaluation.every) if iterations else 0,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
