"""The command line. The top level imports nothing heavy; each command imports what it needs.

Exit codes: 0 done; 1 a run that had to stop; 2 a wrong input; 130 and 143 stopped by a signal.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from seqgan.commands.parsing import InputError
from seqgan.system.errors import SeqganError
from seqgan.system.plugins import nearest

HELP = """\
usage: seqgan COMMAND ...

Train text generators with reinforcement learning and adversaries.

commands:
  train PRESET      train; PRESET is one of captions, oracle, oracle-paper, text, prompts
  train --config F  train with the settings of a YAML file
  train --resume R  continue a run that was stopped, bit for bit
  train --fork R    a new run from R's newest checkpoint, its settings changed by flags
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

`seqgan COMMAND --help` lists the settings of a command; `seqgan --version` the version.
"""
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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _dispatch(given)
        sys.stdout.flush()  # here, where an error of it is still one line
    except SeqganError as error:
        print(f"seqgan: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # the reader of our output has gone, as in `seqgan sample RUN | head`
        _drop_output()
        code = 0
    except OSError as error:  # a full disk
        _drop_output()
        print(f"seqgan: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:  # before or after training, which stops by itself
        print("seqgan: stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    sys.exit(code)


def _drop_output() -> None:
    """Sends what standard output still holds nowhere, or the interpreter would fail on it too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if given else 2
    if given[0] == "--version":
        from seqgan import __version__

        print(f"seqgan {__version__}")
        return 0
    if given[0] not in COMMANDS:
        raise InputError(
            f"a command is one of {', '.join(COMMANDS)}, got {given[0]!r}"
            f"{nearest(given[0], COMMANDS)}"
        )
    command = importlib.import_module(f"seqgan.commands.{given[0]}")
    return int(command.run(given[1:]))
