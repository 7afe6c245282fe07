"""Bad input: flags, data files, settings, run folders; each is refused in one line."""

import gzip
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from .commands import command, empty
from .kills import bases
from .runs import FLAGS
from .table import Verdict


class Case(NamedTuple):
    """An input that a command refuses.

    Args:
        spoil: makes the input in a folder that has a finished run in `run`.
    """

    kind: str
    name: str
    spoil: Callable[[Path], None]
    command: Sequence[str]


def _nothing(folder: Path) -> None:
    """The command alone is wrong."""


def flag_cases() -> list[Case]:
    """Every number among the settings with values that no number has."""
    from seqgan.training.presets import PRESETS

    cases = []
    for name, value in _numbers(PRESETS["captions"]()):
        for bad in ("nan", "", "x", "1e999", "-1e-400x"):
            if bad == "1e999" and name.endswith("max-grad-norm"):
                continue  # infinite: the norm has no bound
            arguments = ("train", *FLAGS, "--output", "new", f"--{name}={bad}")
            cases.append(Case("input: number", f"--{name}={bad}", _nothing, arguments))
        if isinstance(value, int):
            arguments = ("train", *FLAGS, "--output", "new", f"--{name}=1.5")
            cases.append(Case("input: number", f"--{name}=1.5", _nothing, arguments))
    return cases


def _numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(config):
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if is_dataclass(value):
            # FLAGS choose another task, whose settings are others.
            yield from _numbers(value, f"{name}.") if field.name != "task" else ()
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def command_cases() -> list[Case]:
    """Wrong words on the command line."""
    train = ("train", *FLAGS, "--output", "new")
    lines: list[Sequence[str]] = [
        ("trian",),
        ("train",),
        ("train", "caption"),
        (*train, "--sed", "1"),
        (*train, "--generator.hiden-size", "4"),
        (*train, "--generator.kind", "lstmm"),
        (*train, "--discriminator.kind", "bert"),
        (*train, "--reward", "no_such_reward"),
        (*train, "--reward", "./none.py:reward"),
        (*train, "--reward", "none_such.module:reward"),
        (*train, "--reward", "constant(wert=2)"),
        (*train, "--reward", "constant("),
        (*train, "--phases", "dance"),
        (*train, "--observers", "./none.py:See"),
        (*train, "--evaluation.measures", "./none.py:long"),
        (*train, "--device", "quantum"),
        (*train, "--rule.baseline", "none_such"),
        (*train, "--tracker.mode", "sometimes"),
        (*train, "--resume", "run"),
        ("train", "--resume"),
        ("train", "--resume", "nowhere"),
        ("train", "--resume", "run", "--seed", "4"),
        ("train", "--fork", "nowhere"),
        ("train", "--fork", "run", "--output", "new"),
        ("train", "--fork", "run", "--output", "new", "--pretrain.epochs", "9"),
        ("train", "--config", "nowhere.yaml"),
        ("train", "captions", "--config", "nowhere.yaml"),
        (*train[:-1], "run"),
        (*train[:-1], "/proc/none/run"),
        ("sample",),
        ("sample", "nowhere"),
        ("sample", "run", "-n", "0"),
        ("sample", "run", "-n", "-1"),
        ("sample", "run", "-n", "x"),
        ("sample", "run", "--temperature", "nan"),
        ("sample", "run", "--temperature", "-1"),
        ("sample", "run", "--top-p", "2"),
        ("sample", "run", "--top-k", "-3"),
        ("sample", "run", "--checkpoint", "worst"),
        ("sample", "run", "--seed", "-1"),
        ("sample", "run", "--seed", "18446744073709551616"),
        ("sample", "run", "--prompts", "none.txt"),
        ("sample", "run", "--nonsense"),
        ("evaluate",),
        ("evaluate", "nowhere"),
        ("evaluate", "run", "-n", "1"),
        ("evaluate", "--samples", "none.txt", "--references", "none.txt"),
        ("evaluate", "run", "--samples", "none.txt"),
        ("frontier",),
        ("frontier", "nowhere"),
        ("frontier", "run", "-n", "2"),
        ("frontier", "run", "--temperatures", "1"),
        ("frontier", "run", "--temperatures", "nan", "1"),
        ("frontier", "run", "--output", "picture.gif"),
        ("frontier", "run", "--output", "nowhere/picture.png"),
        ("frontier", "run", "--points", "none.csv"),
        ("export", "run", "--what", "critic"),
        ("export", "nowhere", "--output", "new"),
        ("export", "run", "--output", "run"),
        ("report",),
        ("report", "nowhere"),
        ("report", "run", "run"),
        ("report", "run", "--output", "nowhere/page.html"),
        ("report", "run", "--output", "run/config.yaml"),
        ("dashboard", "nowhere"),
        ("dashboard", "run", "--output", "nowhere/file"),
        ("sweep",),
        ("sweep", "none.yaml"),
        ("sweep", "--resume", "run"),
        ("sweep", "--resume", "nowhere"),
        ("judge", "guess"),
        ("judge", "prepare", "run", "--output", "new"),
        ("judge", "prepare", "run", "nowhere", "--output", "new"),
        ("judge", "score", "none.csv", "--key", "none.json"),
    ]
    return [Case("input: words", " ".join(line[-3:]), _nothing, line) for line in lines]


DATA = {
    "empty.txt": b"",
    "blank.txt": b"\n \n\t\n\n",
    "one.txt": b"a single text\n",
    "latin.txt": b"caf\xe9 au lait\n" * 40,
    "noise.txt": bytes(range(256)) * 40,
    "half.txt.gz": gzip.compress(b"a b c\n" * 400)[:40],
    "not.txt.gz": b"a b c\n" * 40,
    "broken.jsonl": b'{"text": "a b"}\n' * 20 + b'{"text": \n',
    "numbers.jsonl": b'{"text": 5}\n' * 40,
    "lists.jsonl": b"[1, 2]\n" * 40,
    "other.jsonl": b'{"body": "a b"}\n' * 40,
    "deep.jsonl": b"[" * 100_000 + b"\n",
    "header.csv": b"text\n",
    "other.csv": b"body,label\n" + b"a b,1\n" * 40,
    "ragged.csv": b"text,label\n" + b'"a b,1\n' * 40,
    "unknown.parquet": b"PAR1\x15\x04\xff\xfe" * 40,
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "utf16.txt": "a b c\n".encode("utf-16") * 40,
}


def data_cases() -> list[Case]:
    """Files of texts and prompts that cannot be used."""
    cases = []
    for name, content in DATA.items():

        def spoil(folder: Path, name: str = name, content: bytes = content) -> None:
            (folder / name).write_bytes(content)

        train = ("train", "text", *_without_task(), "--output", "new", "--task.path", name)
        cases.append(Case("input: data", f"train text {name}", spoil, train))
        measured = ("evaluate", "--samples", name, "--references", name)
        if name not in ("one.txt", "not.txt.gz"):
            cases.append(Case("input: data", f"evaluate {name}", spoil, measured))
    for name in ("nowhere.txt", ".", "folder", "/dev/null"):
        train = ("train", "text", *_without_task(), "--output", "new", "--task.path", name)
        cases.append(
            Case("input: data", f"train text {name}", lambda f: (f / "folder").mkdir(), train)
        )
    return cases


def _without_task() -> list[str]:
    """Flags of the tiny run but those of its task."""
    words = " ".join(FLAGS[1:]).split("--")[1:]
    return " ".join(f"--{word}" for word in words if not word.startswith("task.")).split()


SETTINGS = {
    "empty.yaml": "",
    "list.yaml": "- 1\n- 2\n",
    "word.yaml": "captions\n",
    "broken.yaml": "seed: [1, 2\n",
    "tabs.yaml": "generator:\n\thidden_size: 4\n",
    "unknown.yaml": "sed: 4\n",
    "nested.yaml": "generator: {hiden_size: 4}\n",
    "typed.yaml": "seed: {a: 1}\n",
    "slot.yaml": "generator: 5\n",
    "kind.yaml": "generator: {kind: lstmm}\n",
    "code.yaml": "reward: ['./reward.py:reward']\n",
    "object.yaml": "seed: !!python/object/apply:os.system ['true']\n",
    "deep.yaml": "[" * 5000,
    "aliases.yaml": "a: &a [x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "control.yaml": "seed: \x07\n",
    "range.yaml": "adversarial: {batch_size: -4}\n",
    "float.yaml": "rule: {learning_rate: .nan}\n",
}


def _sweep(**changes: str) -> str:
    """A sweep file with some keys changed."""
    content = {
        "method": "grid",
        "metric": "{name: eval/nll_heldout}",
        "parameters": "{seed: {values: [1, 2]}}",
        "command": "[seqgan, train, captions, '${args}']",
    }
    return "".join(f"{key}: {value}\n" for key, value in {**content, **changes}.items())


SWEEPS = {
    "an unknown method": _sweep(method="dance"),
    "a misspelt metric": _sweep(metric="{name: eval/nll_heldouts}"),
    "an unknown flag": _sweep(parameters="{sed: {values: [1, 2]}}"),
    "a value out of range": _sweep(parameters="{seed: {values: [1, -2]}}"),
    "another command": _sweep(command="[rm, '${args}']"),
    "no values": _sweep(parameters="{}"),
    "a name that leads out": _sweep(name="../../x", parameters="{seed: {values: [1, x]}}"),
}


def file_cases() -> list[Case]:
    """Settings and sweeps that cannot be read."""
    cases = []
    for name, content in SETTINGS.items():

        def spoil(folder: Path, name: str = name, content: str = content) -> None:
            (folder / name).write_text(content)
            (folder / "reward.py").write_text("open('ran', 'w')\n")

        train = ("train", "--config", name, "--output", "new")
        if name != "empty.yaml":
            cases.append(Case("input: settings", f"train --config {name}", spoil, train))
        cases.append(Case("input: settings", f"sweep {name}", spoil, ("sweep", name)))
    for name, content in SWEEPS.items():

        def spoil_sweep(folder: Path, content: str = content) -> None:
            (folder / "sweep.yaml").write_text(content)

        cases.append(
            Case("input: settings", f"sweep, {name}", spoil_sweep, ("sweep", "sweep.yaml"))
        )
    return cases


def folder_cases() -> list[Case]:
    """Folders that are no runs, or only parts of one."""

    def no(name: str) -> Callable[[Path], None]:
        return lambda folder: _remove(folder / "run" / name)

    def broken(name: str, content: str) -> Callable[[Path], None]:
        return lambda folder: (folder / "run" / name).write_text(content) and None

    spoils = {
        "no config.yaml": no("config.yaml"),
        "no task.json": no("task.json"),
        "no checkpoints": no("checkpoints"),
        "task.json of another shape": broken("task.json", "[]"),
        "task.json without words": broken("task.json", "{}"),
        "config.yaml of another shape": broken("config.yaml", "- 1\n"),
        "config.yaml with a kind that is gone": broken("config.yaml", "task: {kind: gone}\n"),
    }
    commands: list[Sequence[str]] = [
        ("sample", "run", "-n", "2"),
        ("evaluate", "run"),
        ("frontier", "run", "-n", "20"),
        ("train", "--fork", "run", "--output", "new"),
        ("judge", "prepare", "run", "run:real", "--output", "new"),
    ]
    return [
        Case("input: run folder", f"{' '.join(line[:2])}, {name}", spoil, line)
        for name, spoil in spoils.items()
        for line in commands
    ]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def hostile_cases() -> list[Case]:
    """Run folders that somebody made on purpose; `hostile.py` has them."""
    from . import hostile

    return [
        Case("input: hostile", case.name, partial(_prepared, case), case.command)
        for case in hostile.CASES
        if not case.extra or find_spec(case.extra)
    ]


def _prepared(case: Any, folder: Path) -> None:
    """Puts a run of the case's own in place of the other."""
    shutil.rmtree(folder / "run")
    case.prepare(folder)


def inputs(count: int, seed: int, folder: Path) -> Iterator[Verdict]:
    """Gives `count` bad inputs: all kinds alike, as far as there are some."""
    rng = random.Random(seed)
    whole = bases(folder / "bases")[0].reference
    kinds = [flag_cases(), command_cases(), data_cases(), file_cases(), folder_cases()]
    kinds.append(hostile_cases())
    for kind in kinds:
        rng.shuffle(kind)
    chosen: list[Case] = []
    while len(chosen) < count and any(kinds):
        chosen += [kind.pop() for kind in kinds if kind]
    for case in sorted(chosen[:count], key=lambda each: each.kind):
        place = empty(folder / "case")
        shutil.copytree(whole, place / "run")
        case.spoil(place)
        before = set(place.iterdir())
        outcome = command(case.command, place)
        fault = outcome.refusal_fault(2)
        if not fault and (new := set(place.iterdir()) - before):
            fault = f"left {', '.join(sorted(path.name for path in new))}"
        yield Verdict(case.kind, case.name, fault)
