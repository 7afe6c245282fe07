"""`seqgan evaluate`: what it prints of runs and of files, and of files that are not as hoped."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_commands import run
from trainer_states import trainer_state

from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.networks import build_generator
from seqgan.training.run_folders import create_run
from seqgan.training.runs import open_run
from seqgan.training.settings import EvaluationConfig, TrainConfig

PUBLISHED = {
    **{"bleu_2": 0.731, "bleu_3": 0.497, "bleu_4": 0.305, "bleu_5": 0.189},
    **{"self_bleu_2": 0.916, "self_bleu_3": 0.769, "self_bleu_4": 0.583, "self_bleu_5": 0.408},
}
OF_TEXTS = {
    *(f"{kind}_{order}" for kind in ("bleu", "self_bleu") for order in (2, 3, 4, 5)),
    *("bleu_references", "self_bleu_references", "distinct_1", "distinct_2", "distinct_3"),
    *("duplicate_rate", "lm_score", "reverse_lm_score", "lm_texts"),
    *("length_divergence", "zipf_divergence"),
    *("frechet_hashed", "frechet_hashed_floor"),
}
FLOOR = {"frechet_hashed_floor"}  # of at least four references that are compared
OF_PAIRS = {f"paired_bleu_{order}" for order in (2, 3, 4, 5)}
OF_PAIRS |= {"rouge_1", "rouge_2", "rouge_l"}
OF_COPIES = {"copied_rate", "copied_spans"}
OF_RUNS = {"entropy", "nll_heldout", "mean_length", "temperature"}
REAL = """a man rides a red bike down the street .
two dogs run across the green field .
a woman holds an umbrella in the rain .
the cat sleeps on a warm blanket by the door ."""


@pytest.fixture
def evaluated(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, float], str]]:
    """Runs the command with --json; gives the numbers, and what was said beside them."""

    def evaluated(*arguments: str | Path) -> tuple[dict[str, float], str]:
        assert run("evaluate", *arguments, "--json") == 0
        said = capsys.readouterr()
        assert said.out.count("\n") == 1
        numbers = json.loads(said.out, parse_constant=lambda name: pytest.fail(f"got {name}"))
        assert all(isinstance(value, int | float) for value in numbers.values())
        return numbers, said.err

    return evaluated


def without_intervals(numbers: dict[str, float]) -> set[str]:
    return {name for name in numbers if not name.endswith(("_low", "_high"))}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "samples": "a man rides a bike .\na cat sleeps by the door .\ntwo dogs run .\n",
        "references": REAL + "\n",
        "train": "two dogs run .\nthe cat sleeps on a warm blanket by the door .\n",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8")
    return {name: tmp_path / f"{name}.txt" for name in contents}


def pair(files: dict[str, Path]) -> tuple[str | Path, ...]:
    return ("--samples", files["samples"], "--references", files["references"])


@pytest.mark.slow
def test_published_numbers(evaluated: Any, reference_data: Path) -> None:
    """The row MLE of the table in the README of geek-ai/Texygen, COCO captions."""
    samples = reference_data / "published-samples" / "mle-coco.txt"
    references = reference_data / "coco" / "test.txt"
    numbers, said = evaluated("--samples", samples, "--references", references)
    assert said == ""
    assert {name: numbers[name] for name in PUBLISHED} == pytest.approx(PUBLISHED, abs=0.02)
    assert numbers["bleu_references"] == 10_000
    assert numbers["self_bleu_references"] == 9_983
    for name in PUBLISHED:
        assert numbers[f"{name}_low"] < numbers[name] < numbers[f"{name}_high"]
        assert numbers[f"{name}_high"] - numbers[f"{name}_low"] < 0.02


def test_a_file_against_another(evaluated: Any, tmp_path: Path) -> None:
    """Two texts of four words, one of which is a reference, the other shares no bigram with it."""
    samples, references = tmp_path / "samples.txt", tmp_path / "references.txt"
    samples.write_text("a b c d\nd c b a\n")
    references.write_text("a b c d\n")
    numbers, said = evaluated("--samples", samples, "--references", references)
    assert said == ""
    assert (
        without_intervals(numbers) == OF_TEXTS - {"frechet_hashed"} - FLOOR
    )  # of one reference: none
    assert numbers["bleu_references"] == 1
    assert numbers["duplicate_rate"] == 0
    assert numbers["distinct_1"] == 0.5  # four words of eight
    assert numbers["distinct_2"] == 1
    assert numbers["length_divergence"] == 0


def test_copies_need_training_texts(evaluated: Any, files: dict[str, Path]) -> None:
    numbers, _ = evaluated(*pair(files))
    assert without_intervals(numbers) == OF_TEXTS - FLOOR  # half of four references is compared
    numbers, _ = evaluated(*pair(files), "--train", files["train"])
    assert without_intervals(numbers) == OF_TEXTS | OF_COPIES
    assert numbers["copied_rate"] == pytest.approx(1 / 3)
    assert numbers["copied_spans"] == 0
    numbers, _ = evaluated(
        "--samples", files["train"], "--references", files["references"], "--train", files["train"]
    )
    assert numbers["copied_rate"] == 1
    assert numbers["copied_spans"] == 11 / 15  # the second text; the first one is too short


def test_paired(evaluated: Any, tmp_path: Path) -> None:
    """Line by line, blank lines in their place."""
    samples, references = tmp_path / "samples.txt", tmp_path / "references.txt"
    samples.write_text("a b c d\n\nd c b a\n")
    references.write_text("a b c d\na b c d\na b c d\n")
    arguments = ("--samples", samples, "--references", references)
    numbers, said = evaluated(*arguments, "--paired")
    assert said == ""
    assert without_intervals(numbers) >= OF_PAIRS
    assert numbers["rouge_1"] == pytest.approx(2 / 3)
    assert numbers["rouge_2"] == pytest.approx(1 / 3)
    assert numbers["rouge_l"] == pytest.approx((1 + 1 / 4) / 3)
    assert (numbers["rouge_1_low"], numbers["rouge_1_high"]) == (0, 1)
    # Of "d c b a": all 4 words, and none of 3 pairs, which smoothing makes 0.1.
    assert numbers["paired_bleu_2"] == pytest.approx((1 + (0.1 / 3) ** 0.5) / 3)
    numbers, said = evaluated(*arguments)
    assert not without_intervals(numbers) & OF_PAIRS
    assert said == f"seqgan: {samples}: 1 blank lines left out\n"


def test_the_form_of_a_file_does_not_matter(evaluated: Any, tmp_path: Path) -> None:
    """Trailing spaces, split tokens, upper case, blank lines, CRLF, a byte order mark, any name."""
    lines = REAL.split("\n")
    forms = {
        "plain.txt": REAL.encode(),
        "trailing.txt": "".join(f"{line} \t\n" for line in lines).encode(),
        "glued.txt": REAL.replace(" .", ".").encode(),
        "upper.txt": REAL.upper().encode(),
        "blank.txt": ("\n\n" + REAL.replace("\n", "\n \n") + "\n\n").encode(),
        "windows.txt": b"\xef\xbb\xbf" + REAL.replace("\n", "\r\n").encode(),
        "of-a-model.out": REAL.encode(),
        "no-suffix": REAL.encode(),
        "lines.jsonl": "\n".join(json.dumps({"text": line}) for line in lines).encode(),
        "table.csv": ("text\n" + "\n".join(f'"{line}"' for line in lines)).encode(),
    }
    references = tmp_path / "references.txt"
    references.write_text("A man walks down the street.\nThe cat sleeps.\nTwo dogs eat.\n")
    found = {}
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        numbers, _ = evaluated("--samples", tmp_path / name, "--references", references)
        swapped, _ = evaluated("--samples", references, "--references", tmp_path / name)
        found[name] = (numbers, swapped)
    assert all(numbers == found["plain.txt"] for numbers in found.values())


def test_files_of_ids(evaluated: Any, tmp_path: Path, files: dict[str, Path]) -> None:
    """Ids are words among themselves; against words they are told apart from bad texts."""
    ids = tmp_path / "ids.txt"
    ids.write_text("1 2 3 4\n4 3 2 1 0\n")
    numbers, said = evaluated("--samples", ids, "--references", ids)
    assert numbers["bleu_2"] == 1
    assert said == ""
    numbers, said = evaluated("--samples", ids, "--references", files["references"])
    assert numbers["bleu_2"] == 0
    assert said == (
        f"seqgan: 0.0% of the words of {ids} stand in {files['references']};"
        " is one of them a file of ids?\n"
    )


def test_a_single_sample(evaluated: Any, tmp_path: Path, files: dict[str, Path]) -> None:
    """Nothing beside it: no Self-BLEU, no spread, no interval."""
    (tmp_path / "one.txt").write_text("a man rides a bike .")
    numbers, _ = evaluated("--samples", tmp_path / "one.txt", "--references", files["references"])
    missing = {name for name in OF_TEXTS if name.startswith(("self_bleu", "frechet"))}
    assert set(numbers) == OF_TEXTS - missing


def test_embeddings_are_named_in_their_metrics(evaluated: Any, files: dict[str, Path]) -> None:
    numbers, _ = evaluated(*pair(files), "--embedding", "hashed", "--mauve")
    assert without_intervals(numbers) == OF_TEXTS - FLOOR | {"mauve_hashed"}


def test_the_seed_draws_the_intervals(evaluated: Any, tmp_path: Path) -> None:
    words = REAL.split()
    samples, references = tmp_path / "samples.txt", tmp_path / "references.txt"
    samples.write_text("\n".join(" ".join(words[i : i + 3 + i % 7]) for i in range(len(words))))
    references.write_text("\n".join([REAL] * 20))
    arguments = ("--samples", samples, "--references", references)
    first, again, other = (evaluated(*arguments, "--seed", seed)[0] for seed in "001")
    assert first == again
    moved = {name for name in first if first[name] != pytest.approx(other[name], abs=1e-9)}
    assert {"bleu_2_low", "lm_score_high"} <= moved
    # Equally many samples as references: which of these are compared.
    assert moved & without_intervals(first) <= {"zipf_divergence"}


def test_the_table(capsys: pytest.CaptureFixture[str], files: dict[str, Path]) -> None:
    assert run("evaluate", *pair(files), "--train", files["train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run("evaluate", *pair(files), "--train", files["train"], "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    shown = [line.replace("↑", "").replace("↓", "").split() for line in lines if line[:2] == "  "]
    rows = {words[0]: words[1:] for words in shown}
    counts = {"bleu_references", "self_bleu_references"}
    assert rows.keys() == without_intervals(numbers) - counts - {"lm_texts"}
    for name, (value, *interval) in rows.items():
        assert float(value) == pytest.approx(numbers[name], rel=1e-3)
        ends = [float(end.strip("[],")) for end in interval]
        expected = [numbers[f"{name}_{end}"] for end in ("low", "high") if interval]
        assert ends == pytest.approx(expected, rel=1e-3)
    assert "BLEU, against 4 references" in lines
    assert "Self-BLEU, against 2 other texts" in lines
    assert "Language models of 3 texts, nats per token" in lines
    assert "Other" not in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate: give a run, or both --samples and --references"),
        (["run", "--samples", "a.txt"], "nothing to evaluate: give a run, or both"),
        (["--samples", "a.txt"], "nothing to evaluate: give a run, or both"),
        (["nowhere"], "nowhere is no run: it has no config.yaml"),
        (["--samples", "a.txt", "--references", "b.txt"], "cannot read a.txt: No such file"),
        (["--samples", ".", "--references", "b.txt"], ". is a folder, but must be a text file"),
        (["nowhere", "-n", "3"], "-n is 3, but must be at least 20"),
        (["nowhere", "--seed", "-2"], "--seed is -2, but must be from 0 to 2**63 - 1"),
        (["nowhere", "--jsn"], "unknown flag --jsn; did you mean --json"),
        (["nowhere", "--embedding", "minlm"], "has the unknown 'minlm'; did you mean minilm"),
        (["nowhere", "--train", "c.txt"], "--train is given without --samples and --references"),
        (["nowhere", "--paired"], "--paired is given without --samples and --references"),
        (["--samples", "a", "--references", "b", "-n30"], "-n is given without a run"),
        (
            ["--samples", "a", "--references", "b", "--temperature=2"],
            "--temperature is given without a",
        ),
    ],
)
def test_a_wrong_input(
    arguments: list[str], message: str, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error("evaluate", *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", " is empty, but must hold texts"),
        (b"\n \n\n", " has blank lines only, but must hold texts"),
        (b"good\nb\xe9te\n", "line 2 has the byte 0xe9, which is not UTF-8"),
        (b"\xff\xfea\x00b\x00", "line 1 has a NUL byte"),
    ],
)
def test_a_file_that_is_none(
    content: bytes, message: str, error: Any, tmp_path: Path, files: dict[str, Path]
) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    bad = tmp_path / "bad.txt"
    for samples, references in ((bad, files["references"]), (files["samples"], bad)):
        said = error("evaluate", "--samples", samples, "--references", references)
        assert message in said


def test_pairs_that_do_not_match(error: Any, files: dict[str, Path]) -> None:
    assert error("evaluate", *pair(files), "--paired") == (
        "the files have 3 and 4 texts, but --paired needs as many in both"
    )


@pytest.mark.parametrize(
    ("flags", "module", "package"),
    [
        (["--toxicity"], "profanity_check", "seqgan[rewards]"),
        (["--embedding", "wordllama"], "wordllama", "seqgan[embeddings]"),
    ],
)
def test_a_missing_package_is_named(
    flags: list[str],
    module: str,
    package: str,
    error: Any,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install '{package}'" in error("evaluate", *pair(files), *flags)


# Runs


def make_run(folder: Path, task: CaptionsConfig | OracleConfig | TextConfig) -> Path:
    """A run that was only just begun: its generators are as they were drawn."""
    config = TrainConfig(
        task=task,
        generator=RecurrentGeneratorConfig(hidden_size=4, embedding_size=4),
        evaluation=EvaluationConfig(num_heldout=30),
        output=str(folder),
    )
    run_folder = create_run(config, config.task.build(config.generator))
    states = {"generator": weights(folder, 1), "reference": weights(folder, 2)}
    save_checkpoint(run_folder.checkpoints, 1, trainer_state(states))
    return folder


def weights(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """Of a run's generator, as another seed would have drawn them."""
    _, config = open_run(folder)
    vocabulary = config.task.build(config.generator).vocabulary
    rng = torch.Generator().manual_seed(seed)
    return build_generator(config, vocabulary, rng).state_dict()


ORACLE = OracleConfig(
    vocabulary_size=6, hidden_size=4, max_length=5, train_size=60, dev_size=30, test_size=40
)
CAPTIONS = CaptionsConfig(train_size=60, dev_size=30, test_size=50)


def test_a_run_whose_truth_is_known_everywhere(evaluated: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ORACLE)
    numbers, said = evaluated(folder, "-n", "50")
    assert said == ""
    exact = {"nll_oracle", "kl_generator_oracle", "kl_oracle_generator"}
    total = {"kl_symmetric"}  # a sum of two rates has no interval
    repetition = {name for name in OF_TEXTS if name.startswith(("distinct", "duplicate"))}
    assert without_intervals(numbers) == OF_RUNS | OF_COPIES | exact | total | repetition
    for name in (*exact, "entropy", "nll_heldout"):
        assert numbers[f"{name}_low"] < numbers[name] < numbers[f"{name}_high"]
    before, _ = evaluated(folder, "-n", "50", "--pretrained")
    assert before["nll_heldout"] != numbers["nll_heldout"]
    shutil.copytree(next((folder / "checkpoints").iterdir()), folder / "best")
    states = dict.fromkeys(("generator", "reference"), weights(folder, 3))
    save_checkpoint(folder / "checkpoints", 2, trainer_state(states))
    best, _ = evaluated(folder, "-n", "50", "--checkpoint", "best")
    newest, _ = evaluated(folder, "-n", "50")
    assert best == numbers
    assert newest["nll_heldout"] not in (before["nll_heldout"], best["nll_heldout"])


def test_a_run_of_captions(evaluated: Any, tmp_path: Path) -> None:
    """Texts of words: everything can be said of them, and what the truth is beside it."""
    numbers, _ = evaluated(make_run(tmp_path / "run", CAPTIONS), "-n", "50", "--mauve")
    expected = OF_RUNS | OF_COPIES | OF_TEXTS | {"kl_oracle_generator", "grammatical"}
    assert without_intervals(numbers) == expected | {"mauve_hashed"}
    assert numbers["bleu_references"] == 50
    assert numbers["temperature"] == 1.0


def test_a_run_on_a_file(
    evaluated: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [[*"abcd"], [*"efgh"], [*"ijkl"]]
    rows = [f"{x} {y} {z} ." for x in words[0] for y in words[1] for z in words[2]]
    (tmp_path / "texts.txt").write_text("\n".join(rows))
    config = TextConfig(path=str(tmp_path / "texts.txt"), test_fraction=0.2, min_count=1)
    folder = make_run(tmp_path / "run", config)
    numbers, _ = evaluated(folder, "-n", "40", "--temperature", "0.5")
    assert without_intervals(numbers) == OF_RUNS | OF_COPIES | OF_TEXTS
    assert numbers["temperature"] == 0.5
    assert run("evaluate", folder, "-n", "40", "--temperature", "0.5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Likelihood, nats per token"
    assert f"BLEU, against {numbers['bleu_references']} references" in lines
    assert "  temperature" in "\n".join(lines[lines.index("Other") :])
