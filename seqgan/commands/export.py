"""`seqgan export`: a run's generator or discriminator as a folder of transformers."""

from typing import get_args

from seqgan.commands.parsing import Parser, add_device, add_trust, given_path
from seqgan.system.files import next_free

RESAMPLED = "resampled"


def run(given: list[str]) -> int:
    """Writes the folder, prints where, and gives the exit code."""
    from seqgan.exporting.card import What

    parser = Parser(
        prog="seqgan export",
        examples=(
            "seqgan export runs/captions",
            "seqgan export runs/small --merge-lora --output models/small-after",
            "seqgan export runs/small --which discriminator",
            "seqgan export runs/small --which resampled",
        ),
    )
    parser.add_argument("run", type=given_path, help="folder of a run")
    parser.add_argument(
        "--output",
        "--out",
        type=given_path,
        metavar="FOLDER",
        help="the new folder (export/WHICH in the run's)",
    )
    parser.add_argument(
        "--which",
        choices=(*get_args(What), RESAMPLED),
        default="generator",
        help="the generator, the one before the game, the discriminator, or generator and"
        " discriminator with a script that resamples (generator)",
    )
    parser.add_argument(
        "--checkpoint",
        choices=("newest", "best"),
        default="newest",
        help="the newest one, or that of the best evaluation in the game (newest)",
    )
    parser.add_argument(
        "--merge-lora", action="store_true", help="a whole model instead of an adapter"
    )
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    from seqgan.exporting.exports import export_run

    folder = options.output or next_free(options.run / "export" / options.which)
    if options.which == RESAMPLED:
        from seqgan.exporting.recipe import export_recipe

        export_recipe(
            options.run, folder, options.checkpoint, options.device, options.trust_run_code
        )
        print(folder)
        return 0
    export_run(
        options.run,
        folder,
        options.which,
        options.checkpoint,
        options.merge_lora,
        options.device,
        options.trust_run_code,
    )
    print(folder)
    return 0
