"""A new run that branches off from another one's checkpoint, with some settings changed.

What has a state of its own in a checkpoint (learning rates in the optimisers, the KL weight, the
random generator) follows a changed setting; everything else goes on as it was.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from seqgan.rewards.adapters.finding import DISCRIMINATOR
from seqgan.system.errors import ConfigurationError
from seqgan.tracking.jsonl import KINDS
from seqgan.training.settings import TrainConfig


def check_fork(before: TrainConfig, after: TrainConfig, state: Mapping[str, Any]) -> None:
    """That no changed setting is about something that is over in the checkpoint.

    Raises:
        ConfigurationError: it is, or nothing is left to do.
    """
    counters = state["counters"]
    over = []
    if counters["pretrain_epochs"] > 0:
        over += [("pretrain", field.name) for field in fields(before.pretrain)]
    if counters["discriminator_rounds"] > 0:
        over += [("discriminator_training", f"pretrain_{name}") for name in ("rounds", "epochs")]
    for part, name in over:
        old, new = (getattr(getattr(config, part), name) for config in (before, after))
        if old != new:
            raise ConfigurationError(
                f"a fork's pretraining is the one it branches off from: {part}.{name} stays {old},"
                f" got {new}"
            )
    played, iterations = counters["iterations"], after.adversarial.iterations
    if counters["pretrained"] and iterations <= played:
        raise ConfigurationError(
            f"a fork has something left to play: adversarial.iterations is above {played},"
            f" got {iterations}"
        )


def forked_state(
    state: Mapping[str, Any],
    fresh: Mapping[str, Any],
    before: TrainConfig,
    after: TrainConfig,
) -> dict[str, Any]:
    """The state that the fork begins with.

    Args:
        state: of the checkpoint.
        fresh: of a trainer that has just been made with the fork's settings; what the checkpoint
            knows nothing of, say a discriminator where none was, begins with it.
    """
    forked = dict(fresh) | dict(state)
    forked["reward"] = dict(fresh["reward"]) | dict(state["reward"])
    # The best of the fork's own game, and troubles of its own.
    forked["best_loss"], forked["alerted"] = fresh["best_loss"], fresh["alerted"]
    if after.seed != before.seed:
        forked["rng"] = torch.Generator().manual_seed(after.seed).get_state()
    old, new = before.adversarial, after.adversarial
    if new.kl_weight != old.kl_weight or new.kl_target == 0:
        forked["kl_weight"] = new.kl_weight
    if old.rollout_decay == 0:
        forked["rollout_policy"] = forked["generator"]  # nothing has moved it since pretraining
    forked["optimizer"] = _with_rate(forked["optimizer"], new.learning_rate)
    if DISCRIMINATOR in forked["reward"]:
        player = forked["reward"][DISCRIMINATOR]
        rate = after.discriminator_training.learning_rate
        player = {**player, "optimizer": _with_rate(player["optimizer"], rate)}
        forked["reward"][DISCRIMINATOR] = player
    position = dict(state["tracker"])
    if position.get("wandb"):
        position["wandb"] = {**position["wandb"], "fork": True}
    forked["tracker"] = position
    return forked


def copy_record(source: Path, target: Path, position: Mapping[str, int]) -> None:
    """Copies the run's record up to the checkpoint, so that the fork's folder tells all of it.

    Args:
        position: bytes of each file, as the checkpoint has them.

    Raises:
        OSError: a file cannot be read or written.
    """
    for kind in KINDS:
        name = f"{kind}.jsonl"
        if position.get(kind):
            shutil.copyfile(source / name, target / name)
            os.truncate(target / name, position[kind])


def _with_rate(optimizer: Mapping[str, Any], rate: float) -> dict[str, Any]:
    """The state of an optimiser with another learning rate."""
    groups = [{**group, "lr": rate} for group in optimizer["param_groups"]]
    return {**optimizer, "param_groups": groups}
