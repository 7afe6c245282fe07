"""A neural network that judges token ids, as a reward model."""

import inspect

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward, RewardError, text_of
from seqgan.system.errors import ConfigurationError


class ModuleReward(Reward):
    """Makes a reward model of a frozen `nn.Module`: `module(ids)` returns one number per row.

    The ids are padded, (batch, time). A module with a parameter `mask` in `forward` also gets the
    mask of real tokens. A module with a parameter `sequences` (such as a `Discriminator`) gets the
    sequences themselves. The module returns (batch,) or (batch, 1). It runs on its own device, in
    evaluation mode and without gradients.

    Raises:
        ConfigurationError: the module comes from transformers, so its ids differ from ours.
    """

    def __init__(self, module: nn.Module, name: str | None = None) -> None:
        if any(cls.__module__.startswith("transformers.") for cls in type(module).__mro__):
            raise ConfigurationError(
                f"the {type(module).__name__} is a classifier of transformers, which judges"
                " text through its own tokenizer: give its folder to"
                " seqgan.rewards.adapters.huggingface.ClassifierReward"
            )
        self.module = module
        self.name = type(module).__name__ if name is None else name
        self.takes_mask = _declares(module, "mask")
        self.takes_sequences = _declares(module, "sequences")

    @torch.no_grad()
    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        here = sequences.tokens.device
        device = next((parameter.device for parameter in self.module.parameters()), here)
        inputs = sequences.to(device)
        mask = {"mask": inputs.mask} if self.takes_mask else {}
        self.module.eval()
        scores = self.module(inputs if self.takes_sequences else inputs.tokens, **mask)
        size = len(sequences)
        if not isinstance(scores, Tensor) or scores.shape not in ((size,), (size, 1)):
            got = (
                tuple(scores.shape) if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
            )
            raise RewardError(
                self.name, f"it gave {got}, but must give one value per text, ({size},)"
            )
        scores = scores.view(size).float().to(here)
        wrong = ~scores.isfinite()
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0, 0])
            problem = f"it gave {float(scores[row])}, but must give a finite number"
            raise RewardError(self.name, problem, row, text_of(sequences, row))
        return scores


def _declares(module: nn.Module, parameter: str) -> bool:
    """True if `forward` has a parameter of that name."""
    try:
        return parameter in inspect.signature(module.forward).parameters
    except (ValueError, TypeError):  # a compiled or scripted module may hide its signature
        return False
