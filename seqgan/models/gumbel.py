"""Draws texts of mixed tokens by the Gumbel-softmax, through which a gradient passes.

With o the logits of the next token and g Gumbel noise, argmax(o + g) is a draw from softmax(o)
(Gumbel, 1954), and softmax(beta (o + g)) is near it for a large inverse temperature beta (Jang et
al., 2017; Maddison et al., 2017). A text ends where its drawn tokens do.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import Generator, ReadsMixtures

InputKind = Literal["token", "straight_through", "mixture"]
JudgedKind = Literal["straight_through", "mixture"]


@dataclass(frozen=True)
class Draw:
    """Texts of mixed tokens, and the logits that each token was drawn with."""

    mixtures: Mixtures
    logits: Float[Tensor, "batch time vocab"]

    @property
    def texts(self) -> Sequences:
        """The drawn tokens, which have the generator's distribution where it reads tokens."""
        return self.mixtures.texts


def gumbel_noise(
    shape: tuple[int, ...], rng: torch.Generator, device: torch.device | str = "cpu"
) -> Float[Tensor, "*axes"]:
    """Draws from the standard Gumbel distribution: -log of a draw from Exp(1)."""
    exponential = torch.empty(shape, device=rng.device).exponential_(generator=rng)
    return -exponential.clamp(min=torch.finfo(torch.float32).tiny).log().to(device)


def draw_mixtures(
    generator: Generator,
    vocabulary: Vocabulary,
    noise: Float[Tensor, "batch time vocab"],
    inverse_temperature: float,
    inputs: InputKind = "token",
    judged: JudgedKind = "straight_through",
    prompts: Sequences | None = None,
) -> Draw:
    """Draws a text from each row of noise, with gradients from its mixtures to the generator.

    A `straight_through` token is the drawn one, with the gradient of its mixture (Bengio et al.,
    2013).

    Args:
        noise: Gumbel noise of each token that can be emitted; `time` is the longest length.
        inputs: what the generator reads next; a `token` passes no gradient back, as in RelGAN.
        judged: what is in the result.
        prompts: a row for each text, which continues that row's prompt; None means no prompts.

    Returns:
        As many steps as the longest text has.
    """
    size, max_length = noise.shape[:2]
    logits, state = generator.start(size, prompts)
    going = torch.ones(size, dtype=torch.bool, device=logits.device)
    tokens, masks, mixed, all_logits = [], [], [], []
    for step in range(max_length):
        perturbed = logits + noise[:, step]
        mixture = (inverse_temperature * perturbed).softmax(dim=-1)
        chosen = perturbed.argmax(dim=-1)
        drawn = one_hot(chosen, logits.shape[-1]).to(mixture.dtype)
        straight = drawn + (mixture - mixture.detach())
        tokens.append(torch.where(going, chosen, vocabulary.pad_id))
        masks.append(going)
        mixed.append(mixture if judged == "mixture" else straight)
        all_logits.append(logits)
        going = going & (chosen != vocabulary.eos_id) if vocabulary.has_eos else going
        if step == max_length - 1 or not bool(going.any()):
            break
        if inputs == "token":
            logits, state = generator.step(chosen, state)
        else:
            assert isinstance(generator, ReadsMixtures)
            read = mixture if inputs == "mixture" else straight
            logits, state = generator.step_mixed(read, state)
    texts = Sequences(torch.stack(tokens, 1), torch.stack(masks, 1), vocabulary=vocabulary)
    if prompts is not None:
        texts = replace(prompts.with_completions(texts), vocabulary=vocabulary)
    return Draw(Mixtures(texts, torch.stack(mixed, 1)), torch.stack(all_logits, 1))
