"""Folders and files as somebody might send them, and the commands that open them.

Each case is a working folder with a run in `run`, one thing in it spoilt, and a command. The
promise: the command ends within 20 seconds with exit code 2 (1 where it ends training), one line
of its own on standard error, and no traceback.
"""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

RUN = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
STEP = Path("run/checkpoints/00000005")
SAMPLE = ["sample", "run", "-n", "1"]
EVALUATE = ["evaluate", "run", "-n", "20"]
FRONTIER = ["frontier", "run", "-n", "20"]
EXPORT = ["export", "run"]
REPORT = ["report", "run"]
RESUME = ["train", "--resume", "run"]
FORK = ["train", "--fork", "run", "--output", "made"]
CONFIG = ["train", "--config", "run/config.yaml", "--output", "made"]
SWEEP = ["sweep", "sweep.yaml", "--output", "made"]
SCORE = ["judge", "score", "answers.csv", "--key", "key.json"]

Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A thing that is wrong.

    Args:
        spoil: changes the working folder, which has a run.
        command: arguments of `seqgan`, given in the working folder.
        extra: the package without which the command says something else; empty for none.
    """

    name: str
    spoil: Spoil
    command: list[str]
    extra: str = ""

    def prepare(self, folder: Path) -> None:
        """Fills an empty working folder."""
        shutil.copytree(RUN, folder / "run")
        self.spoil(folder)


def write(name: str, content: bytes | str, folder: Path) -> None:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)


def replace(name: str, make: Callable[[Path], object], folder: Path) -> None:
    """Puts something else in place of a file."""
    (folder / name).unlink(missing_ok=True)
    make(folder / name)


def change(name: str, dotted: str, value: Any, folder: Path) -> None:
    """Sets a value in a JSON or YAML file."""
    path = folder / name
    read = yaml.safe_load if path.suffix == ".yaml" else json.loads
    plain = read(path.read_text())
    holder, names = plain, dotted.split(".")
    for one in names[:-1]:
        holder = holder[one]
    holder[names[-1]] = value
    path.write_text(yaml.safe_dump(plain) if path.suffix == ".yaml" else json.dumps(plain))


def sealed(spoil: Spoil, folder: Path) -> None:
    """Spoils a checkpoint's files under right digests."""
    spoil(folder)
    step = folder / STEP
    names = ("tensors.safetensors", "state.json")
    digests = {name: hashlib.sha256((step / name).read_bytes()).hexdigest() for name in names}
    (step / "manifest.json").write_text(json.dumps(digests))


def sparse(name: str, size: int, folder: Path) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(size)


def tensors(header: bytes | dict[str, Any], folder: Path) -> None:
    """A file of tensors with this header, and 64 bytes."""
    plain = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<Q", len(plain)) + plain + bytes(64)
    (folder / STEP / "tensors.safetensors").write_bytes(content)


def tensor_named(dtype: str, shape: list[Any], offsets: list[Any]) -> dict[str, Any]:
    return {"rng": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def state(edit: Callable[[dict[str, Any]], object], folder: Path) -> None:
    """Changes the values of a checkpoint's state, in which mappings are lists of pairs."""
    path = folder / STEP / "state.json"
    plain = json.loads(path.read_text())
    top = dict(plain["dict"])
    edit(top)
    path.write_text(json.dumps({"dict": [[key, value] for key, value in top.items()]}))


RESULTS: dict[str, Any] = {
    "sentences": ["It is level."],
    "about": {"played": True, "adversary": "discriminator", "rewards": [], "controls": []},
    "table": {"MLE": "start", "game": "final"},
    "start": {"eval/nll_oracle": 1.0},
    "final": {"eval/nll_oracle": 1.0},
    "control": {"eval/nll_oracle": 1.0},
    "best": {"eval/nll_oracle": 1.0},
    "comparison": {
        **{"quality": "nll_oracle", "verdict": "level", "temperature": 1.0, "sentence": "Level."},
        **{"unit": "nats per token", "higher_is_better": False},
    },
    "curve": {"1.0": {"eval/nll_oracle": 1.0, "eval/nll_heldout": 1.0}},
    "rewards": {},
    "information_sentence": "",
}


def results(dotted: str, value: Any, folder: Path) -> None:
    write("run/results.json", json.dumps(RESULTS), folder)
    change("run/results.json", dotted, value, folder)


def line(name: str, row: bytes | str, folder: Path) -> None:
    """Puts a line in front of a file of JSON lines."""
    path = folder / "run" / name
    data = row.encode() if isinstance(row, str) else row
    path.write_bytes(data + b"\n" + path.read_bytes())


SWEEP_FILE: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "eval/nll_heldout", "goal": "minimize"},
    "parameters": {"seed": {"values": [1, 2]}},
    "command": ["seqgan", "train", "oracle", "${args}"],
}


def sweep(changes: dict[str, Any], folder: Path) -> None:
    write("sweep.yaml", yaml.safe_dump(SWEEP_FILE | changes), folder)


def journal(content: bytes | str, folder: Path) -> None:
    (folder / "old").mkdir()
    write("old/sweep.yaml", yaml.safe_dump(SWEEP_FILE), folder)
    write("old/journal.log", content, folder)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], y{n}: 1}}\n" for n in range(1, 12)
)
LONG_ALIAS = f"a: &a {'x' * 100_000}\nreward: [{', '.join(['*a'] * 20_000)}]\n"
YAMLS: dict[str, bytes | str] = {
    "aliases": BOMB,
    "merged aliases": MERGES,
    "a long alias": LONG_ALIAS,
    "itself": "reward: &a [*a]\n",
    "deep flow": "reward: " + "[" * 50_000,
    "deep closed flow": "reward: " + "[" * 500 + "]" * 500,
    "deep mapping": "".join(f"{' ' * n}a:\n" for n in range(600)),
    "endless number": f"seed: {'9' * 50_000}\n",
    "a long number": f"seed: {'9' * 4_000}\n",
    "hexadecimal": f"seed: 0x{'f' * 4_000}\n",
    "no date": "seed: 2020-13-45\n",
    "a date": "seed: 2020-12-01\n",
    "bytes": "seed: !!binary aGFsbG8=\n",
    "no bytes": "seed: !!binary a\n",
    "a set": "reward: !!set {a, b}\n",
    "no number": "seed: !!int abc\n",
    "no truth": "mauve: !!bool maybe\n",
    "no timestamp": "seed: !!timestamp soon\n",
    "an object": "seed: !!python/object/apply:os.system ['true']\n",
    "an unknown tag": "seed: !mine 3\n",
    "a list for a key": "? [a, b]\n: 3\n",
    "NUL": 'task: {kind: text, path: "a\\0b"}\n',
    "half a character": 'output: "\\ud800"\n',
    "not UTF-8": b"seed: \xff\xfe\n",
    "UTF-16": "seed: 1\n".encode("utf-16"),
    "empty": "",
    "a list": "- 1\n- 2\n",
    "a text": "hello",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "control characters": b"seed: \x1b[31m1\n",
    "large": "# " + "x" * 2_000_000,
    "a long field": f"{'x' * 10_000}: 1\n",
}
JSONS: dict[str, bytes | str] = {
    "empty": "",
    "half": '{"a": [1, 2',
    "a list": "[1, 2]",
    "a number": "3",
    "null": "null",
    "a text": '"hello"',
    "deep list": "[" * 100_000,
    "deep closed list": "[" * 900 + "]" * 900,
    "deep mapping": '{"a":' * 900 + "1" + "}" * 900,
    "endless number": '{"a": ' + "9" * 50_000 + "}",
    "a long number": '{"a": ' + "9" * 4_000 + "}",
    "not UTF-8": b'{"a": "\xff"}',
    "half a character": '{"a": "\\ud800"}',
    "two values": "{} {}",
    "NUL": b"{}\0",
}
SETTINGS: tuple[tuple[str, Any], ...] = (
    ("seed", "one"),
    ("seed", [1]),
    ("task", 5),
    ("task", [["oracle"]]),
    ("task.kind", {"a": 1}),
    ("task.kind", "x" * 100_000),
    ("task.kind", "(" * 5_000),
    ("task.max_length", 10**30),
    ("generator", None),
    ("generator.hidden_size", "4"),
    ("generator.hidden_size", 1.5),
    ("discriminator.kind", "gru(a=1)"),
    ("pretrain", [1, 2]),
    ("pretrain.learning_rate", "fast"),
    ("evaluation.temperatures", "warm"),
    ("evaluation.temperatures", {"a": 1}),
    ("reward", {"a": 1}),
    ("reward", [1, 2]),
    ("reward", []),
    ("device", 3),
    ("tracker.tags", 3),
    ("nonsense", 1),
)
FACTS: tuple[tuple[str, Any], ...] = (
    ("max_length", "5"),
    ("max_length", -1),
    ("max_length", 0),
    ("max_length", True),
    ("max_length", 2.5),
    ("whole_length", 1),
    ("whole_length", [5]),
    ("vocabulary", []),
    ("vocabulary", None),
    ("vocabulary.words", "abc"),
    ("vocabulary.words", [1, 2, 3]),
    ("vocabulary.words", ["a", "a"]),
    ("vocabulary.words", []),
    ("vocabulary.words", {"a": 1}),
    ("vocabulary.level", "sentence"),
    ("vocabulary.level", ["word"]),
    ("vocabulary.has_eos", "yes"),
    ("vocabulary.bos_word", 10**9),
    ("vocabulary.bos_word", "a"),
    ("vocabulary.unk_word", 3),
    ("vocabulary.specials", [None]),
    ("vocabulary.tokenizer", 5),
    ("vocabulary.more", 5),
)
HEADERS: dict[str, bytes | dict[str, Any]] = {
    "no JSON": b"{{{{",
    "deep": b"[" * 100_000,
    "a huge shape": tensor_named("F32", [2**40, 2**40], [0, 64]),
    "a negative shape": tensor_named("F32", [-4], [0, 64]),
    "an endless shape": tensor_named("F32", [10**30], [0, 64]),
    "an unknown type": tensor_named("F31", [16], [0, 64]),
    "offsets beyond": tensor_named("F32", [16], [0, 2**40]),
    "offsets backwards": tensor_named("F32", [16], [64, 0]),
    "a gap": tensor_named("F32", [8], [32, 64]),
    "no such tensors": tensor_named("U8", [64], [0, 64]),
    "a name twice": b'{"rng":{"dtype":"U8","shape":[32],"data_offsets":[0,32]},'
    b'"rng":{"dtype":"U8","shape":[32],"data_offsets":[32,64]}}',
    "empty": b"",
}
STATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda top: top.clear(),
    "no counters": lambda top: top.pop("counters"),
    "no generator": lambda top: top.pop("generator"),
    "a generator of text": lambda top: top.update(generator={"value": "x"}),
    "a list of generators": lambda top: top.update(generator={"list": []}),
    "a tensor that is not there": lambda top: top.update(rng={"tensor": "/none"}),
    "no random state": lambda top: top.update(rng={"value": 3}),
    "a tracker of text": lambda top: top.update(tracker={"value": "x"}),
    "a length below zero": lambda top: top.update(
        tracker={"dict": [["jsonl", {"dict": [["metrics", {"value": -5}]]}]]}
    ),
    "a path for a wandb run": lambda top: top.update(
        tracker={"dict": [["wandb", {"dict": [["run_id", {"value": "../../x"}]]}]]}
    ),
    "counters of text": lambda top: top.update(counters={"value": "x"}),
    "an unknown kind of node": lambda top: top.update(generator={"other": 1}),
    "a list for a key": lambda top: top.update(generator={"dict": [[[1], {"value": 1}]]}),
    "pairs of three": lambda top: top.update(generator={"dict": [[1, 2, 3]]}),
    "a node of text": lambda top: top.update(generator="x"),
}
ENDS: tuple[tuple[str, Any], ...] = (
    ("comparison", "level"),
    ("comparison.verdict", "splendid"),
    ("comparison.verdict", ["level"]),
    ("comparison.quality", 3),
    ("comparison.temperature", "warm"),
    ("start", [1]),
    ("final", {"eval/nll_oracle": "low"}),
    ("control", None),
    ("curve", {"hot": {}}),
    ("curve", {"1.0": [1]}),
    ("curve", 3),
    ("table", {"MLE": "nowhere"}),
    ("table", ["start"]),
    ("sentences", "It is level."),
    ("sentences", [1]),
    ("about", []),
    ("about.rewards", [[]]),
    ("rewards", {"a": 1}),
    ("rewards", {"a": {"before": 1, "after": 1, "interval": [1]}}),
)
ROWS: tuple[tuple[str, bytes | str], ...] = (
    ("metrics.jsonl", "[1]"),
    ("metrics.jsonl", "no JSON"),
    ("metrics.jsonl", b'{"a": \xff}'),
    ("metrics.jsonl", '{"iteration": "one"}'),
    ("metrics.jsonl", '{"global_step": [1]}'),
    ("metrics.jsonl", '{"pretrain/epoch": {}}'),
    ("metrics.jsonl", '{"a": ' + "[" * 5_000),
    ("metrics.jsonl", '{"a": ' + "9" * 5_000 + "}"),
    ("samples.jsonl", '{"text": 3}'),
    ("samples.jsonl", '{"text": "a", "tokens": [1, 2]}'),
    ("samples.jsonl", '{"text": "a", "step": "late"}'),
    ("samples.jsonl", "3"),
    ("histograms.jsonl", "{}"),
    ("histograms.jsonl", '{"name": 3, "iteration": 1, "counts": [1], "edges": [0, 1]}'),
    ("histograms.jsonl", '{"name": "a", "iteration": 1, "counts": [1], "edges": [0]}'),
    ("histograms.jsonl", '{"name": "a", "iteration": 1, "counts": ["x"], "edges": [0, 1]}'),
    ("alerts.jsonl", "[]"),
)
SWEEPS: dict[str, dict[str, Any]] = {
    **{
        f"the name {name!r:.40}": {"name": name}
        for name in ("../../x", "/tmp/x", ".", "..", "a/b", "a\nb", "x" * 300, " ", "-x")
    },
    "a name of a list": {"name": ["a"]},
    "a metric of a number": {"metric": 3},
    "a metric of a list": {"metric": {"name": ["a"]}},
    "parameters of a list": {"parameters": [1]},
    "a parameter of text": {"parameters": {"seed": "x"}},
    "values of mappings": {"parameters": {"seed": {"values": [{"a": 1}]}}},
    "ends of text": {"parameters": {"seed": {"min": "a", "max": "b"}}},
    "infinite ends": {"parameters": {"seed": {"min": 0.0, "max": float("inf")}}},
    "a command of text": {"command": "seqgan train"},
    "a command of numbers": {"command": [1, 2]},
    "another command": {"command": ["rm", "-rf", "${args}"]},
    "another program": {"command": ["seqgan", "export", "run", "${args}"]},
    "an output": {"parameters": {"output": {"values": ["../../a", "../../b"]}}},
    "cap of text": {"run_cap": "many"},
    "early end of text": {"early_terminate": "soon"},
}
JOURNALS: dict[str, bytes | str] = {
    "no JSON": "hello\n",
    "a list": "[1]\n",
    "no operation": "{}\n",
    "an unknown operation": '{"op_code": 99, "worker_id": "a"}\n',
    "a study of a number": '{"op_code": 0, "worker_id": "a", "study_name": 3, "directions": "x"}\n',
    "deep": "[" * 50_000 + "\n",
    "settings of text": '{"op_code": 0, "worker_id": "a", "study_name": "s", "directions": [1]}\n'
    '{"op_code": 2, "worker_id": "a", "study_id": 0, "user_attr": {"settings": "x"}}\n',
    "settings with code": '{"op_code": 0, "worker_id": "a", "study_name": "s", "directions": [1]}\n'
    '{"op_code": 2, "worker_id": "a", "study_id": 0, "user_attr": {"settings": {"id": "a",'
    ' "seed": 0, "runs": 1, "flags": ["--reward", "os:system"]}}}\n',
    "a path for a name": '{"op_code": 0, "worker_id": "a", "study_name": "../x",'
    ' "directions": [1]}\n'
    '{"op_code": 2, "worker_id": "a", "study_id": 0, "user_attr": {"settings": {"id": "a",'
    ' "seed": 0, "runs": 1, "flags": []}}}\n',
}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


def _link_of_checkpoints(folder: Path) -> None:
    """Checkpoints that lie in a folder elsewhere, with which a run would do as it likes."""
    shutil.move(folder / "run/checkpoints", folder / "elsewhere")
    (folder / "run/checkpoints").symlink_to(folder / "elsewhere")


def _named(name: str, folder: Path) -> None:
    """The only checkpoint has another name."""
    (folder / STEP).rename(folder / STEP.parent / name)


def _cases() -> Iterator[Case]:
    for name, content in YAMLS.items():
        for command in (SAMPLE, CONFIG, REPORT):
            if command is not REPORT or name != "a long field":  # which a report only shows
                spoil = partial(write, "run/config.yaml", content)
                yield Case(f"config.yaml: {name}", spoil, command)
        yield Case(f"sweep: {name}", partial(write, "sweep.yaml", content), SWEEP, "optuna")
    for make in (_pipe, _device, _folder):
        for file in ("config.yaml", "task.json"):
            kind = make.__name__.strip("_")
            yield Case(f"{file}: a {kind}", partial(replace, f"run/{file}", make), SAMPLE)
            yield Case(f"{file}: a {kind}", partial(replace, f"run/{file}", make), REPORT)
        yield Case(f"metrics: a {kind}", partial(replace, "run/metrics.jsonl", make), REPORT)
        yield Case(f"state: a {kind}", partial(replace, f"{STEP}/state.json", make), SAMPLE)
    for dotted, value in SETTINGS:
        for command in (SAMPLE, RESUME):
            spoil = partial(change, "run/config.yaml", dotted, value)
            yield Case(f"{dotted} {value!r:.30}", spoil, command)
    for name, content in JSONS.items():
        for command in (SAMPLE, REPORT, EVALUATE):
            yield Case(f"task.json: {name}", partial(write, "run/task.json", content), command)
        spoil = partial(sealed, partial(write, f"{STEP}/state.json", content))
        yield Case(f"state.json: {name}", spoil, SAMPLE)
        yield Case(f"manifest: {name}", partial(write, f"{STEP}/manifest.json", content), SAMPLE)
        yield Case(f"results.json: {name}", partial(write, "run/results.json", content), RESUME)
        yield Case(f"key.json: {name}", partial(write, "key.json", content), SCORE)
    for dotted, value in FACTS:
        spoil = partial(change, "run/task.json", dotted, value)
        yield Case(f"task.json: {dotted} {value!r:.30}", spoil, SAMPLE)
    for name, header in HEADERS.items():
        for command in (SAMPLE, FORK):
            spoil = partial(sealed, partial(tensors, header))
            yield Case(f"tensors: {name}", spoil, command)
    for name, edit in STATES.items():
        for command in (SAMPLE, FRONTIER, RESUME):
            if name.startswith(("a length", "a path", "no random")) or command is not FRONTIER:
                spoil = partial(sealed, partial(state, edit))
                yield Case(f"state: {name}", spoil, command)
    for dotted, value in ENDS:
        for command in (REPORT, RESUME):
            yield Case(f"results: {dotted} {value!r:.30}", partial(results, dotted, value), command)
    for file, row in ROWS:
        yield Case(f"{file}: {row!r:.40}", partial(line, file, row), REPORT)
    for listed in ("../../../evil", "/etc/passwd", "..", ".", "", "state.json/", "a\0b"):
        content = json.dumps({"state.json": "0", "tensors.safetensors": "0", listed: "0" * 64})
        spoil = partial(write, f"{STEP}/manifest.json", content)
        yield Case(f"manifest: {listed!r}", spoil, SAMPLE)
    for name in ("\u00b2", "\u0663", "5a", "-5", "9" * 100):
        yield Case(f"checkpoint {name:.20}", partial(_named, name), SAMPLE)
    yield Case("checkpoints: a link", _link_of_checkpoints, RESUME)
    for name, changes in SWEEPS.items():
        yield Case(f"sweep: {name}", partial(sweep, changes), SWEEP, "optuna")
    for name, content in JOURNALS.items():
        yield Case(
            f"journal: {name}", partial(journal, content), ["sweep", "--resume", "old"], "optuna"
        )


CASES: tuple[Case, ...] = tuple(_cases())
