"""The command line. The top level imports nothing heavy; each command imports what it needs.

Exit codes: 0 done; 1 a run that had to stop; 2 a wrong input; 130 and 143 stopped by a signal.
"""

import sys

TYPE_CHECKING = False  # of `typing`, whose import would come before the signals are looked after
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

HELP = """\
usage: seqgan COMMAND ...

Train text generators with reinforcement learning and adversaries.

commands:
  train FILE        train on your own texts (.txt, .jsonl, .csv)
  train PRESET      train one of captions, oracle, oracle-paper, text, prompts,
                    distill
  train --config F  train with the settings of a YAML file
  train --resume R  continue a run that was stopped, bit for bit
  train --fork R    a new run from R's newest checkpoint, its settings changed by flags
  train ... --estimate-time
                    keep nothing: print how long the run will take
  train ... --profile
                    keep nothing: print where an iteration's time goes
  sample RUN        print texts, one a line
  evaluate RUN      measure a run's generator
  evaluate --samples A --references B
                    measure a file of texts against another
  frontier RUN...   quality against diversity over temperatures, beside MLE's
  export RUN        the generator or the discriminator as a folder of transformers
  report RUN...     a page about one or several runs, for a browser
  dashboard [RUN]   a wandb workspace and report of the metrics, with their controls
  sweep FILE        train once for each point of a sweep, here, without a server
  sweep --resume S  continue a sweep that was stopped
  judge prepare RUN RUN
                    write a blinded page on which people compare texts
  judge score CSV   what they preferred, how surely, and whether they agree

`seqgan COMMAND --help` has a command's settings and examples; `seqgan --version` the version.

examples:
  seqgan train captions
  seqgan train captions.txt --output runs/captions
  seqgan train pairs.jsonl --model models/small --output runs/small
  seqgan sample runs/captions -n 20 --temperature 0.8
  seqgan frontier runs/captions
"""
EXPLAINED = 20  # the column where explanations begin
# A module each in seqgan/commands.
COMMANDS = (
    "train",
    "sample",
    "evaluate",
    "frontier",
    "export",
    "report",
    "dashboard",
    "sweep",
    "judge",
)
# What people may call them.
CALLED = {
    "estimate": "train ... --estimate-time",
    "profile": "train ... --profile",
    "resume": "train --resume RUN",
    "fork": "train --fork RUN",
    "generate": "sample",
    "eval": "evaluate",
    "test": "evaluate",
    "plot": "report",
}


def main(arguments: "Sequence[str] | None" = None) -> "NoReturn":
    """Runs a command and exits with its code.

    Args:
        arguments: None takes those of the process, whose signals and streams then are looked after.
    """
    if arguments is None:
        from seqgan.system.stopping import stop_on_signals

        stop_on_signals()  # before anything else, which takes its time
        from seqgan.system.streams import secure_streams

        secure_streams()
    code = _code_of(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None:
        from seqgan.system.stopping import stop_at_once_on_signals

        stop_at_once_on_signals()
    sys.exit(code)


def _code_of(given: list[str]) -> int:
    """Runs a command; an error that a person can mend is one line."""
    from signal import SIGINT

    from seqgan.system.errors import SeqganError, one_line
    from seqgan.system.shortage import shortage_in_one_line
    from seqgan.system.terminal import say

    try:
        with shortage_in_one_line():
            code = _dispatch(given)
            sys.stdout.flush()  # here, where an error of it is still one line
        return code
    except SeqganError as error:
        say(f"seqgan: {one_line(str(error))}", sys.stderr)
        return 2
    except OSError as error:  # a full disk
        say(f"seqgan: {one_line(str(error))}", sys.stderr)
        return 1
    except KeyboardInterrupt as stop:  # before or after training, which stops by itself
        print("seqgan: stopped", file=sys.stderr)
        return 128 + int(getattr(stop, "number", SIGINT))


def _help() -> str:
    """The help, broken between words; what explains a command stays in its column."""
    from seqgan.system.terminal import USUAL, columns_of, wrapped

    columns, lines = min(columns_of(sys.stdout) or USUAL, USUAL), []
    for line in HELP.splitlines():
        named = line.startswith("  ") and "  " in line[EXPLAINED - 2 : EXPLAINED]
        first = len(line) - len(line.lstrip())
        lines += wrapped(line, columns, EXPLAINED - first if named or first == EXPLAINED else 2)
    return "\n".join(lines)


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0 if given else 2
    if given[0] == "--version":
        from seqgan import __version__

        print(f"seqgan {__version__}")
        return 0
    import importlib

    from seqgan.commands.parsing import InputError
    from seqgan.system.plugins import nearest
    from seqgan.system.shortage import check_limit

    if given[0] not in COMMANDS:
        near = nearest(given[0], COMMANDS)
        if given[0] in CALLED:
            near = f"; it is called seqgan {CALLED[given[0]]} here"
        raise InputError(f"unknown command {given[0]!r}{near} (commands: {', '.join(COMMANDS)})")
    check_limit()
    command = importlib.import_module(f"seqgan.commands.{given[0]}")
    try:
        return int(command.run(given[1:]))
    except SystemExit as end:  # of a command's help, which may still fill a disk
        if end.code:
            raise
        return 0
