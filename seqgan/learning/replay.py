"""Shows the discriminator generated texts of earlier rounds again (Shrivastava et al., 2017).

A discriminator that sees only the generator's present texts forgets the earlier ones, and the two
players may go round in circles.
"""

from collections.abc import Mapping
from typing import Any

import torch

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary


class Replay:
    """Keeps the last `size` generated sequences and mixes some of them into each round.

    Args:
        share: share of older sequences among a round's generated ones.
        size: number of sequences kept.
    """

    def __init__(self, share: float, size: int) -> None:
        self.share, self.size = share, size
        self.kept: Sequences | None = None

    def num_older(self, count: int) -> int:
        """The number of older sequences among `count`; smaller while few are kept.

        At least one of them is fresh.
        """
        kept = 0 if self.kept is None else len(self.kept)
        return min(round(self.share * count), kept, count - 1)

    def mixed(self, fresh: Sequences, count: int, rng: torch.Generator) -> Sequences:
        """Returns the fresh sequences and older ones, `count` in all, and keeps the fresh ones."""
        num_older = count - len(fresh)
        everything = fresh if self.kept is None else joined([self.kept, fresh])
        mixture = fresh
        if num_older and self.kept is not None:
            rows = torch.randperm(len(self.kept), generator=rng)[:num_older]
            mixture = joined([fresh, self.kept.select(rows.to(fresh.tokens.device))])
        last = torch.arange(max(len(everything) - self.size, 0), len(everything))
        self.kept = everything.select(last.to(everything.tokens.device))
        return mixture

    def state_dict(self) -> dict[str, Any]:
        if self.kept is None:
            return {}
        state = {name: getattr(self.kept, name) for name in ("tokens", "mask")}
        if self.kept.prompts is not None:
            state |= {"prompts": self.kept.prompts, "prompt_mask": self.kept.prompt_mask}
        if self.kept.given_prompt_texts is not None:
            state["given_prompt_texts"] = list(self.kept.given_prompt_texts)
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], vocabulary: Vocabulary, device: torch.device | str
    ) -> None:
        self.kept = Sequences(**state, vocabulary=vocabulary).to(device) if state else None
