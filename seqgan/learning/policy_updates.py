"""One generator update from a batch of its own texts: a step, or several epochs of minibatches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories, masked_mean
from seqgan.functional.kl_estimators import KLEstimatorKind, kl_estimator
from seqgan.functional.losses import to_floats
from seqgan.functional.policy_losses import PolicyGradientLoss, ratio_metrics
from seqgan.functional.reductions import Reduction, reduced, terms
from seqgan.learning.updates import check_finite
from seqgan.models.generators.base import Generator
from seqgan.system.checks import Bound, Count, Signed, Weight, check_settings
from seqgan.system.runtime import Runtime


@dataclass(frozen=True)
class GeneratorUpdate:
    """Settings of one policy-gradient step."""

    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this
    entropy_weight: Signed = 0.0  # reward units per nat of the policy's entropy; below 0 sharpens
    mle_weight: Weight = 0.0  # weight of the NLL of as many training sequences in the loss
    reduction: Reduction = "mean"  # over tokens; or sequences, constant, sum (SeqGAN's code)
    micro_batch_size: Count = 0  # sequences whose gradient is computed at once; 0: those of a step

    def __post_init__(self) -> None:
        check_settings("rule.update", self)


@dataclass(frozen=True)
class KLTerm:
    """The KL to a reference as a term of the loss: `weight` times `estimator` of each token."""

    reference_log_probs: Float[Tensor, "batch time"]  # of the trajectories' tokens, nats
    weight: float  # reward units per nat
    estimator: KLEstimatorKind = "k3"


def minibatches(
    num_rows: int, rng: torch.Generator, epochs: int = 1, size: int = 0
) -> list[Int[Tensor, " _"]]:
    """The rows of each minibatch of `epochs` passes over a batch, each pass in a random order.

    Args:
        size: rows of a minibatch, in each process; the last one of a pass takes what is left. 0 is
            the whole batch, which keeps its order and needs no draw.
    """
    if size == 0 or size >= num_rows:
        return [torch.arange(num_rows) for _ in range(epochs)]
    orders = [torch.randperm(num_rows, generator=rng) for _ in range(epochs)]
    return [rows for order in orders for rows in order.split(size)]


def update_generator(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    loss_function: PolicyGradientLoss,
    trajectories: Trajectories,
    advantages: Float[Tensor, "batch time"],
    settings: GeneratorUpdate,
    runtime: Runtime,
    real: Sequences | None = None,
    *,
    kl: KLTerm | None = None,
    steps: Sequence[Int[Tensor, " _"]] | None = None,
    stop_kl: float = 0.0,
) -> Metrics:
    """Takes one step per minibatch: on `loss_function` plus the KL term, reduced to one number,
    minus the entropy bonus, plus the NLL of `real`.

    Dropout is off, so that the improved policy is the one that drew the trajectories. The ratio
    that `loss_function` sees compares the policy with what it was when the update began. Both are
    computed alike, so at the first minibatch it is 1 exactly.

    Args:
        trajectories: this process' own, which the generator has just drawn; loss and metrics are
            over all processes.
        settings: its `reduction` is that of the loss function and of the KL; the entropy is a mean
            over tokens whatever it says.
        real: this process' training sequences, whose NLL counts `settings.mle_weight` times. A
            policy gradient alone may forget texts that the policy does not sample.
        steps: the rows of each minibatch, and of its part of `real` (see `minibatches`); equally
            many in all processes. None is one step on all rows.
        stop_kl: nats per token. A minibatch whose `losses/approx_kl` is above it makes no step and
            ends the update; 0 never does.

    Returns:
        The means over minibatches. Where there are several, `losses/approx_kl` and `losses/ratio`
        are among them, and where they may end early, `losses/steps`.

    Raises:
        DivergedError: a loss or its gradient is not finite; that minibatch made no step.
    """
    generator.eval()
    steps = [torch.arange(len(trajectories.mask))] if steps is None else steps
    several = len(steps) > 1
    whole = _Minibatch(trajectories.sequences, None, advantages, real, kl)
    others = _rows_without(steps[0], len(whole))
    at_once = settings.micro_batch_size or len(steps[0])
    known = _log_probs_of(generator, whole.sequences, others, at_once)
    old_log_probs: Tensor | None = None
    means, taken = _Means(), 0
    for rows in steps:
        batch = whole.select(rows, rows if several else None)
        if old_log_probs is not None:
            batch = replace(batch, old_log_probs=old_log_probs[rows])
        log_probs = _gradient(generator, optimizer, loss_function, batch, settings, runtime, means)
        if several:
            if old_log_probs is None:
                in_order = torch.cat([rows, others]).argsort()
                old_log_probs = torch.cat([log_probs, *known])[in_order]
            distance = to_floats(ratio_metrics(log_probs, old_log_probs[rows], batch.mask))
            means.add(distance, batch.tokens)
            kl_now = {"": distance["losses/approx_kl"]}
            if stop_kl > 0 and runtime.average(kl_now, batch.tokens)[""] > stop_kl:
                break
        optimizer.step()
        taken += 1
    counted = {"losses/steps": float(taken)} if several and stop_kl > 0 else {}
    return {**means.over(runtime), **counted}


@dataclass(frozen=True)
class _Minibatch:
    """The texts of one step. Old log-probabilities are None where they are the current ones."""

    sequences: Sequences
    old_log_probs: Float[Tensor, "batch time"] | None
    advantages: Float[Tensor, "batch time"]
    real: Sequences | None
    kl: KLTerm | None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def mask(self) -> Bool[Tensor, "batch time"]:
        return self.sequences.mask

    @property
    def tokens(self) -> float:
        return float(self.mask.sum())

    def counts(self, unit: Reduction) -> dict[str, float]:
        """The number of things in each mean of the loss: its terms, tokens, real tokens."""
        found = {"policy": terms(self.mask, unit), "tokens": self.tokens}
        return found if self.real is None else found | {"real": float(self.real.mask.sum())}

    def select(
        self, rows: Int[Tensor, " _"], of_real: Int[Tensor, " _"] | None = None
    ) -> "_Minibatch":
        """These rows, and those rows of the real texts; None is all of the latter."""
        old, real, kl = self.old_log_probs, self.real, self.kl
        if real is not None:
            real = (real if of_real is None else real.select(of_real)).trimmed()
        if kl is not None:
            kl = replace(kl, reference_log_probs=kl.reference_log_probs[rows])
        return _Minibatch(
            self.sequences.select(rows),
            None if old is None else old[rows],
            self.advantages[rows],
            real,
            kl,
        )

    def parts(self, size: int) -> list["_Minibatch"]:
        """Itself in parts of `size` rows, each with its part of the real texts; 0 is one part."""
        if size == 0 or size >= len(self):
            return [self]
        rows = torch.arange(len(self)).split(size)
        of_real = torch.arange(0 if self.real is None else len(self.real)).tensor_split(len(rows))
        return [self.select(*each) for each in zip(rows, of_real, strict=True)]


class _Means:
    """Means of metrics over minibatches and processes, each with weights of its own."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[float, float]]] = {}

    def add(self, metrics: Mapping[str, float], weight: float) -> None:
        for name, value in metrics.items():
            self.found.setdefault(name, []).append((value, weight))

    def over(self, runtime: Runtime) -> dict[str, float]:
        means: dict[str, float] = {}
        for name, found in self.found.items():
            total = sum(weight for _, weight in found)
            mean = found[0][0]
            if len(found) > 1:
                mean = sum(value * weight for value, weight in found) / max(total, 1e-300)
            means |= runtime.average({name: mean}, total)
        return means


def _gradient(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    loss_function: PolicyGradientLoss,
    batch: _Minibatch,
    settings: GeneratorUpdate,
    runtime: Runtime,
    means: _Means,
) -> Float[Tensor, "batch time"]:
    """Puts the clipped gradient of one minibatch into the parameters, and its metrics into `means`.

    It is added up over parts of `micro_batch_size` rows, each with its share of the means.

    Returns:
        log pi of its tokens.
    """
    # The sum is the mean times its number of tokens, for all terms of the loss.
    unit: Reduction = "mean" if settings.reduction == "sum" else settings.reduction
    scale = runtime.total(batch.tokens) if settings.reduction == "sum" else 1.0
    counts = batch.counts(unit)
    shares = {name: runtime.share(count) for name, count in counts.items()}
    optimizer.zero_grad(set_to_none=True)
    log_probs = []
    for part in batch.parts(settings.micro_batch_size):
        own = part.counts(unit)
        weights = {name: shares[name] * (own[name] / max(counts[name], 1.0)) for name in own}
        losses = partial(_losses, part, loss_function, settings, unit, weights)
        loss, log_probs_of_part, metrics = runtime.forward(generator, losses)
        check_finite(loss, "policy-gradient loss")
        runtime.backward(scale * loss)
        log_probs.append(log_probs_of_part)
        for name, found in metrics.items():
            means.add(to_floats(found), own[name])
    norm = nn.utils.clip_grad_norm_(generator.parameters(), settings.max_grad_norm)
    check_finite(norm, "policy gradient's norm")
    means.add({"losses/grad_norm_generator": float(norm)}, counts["tokens"])
    return torch.cat(log_probs)


def _losses(
    batch: _Minibatch,
    loss_function: PolicyGradientLoss,
    settings: GeneratorUpdate,
    unit: Reduction,
    weights: Mapping[str, float],
    policy: Generator,
) -> tuple[Tensor, Tensor, dict[str, dict[str, Tensor]]]:
    """The whole loss, log pi of the tokens, and metrics by what they are means of.

    Args:
        weights: of each mean in the loss.
    """
    mask, real, kl = batch.mask, batch.real, batch.kl
    log_probs, entropies = policy.log_probs_and_entropies(batch.sequences)
    old = log_probs.detach() if batch.old_log_probs is None else batch.old_log_probs
    token_losses, metrics = loss_function(log_probs, old, batch.advantages, mask)
    policy_loss, entropy = reduced(token_losses, mask, unit), masked_mean(entropies, mask)
    parts = {"policy": {"losses/policy": policy_loss}}
    parts["tokens"] = {**metrics, "losses/entropy": entropy}
    loss = weights["policy"] * policy_loss
    if kl is not None:
        estimates = kl_estimator(kl.estimator)(log_probs, kl.reference_log_probs)
        parts["policy"]["losses/kl"] = reduced(estimates, mask, unit)
        loss = loss + weights["policy"] * kl.weight * parts["policy"]["losses/kl"]
    loss = loss - weights["tokens"] * settings.entropy_weight * entropy
    if real is not None:
        parts["real"] = {"losses/mle": policy.negative_log_likelihood(real)}
        loss = loss + weights["real"] * settings.mle_weight * parts["real"]["losses/mle"]
    return loss, log_probs.detach(), parts


def _rows_without(rows: Int[Tensor, " rows"], total: int) -> Int[Tensor, " others"]:
    """The numbers from 0 to `total` that are not among `rows`."""
    others = torch.ones(total, dtype=torch.bool)
    others[rows] = False
    return others.nonzero()[:, 0]


@torch.no_grad()
def _log_probs_of(
    generator: Generator, sequences: Sequences, rows: Int[Tensor, " rows"], size: int
) -> list[Float[Tensor, "batch time"]]:
    """log pi of these rows, so many of them at a time."""
    parts = rows.split(size) if len(rows) else ()
    return [generator.log_probs(sequences.select(part)) for part in parts]
