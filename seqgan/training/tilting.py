"""A run's generator with a reward as one model, which `--sampler`, `--tilt` and others ask for."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from seqgan.data.sequences import Sequences
from seqgan.decoding.learned_twist import learn_twist
from seqgan.decoding.samplers import SAMPLERS, Drawn, Kind, TiltedSampler
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.twists import ActionTwist, DiscriminatorTwist, PrefixTwist
from seqgan.rewards.adapters.finding import DISCRIMINATOR, find_rewards
from seqgan.rewards.base import RewardModel, TrainableReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.checks import Bound, Count, check_settings
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task
from seqgan.training.networks import discriminator_reward
from seqgan.training.result import CONTROLS
from seqgan.training.run_rewards import OF_RUNS, OF_TRUSTED
from seqgan.training.runs import (
    RestoredRun,
    RunFolder,
    TrainedGenerator,
    check_task,
    is_trained,
    open_run,
    restored_discriminator,
    usable,
)
from seqgan.training.settings import TrainConfig
from seqgan.training.warmed import Warmed

OF, OF_PROMPT = 4, 16  # proposals for each text, and for each text that continues a prompt
TWIST_TEXTS = 4096  # proposals that a twist is learnt from
TWIST_PROMPTS = 256  # prompts that they continue, at most

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamplerSettings:
    """Settings with which a run's generator is sampled under a reward that tilts it."""

    kind: Kind = "resample"  # way to draw
    # Rewards, as `--reward` takes them; none: the run's discriminator, or its other rewards.
    tilt: tuple[str, ...] = ()
    tilt_weights: tuple[float, ...] = ()  # one for each reward; 1 each by default
    beta: Bound = 1.0  # price of a nat of KL to the generator, in units of reward
    of: Count = 0  # proposals for each text, at least 2; 0: 4, or 16 where texts continue prompts

    def __post_init__(self) -> None:
        check_settings("", self)
        if self.tilt_weights and not any(self.tilt_weights):
            given = " ".join(f"{weight:g}" for weight in self.tilt_weights)
            raise ConfigurationError(
                f"--tilt-weights is {given}, but must have a number other than 0, or nothing tilts"
                " the generator"
            )

    @property
    def way(self) -> type[TiltedSampler]:
        """The sampler's class."""
        return SAMPLERS[self.kind]

    @property
    def rewards(self) -> tuple[str, ...]:
        """The rewards' names."""
        return self.tilt or (DISCRIMINATOR,)

    @property
    def reads(self) -> tuple[str, ...]:
        """Settings of the run whose inputs are read, for `usable`."""
        own = DISCRIMINATOR in self.rewards
        others = set(self.rewards) != {DISCRIMINATOR}
        return ("discriminator",) * own + ("task",) * others

    def of_run(
        self, folder: RunFolder, config: TrainConfig, trust_run_code: bool = False
    ) -> "SamplerSettings":
        """The same with the rewards of a run that has no discriminator, where none are named.

        Raises:
            ConfigurationError: they are code that nobody has trusted.
            DataError: they are not as they were when the run was made.
        """
        rewards = [name for name in config.reward if name not in CONTROLS]
        if self.tilt or DISCRIMINATOR in config.reward or not rewards:
            return self
        _, own = open_run(folder.path, trust_run_code, ("reward",))
        own = usable(folder, own, ("reward",), config.device)
        weights = self.tilt_weights or own.reward_weights
        return replace(self, tilt=own.reward, tilt_weights=weights)


RESAMPLED = SamplerSettings()


@dataclass(frozen=True, eq=False)
class RunSampler:
    """A sampler, and how it is spoken of.

    Args:
        sampler: draws the texts.
        rewards: the names of the rewards that tilt the generator.
    """

    sampler: TiltedSampler
    rewards: tuple[str, ...]

    def at(self, beta: float) -> "RunSampler":
        """The same with another beta; a twist stays, though it is best for its own."""
        model = self.sampler.model
        tilted = replace(model, tilt=replace(model.tilt, beta=beta))
        return replace(self, sampler=replace(self.sampler, model=tilted))

    @property
    def title(self) -> str:
        """The way to draw in a few words: `resampled by discriminator, beta 1`."""
        return self.sampler.title(" + ".join(self.rewards))

    def proposals(self, drawn: Drawn) -> str:
        """The number and the name of the weighted texts: `16 proposals of each prompt`."""
        assert drawn.weighted is not None
        groups, particles = drawn.weighted.log_weights.shape
        each = " of each prompt" if groups > 1 else ""
        return f"{particles:,} {self.sampler.weighs}{each}"

    def cost(self, drawn: Drawn) -> str:
        """A line about drawn texts: effective share, KL to the start, tokens for each text."""
        price = f"{drawn.tokens_per_text:.1f} tokens drawn per text"
        if drawn.weighted is None:
            return f"{self.title}: KL to start {drawn.most_kl:.3g} nats at most, {price}"
        summary = drawn.weighted.summary()
        share = f"{summary.share:.1%} of {self.proposals(drawn)}"
        line = f"{self.title}: effective share {share}"
        line += f", KL to start {summary.kl:.3g} nats, {price}"
        return line + (f"; {self.sampler.about}" if self.sampler.about else "")

    def warning(self, drawn: Drawn) -> str:
        """A line where no text is preferred, or few count and so repeat; mostly empty."""
        if drawn.weighted is None:
            return ""
        tilts = drawn.weighted.log_tilts
        if self.sampler.model.tilt.beta < math.inf and bool((tilts == tilts[:, :1]).all()):
            return f"all {self.sampler.weighs} have the same reward, so it tilts nothing"
        summary = drawn.weighted.summary()
        if summary.trusted or not self.sampler.repeats:
            return ""
        return (
            f"the {self.proposals(drawn)} are worth {summary.share * summary.particles:.1f} even"
            " ones, so texts repeat; a larger --beta or --of has more"
        )


def build_sampler(
    settings: SamplerSettings,
    run: RestoredRun,
    rng: torch.Generator,
    prompts: Sequences | None = None,
    task: Task | None = None,
    without_unknown: bool = False,
    trust_run_code: bool = False,
) -> RunSampler:
    """Makes the sampler that settings ask for, of a run's generator.

    The generator before the game is tilted by the discriminator that had met no other.

    Args:
        run: its configuration located for `settings.reads` by `usable`.
        rng: of the texts that a twist of `smc` is learnt from.
        prompts: some of those that will be continued, for such texts.
        task: the run's; None builds it where a reward needs it.
        without_unknown: never draws the unknown word.
        trust_run_code: lets another run, which a reward reads, name code in its settings.

    Raises:
        ConfigurationError: the run has no discriminator, or an untrained one; there is no such
            reward; or settings do not go together.
    """
    judges = run.state
    if DISCRIMINATOR in settings.rewards and _iterations(run.state):
        judges = _judges(run)
    rewards = named_tilts(settings.rewards, run.folder, run.config, judges, task, trust_run_code)
    return sampler_of(settings, run.trained, rewards, rng, prompts, without_unknown)


def named_tilts(
    names: Sequence[str],
    folder: RunFolder,
    config: TrainConfig,
    state: dict[str, Any],
    task: Task | None = None,
    trust_run_code: bool = False,
) -> dict[str, RewardModel]:
    """Rewards by how `--tilt` names them; errors as of `build_sampler`.

    Args:
        state: of the checkpoint that the discriminator is read from.
        task, trust_run_code: see `build_sampler`.
    """
    specs = [name for name in names if name != DISCRIMINATOR]
    if specs and task is None:
        task = config.task.build(config.generator)
        check_task(folder, task)
    others = OF_TRUSTED if trust_run_code else OF_RUNS
    found = dict(zip(specs, find_rewards(specs, task, others, config.device), strict=True))
    for spec, reward in found.items():
        if isinstance(reward, TrainableReward):
            raise ConfigurationError(
                f"the reward {spec} learns, but of these only a run's own discriminator is kept;"
                " name another with --tilt"
            )
    if DISCRIMINATOR in names:
        found[DISCRIMINATOR] = own_discriminator(folder, config, state)
    return found


def sampler_of(
    settings: SamplerSettings,
    trained: TrainedGenerator,
    rewards: Mapping[str, RewardModel],
    rng: torch.Generator,
    prompts: Sequences | None = None,
    without_unknown: bool = False,
) -> RunSampler:
    """The sampler of a generator and of rewards that are there; see `build_sampler`.

    Args:
        rewards: by the names that `settings.rewards` has.
    """
    ordered = [rewards[name] for name in settings.rewards]
    unknown = trained.vocabulary.unk_id
    forbidden = (unknown,) if without_unknown and unknown is not None else ()
    reward = WeightedSum(ordered, settings.tilt_weights or None)
    tilt = Tilt(reward, settings.beta)
    model = Tilted(trained.generator, trained.vocabulary, trained.max_length, tilt, forbidden)
    of = settings.of or (OF_PROMPT if trained.prompted else OF)
    sampler = settings.way.made(model, of, lambda: _twist(model, rng, prompts))
    return RunSampler(sampler, tuple(part.name for part in ordered))


def before_game(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state with the discriminator as it was before the game, if it was trained then
    and the checkpoint has kept it; else the state as it is."""
    kept = state.get("observers", {}).get(Warmed.name, {}).get("discriminator")
    if not kept or not kept["optimizer"]["state"]:
        return state
    players = state["players"]
    rewards = {**players["rewards"], DISCRIMINATOR: kept}
    return {**state, "players": {**players, "rewards": rewards}}


def _judges(run: RestoredRun) -> dict[str, Any]:
    """The state with the discriminator that met a run's generator; a line says where none has."""
    if not run.pretrained:
        if not _has_turns(run):
            logger.warning(
                "the discriminator of %s has met the generator before the game alone"
                " (the game has no rounds of it); --pretrained draws from that one",
                run.folder.path,
            )
        return run.state
    judges = before_game(run.state)
    if judges is run.state and _has_turns(run):
        logger.warning(
            "%s has no discriminator of before its game (one that trained then is kept, unless"
            " evaluation.resampled is 0), so the generator before the game is judged by the one"
            " that the game has left",
            run.folder.path,
        )
    return judges


def _has_turns(run: RestoredRun) -> bool:
    """True where the discriminator is trained in a run's game."""
    config = run.config
    return config.discriminator_training.rounds(config.adversarial.iterations) > 0


def _iterations(state: Mapping[str, Any]) -> int:
    """Iterations of the game that a checkpoint has behind it."""
    return int(state["players"]["position"]["iteration"])


def own_discriminator(
    folder: RunFolder, config: TrainConfig, state: dict[str, Any]
) -> DiscriminatorLogit:
    """The logit of a run's discriminator, within +-5.

    Raises:
        ConfigurationError: the run has none, or has not trained it yet.
    """
    if DISCRIMINATOR not in config.reward:
        raise ConfigurationError(
            f"{folder.path} has no discriminator, as its rewards are {', '.join(config.reward)};"
            " name a reward to tilt by with --tilt"
        )
    if not is_trained(state):
        raise ConfigurationError(
            f"the discriminator of {folder.path} is not trained yet (seqgan train --resume goes on"
            " with a run that was stopped); name a reward to tilt by with --tilt"
        )
    discriminator = restored_discriminator(folder, config, state)
    return DiscriminatorLogit(discriminator_reward(config, discriminator.to(config.device)))


def _twist(
    model: Tilted, rng: torch.Generator, prompts: Sequences | None
) -> tuple[PrefixTwist | ActionTwist, str]:
    """The cheapest twist that there is, and its origin in words."""
    reward = model.tilt.reward
    assert isinstance(reward, WeightedSum)
    (only, *more), weight = reward.parts, float(reward.part_weights[0])
    if isinstance(only, DiscriminatorLogit) and only.reward.per_token and not more and weight > 0:
        twist = DiscriminatorTwist(only, model.tilt.beta / weight)
        return twist, "twist: the discriminator, which judges every prefix"
    if prompts is not None:
        prompts = prompts.select(torch.arange(min(len(prompts), TWIST_PROMPTS)))
    each = TWIST_TEXTS if prompts is None else max(TWIST_TEXTS // len(prompts), 8)
    proposals = model.propose(each, rng, prompts)
    twist_learnt = learn_twist(proposals, model.vocabulary, rng)
    return twist_learnt, f"twist: learnt from {len(proposals.sequences):,} proposals beforehand"
