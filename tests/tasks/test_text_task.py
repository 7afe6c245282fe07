"""The text task: what is read, what is dropped, how it is split, and what is refused and where."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.tasks.base import FixedTask, Split
from seqgan.tasks.files import text_files
from seqgan.tasks.files.text import TextConfig, TextFileError, as_strings, task_of_texts, text_task
from seqgan.tasks.files.text_files import read_texts, stream_texts

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
# 49 texts of 14 words. Dev and test take 2 texts each, so every word is left at least 3 times in
# train: nothing is unknown, and decoded texts equal those of the file.
GRID = [f"x{i} y{j}" for i in range(7) for j in range(7)]


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def load(path: Path, content: str | bytes, **settings: Any) -> FixedTask:
    return text_task(TextConfig(path=write(path, content), **settings))


def rows_of(task: FixedTask, split: Split) -> Sequences:
    """All rows of a split, in the order of the file."""
    (rows,) = task.chunks(split, task.size(split))
    return rows


def texts_of(task: FixedTask) -> list[str]:
    """Every text of every split, sorted."""
    return sorted(text for split in SPLITS for text in rows_of(task, split).texts)


@pytest.fixture(params=[1, 7, 2**20], ids=lambda size: f"blocks of {size}")
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for files that are read a block at a time: nothing depends on where one ends."""
    monkeypatch.setattr(text_files, "BLOCK", request.param)
    return tmp_path


@pytest.fixture
def txt(folder: Path) -> Path:
    return folder / "captions.txt"


@pytest.fixture
def jsonl(folder: Path) -> Path:
    return folder / "captions.jsonl"


@pytest.fixture
def table(folder: Path) -> Path:
    return folder / "captions.csv"


def test_every_number_of_the_description(txt: Path) -> None:
    # Each of three texts of equal words stands there twice, so the seed decides none of this:
    # the two training texts hold a and c four times, b twice.
    kept = ["b a a c c", "c c a a b", "a b c a c"] * 2
    content = "\n".join([*kept, "", "  \t", "a a a a a a", "c c c c c c c", " "]) + "\n"
    task = load(txt, content, min_count=3, max_length=6)
    assert task.description == (
        "captions.txt: 6 texts (3 distinct), 3 blank and 2 too long (over 6 tokens) dropped;"
        " 2 train, 2 dev, 2 test; 3 words, 20.0% of test tokens unknown"
    )
    assert task.vocabulary.words == ("<unk>", "a", "c")
    assert task.vocabulary.unk_id == 0
    assert task.max_length == 6
    assert task.exact is None
    assert (task.measures, task.quality) == ({}, "")


def test_rows_are_word_ids_then_eos_then_padding(txt: Path) -> None:
    task = load(txt, "b a a\na a b\na b a\n", min_count=1, max_length=5)
    # ids: 0 <unk>, 1 a, 2 b, 3 eos, 4 bos, 5 pad
    rows = {tuple(rows_of(task, split).tokens[0].tolist()) for split in SPLITS}
    assert rows == {(2, 1, 1, 3, 5), (1, 1, 2, 3, 5), (1, 2, 1, 3, 5)}
    for split in SPLITS:
        assert rows_of(task, split).mask.tolist() == [[True, True, True, True, False]]


def test_a_text_may_fill_max_length_with_its_eos_but_not_pass_it(txt: Path) -> None:
    content = "a b a\nb a a\na a b\na b a b\n"
    assert "3 texts (3 distinct), 0 blank and 1 too long" in (
        load(txt, content, min_count=1, max_length=4).description
    )
    assert "4 texts (4 distinct), 0 blank and 0 too long" in (
        load(txt, content, min_count=1, max_length=5).description
    )


def test_words_are_ordered_by_count_then_alphabetically(txt: Path) -> None:
    # Permutations of one bag of words: b three times, a and d twice, c once.
    content = "b b b d d a a c\nc a a d d b b b\na d c b b b d a\n"
    task = load(txt, content, min_count=2)
    assert task.vocabulary.words == ("<unk>", "b", "a", "d")


def test_lowercase_is_a_choice(txt: Path) -> None:
    content = "A b a\na A b b\nb b b A a\n"
    lower = load(txt, content, min_count=1)
    assert set(lower.vocabulary.words) == {"<unk>", "a", "b"}
    kept = load(txt, content, min_count=1, lowercase=False)
    assert set(kept.vocabulary.words) == {"<unk>", "A", "a", "b"}
    characters = load(txt, content, min_count=1, level="character", spaces=False)
    assert set(characters.vocabulary.words) == {"<unk>", "a", "b"}


def test_byte_order_mark_and_carriage_returns_are_dropped(
    txt: Path, jsonl: Path, table: Path
) -> None:
    records = [json.dumps({"text": text}) for text in GRID]
    for path, lines in ((txt, GRID), (jsonl, records), (table, ["text", *GRID])):
        task = load(path, b"\xef\xbb\xbf" + "\r\n".join(lines).encode(), level="character")
        assert texts_of(task) == sorted(GRID)


def test_only_a_newline_ends_a_line(txt: Path, jsonl: Path, table: Path) -> None:
    texts = [text.replace(" ", separator) for text in GRID for separator in "\u2028\x85\x0b\x0c"]
    records = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    for path, lines in ((txt, texts), (jsonl, records), (table, ["text", *texts])):
        task = load(path, "\n".join(lines), level="character", min_count=1)
        assert texts_of(task) == sorted(texts)


def test_jsonl_reads_its_column_and_counts_blank_lines_and_texts(jsonl: Path) -> None:
    records = [json.dumps({"id": i, "caption": text}) for i, text in enumerate(GRID)]
    content = "\n".join(["", *records, json.dumps({"caption": " "}), "  "])
    task = load(jsonl, content, column="caption")
    assert texts_of(task) == sorted(GRID)
    assert "49 texts (49 distinct), 3 blank and 0 too long" in task.description


def test_csv_reads_quoted_newlines_commas_and_quotes(table: Path) -> None:
    texts = ["a\nb", "b,a", 'a"b', "ab", "ba", "b a"]
    quoted = [f'{i},"{text.replace(chr(34), chr(34) * 2)}"' for i, text in enumerate(texts)]
    content = "\n".join(["id,caption", *quoted[:3], "", *quoted[3:], '7,""'])
    task = load(table, content, column="caption", level="character", min_count=1)
    assert "6 texts (6 distinct), 2 blank" in task.description
    # What stands only in dev or test is unknown, so compare lengths (eos included): 3 of "ab".
    lengths = [n for split in SPLITS for n in rows_of(task, split).lengths.tolist()]
    assert sorted(lengths) == [3, 3, 4, 4, 4, 4]


def test_the_extension_may_be_upper_case(tmp_path: Path) -> None:
    assert texts_of(load(tmp_path / "CAPTIONS.TXT", "\n".join(GRID))) == sorted(GRID)


@pytest.mark.parametrize(
    ("num_texts", "dev_fraction", "test_fraction", "sizes"),
    [
        (49, 0.05, 0.05, (45, 2, 2)),
        (40, 0.1, 0.25, (26, 4, 10)),
        (3, 0.05, 0.05, (1, 1, 1)),
        (3, 0.98, 0.01, (1, 1, 1)),
        (4, 0.5, 0.49, (1, 2, 1)),
        (4, 0.01, 0.98, (1, 1, 2)),
    ],
)
def test_split_sizes(
    txt: Path,
    num_texts: int,
    dev_fraction: float,
    test_fraction: float,
    sizes: tuple[int, int, int],
) -> None:
    task = load(
        txt,
        "\n".join(GRID[:num_texts]),
        dev_fraction=dev_fraction,
        test_fraction=test_fraction,
        min_count=1,
    )
    assert tuple(task.size(split) for split in SPLITS) == sizes


def test_copies_stay_together_and_splits_are_disjoint(txt: Path) -> None:
    copies = [copy for text in GRID for copy in (text, text.upper(), text.replace(" ", "  "))]
    for seed in range(10):
        task = load(txt, "\n".join(copies), seed=seed, dev_fraction=0.1, test_fraction=0.1)
        assert "147 texts (49 distinct)" in task.description
        assert [task.size(split) for split in SPLITS] == [39 * 3, 5 * 3, 5 * 3]
        train, dev, test = (Counter(rows_of(task, split).texts) for split in SPLITS)
        assert not train.keys() & dev.keys()
        assert not train.keys() & test.keys()
        assert not dev.keys() & test.keys()
        assert train + dev + test == Counter(GRID * 3)


def test_a_seed_is_a_split(txt: Path) -> None:
    first, again, other = (
        load(txt, "\n".join(GRID), seed=seed, dev_fraction=0.2) for seed in (3, 3, 4)
    )
    for split in SPLITS:
        assert rows_of(first, split).texts == rows_of(again, split).texts
        assert torch.equal(rows_of(first, split).tokens, rows_of(again, split).tokens)
        assert set(rows_of(first, split).texts) != set(rows_of(other, split).texts)


def test_a_split_keeps_the_order_of_the_file(txt: Path) -> None:
    task = load(txt, "\n".join(GRID), dev_fraction=0.1, test_fraction=0.1)
    for split in SPLITS:
        assert rows_of(task, split).texts == sorted(rows_of(task, split).texts, key=GRID.index)


def test_words_of_dev_and_test_alone_are_unknown(txt: Path) -> None:
    # Every text has a word that no other has. ids: 0 <unk>, 1 a, 2 b, then those of train.
    task = load(txt, "\n".join(f"a b w{i}" for i in range(40)), min_count=1, max_length=4)
    assert len(task.vocabulary.words) == 1 + 2 + 36
    assert rows_of(task, "dev").tokens.tolist() == [[1, 2, 0, 39]] * 2
    assert rows_of(task, "test").tokens.tolist() == [[1, 2, 0, 39]] * 2
    assert rows_of(task, "dev").texts == ["a b <unk>"] * 2
    assert sorted(rows_of(task, "train").tokens[:, 2].tolist()) == list(range(3, 39))
    assert "39 words, 33.3% of test tokens unknown" in task.description


def test_rare_words_are_unknown_in_training_too(txt: Path) -> None:
    task = load(txt, "\n".join(f"a b w{i}" for i in range(40)), min_count=2, max_length=4)
    assert task.vocabulary.words == ("<unk>", "a", "b")
    assert rows_of(task, "train").tokens.tolist() == [[1, 2, 0, 3]] * 36


def test_the_unknown_word_written_in_a_text_is_three_words(txt: Path) -> None:
    task = load(txt, "<unk>\n< <unk>\n<unk> >", min_count=1)
    assert set(task.vocabulary.words) == {"<unk>", "<", "unk", ">"}
    assert "0.0% of test tokens unknown" in task.description


def test_characters_with_and_without_white_space(txt: Path) -> None:
    # Permutations of two characters, with one space each.
    content = "山 月月\n月 山月\n月 月山\n"
    task = load(txt, content, level="character", min_count=1, max_length=5)
    assert task.vocabulary.words == ("<unk>", "月", " ", "山")
    assert texts_of(task) == sorted(["山 月月", "月 山月", "月 月山"])
    assert "4 characters, 0.0% of test tokens unknown" in task.description
    dense = load(txt, content, level="character", min_count=1, max_length=5, spaces=False)
    assert dense.vocabulary.words == ("<unk>", "月", "山")
    assert texts_of(dense) == sorted(["山月月", "月山月", "月月山"])


def test_lines_that_differ_in_dropped_white_space_are_one_text(txt: Path) -> None:
    content = "山 月\n山月\n月 山\n月月 山\n\u3000\n"
    task = load(txt, content, level="character", min_count=1, spaces=False)
    assert "4 texts (3 distinct), 1 blank" in task.description


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, "task.min_count is 0, but must be at least 1"),
        ({"max_length": 1}, "task.max_length is 1, but must be at least 2 (a token, eos)"),
        ({"dev_fraction": 0.0}, "task.dev_fraction is 0.0, but must be above 0 and below 1"),
        (
            {"dev_fraction": float("nan")},
            "task.dev_fraction is nan, but must be above 0 and below 1",
        ),
        ({"test_fraction": 1.0}, "task.test_fraction is 1.0, but must be above 0 and below 1"),
        (
            {"dev_fraction": 0.5, "test_fraction": 0.5},
            "task.dev_fraction is 0.5 and task.test_fraction is 0.5, but their sum must be below 1",
        ),
        ({"max_heldout": 0}, "task.max_heldout is 0, but must be at least 1"),
        ({"seed": -1}, "task.seed is -1, but must be from 0 to 2**63 - 1"),
        ({"seed": 2**63}, "task.seed is 9223372036854775808, but must be from 0 to 2**63 - 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the message is compared below
        TextConfig(**{"path": "captions.txt", **settings})
    assert str(caught.value) == message


def test_an_unknown_level_is_refused() -> None:
    config = TextConfig(path="captions.txt")
    # Past the constructor, whose argument types the tests' own type checker guards.
    object.__setattr__(config, "level", "byte")
    with pytest.raises(
        ValueError, match=r"task\.level is 'byte', but must be one of word, character"
    ):
        config.__post_init__()


def refusal(path: Path, content: str | bytes, **settings: Any) -> str:
    """The one error of a file, without the folder it happens to stand in."""
    with pytest.raises(TextFileError) as caught:
        load(path, content, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def test_missing_files_folders_and_unknown_extensions(tmp_path: Path) -> None:
    with pytest.raises(
        TextFileError, match=r"^task.path is empty: name a text file with --task.path FILE$"
    ):
        text_task(TextConfig())
    missing = tmp_path / "missing.txt"
    with pytest.raises(TextFileError) as caught:
        text_task(TextConfig(path=str(missing)))
    assert str(caught.value) == (f"cannot read {missing}: No such file or directory")
    with pytest.raises(TextFileError) as caught:
        text_task(TextConfig(path=str(tmp_path)))
    assert str(caught.value) == f"{tmp_path} is a folder, but must be a text file"
    assert refusal(tmp_path / "captions.parquet", "a\n") == (
        "captions.parquet is not named *.txt, *.jsonl or *.csv, as a text file must be"
    )


@pytest.mark.parametrize("name", ["captions.txt", "captions.jsonl", "captions.csv"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_empty_files(tmp_path: Path, name: str, content: bytes) -> None:
    assert refusal(tmp_path / name, content) == (f"{name} is empty, but must hold texts")


def test_too_few_distinct_texts(txt: Path) -> None:
    def said(count: int, dropped: str) -> str:
        rule = "but at least 3 are needed, one for each of train, dev and test"
        return f"captions.txt has {count} distinct texts ({dropped}), {rule}"

    none_dropped = "0 blank and 0 too long (over 40 tokens) dropped"
    assert refusal(txt, "a b") == said(1, none_dropped)
    assert refusal(txt, "a b\nc d\nA  b\nc d\n") == said(2, none_dropped)
    blank = "3 blank and 0 too long (over 40 tokens) dropped"
    assert refusal(txt, "\n \n\n") == said(0, blank)
    long = "1 blank and 1 too long (over 3 tokens) dropped"
    assert refusal(txt, "a b\nc d\n\na b c\n", max_length=3) == said(2, long)


def test_all_texts_too_long(txt: Path) -> None:
    assert refusal(txt, "a b c d e\na b c d\n\na b c d e f\n", max_length=4) == (
        "captions.txt has no text within --task.max-length 4: the shortest has 5 tokens with eos"
    )


def test_one_endless_line_is_answered_with_what_a_line_is(txt: Path) -> None:
    assert refusal(txt, "a b c d e f", max_length=4) == (
        "captions.txt has no text within --task.max-length 4: the shortest has 7 tokens with eos;"
        " each line is a text, so break it into lines"
    )


def test_a_vocabulary_of_one_word(txt: Path) -> None:
    rule = "times or more in the training texts, but at least 2 are needed"
    one = f"captions.txt has 1 of 1 words that occur --task.min-count 1 {rule}"
    assert refusal(txt, "a\na a\na a a\n", min_count=1) == one
    message = refusal(txt, "a b\nb a\na b .\n", min_count=9)
    assert message.startswith("captions.txt has 0 of ")
    assert message.endswith(f" words that occur --task.min-count 9 {rule}")


def test_bytes_that_are_no_text(txt: Path) -> None:
    assert refusal(txt, b"a b\nc\x00d\n") == (
        "captions.txt, line 2 has a NUL byte, but must be UTF-8 (is it a binary or UTF-16 file?)"
    )
    assert "line 1 has a NUL byte" in refusal(txt, "a b\n".encode("utf-16"))
    latin = b"\xef\xbb\xbfa b\r\nc d\r\ncaf\xe9 d\r\n"
    assert refusal(txt, latin) == (
        "captions.txt, line 3 has the byte 0xe9, which is not UTF-8 (invalid continuation byte)"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": "a" "b"}',
            (' is no JSON object: \'{"text": "a" "b"}\' (Expecting \',\' delimiter at column 14)'),
        ),
        ("[1]", " is no JSON object: '[1]'"),
        (
            '{"id": 7, "caption": "a"}',
            " has no column 'text' (it has 'id', 'caption'); name another with --task.column",
        ),
        ("{}", " has no column 'text' (it has no columns); name another with --task.column"),
        ('{"text": 7}', ": the column 'text' has 7, but must have a string"),
        ('{"text": null}', ": the column 'text' has None, but must have a string"),
        (
            '{"text": "a \\ud83d"}',
            ": the column 'text' has '\\ud83d', which is not Unicode (surrogates not allowed)",
        ),
    ],
)
def test_malformed_json_lines(jsonl: Path, line: str, message: str) -> None:
    content = '{"text": "a b"}\n\n' + line + '\n{"text": "b a"}\n'
    assert refusal(jsonl, content) == f"captions.jsonl, line 3{message}"


@pytest.mark.parametrize("line", ["[" * 200_000, "9" * 5000])
def test_json_beyond_what_the_parser_takes(jsonl: Path, line: str) -> None:
    message = refusal(jsonl, line)
    assert message.startswith("captions.jsonl, line 1 is no JSON object: ")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,caption\n1,a\n",
            "line 1 has no column 'text' (it has 'id', 'caption'); name another with --task.column",
        ),
        (
            "\ntext\na\n",
            "line 1 has no column 'text' (it has no columns); name another with --task.column",
        ),
        ("text,text\na,b\n", "line 1 has the column 'text' more than once"),
        # The record of lines 2 and 3 is sound, the one that starts on line 4 is not.
        (
            'id,text\n1,"a\nb"\n2,"a\nb",c\n3,a\n',
            "line 4 has 3 fields, but the header has 2",
        ),
        ("id,text\n1,a\n\n2\n", "line 4 has 1 fields, but the header has 2"),
        (
            'id,text\n1,"a\nb"\n2,"a\nb\n3,a\n',
            "line 4 is not well-formed CSV: '2,\"a' (unexpected end of data)",
        ),
        (
            'id,text\n1,"a"b\n',
            "line 2 is not well-formed CSV: '1,\"a\"b' (',' expected after '\"')",
        ),
    ],
)
def test_malformed_csv(table: Path, content: str, message: str) -> None:
    assert refusal(table, content) == f"captions.csv, {message}"


def recounted(task: FixedTask, characters: bool) -> Counter[str]:
    """Words of the training split, from its decoded texts."""
    texts = rows_of(task, "train").texts
    return Counter(word for text in texts for word in (text if characters else text.split(" ")))


def test_quatrains(reference_data: Path) -> None:
    path = reference_data / "quatrains" / "shi.txt"
    config = TextConfig(path=str(path), level="character", spaces=False, min_count=1, max_length=25)
    task = text_task(config)
    assert task.description.startswith(
        "shi.txt: 16394 texts (15993 distinct), 0 blank and 0 too long (over 25 tokens) dropped;"
    )
    for split in SPLITS:
        assert rows_of(task, split).tokens.shape == (task.size(split), 25)
        assert bool(rows_of(task, split).mask.all())
        assert set(rows_of(task, split).tokens[:, 24].tolist()) == {task.vocabulary.eos_id}
    file = Counter("".join(path.read_text(encoding="utf-8").split()))
    assert len(file) == 4771
    counts = recounted(task, characters=True)
    assert counts <= file
    assert set(task.vocabulary.words) == {"<unk>", *counts}
    # A character is lost to dev and test only if every line that holds it is: mostly the rare.
    assert 4600 < len(counts) < 4771


def test_coco_captions(reference_data: Path) -> None:
    task = text_task(TextConfig(path=str(reference_data / "coco" / "train.txt")))
    assert "10000 texts" in task.description
    assert sum(task.size(split) for split in SPLITS) == 10_000
    # A twentieth of the distinct captions, and the few copies that came along.
    assert all(490 < task.size(split) < 520 for split in ("dev", "test"))
    counts = recounted(task, characters=False)
    unknown = counts.pop("<unk>")
    assert min(counts.values()) == 2
    assert unknown > 0
    assert list(task.vocabulary.words[1:]) == sorted(counts, key=lambda word: (-counts[word], word))
    test = Counter(word for text in rows_of(task, "test").texts for word in text.split(" "))
    assert f"{test['<unk>'] / test.total():.1%} of test tokens unknown" in task.description


def test_words_of_every_script_in_a_task(tmp_path: Path) -> None:
    """Marks count for no length; texts of what nobody sees are blank; one spelling is one text."""
    texts = [
        "हिन्दी किताब",
        "می\u200cروم 👩\u200d💻",
        "déjà vu",
        "de\u0301ja\u0300 vu",
        "\ufeff",
        "\u200b",
        "a b",
    ]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    task = text_task(TextConfig(path=str(path), min_count=1, max_length=3))
    assert "5 texts (4 distinct), 2 blank and 0 too long" in task.description
    whole = {"हिन्दी", "किताब", "می\u200cروم", "👩\u200d💻", "déjà", "vu", "a", "b", "<unk>"}
    assert set(task.vocabulary.words) <= whole


def test_a_line_that_is_a_text_in_json(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text('"two\\nlines"\n"Hello."\n"\\u0000"\n""\n\nab\n', encoding="utf-8")
    assert list(stream_texts(path)) == ["two\nlines", '"Hello."', "\0", "", "", "ab"]
    assert read_texts(path) == ["two\nlines", '"Hello."', "\0", "", "ab"]
    path.write_text('a\n"\\ud83d"\n', encoding="utf-8")
    with pytest.raises(TextFileError, match=r"texts.txt, line 2 has .* which is not Unicode"):
        read_texts(path)


def test_a_language_without_spaces_is_told_how_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    animals, acts = "\u72d7\u732b\u9e1f\u9a6c", "\u8dd1\u7761\u98de\u8d70"
    texts = "\n".join(f"{animal}\u5728{act}" for animal, act in zip(animals, acts, strict=True))
    path.write_text(texts, encoding="utf-8")
    with pytest.raises(TextFileError, match=r"texts of one word .* with --task.level character"):
        text_task(TextConfig(path=str(path)))
    as_characters = TextConfig(path=str(path), level="character", min_count=1)
    assert text_task(as_characters).size("train") == 2


def all_texts(task: FixedTask) -> list[str]:
    return [text for chunk in task.chunks("train", 100) for text in chunk.texts]


def test_texts_in_memory_are_any_ordered_strings() -> None:
    for given in (tuple(GRID), np.array(GRID), iter(GRID)):
        assert all_texts(task_of_texts(given)) == all_texts(task_of_texts(GRID))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "the texts are of the type NoneType, but must be a list of strings"),
        ({"a b", "c d"}, "the texts are of the type set, but must be a list of strings"),
        ("a b c", "the texts are of the type str, but must be a list of strings"),
        (["a b", 3], "text 2 is 3, but must be a string"),
        (["a b", None], "text 2 is None, but must be a string"),
    ],
)
def test_texts_in_memory_that_are_none_are_named(given: Any, message: str) -> None:
    with pytest.raises(TextFileError, match=message):
        as_strings(given)
