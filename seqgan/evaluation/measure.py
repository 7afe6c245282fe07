"""One measurement of a generator: its numbers and samples at a moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.evaluation.axes import Axis, quality_axis
from seqgan.evaluation.metrics.copies import copies_from_training
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.metrics.likelihood import likelihood_report
from seqgan.evaluation.texts import (
    MAX_TEXTS,
    Scores,
    TextMeasures,
    bleu_scores,
    copy_scores,
    paired_scores,
    repetition_scores,
)
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sample
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import returns
from seqgan.system.errors import DataError
from seqgan.tasks.base import Measure, Task, has_texts, heldout_prompts

Value = TypeVar("Value")


@dataclass(frozen=True)
class Measurement:
    """All metrics of one set of samples.

    Args:
        metrics: by the names of the metric list, or `user/<name>`.
        quality: the metric that stands for the samples' quality. Alone it praises collapse, so it
            is compared only together with held-out NLL.
        per_text: the metrics that are means over texts, text by text, for intervals.
    """

    metrics: dict[str, float]
    quality: Axis
    samples: Sequences
    per_text: Mapping[str, PerText] = field(default_factory=dict)


def measure(
    generator: Generator,
    task: Task,
    num_samples: int,
    num_heldout: int,
    rng: torch.Generator,
    sampling: Sampling | None = None,
    device: torch.device | str = "cpu",
    texts: TextMeasures | None = None,
    own: Mapping[str, Measure] | None = None,
) -> Measurement:
    """Draws `num_samples` texts and measures them in every way that the task allows.

    The generator's parameters are not touched. Held-out sequences and prompts are from the `test`
    split, always the same ones, so that two measurements can be compared pair by pair. A task of
    prompts alone has no held-out sequences, and is measured without what needs them.

    Args:
        texts: comparisons of the samples with real texts, from `text_measures`. Without them there
            is BLEU alone, and only if the task is `judged_as_texts`.
        own: measures besides the task's, reported as `user/<name>`. `as_measure` makes one of a
            function.

    Raises:
        DataError: a measure gives another shape than (batch,), or an infinite value.
        RewardError: a function behind a measure failed.
    """
    prompts = heldout_prompts(task, num_samples, device)
    samples = sample(
        generator, task.vocabulary, num_samples, task.max_length, rng, sampling, prompts
    )
    heldout = heldout_texts(task, num_heldout, device) if has_texts(task) else None
    report = likelihood_report(generator, samples, heldout, task.exact, sampling)
    scores = compared_scores(samples, task, texts, prompts)
    users = {f"user/{name}": part for name, part in measured_texts(samples, own or {}).items()}
    metrics = report.metrics | _named(scores.metrics)
    metrics |= {name: part.value for name, part in users.items()}
    metrics["eval/temperature"] = 1.0 if sampling is None else sampling.temperature
    per_text = report.per_text | _named(scores.per_text) | users
    return Measurement(metrics, quality_axis(task), samples, per_text)


def compared_scores(
    samples: Sequences,
    task: Task,
    texts: TextMeasures | None = None,
    prompts: Sequences | None = None,
) -> Scores:
    """All scores that need no likelihood: `sample_scores`, and comparisons with real texts.

    Args:
        texts: see `measure`.
        prompts: the real rows whose prompts the samples continue.
    """
    rows, scores = token_rows(samples), sample_scores(samples, task)
    if texts is not None or judged_as_texts(task):
        references = token_rows(references_of(task)) if texts is None else texts.references
        scores |= bleu_scores(rows, references)
    if texts is not None:
        scores |= texts.scores(rows, samples.texts)
    if texts is not None and prompts is not None:
        scores |= paired_scores(rows, token_rows(prompts))  # the prompts' own continuations
    return scores


def _named(values: Mapping[str, Value]) -> dict[str, Value]:
    return {f"eval/{name}": value for name, value in values.items()}


def measured_texts(samples: Sequences, measures: Mapping[str, Measure]) -> dict[str, PerText]:
    """Each measure of the samples, text by text; one that does not apply to a text weighs 0 there.

    Raises:
        DataError: a measure gives another shape than (batch,), or an infinite value.
    """
    measured = {}
    for name, one in measures.items():
        values = one.score(samples)
        if not isinstance(values, Tensor) or values.shape != (len(samples),):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise DataError(
                f"measure {name!r} gives {got}, but must give a tensor of one number per"
                f" text, ({len(samples)},)"
            )
        numbers = values.double().cpu().numpy()
        if np.isinf(numbers).any():
            row = int(np.isinf(numbers).argmax())
            raise DataError(
                f"measure {name!r} gives {numbers[row]} for text {row}, but must give"
                " finite numbers, or NaN where it does not apply"
            )
        measured[name] = PerText.where_known(numbers)
    return measured


def as_measure(
    judge: Measure | Callable[..., Any], unit: str = "", higher_is_better: bool | None = None
) -> Measure:
    """Makes a measure of a function or of a reward model, by the conventions of rewards.

    A function gets what its parameters are named after: `text`, `texts`, `prompt`, `sequences`, a
    column of the data, ... (see `FunctionReward`). It returns None for a text to which it does not
    apply.

    Raises:
        ConfigurationError: a parameter's name is none of these.
    """
    if isinstance(judge, Measure):
        return judge
    reward = as_reward(judge)
    return Measure(lambda sequences: returns(reward, sequences), unit, higher_is_better)


def sample_scores(samples: Sequences, task: Task) -> Scores:
    """Scores of samples: repetition, copies of training texts, the task's measures."""
    scores = repetition_scores(token_rows(samples))
    if has_texts(task):
        scores |= copy_scores(copies_from_training(samples, task))
    return scores | Scores(per_text=measured_texts(samples, task.measures))


def text_measures(
    task: Task, embeddings: Sequence[str], with_mauve: bool = False, with_toxicity: bool = False
) -> TextMeasures:
    """Makes the comparisons with the whole test split, once for a run.

    Raises:
        ValueError: an embedding is unknown, or its package is missing.
        RewardError: the package that toxicity needs is missing.
    """
    test = references_of(task)
    num_other = min(task.size("train"), MAX_TEXTS)
    other = task.real("train", num_other, torch.Generator().manual_seed(0))
    return TextMeasures(
        token_rows(test), test.texts, other.texts, embeddings, with_mauve, with_toxicity
    )


def judged_as_texts(task: Task) -> bool:
    """True if BLEU and its kin judge the texts: there are real ones, and nothing judges better.

    An exact distribution with full support judges better. One without full support says nothing of
    texts outside of it, so there the task's quality has to judge.
    """
    if task.exact is not None and (task.exact.full_support or task.quality):
        return False
    return has_texts(task)


def token_rows(sequences: Sequences) -> list[tuple[int, ...]]:
    """The words of each sequence, as ids without eos and padding."""
    vocabulary = sequences.vocabulary
    eos = None if vocabulary is None else vocabulary.eos_id
    lengths = sequences.lengths.tolist()
    rows = [row[:n] for row, n in zip(sequences.tokens.tolist(), lengths, strict=True)]
    return [tuple(row[:-1] if row[-1] == eos else row) for row in rows]


def heldout_texts(task: Task, n: int, device: torch.device | str = "cpu") -> Sequences:
    """At most n sequences of the test split, always the same ones."""
    fixed = torch.Generator().manual_seed(0)
    return task.real("test", min(n, task.size("test")), fixed).to(device)


def references_of(task: Task) -> Sequences:
    """The whole test split, which texts are compared with."""
    return heldout_texts(task, task.size("test"))
