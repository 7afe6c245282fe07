"""One text a line, and each text again from its line."""

import json
import random
import sys

import pytest

from seqgan.data.lines import as_line, from_line, json_line

TEXTS = (
    "the cat",
    ' "quoted" at both ends "',
    '"Hello there."',
    '"',
    '""',
    '"a\\nb"',
    '"\\"a\\\\nb\\""',
    'back\\slash \\n "x"',
    "",
    " ",
    "two\nlines",
    "ends in a break\n",
    "\r",
    "windows\r\n",
    "a\ttab",
    "\x00",
    "\x1b[31mred",
    "next\x85line",
    "line\u2028and\u2029paragraph",
    "form\x0bfeed\x0c\x1c\x1d\x1e\x1f",
    "\ufeffmark",
    "\ud83d",
    "half\udc00 pair",
    "é हिन्दी 👩\u200d💻",
    "\x7f\x9f",
)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_text_is_one_line_and_that_line_is_the_text(text: str) -> None:
    line = as_line(text)
    assert len(f"{line}.".splitlines()) == 1
    assert line.strip()
    assert "\t" not in line
    line.encode("utf-8")
    assert from_line(line) == text
    assert from_line(as_line(line)) == line


def test_any_text_at_all() -> None:
    rng = random.Random(0)
    letters = ['"', "\\", "n", "u", "0", *"\n\r\t \x00\x1b\x85\u2028\ufeff\ud800", "a", "é"]
    for _ in range(4_000):
        text = "".join(rng.choices(letters, k=rng.randrange(12)))
        assert from_line(as_line(text)) == text
        assert len(as_line(text).encode().decode().splitlines()) == 1


def test_every_character() -> None:
    for code in (*range(0x120), *range(0x2000, 0x2070), 0xFEFF):
        for text in (chr(code), f"a{chr(code)}b", f'"{chr(code)}"'):
            assert from_line(as_line(text)) == text
            assert len(as_line(text).splitlines()) == 1


def test_what_a_line_can_hold_is_the_line() -> None:
    for line in ("the cat", '"Hello there."', "C:\\new", '"a" and "b"', '"open', '"\\', "[1]", "3"):
        assert from_line(line) == line == as_line(line)


def test_json_keeps_letters_and_escapes_what_ends_a_line_somewhere() -> None:
    value = {"text": "é\u2028\x85\x7f\ufeff\ud83d\n", "n": [1.5, None]}
    line = json_line(value)
    assert "é" in line
    assert len(line.splitlines()) == 1
    assert json.loads(line) == value
    assert json_line({"é": 1}) == '{"é": 1}'


def test_a_file_takes_the_line_of_all_characters() -> None:
    text = "\udc00" + "".join(map(chr, (*range(0xDC00), *range(0xE000, sys.maxunicode + 1))))
    assert from_line(as_line(text).encode("utf-8").decode("utf-8")) == text
    assert from_line(as_line("\ud83d\ude00\n")) == "\U0001f600\n"  # two halves side by side
    assert as_line("\ud83d\ude00") == "\U0001f600"
