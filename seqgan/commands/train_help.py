"""The help of `seqgan train`: what people set most, the kinds of parts, and where the rest is."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from seqgan.commands.short_names import (
    MODEL,
    MODEL_HELP,
    ONLY_ADVERSARY,
    ONLY_ADVERSARY_HELP,
    SHORT,
)
from seqgan.system.terminal import wrapped

if TYPE_CHECKING:
    from seqgan.training.settings import TrainConfig

COLUMN = 22  # where the explanations begin
WIDEST = 96  # columns of a line, in a terminal of any width
NARROW = 60  # below this an explanation has a line of its own

USAGE = """\
usage: seqgan train FILE [settings]
       seqgan train PRESET [FILE] [settings]
       seqgan train --config FILE | --resume RUN | --fork RUN [settings]

Trains a generator of texts: first by maximum likelihood, then in a game in
which a discriminator or other rewards judge its texts.
"""
FILE_HELP = (
    "your own texts: .txt (one a line), .jsonl or .csv (their columns tell texts from prompts and"
    " what follows them)"
)
CONTINUED = {
    "--config FILE": "the settings of a YAML file, as each run has one (config.yaml)",
    "--resume RUN": "go on with a run that was stopped, bit for bit",
    "--fork RUN": "a new run from RUN's newest checkpoint, with other settings",
}
# The settings of the run itself that are short already.
WHOLE = {
    "reward": "what judges the texts: names below, ./file.py:function, the folder of a classifier",
    "output": "folder of the run (runs/<task>-<time>)",
    "trackers": "where it is recorded besides: wandb, tensorboard, csv, several, none",
    "seed": "the same seed, the same run",
    "device": "cpu, cuda, ...",
}
ONCE = {
    ONLY_ADVERSARY: ONLY_ADVERSARY_HELP,
    "--estimate-time": "keep nothing: print how long the run will take, and what takes most",
    "--profile": "keep nothing: print where the time of an iteration goes",
    "--trust-run-code": "run the Python files and modules that FILE or RUN names",
    "--help-all": "every setting, with what it does",
}
KINDS: Mapping[str, Mapping[str, str]] = {
    "task": {
        "captions": "captions from a grammar of which everything is known",
        "oracle": "the paper's synthetic language: a random LSTM",
        "text": "the texts of a file",
        "prompts": "prompts and what follows them, of a file or a data set",
    },
    "generator": {
        "lstm, gru": "recurrent, trained from nothing",
        "transformer": "attention, trained from nothing",
        "pretrained": f"a language model of transformers ({MODEL})",
    },
    "discriminator": {
        "gru": "reads a text in both directions",
        "cnn": "the paper's: convolutions over windows of several sizes",
        "transformer": "attention over a whole text",
        "causal": "judges every beginning of a text, so needs no rollouts",
        "pretrained": "a head on an encoder or a language model",
    },
    "rule": {
        "policy_gradient": "SeqGAN's: REINFORCE with rollouts; its parts combine freely",
        "preference": "DPO or IPO: the better text of a pair",
        "reweighting": "MaliGAN: likelihood of own texts, weighted by the discriminator",
        "cloning": "likelihood of the best own texts of each group",
        "cooperative": "CoT: a mediator learns real and own texts, the generator follows it",
        "gumbel": "RelGAN: the discriminator's gradient through the tokens (Gumbel-softmax)",
    },
}
EXAMPLES = """\
  seqgan train captions.txt --output runs/captions
  seqgan train captions.txt --epochs 10 --iterations 20 --max-length 60
  seqgan train chinese.txt --task.level character --task.no-spaces
  seqgan train pairs.jsonl --model models/small --rollouts 2
  seqgan train captions --reward discriminator ./my_reward.py:mentions_dog
  seqgan train captions --discriminator.kind cnn --kl-weight 0.2 --seed 2
  seqgan train --resume runs/captions
  seqgan train --fork runs/captions --iterations 80
"""


def train_help(config: "TrainConfig", what: str) -> str:
    """The help, with the values that a configuration has.

    Args:
        what: the command without flags, after `seqgan train`.
    """
    from seqgan.training.presets import PRESETS

    columns = min(shutil.get_terminal_size().columns, WIDEST)
    preset = what if what in PRESETS else "text" if what == "FILE" else ""
    of = f"the preset {preset}" if preset else what
    sections: dict[str, Iterable[tuple[str, str]]] = {
        "what to train on:": [
            ("FILE", FILE_HELP),
            *((name, _first_line(made.__doc__)) for name, made in PRESETS.items()),
            *CONTINUED.items(),
        ],
        f"the commonest settings, with their values in {of}:": _commonest(config),
        "and without a value:": ONCE.items(),
        "kinds of parts, or one of your own (./file.py:Config):": _kinds(),
        "rewards, or one of your own (./file.py:function):": [(", ".join(_rewards()), "")],
        f"all settings, by their parts ({_help_all(what)} says what each does):": [
            (part, " ".join(names)) for part, names in _parts(config)
        ],
    }
    lines = [USAGE]
    for title, rows in sections.items():
        lines += wrapped(title, columns)
        for name, text in rows:
            lines += _row(name, text, columns)
        lines.append("")
    return "\n".join([*lines, "examples:", EXAMPLES.rstrip()])


def _help_all(what: str) -> str:
    return f"seqgan train {what} --help-all".replace(" FILE ", " ")


def _commonest(config: "TrainConfig") -> Iterator[tuple[str, str]]:
    """Names and explanations of the settings that this configuration has."""
    for name, (dotted, text) in SHORT.items():
        part, _, last = dotted.partition(".")
        if hasattr(getattr(config, part), last):
            yield name, f"{text} ({_shown(getattr(getattr(config, part), last))})"
    yield MODEL, MODEL_HELP
    for name, text in WHOLE.items():
        value = _shown(getattr(config, name))
        yield f"--{name}", f"{text} ({value})" if value else text


def _kinds() -> Iterator[tuple[str, str]]:
    for slot, kinds in KINDS.items():
        yield f"--{slot}.kind", ""
        for kind, text in kinds.items():
            yield f"  {kind}", text
    from seqgan.training.named_rules import NAMED_RULES

    papers = "rules of papers, each a policy gradient (docs/rules.md); flags win over them"
    yield "  named", f"{', '.join(NAMED_RULES)}: {papers}"


def _rewards() -> list[str]:
    from seqgan.rewards.adapters.finding import DISCRIMINATOR, SHIPPED
    from seqgan.training.run_rewards import OF_RUNS

    return [DISCRIMINATOR, *sorted([*SHIPPED, *OF_RUNS])]


def _parts(config: "TrainConfig") -> Iterator[tuple[str, list[str]]]:
    """The names of each part's settings; those of the run itself come last."""
    whole = []
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield f"--{_flag(item.name)}.", list(_names(value))
        else:
            whole.append(f"--{_flag(item.name)}")
    yield "the run itself", whole


def _names(settings: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            yield from _names(value, f"{prefix}{_flag(item.name)}.")
        else:
            yield prefix + _flag(item.name)


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _shown(value: Any) -> str:
    """A value as a flag takes it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_line(text: str | None) -> str:
    line = (text or "").partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _row(name: str, text: str, columns: int) -> Iterable[str]:
    """A name, and its explanation beside it or, in a narrow terminal, below it."""
    if not text:
        return wrapped(f"  {name}", columns, 0)
    if columns >= NARROW and len(name) < COLUMN - 3:
        return wrapped(f"  {name}".ljust(COLUMN) + text, columns, COLUMN - 2)
    indent = " " * (COLUMN if columns >= NARROW else 6)
    return [f"  {name}", *wrapped(indent + text, columns, 0)]
