"""Prompts and continuations from files: rows, splits, vocabulary, columns, and every bad input."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.tasks.base import FixedTask, Task, heldout_prompts
from seqgan.tasks.files.prompt_columns import read_pair
from seqgan.tasks.files.prompts import PromptsConfig, encode_prompts, prompts_task, read_prompts
from seqgan.tasks.files.text_files import TextFileError

RECORDS = (
    {"prompt": "Which pet?", "continuation": "a small dog", "level": 1},
    {"prompt": "Which colour?", "continuation": "red", "source": "b"},
    {"prompt": "which pet?", "continuation": "a cat", "level": 3},
    {"prompt": "Which bird?", "continuation": "a red kite", "level": 4},
    {"prompt": "Which fish?", "continuation": "a small eel", "level": 5},
)
SMALL: dict[str, Any] = {"min_count": 1, "dev_fraction": 0.2, "test_fraction": 0.2}


def write(folder: Path, records: Sequence[Any], name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def task_of(path: Path, **settings: Any) -> FixedTask:
    return prompts_task(PromptsConfig(path=str(path), **{**SMALL, **settings}))


def everything(task: Task) -> list[Sequences]:
    return [next(task.chunks(split, 10**6)) for split in ("train", "dev", "test")]


def pairs(rows: Sequences) -> list[tuple[str, str]]:
    """Prompts and continuations, decoded from their ids."""
    assert rows.vocabulary is not None
    assert rows.prompts is not None
    prompts = [rows.vocabulary.decode_prompt(row) for row in rows.prompts.tolist()]
    return list(zip(prompts, rows.texts, strict=True))


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_the_columns_of_trl(tmp_path: Path) -> None:
    """A completion is a continuation; the last of the messages is one; other columns stay."""
    records = [
        {"prompt": "Which pet?", "completion": "a dog", "level": 1},
        {
            "prompt": [said("user", "Which bird?")],
            "completion": [said("assistant", "a kite")],
            "level": 2,
        },
        {"messages": [said("user", "Which fish?"), said("assistant", "an eel")], "level": 3},
        {
            "messages": [
                said("system", "be brief"),
                said("user", "Hello"),
                said("assistant", "hi"),
                said("user", "Which cat?"),
                said("assistant", "a lion"),
            ]
        },
    ]
    chosen = [read_pair("here", record, "prompt", "continuation") for record in records[:2]]
    chosen += [read_pair("here", record, "messages", "continuation") for record in records[2:]]
    assert [(pair.prompt, pair.continuation) for pair in chosen] == [
        ("Which pet?", "a dog"),
        ("Which bird?", "a kite"),
        ("Which fish?", "an eel"),
        ("system: be brief\nuser: Hello\nassistant: hi\nuser: Which cat?", "a lion"),
    ]
    assert [len(pair.messages) for pair in chosen] == [0, 1, 1, 4]
    used = [("prompt", "completion"), ("prompt", "completion"), ("messages",), ("messages",)]
    assert [pair.columns for pair in chosen] == used
    path = write(
        tmp_path,
        records[2:]
        + [
            {"messages": [said("user", f"Which {pet}?"), said("assistant", "a bird")]}
            for pet in ("hen", "owl", "tit")
        ],
    )
    task = task_of(path, prompt_column="messages")  # without a tokenizer the messages are texts
    found = [pair for rows in everything(task) for pair in pairs(rows)]
    assert ("which hen ?", "a bird") in found
    assert ("system : be brief user : hello assistant : hi user : which cat ?", "a lion") in found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, RECORDS)


def test_every_record_is_a_row_of_one_split(path: Path) -> None:
    """By value: words of prompts and continuations as tokens, in the order of the file."""
    task = task_of(path)
    assert isinstance(task, Task)
    found = [pair for rows in everything(task) for pair in pairs(rows)]
    expected = [
        ("which pet ?", "a small dog"),
        ("which colour ?", "red"),
        ("which pet ?", "a cat"),
        ("which bird ?", "a red kite"),
        ("which fish ?", "a small eel"),
    ]
    known = set(task.vocabulary.words)

    def spelt(text: str) -> str:
        return " ".join(word if word in known else "<unk>" for word in text.split())

    assert sorted(found) == sorted((spelt(a), spelt(b)) for a, b in expected)
    train = pairs(everything(task)[0])
    order = [(spelt(a), spelt(b)) for a, b in expected]
    assert train == [pair for pair in order if pair in train]


@pytest.mark.parametrize("seed", range(8))
def test_no_prompt_is_in_two_splits(path: Path, seed: int) -> None:
    """The two spellings of one prompt have equal tokens, and stay together."""
    task = task_of(path, seed=seed)
    assert [task.size(split) for split in ("dev", "test")].count(2) <= 1
    spelt = [{text.lower() for text in rows.prompt_texts} for rows in everything(task)]
    assert not spelt[0] & spelt[1]
    assert not spelt[0] & spelt[2]
    assert not spelt[1] & spelt[2]
    assert sum(map(len, spelt)) == 4


def test_the_vocabulary_is_that_of_the_training_split(path: Path) -> None:
    """By falling count over prompts and continuations, equal counts by code points."""
    task = task_of(path, min_count=2)
    train = everything(task)[0]
    words = [word for pair in zip(train.prompt_texts, train.texts, strict=True) for word in pair]
    assert "<unk>" in " ".join(words)
    task = task_of(path)
    counted: dict[str, int] = {}
    for prompt, text in pairs(everything(task)[0]):
        for word in f"{prompt} {text}".split():
            counted[word] = counted.get(word, 0) + 1
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    assert task.vocabulary.words == ("<unk>", *ranked)
    more = task_of(path, min_count=2).vocabulary.words
    assert more == ("<unk>", *(word for word in ranked if counted[word] > 1))


def test_rows_are_padded_prompts_on_the_left(tmp_path: Path) -> None:
    records = [
        {"prompt": prompt, "continuation": text}
        for prompt, text in (("a b c", "a"), ("b", "a b"), ("c a", "c"), ("d", "d"), ("e", "e"))
    ]
    task = task_of(write(tmp_path, records), max_length=4, seed=3)
    train = everything(task)[0]
    ids = {word: index for index, word in enumerate(task.vocabulary.words)}
    pad, eos = task.vocabulary.pad_id, task.vocabulary.eos_id
    assert task.max_prompt_length == 3
    assert train.prompts is not None
    assert train.prompt_mask is not None
    width = train.prompts.shape[1]
    for row, (prompt, text) in enumerate(pairs(train)):
        words = [ids[word] for word in prompt.split()]
        assert train.prompts[row].tolist() == [pad] * (width - len(words)) + words
        assert train.prompt_mask[row].tolist() == [False] * (width - len(words)) + [True] * len(
            words
        )
        ended = [*(ids[word] for word in text.split()), eos]
        assert train.tokens[row].tolist() == ended + [pad] * (4 - len(ended))
    assert width == max(len(prompt.split()) for prompt, _ in pairs(train))
    some = task.rows("train", torch.tensor([2, 0, 2]))
    assert [pairs(train)[row] for row in (2, 0, 2)] == pairs(some)


def test_other_columns_go_along_and_are_none_where_a_record_lacks_them(path: Path) -> None:
    found = {}
    for rows in everything(task_of(path)):
        assert set(rows.columns) == {"level", "source"}
        columns = rows.columns
        for row, text in enumerate(rows.prompt_texts):
            found[text] = (columns["level"][row], columns["source"][row])
    assert found == {
        "Which pet?": (1, None),
        "Which colour?": (None, "b"),
        "which pet?": (3, None),
        "Which bird?": (4, None),
        "Which fish?": (5, None),
    }


def test_a_csv_file_is_read_as_the_same_records(tmp_path: Path) -> None:
    records = [{"q": f"number {n}, is it?", "a": f"it is {n}", "n": str(n)} for n in range(6)]
    names = {"prompt_column": "q", "continuation_column": "a"}
    plain = task_of(write(tmp_path, records), **names)
    table = tmp_path / "data.csv"
    lines = ["n,a,q", *(f'{r["n"]},{r["a"]},"{r["q"]}"' for r in records)]
    table.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    other = task_of(table, **names)
    assert plain.vocabulary == other.vocabulary
    for one, two in zip(everything(plain), everything(other), strict=True):
        assert pairs(one) == pairs(two)
        assert one.columns == two.columns
        assert one.prompt_texts == two.prompt_texts


def test_blank_and_long_continuations_are_dropped_and_counted(tmp_path: Path) -> None:
    """A continuation of max_length tokens, its eos included, is the longest that stays."""
    records = [{"prompt": f"p{n}", "continuation": "w " * n} for n in range(7)]
    task = task_of(write(tmp_path, records), max_length=5, dev_fraction=0.25, test_fraction=0.25)
    lengths = sorted(n for rows in everything(task) for n in rows.lengths.tolist())
    assert lengths == [2, 3, 4, 5]
    assert "7 records, 1 blank and 2 too long (over 5 tokens) dropped" in task.description
    assert "4 distinct prompts" in task.description


def test_characters(tmp_path: Path) -> None:
    records = [{"prompt": f"{c}?", "continuation": f" {c.upper()}"} for c in "abcde"]
    task = task_of(write(tmp_path, records), level="character", lowercase=False)
    assert task.vocabulary.level == "character"
    rows = everything(task)[0]
    assert all(text in (f" {prompt[0].upper()}", " <unk>") for prompt, text in pairs(rows))
    assert rows.lengths.tolist() == [3] * len(rows)
    assert task.max_prompt_length == 2


def test_heldout_prompts_are_always_the_same(path: Path) -> None:
    task = task_of(path)
    one, two = (heldout_prompts(task, 5) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.prompt_texts == two.prompt_texts
    assert set(one.prompt_texts) == set(everything(task)[2].prompt_texts)


def test_own_prompts_are_read_as_those_of_the_file(path: Path) -> None:
    task, config = task_of(path), PromptsConfig(path=str(path), **SMALL)
    train = everything(task)[0]
    own = encode_prompts(train.prompt_texts, config, task.vocabulary)
    assert torch.equal(own.prompts, train.prompts)  # type: ignore[arg-type]
    assert torch.equal(own.prompt_mask, train.prompt_mask)  # type: ignore[arg-type]
    assert own.prompt_texts == train.prompt_texts
    assert own.tokens.shape == (len(train), 0)
    unknown = encode_prompts(["zebra"], config, task.vocabulary)
    assert unknown.prompts is not None
    assert unknown.prompts.tolist() == [[task.vocabulary.unk_id]]


def test_prompts_of_a_file_of_lines(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("one\n\ntwo, three\n", encoding="utf-8")
    assert read_prompts(tmp_path / "some.txt", "prompt") == ["one", "two, three"]
    assert read_prompts(write(tmp_path, RECORDS), "prompt")[1] == "Which colour?"


GOOD = '{"prompt": "a b", "continuation": "c"}'


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "data.jsonl is empty, but must hold texts"),
        ("\n\n", "data.jsonl has 0 distinct prompts .0 blank .* but at least 3 are needed"),
        (f"{GOOD}\n{GOOD}", "has 1 distinct prompts .* but at least 3 are needed"),
        (f"{GOOD}\n{{", "data.jsonl, line 2 is no JSON object: '{'"),
        (f"{GOOD}\n[1]", r"data.jsonl, line 2 is no JSON object: '\[1\]'"),
        (
            f'{GOOD}\n\n{{"question": "a", "answer": "b"}}',
            "line 3 has no column 'prompt'; --task.prompt-column is one of 'question', 'answer'",
        ),
        (
            '{"prompt": "a", "answer": "b"}',
            "line 1 has no column 'continuation'; --task.continuation-column",
        ),
        ("{}", "line 1 has no column 'prompt'; --task.prompt-column is one of no columns"),
        (
            '{"prompt": 3, "continuation": "b"}',
            r"line 1: the column 'prompt' has 3, but must have a string",
        ),
        (
            '{"prompt": ["a"], "continuation": "b"}',
            r"line 1: a message in 'prompt' is 'a', but must have a role and content",
        ),
        (
            '{"prompt": [], "continuation": "b"}',
            r"line 1: 'prompt' has no messages",
        ),
        (
            '{"prompt": [{"role": "user", "content": "a"}]}',
            r"line 1: the last message in 'prompt' is of the role 'user', but must be the assist",
        ),
        (
            '{"prompt": [{"role": "assistant", "content": "a"}]}',
            r"line 1: no message stands before the answer in 'prompt'",
        ),
        (
            f'{GOOD}\n{{"prompt": "a", "continuation": null}}',
            "line 2: the column 'continuation' has None, but must have a string",
        ),
        (
            f'{GOOD}\n{{"prompt": " ", "continuation": "b"}}',
            "data.jsonl, line 2: the prompt is ' ', but must be a text",
        ),
        (
            f'{GOOD}\n\n{{"prompt": "a b c d e", "continuation": "b"}}',
            "line 3: the prompt has 5 tokens, more than --task.max-prompt-length 4",
        ),
        (
            "\n".join(f'{{"prompt": "p{n}", "continuation": "c{n}"}}' for n in range(5)),
            "data.jsonl has 0 of .* words that occur --task.min-count 2 times or more",
        ),
    ],
)
def test_one_line_for_bad_data(tmp_path: Path, content: str, rule: str) -> None:
    (tmp_path / "data.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(TextFileError, match=rule) as caught:
        task_of(tmp_path / "data.jsonl", max_prompt_length=4, min_count=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("prompt,answer\na,b\n", "line 2 has no column 'continuation'; --task.con"),
        ("prompt,prompt\na,b\n", ", line 1: the header has a column twice: 'prompt'"),
        ("prompt,continuation\na,b,c\n", "line 2 has 3 fields, but the header has 2"),
        ('prompt,continuation\n"a,b\n', "line 2 is not well-formed CSV"),
    ],
)
def test_one_line_for_bad_tables(tmp_path: Path, content: str, rule: str) -> None:
    (tmp_path / "data.csv").write_text(content, encoding="utf-8")
    with pytest.raises(TextFileError, match=rule):
        task_of(tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "task.path is empty: name a file of prompts"),
        ("nothere.jsonl", "cannot read nothere.jsonl: No such file"),
        ("./nothere", "cannot read prompts from ./nothere"),
        ("name", "cannot read prompts from name"),
        (
            "data.txt",
            "data.txt, line 1 has no column 'continuation'; .*'prompt', or '' for prompts al",
        ),
    ],
)
def test_one_line_for_places_without_data(
    path: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(TextFileError, match=rule):
        prompts_task(PromptsConfig(path=path))


def test_a_prompt_beyond_the_context_window_is_named_by_its_line(tmp_path: Path) -> None:
    records = [{"prompt": "w " * n, "continuation": "a b"} for n in (1, 2, 3, 4, 5)]
    config = PromptsConfig(path=str(write(tmp_path, records)), **SMALL, max_length=4)
    assert prompts_task(config, window=9).max_prompt_length == 5
    rule = (
        r"data.jsonl, line 5: .* 5 tokens of the prompt and --task.max-length 4 .* context"
        r" window of 8 tokens"
    )
    with pytest.raises(TextFileError, match=rule):
        prompts_task(config, window=8)
    task = prompts_task(config)
    with pytest.raises(
        TextFileError, match=r"prompt 2: the 5 tokens of the prompt and .* window of 8 tokens"
    ):
        encode_prompts(["w", "w w w w w"], config, task.vocabulary, window=8)


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (
            [],
            "there is no prompt, but at least one is needed",
        ),
        (["a", "\t"], "prompt 2 is '.t', but must be a text"),
    ],
)
def test_own_prompts_that_are_none(path: Path, texts: list[str], rule: str) -> None:
    vocabulary = task_of(path).vocabulary
    with pytest.raises(ValueError, match=rule):
        PromptsConfig().encode_prompts(texts, vocabulary, RecurrentGeneratorConfig())


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"min_count": 0}, "task.min_count is 0, but must be at least 1"),
        ({"max_prompt_length": 0}, "task.max_prompt_length is 0, but must be at least 1"),
        ({"max_length": 1}, "task.max_length is 1, but must be at least 2"),
        (
            {"continuation_column": "prompt"},
            (
                "task.prompt_column and task.continuation_column are both 'prompt', but must be"
                " two columns"
            ),
        ),
        ({"dev_fraction": 0.0}, "task.dev_fraction is 0.0, but must be above 0 and below 1"),
        ({"test_fraction": 1.0}, "task.test_fraction is 1.0, but must be above 0 and below 1"),
        ({"dev_fraction": 0.5, "test_fraction": 0.5}, "but their sum must be below 1"),
        ({"max_heldout": 0}, "task.max_heldout is 0, but must be at least 1"),
        ({"seed": -1}, r"task.seed is -1, but must be from 0 to 2\*\*63 - 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        PromptsConfig(**settings)


def test_many_prompts_take_one_row_each(tmp_path: Path) -> None:
    """Packed: the ids of 2,000 rows take as many numbers as there are tokens."""
    records = [{"prompt": f"p{n % 50} x", "continuation": f"c{n % 7}"} for n in range(2000)]
    task = task_of(write(tmp_path, records))
    rows: Any = task.splits["train"]
    assert rows.ids.dtype == np.uint16
    assert len(rows.ids) == 2 * len(rows)
    assert len(rows.continuations.ids) == 2 * len(rows)


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff", " \u00ad "])
def test_a_prompt_of_what_nobody_sees_is_blank(nothing: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"a {n}", "continuation": "b c"} for n in range(9)]
    path = tmp_path / "pairs.jsonl"
    rows[4]["prompt"] = nothing
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(
        TextFileError, match=r"pairs.jsonl, line 5: the prompt is .* but must be a text"
    ):
        prompts_task(PromptsConfig(path=str(path), min_count=1))
    rows[4] = {"prompt": "a 4", "continuation": nothing}
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert "1 blank and 0 too long" in prompts_task(PromptsConfig(path=str(path))).description
