"""One measurement of a generator: what it is like now, in numbers and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.evaluation.metrics.copies import copies_from_training
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.metrics.likelihood import likelihood_report
from seqgan.evaluation.metrics.ngrams import sentence_bleu
from seqgan.evaluation.texts import (
    MAX_TEXTS,
    BleuScores,
    Scores,
    TextMeasures,
    copy_scores,
    paired_scores,
    repetition_scores,
    summarize_bleu,
)
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sample
from seqgan.tasks.base import Task, heldout_prompts

NUM_GROUPS = 10  # groups of samples whose spread gives a quality's standard error

Value = TypeVar("Value")


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
    """`metrics` uses the names of the metric list; `heldout_log_probs` are nats per sequence.

    `per_text` has those of the metrics that are means over texts, text by text, for intervals.
    """

    metrics: dict[str, float]
    quality: Quality
    samples: Sequences
    heldout_log_probs: Float[Tensor, " heldout"]
    heldout_tokens: int
    per_text: Mapping[str, PerText] = field(default_factory=dict)

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
    texts: TextMeasures | None = None,
) -> Measurement:
    """Draws `num_samples` texts and says everything that the task lets one say about them.

    The generator's parameters are not touched. Held-out sequences are of the `test` split, always
    the same ones, so that two measurements can be compared pair by pair; so are the prompts that
    samples continue, where there are any.

    Args:
        texts: what compares the samples with real texts, from `text_measures`. Without it that is
            BLEU alone, and only where the task is `judged_as_texts`.
    """
    prompts = heldout_prompts(task, num_samples, device)
    samples = sample(
        generator, task.vocabulary, num_samples, task.max_length, rng, sampling, prompts
    )
    fixed = torch.Generator().manual_seed(0)
    heldout = task.real("test", min(num_heldout, task.size("test")), fixed).to(device)
    report = likelihood_report(generator, samples, heldout, task.exact, sampling)
    rows, scores = token_rows(samples), sample_scores(samples, task)
    bleu: BleuScores = {}
    if texts is not None or judged_as_texts(task):
        references = token_rows(_references(task)) if texts is None else texts.references
        bleu = sentence_bleu(rows, references)
        scores |= summarize_bleu(rows, bleu, len(references))
    if texts is not None:
        scores |= texts.scores(rows, samples.texts)
    if texts is not None and prompts is not None:
        scores |= paired_scores(rows, token_rows(prompts))  # the prompts' own continuations
    metrics = report.metrics | _named(scores.metrics)
    metrics["eval/temperature"] = 1.0 if sampling is None else sampling.temperature
    return Measurement(
        metrics,
        _quality(samples, task, metrics, bleu),
        samples,
        report.heldout_log_probs,
        int(heldout.mask.sum()),
        report.per_text | _named(scores.per_text),
    )


def _named(values: Mapping[str, Value]) -> dict[str, Value]:
    return {f"eval/{name}": value for name, value in values.items()}


def sample_scores(samples: Sequences, task: Task) -> Scores:
    """What looks at the samples alone: repetition, copies, the task's checks."""
    passed = {
        name: PerText.mean_of(np.array(check(samples.texts), dtype=float))
        for name, check in task.checks.items()
    }
    scores = repetition_scores(token_rows(samples))
    return scores | copy_scores(copies_from_training(samples, task)) | Scores(per_text=passed)


def text_measures(
    task: Task, embeddings: Sequence[str], with_mauve: bool = False, with_toxicity: bool = False
) -> TextMeasures:
    """The measures beside the whole test split, made once for a run.

    Raises:
        ValueError: an embedding is unknown, or its package is missing.
        RewardError: the package that toxicity needs is missing.
    """
    test = _references(task)
    num_other = min(task.size("train"), MAX_TEXTS)
    other = task.real("train", num_other, torch.Generator().manual_seed(0))
    return TextMeasures(
        token_rows(test), test.texts, other.texts, embeddings, with_mauve, with_toxicity
    )


def judged_as_texts(task: Task) -> bool:
    """Whether BLEU and its kin say something; not where the exact distribution says more.

    One without full support says nothing of texts outside it: then a check has to.
    """
    return task.exact is None or not (task.exact.full_support or task.checks)


def token_rows(sequences: Sequences) -> list[tuple[int, ...]]:
    """The words of each sequence, as ids without eos and padding."""
    vocabulary = sequences.vocabulary
    eos = None if vocabulary is None else vocabulary.eos_id
    lengths = sequences.lengths.tolist()
    rows = [row[:n] for row, n in zip(sequences.tokens.tolist(), lengths, strict=True)]
    return [tuple(row[:-1] if row[-1] == eos else row) for row in rows]


def _references(task: Task) -> Sequences:
    return task.real("test", task.size("test"), torch.Generator().manual_seed(0))


def _quality(
    samples: Sequences, task: Task, metrics: dict[str, float], bleu: BleuScores
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
        bleu_4 = bleu[4][:MAX_TEXTS]
        num_groups = min(NUM_GROUPS, len(bleu_4))
        values = [float(group.mean()) for group in np.array_split(bleu_4, num_groups)]
        name, higher = "bleu_4", True
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Quality(name, metrics[f"eval/{name}"], error, higher)
