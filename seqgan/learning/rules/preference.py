"""Preference optimisation (DPO, IPO) on pairs of texts, of which one is preferred.

With a frozen reference and h(y) = log pi(y) - log ref(y), a pair (chosen, rejected) of one prompt
has the loss of `functional.preference_losses`: DPO (Rafailov et al., 2023) or IPO (Azar et al.,
2024). Pairs of a real text and a drawn one make an adversary of the generator itself: its implicit
reward beta h tells real texts from drawn ones.

- Texts of one frozen opponent, the start (`refresh_every` 0): SODA's static snapshot.
- An opponent that is the generator anew after every n updates: SPIN (Chen et al., 2024), whose
  reference is the opponent too (`reference opponent`).
- Pairs by the run's rewards (`pairs reward`): the generator's own texts of one prompt, the best
  against the worst, the second best against the second worst, and so on: online DPO. Texts that
  earn the same make no pair. Without prompts the batch of all processes is a group.

Departures: texts are drawn anew for each update in place of a stored set, so that none is learnt
by heart; dropout is off, as in TRL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, joined, masked_mean
from seqgan.functional.groups import group_ids
from seqgan.functional.preference_losses import dpo, ipo
from seqgan.learning.collection import gathered
from seqgan.learning.descent import take_step
from seqgan.learning.optimization import AdamConfig, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.rules.own_texts import describe_collected, known_returns
from seqgan.models.generators.base import Generator, frozen_copy
from seqgan.models.sampling import sample
from seqgan.system.checks import Bound, Count, Positive, Rate, Weight, check_settings
from seqgan.system.errors import ConfigurationError
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts


@dataclass(frozen=True)
class PreferenceConfig:
    kind: Literal["preference"] = "preference"  # DPO or IPO on pairs of texts
    learning_rate: Rate = 3e-4  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    loss: Literal["dpo", "ipo"] = "dpo"  # of a pair
    beta: Positive = 0.1  # strength of the anchor: the weight of KL to the reference
    pairs: Literal["real", "reward"] = "real"  # a real text against a drawn one, or best and worst
    refresh_every: Count = 0  # updates after which real texts meet the generator anew; 0: the start
    reference: Literal["start", "opponent"] = "start"  # of log-ratios; opponent: as in SPIN
    mle_weight: Weight = 0.0  # weight of the chosen texts' NLL per token in the loss
    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        check_settings("rule", self)
        if self.pairs == "reward" and self.refresh_every > 0:
            raise ConfigurationError(
                f"rule.refresh_every is {self.refresh_every}, but must be 0 where rule.pairs is"
                " reward: both texts of a pair are the generator's own"
            )
        if self.reference == "opponent" and self.refresh_every == 0:
            raise ConfigurationError(
                "rule.reference is opponent, but must be start where rule.refresh_every is 0:"
                " nothing moves it"
            )

    def build(self, players: Players) -> "Preference":
        """The rule, ready to improve `players.generator`.

        Raises:
            ConfigurationError: there are no real texts, or no two texts of a group.
        """
        if self.pairs == "real":
            needs_texts(players.task, "rule.pairs real", "give --rule.pairs reward")
        elif players.batch_size < 2:
            raise ConfigurationError(
                f"adversarial.batch_size is {players.batch_size}, but must be at least 2 where"
                " rule.pairs is reward"
            )
        elif players.task.max_prompt_length and players.group_size < 2:
            raise ConfigurationError(
                f"adversarial.group_size is {players.group_size}, but must be at least 2 where"
                " rule.pairs is reward: a pair continues one prompt"
            )
        return Preference(self, players.generator)


@dataclass(frozen=True)
class Pairs:
    """Texts of which the first of each pair is preferred.

    Args:
        known: False for a pair of texts that earn the same, which has no weight.
    """

    chosen: Sequences
    rejected: Sequences
    known: Bool[Tensor, " pair"]


class Preference:
    """One update on as many pairs as a batch has texts, or half as many by reward."""

    shown = ("losses/preference", "rewards/accuracies", "rewards/margins")

    def __init__(self, settings: PreferenceConfig, generator: Generator) -> None:
        self.settings, self.generator = settings, generator
        self.optimizer = settings.adam.build(generator, settings.learning_rate)
        self.opponent: Generator | None = None  # once it has left the start
        self.updates = 0  # that are done

    @property
    def asks_rewards(self) -> bool:
        """False for pairs with real texts."""
        return self.settings.pairs == "reward"

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        settings, clock = self.settings, Clock()
        follow_schedule(self.optimizer, settings, players.position)
        every = settings.refresh_every
        if every and self.updates and self.updates % every == 0:
            self.opponent = frozen_copy(self.generator)
        metrics: dict[str, float | int] = {}
        with clock.lap("collect"):
            if settings.pairs == "real":
                pairs = self.real_pairs(players, rng)
            else:
                pairs, metrics = self.pairs_by_reward(players, rng)
        with clock.lap("update_generator"):
            metrics |= self.update(players, pairs)
        self.updates += 1
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        return metrics | clock.seconds

    def real_pairs(self, players: Players, rng: torch.Generator) -> Pairs:
        """Real texts, each against one that the opponent draws for its prompt, if it has one."""
        task, n = players.task, players.batch_size
        real = players.real("train", n, rng)
        opponent = players.reference if self.opponent is None else self.opponent
        prompts = real if task.max_prompt_length else None
        drawn = sample(opponent, task.vocabulary, n, task.max_length, rng, None, prompts)
        players.count_tokens(drawn)
        return Pairs(real, drawn, torch.ones(n, dtype=torch.bool, device=drawn.mask.device))

    def pairs_by_reward(
        self, players: Players, rng: torch.Generator
    ) -> tuple[Pairs, dict[str, float | int]]:
        """This process' share of the pairs within groups, and the look of all own texts."""
        runtime, own = players.runtime, players.collect(rng)
        players.count_tokens(own)
        everyones = gathered(own, runtime)
        metrics = describe_collected(players, everyones)
        returns, texts = known_returns(players, everyones), everyones.sequences
        pairs = best_against_worst(returns, group_ids(everyones))
        # A pair may have texts of two processes; each of them learns from as many pairs.
        better, worse, known = (
            part.tensor_split(runtime.world_size)[runtime.rank] for part in pairs
        )
        return Pairs(texts.select(better), texts.select(worse), known), metrics

    def update(self, players: Players, pairs: Pairs) -> dict[str, float | int]:
        """One step on the mean over pairs; none where no text of any process is preferred."""
        settings, runtime, known = self.settings, players.runtime, pairs.known
        both = joined([pairs.chosen, pairs.rejected]).trimmed()
        count = float(known.sum())
        if runtime.total(count) == 0:
            return {}
        share = runtime.share(count)
        reference = players.reference
        if settings.reference == "opponent" and self.opponent is not None:
            reference = self.opponent
        with torch.no_grad():
            anchored = reference.eval().log_probs(both).sum(dim=1)
        chosen_lengths, rejected_lengths = both.lengths.chunk(2)

        def losses(policy: Generator) -> tuple[Tensor, dict[str, Tensor]]:
            log_probs = policy.log_probs(both).sum(dim=1)
            chosen, rejected = (log_probs - anchored).chunk(2)
            if settings.loss == "dpo":
                each = dpo(chosen, rejected, settings.beta)
            else:
                each = ipo(chosen, rejected, chosen_lengths, rejected_lengths, settings.beta)
            likelihood = log_probs.chunk(2)[0] / chosen_lengths
            loss = masked_mean(each - settings.mle_weight * likelihood, known)
            margins = settings.beta * (chosen - rejected)
            terms = {
                "losses/preference": masked_mean(each, known),
                "rewards/chosen": settings.beta * masked_mean(chosen, known),
                "rewards/rejected": settings.beta * masked_mean(rejected, known),
                "rewards/margins": masked_mean(margins, known),
                "rewards/accuracies": masked_mean((margins > 0).float(), known),
            }
            return share * loss, terms

        self.generator.eval()
        metrics = take_step(
            self.generator,
            self.optimizer,
            losses,
            settings.max_grad_norm,
            runtime,
            "preference loss",
        )
        return runtime.average(metrics, count)

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step: its texts, their rewards where those make the pairs, the update."""
        pace, n = players.pace, players.batch_size
        texts = 2 * n if self.settings.pairs == "real" else n
        judged = pace.reward(n) if self.settings.pairs == "reward" else 0.0
        return pace.draw(n) + judged + pace.score(texts) + pace.learn(texts)

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other settings was loaded."""
        self.settings.adam.take_up(self.optimizer, self.settings.learning_rate)
        if self.settings.refresh_every == 0:
            self.opponent = None

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }
        if self.opponent is not None:
            state["opponent"] = self.opponent.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        if "opponent" in state:
            self.opponent = frozen_copy(self.generator)
            self.opponent.load_state_dict(state["opponent"])


def best_against_worst(
    returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"], Bool[Tensor, " pair"]]:
    """Pairs the i-th best text of each group with its i-th worst.

    Args:
        returns: rewards of texts; NaN for one to which none applies.
        groups: the number of each text's group.

    Returns:
        The rows of the better and of the worse texts, and False for each pair that earns the same
        or of which one has no reward.
    """
    better, worse = [], []
    for group in groups.unique().tolist():
        rows = (groups == group).nonzero()[:, 0]
        # A text without a reward takes the middle place, where it costs the fewest pairs.
        earned = torch.where(returns[rows].isnan(), returns[rows].nanmedian(), returns[rows])
        order, half = rows[earned.argsort(descending=True, stable=True)], len(rows) // 2
        better.append(order[:half])
        worse.append(order.flip(0)[:half])
    best, worst = torch.cat(better), torch.cat(worse)
    return best, worst, returns[best] > returns[worst]
