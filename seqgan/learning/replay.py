"""Generated texts of earlier rounds, shown to the discriminator again (Shrivastava et al., 2017).

A discriminator that only sees what the generator writes now forgets what it wrote before, and the
two may go round in circles.
"""

from collections.abc import Mapping
from typing import Any

import torch

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary


class Replay:
    """The last `size` generated sequences, of which some stand in for fresh ones.

    Args:
        share: of a round's generated sequences that are older ones.
        size: sequences that are kept.
    """

    def __init__(self, share: float, size: int) -> None:
        self.share, self.size = share, size
        self.kept: Sequences | None = None

    def num_older(self, count: int) -> int:
        """How many of `count` sequences are older ones: fewer while few are known."""
        return min(round(self.share * count), 0 if self.kept is None else len(self.kept))

    def mixed(self, fresh: Sequences, count: int, rng: torch.Generator) -> Sequences:
        """The fresh sequences, and older ones up to `count`; the fresh ones are kept."""
        older = count - len(fresh)
        known = fresh if self.kept is None else joined([self.kept, fresh])
        mixed = fresh
        if older and self.kept is not None:
            rows = torch.randperm(len(self.kept), generator=rng)[:older]
            mixed = joined([fresh, self.kept.select(rows.to(fresh.tokens.device))])
        last = torch.arange(max(len(known) - self.size, 0), len(known))
        self.kept = known.select(last.to(known.tokens.device))
        return mixed

    def state_dict(self) -> dict[str, Any]:
        if self.kept is None:
            return {}
        tensors = {name: getattr(self.kept, name) for name in ("tokens", "mask")}
        if self.kept.prompts is not None:
            tensors |= {"prompts": self.kept.prompts, "prompt_mask": self.kept.prompt_mask}
        return tensors

    def load_state_dict(
        self, state: Mapping[str, Any], vocabulary: Vocabulary, device: torch.device | str
    ) -> None:
        self.kept = Sequences(**state, vocabulary=vocabulary).to(device) if state else None
