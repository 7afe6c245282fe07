"""The help of `seqgan train`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqgan.training.settings import TrainConfig


def train_help(config: "TrainConfig", what: str) -> str:
    return ""
