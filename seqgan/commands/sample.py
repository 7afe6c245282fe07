"""`seqgan sample`: texts from a run's generator, one a line on standard output."""

import argparse
import sys
from typing import TYPE_CHECKING

from seqgan.commands.parsing import InputError, Parser, add_device, add_trust, given_path, number
from seqgan.commands.sampler_flags import add_sampler, sampler_settings
from seqgan.system.checks import Count, Seed, Size, Temperature, TopP
from seqgan.system.errors import ConfigurationError
from seqgan.system.streams import json_line
from seqgan.system.terminal import columns_of, say, wrapped

if TYPE_CHECKING:
    from seqgan.data.sequences import Sequences
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.runs import TrainedGenerator
    from seqgan.training.settings import TrainConfig


def run(given: list[str]) -> int:
    """Prints texts, and gives the exit code."""
    parser = Parser(
        prog="seqgan sample",
        examples=(
            "seqgan sample runs/captions -n 20 --temperature 0.8",
            "seqgan sample runs/captions -n 1000 > samples.txt",
            'seqgan sample runs/pairs --prompt "where is the red dog ?" -n 3',
            "seqgan sample runs/captions --sampler resample",
            "seqgan sample runs/captions --tilt ./my_reward.py:mentions_dog --beta 0.2",
        ),
    )
    parser.add_argument("run", type=given_path, help="folder of a run")
    parser.add_argument(
        "-n", type=number(Size), help="number of texts (10); of each prompt that is given (1)"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="what a text goes on from; may be given again (held-out prompts of the run's task)",
    )
    parser.add_argument(
        "--prompts", type=given_path, metavar="FILE", help="a .jsonl, .csv or .txt file of prompts"
    )
    parser.add_argument(
        "--prompt-column", metavar="NAME", help="of that file (the name in the run's task)"
    )
    parser.add_argument(
        "--temperature", type=number(Temperature), default=1.0, help="below 1 sharpens (1)"
    )
    parser.add_argument(
        "--top-k", type=number(Count), default=0, help="keep the k likeliest tokens (0: all)"
    )
    parser.add_argument(
        "--top-p", type=number(TopP), default=1.0, help="keep this probability (1: all)"
    )
    parser.add_argument(
        "--seed", type=number(Seed), default=0, help="the same seed, the same texts (0)"
    )
    parser.add_argument("--pretrained", action="store_true", help="the generator before the game")
    parser.add_argument(
        "--checkpoint",
        choices=("newest", "best"),
        default="newest",
        help="the newest one, or that of the best evaluation in the game (newest)",
    )
    parser.add_argument("--unknown", action="store_true", help="allow the unknown word <unk>")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_sampler(parser)
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    given_prompts = options.prompt is not None or options.prompts is not None
    if options.n is None:
        options.n = 1 if given_prompts else 10
    if options.prompt_column is not None and options.prompts is None:
        raise InputError("--prompt-column is given without --prompts, with which it goes")
    changed = {
        "--temperature": options.temperature != 1,
        "--top-k": options.top_k != 0,
        "--top-p": options.top_p != 1,
    }
    settings = sampler_settings(options, changed)
    import torch

    from seqgan.data.lines import as_line
    from seqgan.models.sampling import Sampling, sample, sequence_log_probs
    from seqgan.training.runs import (
        GENERATOR,
        open_run,
        restored_run,
        usable,
    )
    from seqgan.training.tilting import build_sampler

    plain = Sampling(options.temperature, options.top_k, options.top_p)
    folder, config = open_run(options.run, options.trust_run_code)
    reads: tuple[str, ...] = GENERATOR
    if settings is not None:
        settings = settings.of_run(folder, config, options.trust_run_code)
        reads = (*GENERATOR, *settings.reads)
    config = usable(folder, config, reads, options.device)
    which = "pretrained" if options.pretrained else "generator"
    restored = restored_run(folder, config, which, options.checkpoint)
    trained = restored.trained
    prompts = _prompts(options, folder, config, trained)
    n = options.n if prompts is None else len(prompts)
    rng = torch.Generator().manual_seed(options.seed)
    if settings is None:
        unknown = trained.vocabulary.unk_id
        forbidden = None if unknown is None or options.unknown else torch.tensor([unknown])
        drawn = sample(
            trained.generator,
            trained.vocabulary,
            n,
            trained.max_length,
            rng,
            plain,
            prompts,
            forbidden,
        )
    else:
        sampler = build_sampler(
            settings,
            restored,
            rng,
            prompts,
            without_unknown=not options.unknown,
            trust_run_code=options.trust_run_code,
        )
        tilted = sampler.sampler.draw(n, rng, prompts)
        drawn = tilted.sequences
        say(f"seqgan: {sampler.cost(tilted)}", sys.stderr)
        if warning := sampler.warning(tilted):
            say(f"seqgan: {warning}", sys.stderr)
    columns = columns_of(sys.stdout)
    numbers = {"log_prob": sequence_log_probs(trained.generator, drawn).tolist()}
    if settings is not None:
        numbers["tilt"] = sampler.sampler.model.tilt(drawn).tolist()
    for row, (prompt, text) in enumerate(zip(drawn.prompt_texts, drawn.texts, strict=True)):
        before = {} if prompts is None else {"prompt": prompt}
        if options.json:
            known = {name: values[row] for name, values in numbers.items()}
            print(json_line(before | {"text": text} | known))
        else:
            between = "\t" if columns is None else " => "
            print("\n".join(wrapped(between.join(map(as_line, [*before.values(), text])), columns)))
    return 0


def _prompts(
    options: argparse.Namespace,
    folder: "RunFolder",
    config: "TrainConfig",
    trained: "TrainedGenerator",
) -> "Sequences | None":
    """A row for each text that is to be drawn; None for a run without prompts.

    Raises:
        ConfigurationError: prompts for a run without, or for a task that reads no prompts of a
            user's own.
        DataError: a prompt is blank or too long, or their file cannot be read; or the run's data
            have changed.
    """
    import torch

    from seqgan.tasks.base import prompts_of
    from seqgan.tasks.files.prompts import read_prompts
    from seqgan.training.runs import check_task, usable
    from seqgan.training.slots import kind_of

    texts = list(options.prompt or [])
    if options.prompts is not None:
        column = options.prompt_column or getattr(config.task, "prompt_column", "prompt")
        texts += read_prompts(options.prompts, column)
    if texts:
        rows = torch.arange(len(texts)).repeat_interleave(options.n)
        encode = getattr(config.task, "encode_prompts", None)
        if encode is None:
            raise ConfigurationError(
                f"the task {kind_of('task', config.task)} of this run reads no prompts"
                " (encode_prompts), as the task prompts does"
            )
        prompts: Sequences = encode(texts, trained.vocabulary, config.generator)
        return prompts.select(rows).to(config.device)
    if not trained.prompted:
        return None
    rng = torch.Generator().manual_seed(options.seed)
    config = usable(folder, config, ("task",))
    task = config.task.build(config.generator)
    check_task(folder, task)
    return prompts_of(task, "test", options.n, rng, config.device)
