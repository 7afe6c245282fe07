"""`seqgan evaluate`: a run's generator, or a file of texts, in numbers."""

import argparse
import json
from pathlib import Path

from seqgan.commands.parsing import InputError, Parser, check_seed


def run(given: list[str]) -> int:
    """Prints the numbers, and gives the exit code."""
    parser = Parser(prog="seqgan evaluate", allow_abbrev=False)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run")
    parser.add_argument("--samples", type=Path, help="file of texts to measure")
    parser.add_argument("--references", type=Path, help="file of real texts")
    parser.add_argument("-n", type=int, default=4000, help="texts drawn from a run (4000)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of a run's texts (1)")
    parser.add_argument("--pretrained", action="store_true", help="the generator before the game")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same numbers (0)")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_all(given)
    files = (options.samples is not None) + (options.references is not None)
    if (options.run is None) == (files == 0) or files == 1:
        raise InputError("evaluate takes a run, or both --samples and --references")
    if options.n < 20:
        raise InputError(f"-n is at least 20, got {options.n}")
    check_seed(options.seed)
    metrics = _evaluate_files(options) if options.run is None else _evaluate_run(options)
    if options.json:
        print(json.dumps({name.removeprefix("eval/"): value for name, value in metrics.items()}))
    else:
        width = max(map(len, metrics))
        for name, value in metrics.items():
            print(f"{name.ljust(width)}  {value:.5g}")
    return 0


def _evaluate_files(options: argparse.Namespace) -> dict[str, float]:
    from seqgan.evaluation.measure import bleu_metrics
    from seqgan.evaluation.ngrams import copied_rate, distinct, duplicate_rate
    from seqgan.tasks.text_files import read_texts
    from seqgan.vocabulary import split_words

    try:
        samples = [tuple(split_words(text)) for text in read_texts(options.samples)]
        references = [tuple(split_words(text)) for text in read_texts(options.references)]
    except ValueError as error:
        raise InputError(str(error)) from error
    metrics = bleu_metrics(samples, references, options.seed)
    metrics |= {f"eval/distinct_{order}": distinct(samples, order) for order in (1, 2, 3)}
    metrics["eval/duplicate_rate"] = duplicate_rate(samples)
    metrics["eval/copied_rate"] = copied_rate(samples, references)
    return metrics


def _evaluate_run(options: argparse.Namespace) -> dict[str, float]:
    import torch

    from seqgan.build import build_task
    from seqgan.checkpoints import CheckpointError
    from seqgan.evaluation.measure import measure
    from seqgan.runs import load_generator, open_run
    from seqgan.sampling import Sampling

    try:
        folder, config = open_run(options.run)
        sampling = Sampling(options.temperature)
        which = "pretrained" if options.pretrained else "generator"
        trained = load_generator(folder, config, which)
        task = build_task(config)
    except (ValueError, CheckpointError) as error:
        raise InputError(str(error)) from error
    measured = measure(
        trained.generator,
        task,
        options.n,
        config.evaluation.num_heldout,
        torch.Generator().manual_seed(options.seed),
        sampling,
        config.device,
    )
    return measured.metrics
