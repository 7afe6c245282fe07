"""The state that a trainer would save, around the players of a run that never trained."""

from collections.abc import Mapping
from typing import Any

import torch


def trainer_state(players: Mapping[str, Any], iteration: int = 0) -> dict[str, Any]:
    """A checkpoint's content.

    Args:
        players: states of the generator, the reference and perhaps the rewards.
    """
    position = {"iteration": iteration, "global_step": 0}
    return {
        "rng": torch.Generator().get_state(),
        "tracker": {},
        "players": {"rewards": {}} | dict(players) | {"position": position},
        "phases": {},
        "observers": {},
    }
