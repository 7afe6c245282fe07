"""`seqgan sample` prints one text a line, and what it prints is what the other commands read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_commands import run
from trainer_states import trainer_state

from seqgan.judging.sources import load_sources, parse_file
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.tasks.files.prompts import PromptsConfig, read_prompts
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.files.text_files import read_texts, stream_lines
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.networks import build_generator
from seqgan.training.presets import text_preset
from seqgan.training.run_folders import create_run

# Whatever ends a line somewhere, or is not shown, and what quotes and escapes are made of.
HOSTILE = '\n\r\t\x00\x0b\x0c\x1b\x1c\x1e\x7f\x85\x9f\u2028\u2029\ufeff"\\nu00 a'


def untrained_run(folder: Path, task: Any) -> Path:
    """A run with one checkpoint, of a generator that draws all characters alike."""
    config = replace(
        text_preset(),
        task=task,
        generator=RecurrentGeneratorConfig("lstm", 4, 4),
        output=str(folder / "run"),
    )
    built = task.build(config.generator)
    made = create_run(config, built)
    rng = torch.Generator().manual_seed(0)
    weights = build_generator(config, built.vocabulary, rng).state_dict()
    players = {"generator": weights, "reference": weights}
    save_checkpoint(made.checkpoints, 1, trainer_state(players))
    return made.path


@pytest.fixture
def texts_run(tmp_path: Path) -> Path:
    rows = [{"text": f"{a}{b}{HOSTILE}"} for a in HOSTILE for b in HOSTILE]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return untrained_run(
        tmp_path,
        TextConfig(path=str(data), level="character", min_count=1, max_length=30, lowercase=False),
    )


def sampled(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[str, list[Any]]:
    """The lines that the command prints, and the rows of the same texts as JSON."""
    capfd.readouterr()
    assert run("sample", *arguments) == 0
    plain = capfd.readouterr().out
    assert run("sample", *arguments, "--json") == 0
    rows = capfd.readouterr().out
    assert len(rows.splitlines()) == rows.count("\n")
    return plain, [json.loads(row) for row in rows.splitlines()]


def test_each_text_is_a_line_and_is_read_as_it_was_drawn(
    texts_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed, rows = sampled(capfd, texts_run, "-n", "200")
    texts = [row["text"] for row in rows]
    assert len(printed.splitlines()) == printed.count("\n") == 200
    assert all(letter in "".join(texts) for letter in HOSTILE)
    assert "" in texts or any(not text.strip() for text in texts)
    samples, lines = tmp_path / "samples.txt", tmp_path / "samples.jsonl"
    samples.write_text(printed, encoding="utf-8", newline="")
    lines.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_texts(samples) == list(stream_lines(samples)) == read_texts(lines) == texts
    assert read_prompts(samples, "prompt") == texts
    sources, _ = load_sources([parse_file(f"{n}={samples}") for n in "ab"], 200, 0)
    assert sorted(sources[0].texts) == sorted(text.strip() for text in texts)
    for path in (samples, lines):
        assert run("evaluate", "--samples", path, "--references", path, "--json") == 0
        said = capfd.readouterr()
        assert json.loads(said.out)["self_bleu_references"] == 199
        assert json.loads(said.out)["bleu_references"] == 200
        assert said.err == ""


def test_a_prompt_and_its_text_are_two_fields_of_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"Q{n}:\twhat?\n{n}A", "continuation": f"{HOSTILE}{n}"} for n in range(20)]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    folder = untrained_run(
        tmp_path, PromptsConfig(path=str(data), level="character", min_count=1, max_length=40)
    )
    printed, found = sampled(capfd, folder, "--prompts", data, "-n", "3")
    lines = printed.splitlines()
    assert len(lines) == 60
    fields = [line.split("\t") for line in lines]
    assert {len(each) for each in fields} == {2}
    (tmp_path / "prompts.txt").write_text("\n".join(each[0] for each in fields))
    (tmp_path / "texts.txt").write_text("\n".join(each[1] for each in fields))
    assert read_texts(tmp_path / "prompts.txt") == [row["prompt"] for row in found]
    assert read_texts(tmp_path / "texts.txt") == [row["text"] for row in found]
    again, _ = sampled(capfd, folder, "--prompts", tmp_path / "prompts.txt")
    assert len(again.splitlines()) == 60
