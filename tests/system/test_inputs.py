"""Files that a person names: opened without waiting, and long fields of CSV."""

import csv
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seqgan.evaluation.planes.published import read_points
from seqgan.judging.ratings import read_ratings
from seqgan.judging.study import Key, read_key
from seqgan.report.page import check_target
from seqgan.rewards.shipped.texts import read_weights
from seqgan.system.errors import DataError, SeqganError
from seqgan.system.files import digest_of
from seqgan.system.inputs import csv_rows, open_file
from seqgan.system.reading import read_yaml
from seqgan.tasks.files.prompts import PromptsConfig, prompts_task, read_prompts
from seqgan.tasks.files.text import TextConfig, text_task
from seqgan.tasks.files.text_files import read_texts
from seqgan.tasks.oracle import Oracle

NO_KEY = Key("", "", (), {}, {})
READERS: dict[str, Callable[[Path], object]] = {
    "texts": read_texts,
    "prompts": lambda path: read_prompts(path, "prompt"),
    "text task": lambda path: text_task(TextConfig(path=str(path))),
    "prompts task": lambda path: prompts_task(PromptsConfig(path=str(path))),
    "words": read_weights,
    "ratings": lambda path: read_ratings([path], NO_KEY),
    "key": read_key,
    "points": lambda path: read_points(path, []),
    "oracle": lambda path: Oracle.load(path, 20),
    "hash": digest_of,
    "settings": read_yaml,
    "a page in the way": check_target,
}


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_named_pipe_is_refused_and_not_waited_for(
    reader: Callable[[Path], object], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    with pytest.raises(SeqganError) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pipe_with_a_writer_is_refused_too(tmp_path: Path) -> None:
    """It would be read on some days and be empty on others, as the writer is early or late."""
    os.mkfifo(tmp_path / "pipe.txt")
    there = os.open(tmp_path / "pipe.txt", os.O_RDWR)
    os.write(there, b"the cat\n")
    with pytest.raises(DataError, match=r".*pipe.txt is a pipe, but must be a regular file"):
        read_texts(tmp_path / "pipe.txt")
    os.close(there)


def test_what_a_shell_has_opened_is_read_once() -> None:
    lines = [f"{number} cats" for number in range(100_000)]  # more than a pipe holds
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "w", encoding="utf-8") as file:
            file.write("\ufeff" + "\n".join(lines) + "\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert [text for text in read_texts(Path(f"/dev/fd/{reading}")) if text] == lines
    writer.join()
    with pytest.raises(DataError, match=r"/dev/fd/.* is a pipe, but must be a regular file"):
        digest_of(Path(f"/dev/fd/{reading}"))
    os.close(reading)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(DataError, match=f"{device} is a device, but must be a regular file"):
        open_file(Path(device), once=True)


def test_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"a")
    with open_file(tmp_path / "file") as file:
        assert file.read() == b"a"


def test_a_field_may_be_long_and_the_limit_of_the_process_stays() -> None:
    before = csv.field_size_limit()
    long = "word " * 100_000
    reader = csv.reader(["a,b", f'1,"{long}"', "2,3"], strict=True)
    assert list(csv_rows(reader)) == [["a", "b"], ["1", long], ["2", "3"]]
    assert csv.field_size_limit() == before
    bad = csv.reader(['1,"2"3'], strict=True)
    with pytest.raises(csv.Error):
        list(csv_rows(bad))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("wanted", [True, False])
def test_a_csv_file_with_a_long_field(wanted: bool, tmp_path: Path) -> None:
    long = "word " * 30_000
    columns = ("text", "other") if wanted else ("other", "text")
    path = tmp_path / "long.csv"
    path.write_text(f'{columns[0]},{columns[1]}\n"{long}",a cat\na dog,"{long}"\n')
    first, second = (long, "a dog") if wanted else ("a cat", long)
    assert read_texts(path) == [first, second]
