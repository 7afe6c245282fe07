"""The anchor of a policy: its KL to a reference, the weight of that, and the reference itself."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Trajectories
from seqgan.functional.advantages import next_kl_weight
from seqgan.learning.players import Players
from seqgan.models.generators.base import Generator, frozen_copy


@runtime_checkable
class AnchorSettings(Protocol):
    """The weight of the KL, the KL that it aims at, and how the reference moves."""

    @property
    def kl_weight(self) -> float: ...

    @property
    def kl_target(self) -> float: ...

    @property
    def reference_every(self) -> int: ...


class Anchor:
    """Holds a generator near its reference.

    The reference is the pretrained generator (`players.reference`). With `reference_every` n it is
    a copy of the generator that is made anew after every n updates, as TRL's `sync_ref_model` does
    with a mixup of 1 (TR-DPO, Gorbatovski et al., 2024): then the KL bounds the speed of the
    generator and not its distance.
    """

    def __init__(self, settings: AnchorSettings) -> None:
        self.settings = settings
        self.weight = settings.kl_weight
        self.moved: Generator | None = None  # the reference, once it has left the pretrained one
        self.updates = 0  # since the reference moved

    def log_probs(
        self, players: Players, trajectories: Trajectories
    ) -> Float[Tensor, "batch time"]:
        """log reference(y_t | y_<t) of a process' own trajectories, nats; 0 on padding."""
        reference = players.reference if self.moved is None else self.moved
        with torch.no_grad():
            return reference.eval().log_probs(trajectories.sequences)

    def updated(self, generator: Generator, kl: float) -> None:
        """Sets weight and reference for the next update.

        Args:
            kl: measured on the batch of this update, nats per sequence.
        """
        settings = self.settings
        if settings.kl_target > 0:
            self.weight = next_kl_weight(self.weight, kl, settings.kl_target)
        if settings.reference_every > 0:
            self.updates += 1
            if self.updates >= settings.reference_every:
                self.moved, self.updates = frozen_copy(generator), 0

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other rule settings was loaded."""
        if self.settings.kl_target == 0 or before.kl_weight != self.settings.kl_weight:
            self.weight = self.settings.kl_weight
        if self.settings.reference_every == 0:
            self.moved, self.updates = None, 0

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"kl_weight": self.weight}
        if self.settings.reference_every > 0:
            state["reference_updates"] = self.updates
        if self.moved is not None:
            state["reference"] = self.moved.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any], generator: Generator) -> None:
        """Takes its part of the rule's whole state.

        Args:
            generator: of the reference's shape.
        """
        self.weight = state["kl_weight"]
        self.updates = state.get("reference_updates", 0)
        if "reference" in state:
            self.moved = frozen_copy(generator)
            self.moved.load_state_dict(state["reference"])
