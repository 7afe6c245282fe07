"""A new run that branches off from another one's checkpoint, with some settings changed.

What has a state of its own in a checkpoint (learning rates in the optimisers, the KL weight, the
random generator) follows a changed setting; everything else goes on as it was.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from seqgan.system.errors import ConfigurationError
from seqgan.system.files import copy_start
from seqgan.tracking.jsonl import KINDS, check_length
from seqgan.training.settings import TrainConfig
from seqgan.training.trainer import Trainer


@runtime_checkable
class Forks(Protocol):
    """A phase whose state follows settings that a fork changes."""

    def forked(self, before: TrainConfig, after: TrainConfig) -> None:
        """Called once the state of the run with settings `before` is loaded."""
        ...


def check_fork(before: TrainConfig, after: TrainConfig, state: Mapping[str, Any]) -> None:
    """Checks that no changed setting is about a part of the run that is over in the checkpoint.

    Raises:
        ConfigurationError: it is, or nothing is left to do.
    """
    phases = state["phases"]
    over = []
    likelihood = phases.get("maximum_likelihood", {})
    if likelihood.get("epochs", 0) > 0 or likelihood.get("epoch") is not None:
        over += [("pretrain", field.name) for field in fields(before.pretrain)]
    if phases.get("adversary", {}).get("rounds", 0) > 0:
        names = ("pretrain_rounds", "pretrain_epochs", "patience")
        over += [("discriminator_training", name) for name in names]
    for part, name in over:
        old, new = (getattr(getattr(config, part), name) for config in (before, after))
        if old != new:
            raise ConfigurationError(
                f"{part}.{name} is {new}, but was {old} in the run that is forked, and a"
                " fork has the same pretraining"
            )
    played, iterations = state["players"]["position"]["iteration"], after.adversarial.iterations
    if likelihood.get("finished", True) and iterations <= played:
        raise ConfigurationError(
            f"adversarial.iterations is {iterations}, which leaves nothing to play: the"
            f" fork begins after {played}"
        )


def forked_state(
    state: Mapping[str, Any], trainer: Trainer, before: TrainConfig, after: TrainConfig
) -> dict[str, Any]:
    """The state that the fork begins with; the trainer has it afterwards.

    Args:
        state: of the checkpoint.
        trainer: just made with the fork's settings. Parts that the checkpoint does not know, say a
            discriminator where none was, begin as they are in it.
    """
    fresh = trainer.state_dict()
    forked: dict[str, Any] = {
        name: {**fresh[name], **state[name]} for name in ("phases", "observers", "players")
    }
    forked["players"]["rewards"] = fresh["players"]["rewards"] | state["players"]["rewards"]
    # The best of the fork's own game, and troubles of its own.
    own = [name for name in ("best", "alerts", "early_stop") if name in fresh["observers"]]
    forked["observers"] |= {name: fresh["observers"][name] for name in own}
    if "game" in fresh["phases"] and "game" in state["phases"]:
        rule = dict(fresh["phases"]["game"]["rule"])
        if type(before.rule) is type(after.rule):
            rule |= state["phases"]["game"]["rule"]
        forked["phases"]["game"] = {**state["phases"]["game"], "rule": rule}
    forked["rng"] = state["rng"]
    if after.seed != before.seed:
        forked["rng"] = torch.Generator().manual_seed(after.seed).get_state()
    try:
        trainer.load_state_dict(forked)
    except (RuntimeError, KeyError) as error:  # of PyTorch, about a parameter
        reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
        raise ConfigurationError(
            f"the fork's networks do not fit those of its checkpoint: {reason}"
        ) from error
    for phase in trainer.phases:
        if isinstance(phase, Forks):
            phase.forked(before, after)
    if (discriminator := trainer.players.discriminator) is not None:
        training = after.discriminator_training
        training.adam.take_up(discriminator.optimizer, training.learning_rate)
    # Others begin anew, and get the record so far.
    position = {name: at for name, at in state["tracker"].items() if name in ("jsonl", "wandb")}
    if position.get("wandb"):
        position["wandb"] = {**position["wandb"], "fork": True}
    return trainer.state_dict() | {"tracker": position}


def copy_record(source: Path, target: Path, position: Mapping[str, int]) -> None:
    """Copies the run's record up to the checkpoint, so that the fork's folder tells all of it.

    Args:
        position: bytes of each file, as the checkpoint has them.

    Raises:
        DataError: a file is shorter than `position` says.
        OSError: a file cannot be read or written.
    """
    for kind in KINDS:
        name, length = f"{kind}.jsonl", position.get(kind, 0)
        if length:
            check_length(source / name, length)
            copy_start(source / name, target / name, length)
