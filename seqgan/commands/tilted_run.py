"""A run in Python with a reward that tilts its generator: its own, or one that is given."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from seqgan.data.sequences import Sequences
from seqgan.decoding.tilt import DiscriminatorLogit
from seqgan.rewards.adapters.finding import DISCRIMINATOR, find_rewards
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardModel
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.system.errors import ConfigurationError
from seqgan.training.result import CONTROLS
from seqgan.training.run_folders import RunFolder
from seqgan.training.runs import TrainedGenerator, checkpoint_state, usable
from seqgan.training.tilting import RunSampler, SamplerSettings, named_tilts, sampler_of

if TYPE_CHECKING:
    from seqgan.commands.run import Run

Judge = str | RewardModel | Callable[..., Any]


def tilted_run(
    run: "Run",
    settings: SamplerSettings,
    tilt: Judge | Sequence[Judge] | None,
    rng: torch.Generator,
    contexts: Sequences | None,
) -> RunSampler:
    """The sampler of a run's generator after training.

    Args:
        settings: without rewards.
        tilt: the rewards, see `Run.sample`; None for the discriminator that the run trained with,
            or for its other rewards.
        rng: of the texts that a twist is learnt from.
        contexts: prompts that will be continued.

    Raises:
        ConfigurationError: there is no such reward, or settings do not go together.
    """
    made: dict[str, RewardModel] = {}
    if tilt is not None:
        made, names = _given(tilt)
        settings = replace(settings, tilt=(*names, *made))
        made |= _named(run, names, settings)
    elif run.rewards is not None:
        made, weights = _in_memory(run)
        settings = replace(settings, tilt=tuple(made), tilt_weights=weights)
    elif run.folder is not None:
        settings = settings.of_run(RunFolder(run.folder), run.config, run.trusted)
        made = _named(run, settings.rewards, settings)
    else:
        raise ConfigurationError("this run has no rewards of its own; give one as tilt")
    prompted = contexts is not None
    trained = TrainedGenerator(run.generator, run.vocabulary, run.max_length, prompted)
    return sampler_of(settings, trained, made, rng, contexts, without_unknown=True)


def _given(tilt: Judge | Sequence[Judge]) -> tuple[dict[str, RewardModel], list[str]]:
    """Rewards that are objects, by their names, and the names of the others."""
    given = list(tilt) if isinstance(tilt, list | tuple) else [tilt]
    own = [as_reward(one) for one in given if not isinstance(one, str)]
    names = [one for one in given if isinstance(one, str)]
    called = [*names, *(one.name for one in own)]
    for name in called:
        if called.count(name) > 1:
            raise ConfigurationError(
                f"two rewards of tilt are called {name!r}, but their names must be distinct"
            )
    if not called:
        raise ConfigurationError("tilt is empty, but must have at least one reward")
    return {one.name: one for one in own}, names


def _named(run: "Run", names: Sequence[str], settings: SamplerSettings) -> dict[str, RewardModel]:
    """Rewards by how `--tilt` names them."""
    if not names:
        return {}
    if run.rewards is not None or run.folder is None:
        found: dict[str, RewardModel] = {}
        if DISCRIMINATOR in names:
            found[DISCRIMINATOR] = _discriminator(run)
        others = [name for name in names if name != DISCRIMINATOR]
        return found | dict(zip(others, find_rewards(others, run.own_task()), strict=True))
    folder = RunFolder(run.folder)
    config = usable(folder, run.config, settings.reads)
    _, state = checkpoint_state(folder)
    return named_tilts(names, folder, config, state, run.task)


def _in_memory(run: "Run") -> tuple[dict[str, RewardModel], tuple[float, ...]]:
    """The rewards that a run in memory trained with, by their names, and their weights."""
    assert run.rewards is not None
    learning = run.rewards.learning
    if learning is not None:
        return {DISCRIMINATOR: _discriminator(run)}, ()
    parts = zip(run.rewards.parts, run.rewards.part_weights.tolist(), strict=True)
    judging = [(part, weight) for part, weight in parts if part.name not in CONTROLS]
    if not judging:
        raise ConfigurationError(
            f"this run's only reward is {run.rewards.name}, which says nothing of texts; give"
            " one as tilt"
        )
    return {part.name: part for part, _ in judging}, tuple(weight for _, weight in judging)


def _discriminator(run: "Run") -> DiscriminatorLogit:
    learning = None if run.rewards is None else run.rewards.learning
    if not isinstance(learning, DiscriminatorReward):
        raise ConfigurationError("this run has no discriminator; give another reward as tilt")
    if not learning.state_dict()["optimizer"]["state"]:
        raise ConfigurationError(
            "this run's discriminator is not trained; give another reward as tilt"
        )
    return DiscriminatorLogit(learning)
