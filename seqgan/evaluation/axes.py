"""Metrics as axes: unit and direction, and the one that is a task's quality."""

from dataclasses import dataclass

from seqgan.tasks.base import SHARE, Task, has_texts

NATS = "nats per token"


@dataclass(frozen=True)
class Axis:
    """A metric as an axis: its name in the metric list (without `eval/`), and what is better."""

    name: str
    title: str
    unit: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def sign(self) -> int:
        """The factor that turns values into goodness, and goodness into values."""
        return 1 if self.higher_is_better else -1


NLL_ORACLE = Axis("nll_oracle", "NLL under the oracle", NATS, False)
NLL_HELDOUT = Axis("nll_heldout", "held-out NLL", NATS, False)
KL_GENERATOR_ORACLE = Axis("kl_generator_oracle", "KL(generator || oracle)", NATS, False)
KL_ORACLE_GENERATOR = Axis("kl_oracle_generator", "KL(oracle || generator)", NATS, False)
NO_QUALITY = Axis("", "quality", "", True)  # nothing says how good texts are
ENTROPY = Axis("entropy", "entropy of the generator", NATS, True)


def measure_axis(name: str, unit: str, higher_is_better: bool) -> Axis:
    """A task's measure as an axis."""
    return Axis(name, f"{name} rate" if unit == SHARE else name, unit, higher_is_better)


def quality_axis(task: Task) -> Axis:
    """The number that says how good a task's texts are.

    The measure that the task names; else NLL under the true model, where every text has a finite
    one; else BLEU-4. Of prompts alone nothing says how good their continuations are.
    """
    if task.quality:
        measure = task.measures[task.quality]
        return measure_axis(task.quality, measure.unit, measure.higher_is_better is not False)
    if task.exact is not None and task.exact.full_support:
        return NLL_ORACLE
    if not has_texts(task):
        return NO_QUALITY
    return Axis("bleu_4", "BLEU-4", f"{task.size('test'):,} references", True)
