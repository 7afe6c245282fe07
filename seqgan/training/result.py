"""The things that the end of a run says: its rows, the price of a reward, and the controls."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from seqgan.data.sequences import Sequences
from seqgan.evaluation.changes import Change
from seqgan.evaluation.measure import Measurement
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.planes.points import Point
from seqgan.evaluation.planes.verdict import Comparison
from seqgan.rewards.shipped.controls import ConstantReward, RandomReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.training.resampling import Resampled

CONTROLS = (ConstantReward.name, RandomReward.name)


@dataclass(frozen=True)
class About:
    """The things that a run trained with, by which its end is named.

    Args:
        played: whether the generator trained at all after maximum likelihood.
        adversary: the reward that learns along with the generator; empty where none does.
        rewards: those that do not learn, and are no control.
        controls: those that say nothing of texts: `constant`, `random`; empty where the learning
            rule asks for no reward.
    """

    played: bool
    adversary: str
    rewards: tuple[str, ...]
    controls: tuple[str, ...]

    @property
    def title(self) -> str:
        """The trained generator's name in a table."""
        return "game" if self.adversary else "trained"

    @property
    def subject(self) -> str:
        """The trained generator's name in a sentence."""
        if self.adversary:
            return "The adversarial game"
        if self.rewards:
            return f"Training with {_listed('reward', self.rewards)}"
        if self.controls:
            return f"The control with {_listed('reward', self.controls)}"
        return "Training without a reward"


@dataclass(frozen=True)
class Row:
    """A generator in the final table, sampled at one temperature."""

    name: str
    temperature: float
    measured: Measurement
    rewards: dict[str, PerText]  # of each reward that does not learn, where it applies

    @property
    def metrics(self) -> dict[str, float]:
        """Those of the measurement, and the mean of each reward."""
        rewards = {f"rewards/{name}/mean": part.value for name, part in self.rewards.items()}
        return rewards | self.measured.metrics

    @property
    def samples(self) -> Sequences:
        return self.measured.samples


@dataclass(frozen=True)
class Price:
    """The cost of a reward at temperature 1."""

    # Nats per token; above 0, real texts became less likely; None where there are none.
    nll_heldout: Change | None
    duplicate_rate: tuple[float, float]  # share of samples, before and after
    kl: PerText  # to the start, nats per sample


@dataclass(frozen=True)
class Control:
    """The start, resampled: what the run's reward does for it without training.

    Args:
        row: in the final table.
        comparison: of the game's curve with it; None where the game's reward is compared.
        reward: the mean reward of the start, resampled, and of the trained generator, where no
            reward learns.
        sentence: the comparison in words; empty without a game.
    """

    row: Row
    resampled: Resampled
    comparison: Comparison | None = None
    reward: Change | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Result:
    """Everything that a finished run says, for the table and `results.json`.

    Args:
        start, control: the pretrained generator at temperature 1, and at the temperature that
            matches the quality of `final`.
        final, best: the trained generator at temperature 1, and where it is furthest ahead.
        mle, game: the points of both over temperatures; `game` is empty where none was played.
        information: (iteration, held-out information in nats, standard error) of evaluations.
        resampled: the start, resampled; None where nothing judges texts, or it is not wanted.
        left_out: the reason why it is not there though it is wanted, in a sentence.
        better: the better end of each of the user's own measures, max or min; empty for none.
    """

    about: About
    start: Row
    control: Row
    final: Row
    best: Row
    comparison: Comparison
    mle: Sequence[Point]
    game: Sequence[Point] = ()
    rewards: dict[str, Change] = field(default_factory=dict)
    price: Price | None = None
    information: Sequence[tuple[int, float, float]] = ()
    resampled: Control | None = None
    left_out: str = ""
    better: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the table, each once."""
        without_training = [self.resampled.row] if self.resampled else []
        shown = [self.start, self.control, *without_training, self.final, self.best]
        return tuple({id(row): row for row in shown}.values())


def about_rewards(rewards: WeightedSum, played: bool, asked: bool = True) -> About:
    """Sorts the rewards of a run: the one that learns, the controls, and all others.

    Args:
        asked: False where the generator learns without them, so that none makes a control.
    """
    learning = rewards.learning
    fixed = tuple(part.name for part in rewards.parts if part is not learning)
    return About(
        played,
        "" if learning is None else learning.name,
        tuple(name for name in fixed if name not in CONTROLS),
        tuple(name for name in fixed if name in CONTROLS and asked),
    )


def _listed(noun: str, names: Sequence[str]) -> str:
    """A noun and names, in the plural where there are several."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return f"{noun} {quoted[0]}"
    return f"{noun}s {', '.join(quoted[:-1])} and {quoted[-1]}"
