"""`seqgan sample`: texts from a run's generator, one a line on standard output."""

import json
from pathlib import Path

from seqgan.commands.parsing import InputError, Parser, check_seed


def run(given: list[str]) -> int:
    """Prints texts, and gives the exit code."""
    parser = Parser(prog="seqgan sample", allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("-n", type=int, default=10, help="number of texts (10)")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 sharpens (1)")
    parser.add_argument("--top-k", type=int, default=0, help="keep the k likeliest tokens (0: all)")
    parser.add_argument("--top-p", type=float, default=1.0, help="keep this probability (1: all)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same texts (0)")
    parser.add_argument("--pretrained", action="store_true", help="the generator before the game")
    parser.add_argument(
        "--checkpoint",
        choices=("newest", "best"),
        default="newest",
        help="the newest one, or that of the best evaluation in the game (newest)",
    )
    parser.add_argument("--unknown", action="store_true", help="allow the unknown word <unk>")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_all(given)
    if options.n < 1:
        raise InputError(f"-n is at least 1, got {options.n}")
    check_seed(options.seed)
    import torch

    from seqgan.checkpoints import CheckpointError
    from seqgan.runs import load_generator, open_run
    from seqgan.sampling import Sampling, sample, sequence_log_probs

    try:
        sampling = Sampling(options.temperature, options.top_k, options.top_p)
        folder, config = open_run(options.run)
        which = "pretrained" if options.pretrained else "generator"
        trained = load_generator(folder, config, which, options.checkpoint)
    except (ValueError, CheckpointError) as error:
        raise InputError(str(error)) from error
    unknown = trained.vocabulary.unk_id
    forbidden = None if unknown is None or options.unknown else torch.tensor([unknown])
    drawn = sample(
        trained.generator,
        trained.vocabulary,
        options.n,
        trained.max_length,
        torch.Generator().manual_seed(options.seed),
        sampling,
        forbidden=forbidden,
    )
    scores = sequence_log_probs(trained.generator, drawn).tolist()
    for text, score in zip(drawn.texts, scores, strict=True):
        if options.json:
            print(json.dumps({"text": text, "log_prob": score}, ensure_ascii=False))
        else:
            print(text)
    return 0
