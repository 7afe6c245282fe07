"""`python -m tests.campaign`: kills runs, damages files, gives bad input, and prints what held."""

import argparse
import sys
import tempfile
from pathlib import Path

from .commands import preload
from .damages import damages
from .inputs import inputs
from .kills import kills
from .table import Table


def main() -> int:
    """The exit code: 1 where a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="runs that are killed (100)")
    parser.add_argument("--damages", type=int, default=100, help="files that are damaged (100)")
    parser.add_argument("--inputs", type=int, default=200, help="bad inputs (200)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same attempts (0)")
    options = parser.parse_args()
    preload()
    table = Table()
    with tempfile.TemporaryDirectory(prefix="seqgan-campaign-") as name:
        folder = Path(name).resolve()
        if options.kills:
            table.take(kills(options.kills, options.seed, folder / "kills"))
        if options.damages:
            table.take(damages(options.damages, options.seed, folder / "damages"))
        if options.inputs:
            table.take(inputs(options.inputs, options.seed, folder / "inputs"))
    print("\n".join(table.rows()))
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
