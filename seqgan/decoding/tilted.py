"""A generator and a reward as one model, p(x) exp(reward(x) / beta) / Z, which needs no training.

It is the optimum of E[reward] - beta KL(. || p), which reinforcement learning with a KL penalty
aims at, and with a discriminator's logit a residual energy model (Deng et al., 2020).
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary
from seqgan.decoding.smc import twisted_smc
from seqgan.decoding.tilt import Tilt
from seqgan.decoding.twists import ActionTwist, PrefixTwist
from seqgan.decoding.weighted import HeldOutChange, WeightedTexts, held_out_change
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import rows_in_flight, sample
from seqgan.system.errors import ConfigurationError

FEWEST, MOST = 64, 8192  # proposals that rejection draws together


@dataclass(frozen=True, eq=False)
class Tilted:
    """Samplers and a density of p(x) exp(tau(x)) / Z.

    Args:
        generator: the start p.
        vocabulary: its words.
        max_length: tokens of its longest text.
        tilt: tau.
        forbidden: ids that are never drawn. The start is the generator without them, while
            likelihoods of given texts, in `held_out_change`, are the generator's own.
    """

    generator: Generator
    vocabulary: Vocabulary
    max_length: int
    tilt: Tilt
    forbidden: tuple[int, ...] = ()

    def propose(
        self, n: int, rng: torch.Generator, prompts: Sequences | None = None
    ) -> WeightedTexts:
        """Draws texts of the start, weighted by exp(tau): importance sampling.

        Args:
            n: texts; of each prompt where there are prompts.
            prompts: one row for each group.
        """
        contexts = None
        if prompts is not None:
            contexts = prompts.select(torch.arange(len(prompts)).repeat_interleave(n))
        count = n if contexts is None else len(contexts)
        texts = sample(
            self.generator,
            self.vocabulary,
            count,
            self.max_length,
            rng,
            prompts=contexts,
            forbidden=torch.tensor(self.forbidden) if self.forbidden else None,
        )
        tilts = self.tilt(texts).view(-1, n)
        return WeightedTexts(texts, tilts, tilts, int(texts.lengths.sum()))

    def smc(
        self,
        n: int,
        rng: torch.Generator,
        twist: PrefixTwist | ActionTwist,
        prompts: Sequences | None = None,
        islands: int = 8,
        least_share: float = 0.5,
    ) -> WeightedTexts:
        """Draws weighted texts by twisted sequential Monte Carlo; see `twisted_smc`.

        Args:
            n: particles; of each prompt where there are prompts.
            islands: populations that n is divided between and that are resampled apart, so that
                log Z has an error.

        Raises:
            ValueError: n is no multiple of the islands.
        """
        if n % islands:
            raise ValueError(f"{n} particles cannot be shared between {islands} islands equally")
        groups, size = 1 if prompts is None else len(prompts), n // islands
        together = max(rows_in_flight(self.generator) // size, 1)  # islands
        parts = []
        for first in range(0, groups * islands, together):
            some = torch.arange(first, min(first + together, groups * islands))
            drawn = twisted_smc(
                self.generator,
                self.vocabulary,
                self.max_length,
                self.tilt,
                twist,
                len(some),
                size,
                rng,
                None if prompts is None else prompts.select(some // islands),
                least_share,
                self.forbidden,
            )
            parts.append(drawn)
        texts = joined([part.sequences for part in parts])
        of_islands = torch.cat([part.ancestors for part in parts if part.ancestors is not None])
        firsts = torch.arange(islands, device=of_islands.device) * size  # of islands in their group
        if prompts is not None:  # with all their columns
            contexts = prompts.select(torch.arange(groups).repeat_interleave(n))
            texts = replace(contexts.with_completions(texts), vocabulary=self.vocabulary)
        return WeightedTexts(
            texts,
            torch.cat([part.log_weights for part in parts]).view(groups, n),
            torch.cat([part.log_tilts for part in parts]).view(groups, n),
            sum(part.sampled_tokens for part in parts),
            block=size,
            ancestors=(of_islands.view(groups, islands, size) + firsts[:, None]).view(groups, n),
        )

    def reject(
        self, n: int, rng: torch.Generator, bound: float = math.inf, most_proposals: int = 0
    ) -> tuple[Sequences, int]:
        """Draws n independent texts exactly: a proposal stays with probability exp(tau - bound).

        Args:
            bound: a number that tau never exceeds, nats; the tilt's own where it is infinite.
            most_proposals: texts that are drawn at most; 0 draws until n are found.

        Returns:
            The texts, and the tokens that were drawn for them: exp(bound) / Z texts for one.

        Raises:
            ConfigurationError: no bound is known, a text has a larger tau, or `most_proposals`
                were not enough.
        """
        weighted, rows = self.reject_among(n, rng, bound, most_proposals)
        return weighted.sequences.select(rows), weighted.sampled_tokens

    def reject_among(
        self, n: int, rng: torch.Generator, bound: float = math.inf, most_proposals: int = 0
    ) -> tuple[WeightedTexts, Int[Tensor, " text"]]:
        """As `reject`, but gives all proposals with their weights, and the rows that stay."""
        bound = min(bound, self.tilt.bound)
        if math.isinf(bound):
            raise ConfigurationError(
                "no largest reward is known, which rejection needs; give a bound, or resample in"
                " its place"
            )
        found: list[WeightedTexts] = []
        stays: list[Bool[Tensor, " proposal"]] = []
        count, proposed = 0, 0
        while count < n:
            if 0 < most_proposals <= proposed:
                raise ConfigurationError(
                    f"rejection kept {count} of {proposed} texts, but {n} are asked for; a larger"
                    " beta keeps more, and resampling wastes none"
                )
            rate = max(count, 1) / max(proposed, 1)  # as if one had been kept
            wanted = math.ceil(1.1 * (n - count) / rate) if proposed else n
            proposals = self.propose(min(max(wanted, FEWEST), MOST), rng)
            tilts = proposals.log_tilts[0]
            if bool((tilts > bound).any()):
                raise ConfigurationError(
                    f"the tilt of a text is {float(tilts.max()):g}, above the bound {bound:g}"
                )
            uniform = torch.rand(len(tilts), generator=rng, device=rng.device, dtype=torch.double)
            found.append(proposals)
            stays.append(uniform.to(tilts.device).log() < tilts - bound)
            count, proposed = count + int(stays[-1].sum()), proposed + len(tilts)
        tilts = torch.cat([each.log_tilts for each in found], dim=1)
        weighted = WeightedTexts(
            joined([each.sequences for each in found]),
            tilts,
            tilts,
            sum(each.sampled_tokens for each in found),
        )
        return weighted, torch.cat(stays).nonzero()[:n, 0]

    def best_of(
        self, n: int, rng: torch.Generator, of: int = 4, prompts: Sequences | None = None
    ) -> tuple[Sequences, int]:
        """Draws n texts, each the one with the largest tau of `of` proposals.

        The result has a tilt of its own: with F the share of the start's texts below x (and no
        ties), its density is p(x) of F(x)^(of - 1), and its KL to the start is
        log(of) - (of - 1) / of whatever the reward (`best_of_n_kl`).

        Args:
            prompts: n rows, one for each text.

        Returns:
            The texts, and the tokens that were drawn for them.
        """
        each = n * of if prompts is None else of
        proposals = self.propose(each, rng, prompts)
        best = proposals.log_tilts.view(n, of).argmax(dim=1)
        rows = torch.arange(n, device=best.device) * of + best
        return proposals.sequences.select(rows), proposals.sampled_tokens

    def held_out_change(self, texts: Sequences, weighted: WeightedTexts) -> HeldOutChange:
        """Held-out NLL of this model minus the start's, with log Z from weighted texts.

        Without prompts, or with one group of `weighted` for each held-out row, in their order.
        """
        summary = weighted.summary()
        values = weighted.log_normalizers
        normalizers = values.expand(len(texts)) if len(values) == 1 else values
        return held_out_change(
            self.tilt(texts), texts.lengths, normalizers, summary.normalizer.error, summary.trusted
        )
