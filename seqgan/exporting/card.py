"""The model card of an exported folder, written from the run's own record and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from seqgan import __version__
from seqgan.report.recorded import Recorded, Row, read_run
from seqgan.report.settings import flatten
from seqgan.report.summary import COLUMNS, closing_sentences, stored_table
from seqgan.system.files import write_text
from seqgan.system.markdown import code_span, plain_name, prose
from seqgan.system.reading import read_json

What = Literal["generator", "pretrained", "discriminator"]
Form = Literal["model", "code", "adapter", "classifier"]

# Settings that decide what was learnt; those that a run does not have are left out.
SETTINGS = (
    "generator.kind",
    "generator.path",
    "generator.adapter",
    "generator.lora_rank",
    "generator.embedding_size",
    "generator.hidden_size",
    "generator.width",
    "generator.num_layers",
    "discriminator.kind",
    "discriminator.path",
    "discriminator.body",
    "pretrain.learning_rate",
    "discriminator_training.learning_rate",
    "adversarial.iterations",
    "adversarial.batch_size",
    "rule.learning_rate",
    "rule.num_rollouts",
    "rule.kl_weight",
    "adversarial.reward_shape",
    "seed",
)
MEASURED = (
    *(f"eval/{column}" for column in COLUMNS),
    "discriminator/information_heldout",
    "discriminator/accuracy_heldout",
    "kl/reference",
    "charts/episodic_return",
    "pretrain/nll_dev",
)


@dataclass(frozen=True)
class Exported:
    """The content of an exported folder.

    Args:
        what: the network: the generator after the game, the one before it (`pretrained`), or the
            discriminator.
        form: a whole model, one that brings its own code, an adapter, or a sequence classifier.
        base: folder or hub name of the model that training started from; empty for none.
        start: the text that a generator continues if there is no prompt.
        prompted: whether the run's texts go on from prompts.
        iterations: iterations of the game that were done when the checkpoint was written.
        checkpoint: the checkpoint's name.
        chat: whether the prompts were put into the tokenizer's chat template.
    """

    what: What
    form: Form
    base: str
    start: str
    prompted: bool
    iterations: int
    checkpoint: str
    chat: bool = False


def write_card(run: Path, exported: Exported, folder: Path) -> None:
    """Writes README.md into the exported folder.

    Raises:
        ValueError: the run has not logged anything, or a file of it is damaged.
    """
    values = card_values(read_run(run), exported)
    write_text(folder / "README.md", rendered("model_card.md.j2", values))


def rendered(name: str, values: Mapping[str, Any]) -> str:
    """A page of this package, with its values."""
    pages = Environment(
        loader=PackageLoader("seqgan.exporting", "pages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"name": plain_name, "prose": prose}
    return pages.get_template(name).render(**values)


def card_values(run: Recorded, exported: Exported) -> dict[str, Any]:
    """The values for the template of the card."""
    settings = flatten(run.config)
    local = Path(exported.base).is_dir()
    results = run.results
    return {
        "exported": exported,
        "name": run.name,
        "version": __version__,
        "base_name": Path(exported.base).name if local else exported.base,
        "base_on_hub": bool(exported.base) and not local,
        "description": description(run),
        "task": run.kind,
        "rewards": weighted_rewards(run),
        "adversary": run.adversary,
        "taught": run.config.get("pretrain", {}).get("epochs") != 0,
        "settings": [(name, settings[name]) for name in SETTINGS if settings.get(name)],
        "planned": int(run.config.get("adversarial", {}).get("iterations", 0)),
        "table": None if results is None else results_table(results),
        "sentences": [] if results is None else closing_sentences(results),
        "measured": last_measured(
            run.metrics, 0 if exported.what == "pretrained" else exported.iterations
        ),
        "alerts": [str(row["title"]) for row in run.alerts if "title" in row],
    }


def description(run: Recorded) -> str:
    """The task's description; empty in runs that are older than the field."""
    task = read_json(run.path / "task.json", {"description?": str})
    return str(task.get("description", ""))


def weighted_rewards(run: Recorded) -> list[str]:
    """The rewards of the game, with their weights if the settings have weights."""
    names = run.config.get("reward", [])
    weights = run.config.get("reward_weights") or [None] * len(names)
    return [
        code_span(name) if weight is None else f"{code_span(name)} (weight {weight:g})"
        for name, weight in zip(names, weights, strict=True)
    ]


def results_table(results: Row) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the run's final table, one metric a row."""
    table = stored_table(results)
    head = ["metric", *(name for name, _ in table.rows)]
    rows = [[column, *table.cells(index)] for index, column in enumerate(table.columns)]
    return head, rows


def last_measured(metrics: tuple[Row, ...], iterations: int) -> list[tuple[str, str, int]]:
    """The last values of a few metrics up to an iteration, each with its own iteration."""
    last: dict[str, tuple[str, str, int]] = {}
    for row in metrics:
        at = int(row.get("iteration", 0))
        if at > iterations:
            continue
        for name, value in row.items():
            if name in MEASURED and isinstance(value, int | float):
                last[name] = (name, f"{value:.4g}", at)
    return [last[name] for name in MEASURED if name in last]
