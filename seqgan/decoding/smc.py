"""Twisted sequential Monte Carlo (Naesseth et al., 2019; Zhao et al., 2024, for language models).

Particles grow token by token through the generator's states. After t tokens a particle stands for
p(x_1:t) psi(x_1:t), where the twist psi guesses E[exp(tau) | x_1:t]; a finished text has the true
exp(tau). Where the weights within a group have grown uneven, its particles are drawn anew in
proportion to their weights. The guesses cancel in the weights at the end, which are exact.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.decoding.tilt import Tilt
from seqgan.decoding.twists import ActionTwist, PrefixTwist
from seqgan.decoding.weighted import WeightedTexts
from seqgan.functional.weights import effective_share, log_mean, systematic_resample
from seqgan.models.generators.base import Generator, State
from seqgan.models.sampling import sample_categorical


@dataclass
class _Particles:
    """All particles, in the order of their groups, and what the unfinished ones continue from.

    Args:
        going: the rows of the unfinished particles, ascending; `logits`, `state`, `twist_logits`
            and `twist_state` have a row for each of them.
        log_psi: log of the twist of each particle's text so far; tau of finished ones.
        ancestors: the particle that each one descends from, among those that there were at first.
    """

    tokens: Int[Tensor, "row time"]
    lengths: Int[Tensor, " row"]
    log_weights: Float[Tensor, " row"]
    log_psi: Float[Tensor, " row"]
    ancestors: Int[Tensor, " row"]
    going: Int[Tensor, " going"]
    logits: Float[Tensor, "going vocab"]
    state: State
    twist_logits: Float[Tensor, "going vocab"] | None
    twist_state: State | None


@torch.no_grad()
def twisted_smc(
    generator: Generator,
    vocabulary: Vocabulary,
    max_length: int,
    tilt: Tilt,
    twist: PrefixTwist | ActionTwist,
    groups: int,
    particles: int,
    rng: torch.Generator,
    prompts: Sequences | None = None,
    least_share: float = 0.5,
    forbidden: tuple[int, ...] = (),
) -> WeightedTexts:
    """Draws groups of weighted texts of the tilted model p(x) exp(tau(x)) / Z.

    Args:
        twist: of prefixes; or of actions, which the proposal then follows: the next token is drawn
            from p(y | x) psi(x y), normalised.
        groups: populations that are resampled apart; one for each prompt.
        particles: texts of each group.
        prompts: one row for each group.
        least_share: a group whose effective share falls below is resampled; 0 never does.
        forbidden: ids that are never drawn.

    Raises:
        ValueError: there are more or fewer prompts than groups.
        RewardError: the reward failed.
        DivergedError: generator or twist gave no distribution.
    """
    if prompts is not None and len(prompts) != groups:
        raise ValueError(f"{len(prompts)} prompts for {groups} groups; each group has one")
    generator.eval()
    count = groups * particles
    contexts = None
    if prompts is not None:
        contexts = prompts.select(torch.arange(groups).repeat_interleave(particles))
    now = _begin(generator, vocabulary, max_length, twist, count, contexts)
    device = now.tokens.device
    sampled = -_drawn_by(twist)
    never = torch.tensor(forbidden, dtype=torch.long, device=device)
    while len(now.going):
        now.logits = now.logits.index_fill(1, never, -torch.inf) if forbidden else now.logits
        chosen, increments, log_psi = _propose(now, twist, rng)
        sampled += len(now.going)
        now.tokens[now.going, now.lengths[now.going]] = chosen
        now.lengths[now.going] += 1
        ends = now.lengths[now.going] == max_length
        if vocabulary.eos_id is not None:
            ends |= chosen == vocabulary.eos_id
        advanced = now.going
        _advance(now, generator, twist, chosen, ~ends)
        if log_psi is None:  # a twist of prefixes reads the states after the token
            log_psi = now.log_psi.new_zeros(len(advanced))
            if len(now.going):
                assert isinstance(twist, PrefixTwist)
                prefixes = _texts(now, vocabulary, now.going, contexts)
                log_psi[~ends] = twist.log_values(prefixes, now.logits, now.state, rng).double()
        if bool(ends.any()):
            log_psi[ends] = tilt(_texts(now, vocabulary, advanced[ends], contexts))
        now.log_weights[advanced] += increments + log_psi - now.log_psi[advanced]
        now.log_psi[advanced] = log_psi
        if len(now.going):
            _resample(now, groups, least_share, rng)
    texts = _texts(now, vocabulary, torch.arange(count, device=device), contexts)
    shape = (groups, particles)
    return WeightedTexts(
        texts,
        now.log_weights.view(shape),
        now.log_psi.view(shape),
        sampled + _drawn_by(twist),
        ancestors=now.ancestors.view(shape) % particles,
    )


def _drawn_by(twist: PrefixTwist | ActionTwist) -> int:
    """Tokens that the generator has drawn for a twist's values so far."""
    return twist.sampled_tokens if isinstance(twist, PrefixTwist) else 0


def _begin(
    generator: Generator,
    vocabulary: Vocabulary,
    max_length: int,
    twist: PrefixTwist | ActionTwist,
    count: int,
    contexts: Sequences | None,
) -> _Particles:
    logits, state = generator.start(count, contexts)
    device = logits.device
    zeros = torch.zeros(count, dtype=torch.double, device=device)
    twist_logits, twist_state = None, None
    if isinstance(twist, ActionTwist):
        twist_logits, twist_state = twist.start(count, contexts)
    return _Particles(
        torch.full((count, max_length), vocabulary.pad_id, device=device),
        torch.zeros(count, dtype=torch.long, device=device),
        zeros,
        zeros.clone(),
        torch.arange(count, device=device),
        torch.arange(count, device=device),
        logits,
        state,
        twist_logits,
        twist_state,
    )


def _propose(
    now: _Particles, twist: PrefixTwist | ActionTwist, rng: torch.Generator
) -> tuple[Int[Tensor, " going"], Float[Tensor, " going"], Float[Tensor, " going"] | None]:
    """A next token of each unfinished particle.

    Returns:
        The tokens; log p(y | x) - log proposal(y | x); and log psi(x y) where the twist knows it.
    """
    if now.twist_logits is None:
        chosen = sample_categorical(now.logits, rng)
        return chosen, now.log_psi.new_zeros(len(chosen)), None
    # In the networks' own precision, as every draw is: double would take twice as long.
    twisted = now.logits + now.twist_logits
    chosen = sample_categorical(twisted, rng)
    log_psi = now.twist_logits.gather(1, chosen[:, None])[:, 0].double()
    # log p(y | x) - (log p(y | x) + log psi(x y) - log sum), with log p(y | x) = logit - log sum
    sums = twisted.logsumexp(dim=-1).double() - now.logits.logsumexp(dim=-1).double()
    return chosen, sums - log_psi, log_psi


def _advance(
    now: _Particles,
    generator: Generator,
    twist: PrefixTwist | ActionTwist,
    chosen: Int[Tensor, " going"],
    stays: Bool[Tensor, " going"],
) -> None:
    """Lets finished particles leave, and the others read their token."""
    kept = stays.nonzero()[:, 0]
    now.going = now.going[kept]
    if not len(kept):
        return
    now.logits, now.state = generator.step(chosen[kept], now.state.select(kept))
    if now.twist_state is not None:
        assert isinstance(twist, ActionTwist)
        now.twist_logits, now.twist_state = twist.step(chosen[kept], now.twist_state.select(kept))


def _resample(now: _Particles, groups: int, least_share: float, rng: torch.Generator) -> None:
    """Draws anew the particles of groups with uneven weights."""
    log_weights = now.log_weights.view(groups, -1)
    uneven = effective_share(log_weights) < least_share
    if not bool(uneven.any()):
        return
    particles = log_weights.shape[1]
    rows = torch.arange(len(now.tokens), device=now.tokens.device).view(groups, -1)
    drawn = systematic_resample(log_weights[uneven], particles, rng)
    rows[uneven] = rows[uneven, :1] + drawn
    means = log_mean(log_weights)[:, None].expand_as(log_weights)
    now.log_weights = torch.where(uneven[:, None], means, log_weights).flatten()
    chosen = rows.flatten()
    place = torch.full_like(chosen, -1)
    place[now.going] = torch.arange(len(now.going), device=chosen.device)
    now.tokens, now.lengths = now.tokens[chosen], now.lengths[chosen]
    now.log_psi, now.ancestors = now.log_psi[chosen], now.ancestors[chosen]
    places = place[chosen]
    now.going = (places >= 0).nonzero()[:, 0]
    kept = places[now.going]
    now.logits, now.state = now.logits[kept], now.state.select(kept)
    if now.twist_logits is not None and now.twist_state is not None:
        now.twist_logits = now.twist_logits[kept]
        now.twist_state = now.twist_state.select(kept)


def _texts(
    now: _Particles,
    vocabulary: Vocabulary,
    rows: Int[Tensor, " some"],
    contexts: Sequences | None,
) -> Sequences:
    """The texts so far of some particles, with their prompts."""
    tokens, lengths = now.tokens[rows], now.lengths[rows]
    mask = torch.arange(tokens.shape[1], device=tokens.device)[None, :] < lengths[:, None]
    texts = Sequences(tokens, mask, vocabulary=vocabulary)
    if contexts is None:
        return texts
    return replace(contexts.select(rows.cpu()).with_completions(texts), vocabulary=vocabulary)
