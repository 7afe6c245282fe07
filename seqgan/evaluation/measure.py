"""One measurement of a generator: what it is like now, in numbers and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.evaluation.copies import copied_from_training
from seqgan.evaluation.likelihood import likelihood_report
from seqgan.evaluation.ngrams import distinct, duplicate_rate, self_bleu, sentence_bleu
from seqgan.generators.base import Generator
from seqgan.sampling import Sampling, sample
from seqgan.sequences import Sequences
from seqgan.tasks.base import Task

NUM_GROUPS = 10  # groups of samples whose spread gives a quality's standard error
MAX_HYPOTHESES = 10_000  # sentences whose BLEU is averaged; references are always complete

BleuScores = Mapping[int, Float[np.ndarray, " sample"]]  # each sample's BLEU, by order


@dataclass(frozen=True)
class Quality:
    """The number that says how good samples are, and how well it is known.

    A quality alone praises collapse. It is only ever compared together with held-out NLL.
    """

    name: str
    value: float
    error: float  # standard error
    higher_is_better: bool

    @property
    def goodness(self) -> float:
        """The value, turned so that more is better."""
        return self.value if self.higher_is_better else -self.value


@dataclass(frozen=True)
class Measurement:
    """`metrics` uses the names of the metric list; `heldout_log_probs` are nats per sequence."""

    metrics: dict[str, float]
    quality: Quality
    samples: Sequences
    heldout_log_probs: Float[Tensor, " heldout"]
    heldout_tokens: int

    @property
    def nll_heldout(self) -> float:
        return self.metrics["eval/nll_heldout"]


def measure(
    generator: Generator,
    task: Task,
    num_samples: int,
    num_heldout: int,
    rng: torch.Generator,
    sampling: Sampling | None = None,
    device: torch.device | str = "cpu",
) -> Measurement:
    """Draws `num_samples` texts and says everything that the task lets one say about them.

    The generator's parameters are not touched. Held-out sequences are of the `test` split, always
    the same ones, so that two measurements can be compared pair by pair.
    """
    samples = sample(generator, task.vocabulary, num_samples, task.max_length, rng, sampling)
    fixed = torch.Generator().manual_seed(0)
    heldout = task.real("test", min(num_heldout, task.size("test")), fixed).to(device)
    report = likelihood_report(generator, samples, heldout, task.exact, sampling)
    bleu_scores = _bleu_scores(samples, task)
    metrics = report.metrics | _sample_metrics(samples, task, bleu_scores)
    metrics["eval/temperature"] = 1.0 if sampling is None else sampling.temperature
    return Measurement(
        metrics,
        _quality(samples, task, metrics, bleu_scores),
        samples,
        report.heldout_log_probs,
        int(heldout.mask.sum()),
    )


def sample_metrics(samples: Sequences, task: Task) -> dict[str, float]:
    """Everything that looks at the samples alone: n-grams, copies, the task's checks."""
    return _sample_metrics(samples, task, _bleu_scores(samples, task))


def _sample_metrics(samples: Sequences, task: Task, bleu_scores: BleuScores) -> dict[str, float]:
    rows = token_rows(samples)
    metrics = {f"eval/distinct_{order}": distinct(rows, order) for order in (1, 2, 3)}
    metrics["eval/duplicate_rate"] = duplicate_rate(rows)
    metrics["eval/copied_rate"] = copied_from_training(samples, task)
    for name, check in task.checks.items():
        metrics[f"eval/{name}"] = float(np.mean(check(samples.texts)))
    if bleu_scores:
        metrics |= _bleu_metrics(rows, bleu_scores, task.size("test"), seed=0)
    return metrics


def bleu_metrics(
    rows: Sequence[Sequence[int]] | Sequence[Sequence[str]],
    references: Sequence[Sequence[int]] | Sequence[Sequence[str]],
    seed: int = 0,
) -> dict[str, float]:
    """BLEU against all references and Self-BLEU against all other samples, with both counts.

    Averaged over at most 10,000 of the samples; the reference sets stay complete, because BLEU
    depends on their size.
    """
    return _bleu_metrics(rows, sentence_bleu(rows, references), len(references), seed)


def _bleu_metrics(
    rows: Sequence[Sequence[int]] | Sequence[Sequence[str]],
    bleu_scores: BleuScores,
    num_references: int,
    seed: int,
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(rows))[:MAX_HYPOTHESES]
    metrics: dict[str, float] = {"bleu_references": num_references}
    metrics |= {f"bleu_{order}": scores[chosen].mean() for order, scores in bleu_scores.items()}
    if len(rows) > 1:
        metrics["self_bleu_references"] = len(rows) - 1
        own = self_bleu(rows, num_hypotheses=min(MAX_HYPOTHESES, len(rows)), rng=rng)
        metrics |= {f"self_bleu_{order}": value for order, value in own.items()}
    return {f"eval/{name}": float(value) for name, value in metrics.items()}


def token_rows(sequences: Sequences) -> list[tuple[int, ...]]:
    """The words of each sequence, as ids without eos and padding."""
    vocabulary = sequences.vocabulary
    eos = None if vocabulary is None else vocabulary.eos_id
    lengths = sequences.lengths.tolist()
    rows = [row[:n] for row, n in zip(sequences.tokens.tolist(), lengths, strict=True)]
    return [tuple(row[:-1] if row[-1] == eos else row) for row in rows]


def _bleu_scores(samples: Sequences, task: Task) -> BleuScores:
    """Against the whole test split; empty where the exact distribution says more than BLEU.

    One without full support says nothing of texts outside it: then a check has to.
    """
    if task.exact is not None and (task.exact.full_support or task.checks):
        return {}
    test = task.real("test", task.size("test"), torch.Generator().manual_seed(0))
    return sentence_bleu(token_rows(samples), token_rows(test))


def _quality(
    samples: Sequences, task: Task, metrics: dict[str, float], bleu_scores: BleuScores
) -> Quality:
    """NLL under the true model where it is finite, else a check's rate, else BLEU-4."""
    groups = torch.arange(len(samples)).chunk(NUM_GROUPS)
    if "eval/nll_oracle" in metrics and task.exact is not None:
        log_probs = task.exact.log_prob(samples)
        values = [-float(log_probs[rows].sum() / samples.mask[rows].sum()) for rows in groups]
        name, higher = "nll_oracle", False
    elif task.checks:
        name, check = next(iter(task.checks.items()))
        passed = torch.tensor(list(check(samples.texts)), dtype=torch.float64)
        values = [float(passed[rows].mean()) for rows in groups]
        higher = True
    else:
        bleu_4 = bleu_scores[4][:MAX_HYPOTHESES]
        num_groups = min(NUM_GROUPS, len(bleu_4))
        values = [float(group.mean()) for group in np.array_split(bleu_4, num_groups)]
        name, higher = "bleu_4", True
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Quality(name, metrics[f"eval/{name}"], error, higher)
