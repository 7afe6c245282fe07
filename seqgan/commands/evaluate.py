"""`seqgan evaluate`: a run's generator, or a file of texts, in numbers."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, Parser, add_device, add_trust, given_path, number
from seqgan.commands.sampler_flags import add_sampler, sampler_settings
from seqgan.system.checks import Samples, Seed, Temperature
from seqgan.system.tables import aligned
from seqgan.system.terminal import arrow, columns_of, say, wrapped

if TYPE_CHECKING:
    from seqgan.commands.evaluate_run import TiltedNumbers
    from seqgan.evaluation.texts import Scores
    from seqgan.tasks.base import Measure

NUM_TEXTS = 4000  # drawn from a run
FEW_KNOWN = 0.05  # share of words below which two files look like different things

# What a number is named after, in the order in which the groups are printed. A name in braces is
# replaced by that metric's value.
GROUPS = (
    (
        "Likelihood, nats per token",
        (
            *("nll_oracle", "kl_generator_oracle", "nll_heldout", "kl_oracle_generator"),
            *("kl_symmetric", "entropy"),
        ),
    ),
    ("BLEU, against {bleu_references} references", ("bleu_",)),
    ("BLEU and ROUGE, of each text against its own reference", ("paired_bleu_", "rouge_")),
    ("Self-BLEU, against {self_bleu_references} other texts", ("self_bleu_",)),
    ("Repetition", ("distinct_", "duplicate_rate")),
    ("Copies from the training texts", ("copied_",)),
    ("Language models of {lm_texts} texts, nats per token", ("lm_score", "reverse_lm_score")),
    ("Shapes, divergences in nats", ("mean_length", "length_divergence", "zipf_divergence")),
    ("Embeddings", ("frechet_", "mauve_")),
    ("Content", ("toxicity_rate",)),
    ("Measures of your own", ("user/",)),
)
COUNTS = ("_references", "_texts")


def run(given: list[str]) -> int:
    """Prints the numbers, and gives the exit code."""
    options = _parse(given)
    measures: Mapping[str, Measure] = {}
    tilted: TiltedNumbers | None = None
    if options.run is None:
        scores = _of_files(options)
    else:
        from seqgan.commands.evaluate_run import evaluated_run

        scores, measures, tilted = evaluated_run(options)
    from seqgan.evaluation.metrics.intervals import bootstrap_intervals

    intervals = bootstrap_intervals(scores.per_text, options.seed)
    metrics = scores.metrics
    if options.json:
        print(json.dumps(_flat(metrics, intervals) | ({} if tilted is None else tilted.numbers)))
    else:
        lines = _lines(metrics, intervals, _better(metrics, measures), sys.stdout)
        if tilted is not None:
            lines = [*tilted.lines(columns_of(sys.stdout)), "", *lines]
        print("\n".join(lines))
    return 0


def _parse(given: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="seqgan evaluate",
        examples=(
            "seqgan evaluate runs/captions",
            "seqgan evaluate runs/captions --temperature 0.7 --json",
            "seqgan evaluate runs/captions --sampler resample",
            "seqgan evaluate --samples samples.txt --references captions.txt",
        ),
        description="Measures a run's generator, or a file of texts against another one.",
    )
    parser.add_argument("run", type=given_path, nargs="?", help="folder of a run")
    parser.add_argument("-n", type=number(Samples), help=f"texts drawn from a run ({NUM_TEXTS})")
    parser.add_argument("--temperature", type=number(Temperature), help="of a run's texts (1)")
    parser.add_argument("--pretrained", action="store_true", help="the generator before the game")
    parser.add_argument(
        "--checkpoint",
        choices=("newest", "best"),
        help="the newest one, or that of the best evaluation in the game (newest)",
    )
    parser.add_argument("--samples", type=given_path, help="file of texts to measure")
    parser.add_argument("--references", type=given_path, help="file of real texts")
    parser.add_argument(
        "--train", type=given_path, help="file of training texts, to look for copies of"
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="also BLEU and ROUGE of each sample against the reference of its own line",
    )
    parser.add_argument(
        "--embedding",
        action="append",
        metavar="NAME",
        help="of the Frechet distance: hashed, wordllama or minilm; may be given again (hashed)",
    )
    parser.add_argument("--mauve", action="store_true", help="MAUVE on each of the embeddings")
    parser.add_argument("--toxicity", action="store_true", help="the share of offensive texts")
    parser.add_argument(
        "--seed", type=number(Seed), default=0, help="the same seed, the same numbers (0)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object of all numbers, nothing else"
    )
    add_sampler(parser)
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    options.settings = sampler_settings(options, {"--temperature": options.temperature is not None})
    files = (options.samples is not None) + (options.references is not None)
    if (options.run is None) == (files == 0) or files == 1:
        raise InputError("nothing to evaluate: give a run, or both --samples and --references")
    of_runs = {
        "-n": options.n,
        "--temperature": options.temperature,
        "--pretrained": options.pretrained,
        "--checkpoint": options.checkpoint,
        "--device": options.device,
        "--sampler": options.settings,
    }
    of_files = {"--train": options.train, "--paired": options.paired}
    kind = "a run" if files else "--samples and --references"
    for flag, value in (of_runs if files else of_files).items():
        if value not in (None, False):
            raise InputError(f"{flag} is given without {kind}, with which it goes")
    options.n = NUM_TEXTS if options.n is None else options.n
    options.embedding = options.embedding or ["hashed"]
    from seqgan.evaluation.texts import check_embeddings

    check_embeddings("--embedding", options.embedding, options.mauve)
    return options


def _of_files(options: argparse.Namespace) -> "Scores":
    import numpy as np

    from seqgan.data.words import split_words
    from seqgan.evaluation.metrics.copies import copies_from_texts
    from seqgan.evaluation.texts import (
        TextMeasures,
        bleu_scores,
        copy_scores,
        paired_scores,
        repetition_scores,
    )

    samples, references = (
        [tuple(split_words(text)) for text in _read(path, options.paired)]
        for path in (options.samples, options.references)
    )
    if options.paired and len(samples) != len(references):
        raise InputError(
            f"the files have {len(samples)} and {len(references)} texts, but --paired needs"
            " as many in both"
        )
    known = set().union(*references)
    share = np.mean([word in known for text in samples for word in text])
    if share < FEW_KNOWN:
        _note(
            f"{share:.1%} of the words of {options.samples} stand in {options.references};"
            " is one of them a file of ids?"
        )
    texts, real = ([" ".join(words) for words in side] for side in (samples, references))
    scores = bleu_scores(samples, references, options.seed) | repetition_scores(samples)
    if options.paired:
        scores |= paired_scores(samples, references)
    kept: list[str] = []
    if options.train is not None:
        scores |= copy_scores(copies_from_texts(samples, _train_texts(options.train, kept)))
    measures = TextMeasures(
        references,
        real,
        kept,
        options.embedding,
        options.mauve,
        options.toxicity,
    )
    return scores | measures.scores(samples, texts, options.seed)


def _read(path: Path, with_blank: bool) -> list[str]:
    """The texts of a file in its order; blank lines only where lines stay in their place."""
    from seqgan.tasks.files.text_files import full_texts, stream_lines

    lines = list(stream_lines(path))
    texts = full_texts(path, lines)
    if with_blank:
        return [text or "" for text in lines]
    if len(texts) < len(lines):
        _note(f"{path}: {len(lines) - len(texts)} blank lines left out")
    return texts


def _train_texts(path: Path, kept: list[str]) -> Iterator[list[str]]:
    """The texts of a file of any size, word by word; the first of them are kept as strings."""
    from seqgan.data.words import split_words
    from seqgan.evaluation.texts import MAX_TEXTS
    from seqgan.tasks.files.text_files import stream_texts

    for text in stream_texts(path):
        words = split_words(text)
        if words and len(kept) < MAX_TEXTS:
            kept.append(" ".join(words))
        yield words


def _note(message: str) -> None:
    say(f"seqgan: {message}", sys.stderr)


def _flat(
    metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> dict[str, float | int]:
    """Every number under a name of its own; counts are whole."""
    flat: dict[str, float | int] = {
        name: round(value) if name.endswith(COUNTS) else value for name, value in metrics.items()
    }
    for name, (low, high) in intervals.items():
        flat |= {f"{name}_low": low, f"{name}_high": high}
    return flat


def _better(metrics: Iterable[str], measures: "Mapping[str, Measure]") -> dict[str, str]:
    """The better end of each metric's values, max or min; empty for one without.

    Args:
        measures: the task's and the user's own.
    """
    from seqgan.tracking.metrics import find_metric

    ends = {}
    for name in metrics:
        if name.removeprefix("user/") in measures:
            ends[name] = measures[name.removeprefix("user/")].best
        else:
            ends[name] = find_metric(f"eval/{name}").best
    return ends


def _lines(
    metrics: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    better: Mapping[str, str],
    stream: Any,
) -> list[str]:
    """Groups of numbers, with intervals where there are any. Counts stand in the headings."""
    shown = [name for name in metrics if not name.endswith(COUNTS)]
    rows = {}
    for name in shown:
        head = f"  {name} {arrow(better[name], stream)}".rstrip()
        interval = "[{:.4g}, {:.4g}]".format(*intervals[name]) if name in intervals else ""
        rows[name] = (head, f"{metrics[name]:.4g}", interval)
    columns = columns_of(stream)
    lines = dict(zip(shown, _aligned(list(rows.values()), columns), strict=True))
    counts = {name: f"{value:.0f}" for name, value in metrics.items() if name not in shown}
    found: list[str] = []
    for heading, starts in (*GROUPS, ("Other", ("",))):
        names = [name for start in starts for name in shown if name.startswith(start)]
        shown = [name for name in shown if name not in names]
        if names:
            found += [""] if found else []
            found += wrapped(heading.format_map(counts), columns)
            found += [line for name in names for line in lines[name]]
    if intervals:
        found += ["", *wrapped("In brackets: 95% intervals, by bootstrap over texts.", columns)]
    return found


def _aligned(rows: Sequence[tuple[str, str, str]], columns: int | None) -> list[list[str]]:
    """The lines of each row of a name, a number and perhaps its interval.

    In a terminal that is too narrow for all three an interval stands on a line of its own.
    """
    whole = aligned(rows)
    if columns is None or all(len(line) <= columns for line in whole):
        return [[line] for line in whole]
    short = aligned([row[:2] for row in rows])
    width = max(map(len, short))
    return [
        [line, *([row[2].rjust(width)] if row[2] else [])]
        for line, row in zip(short, rows, strict=True)
    ]
