"""The rewards of a run: what its settings name, found and tried before anything is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from seqgan.data.sequences import Sequences
from seqgan.rewards.adapters.finding import DISCRIMINATOR, FLUENCY, GROUP, find_rewards
from seqgan.rewards.adapters.functions import FunctionReward
from seqgan.rewards.base import RewardModel, TrainableReward
from seqgan.rewards.guard import FailurePolicy, careful_returns
from seqgan.rewards.shipped.controls import RandomReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import parse_spec, tell_shadowed
from seqgan.tasks.base import JUDGE, Task, has_texts, needs_texts, stand_ins
from seqgan.training.networks import build_discriminator_reward
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS, kind_of

# Short names of rewards that read another run; of one whose code is trusted, and of others.
OF_TRUSTED: Mapping[str, str] = {FLUENCY: "seqgan.training.runs:trusting_fluency"}
OF_RUNS: Mapping[str, str] = {FLUENCY: "seqgan.training.runs:fluency"}


def named_rewards(
    config: TrainConfig, task: Task, trust_run_code: bool = False
) -> dict[str, RewardModel]:
    """The rewards that need nothing of the run but its task, by how the configuration names them.

    Args:
        trust_run_code: lets another run, which a reward reads, name code in its settings.

    Raises:
        ConfigurationError: no such reward, one that refuses its arguments, or rewards that do not
            go together.
    """
    others = OF_TRUSTED if trust_run_code else OF_RUNS
    specs = [spec for spec in config.reward if spec != DISCRIMINATOR]
    found = dict(zip(specs, find_rewards(specs, task, others, config.device), strict=True))
    for reward in found.values():
        if isinstance(reward, FunctionReward):
            reward.in_flight = config.reward_in_flight
    if isinstance(control := found.get("random"), RandomReward):
        control.seed = config.seed
    learning = [spec for spec, one in found.items() if isinstance(one, TrainableReward)]
    for spec in [*learning, *[DISCRIMINATOR] * (DISCRIMINATOR in config.reward)]:
        needs_texts(task, f"reward {spec!r}", JUDGE)
    if DISCRIMINATOR in config.reward:
        tell_shadowed(DISCRIMINATOR, "reward", GROUP)
        for spec, reward in found.items():
            if reward.name == DISCRIMINATOR or isinstance(reward, TrainableReward):
                raise ConfigurationError(
                    f"reward {spec!r} cannot stand beside the {DISCRIMINATOR}: it learns too, or"
                    " has the same name"
                )
    return found


def build_reward(
    config: TrainConfig, task: Task, rng: torch.Generator, found: Mapping[str, RewardModel]
) -> WeightedSum:
    """The rewards that the configuration names, as one.

    Args:
        found: the result of `named_rewards`.
    """
    parts = [
        found[spec] if spec in found else build_discriminator_reward(config, task, rng)
        for spec in config.reward
    ]
    return WeightedSum(parts, config.reward_weights or None, _failures(config))


def try_rewards(config: TrainConfig, task: Task, rewards: Sequence[RewardModel]) -> None:
    """Asks each reward about two training texts and, where one can be, an empty one.

    Of prompts alone it is asked about texts made of their words.

    Raises:
        RewardError: it fails, and the configuration does not say to skip that.
    """
    texts = task.real("train", 2, torch.Generator().manual_seed(0))
    if not has_texts(task):
        texts = stand_ins(texts, task.max_length)
    batches = [texts]
    eos_id = task.vocabulary.eos_id
    if eos_id is not None and texts.prompts is None and not texts.columns:
        width = texts.tokens.shape[1]
        batches.append(Sequences.from_rows([[eos_id]], task.vocabulary, width))
    for reward in rewards:
        for batch in batches:
            careful_returns(reward, batch.to(config.device), _failures(config))


def user_files(config: TrainConfig) -> list[Path]:
    """The files with the user's own code that the settings name: rewards, and classes in slots."""
    places = [parse_spec(spec, "reward").place for spec in config.reward]
    places += [kind_of(slot, getattr(config, slot)).rpartition(":")[0] for slot in SLOTS]
    files = [Path(place).expanduser() for place in dict.fromkeys(places)]
    return [file for file in files if file.suffix == ".py"]


def _failures(config: TrainConfig) -> FailurePolicy:
    return FailurePolicy(
        config.reward_retries, config.reward_failure, config.reward_pause, config.reward_seconds
    )
