"""The cache of a large file: the same task, made once, and again only if it must be."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqgan import cli
from seqgan.tasks.base import FixedTask
from seqgan.tasks.files import text
from seqgan.tasks.files.text import TextConfig, TextFileError, text_task
from seqgan.tasks.files.text_cache import (
    CacheError,
    Facts,
    Files,
    FolderFiles,
    cache_folder,
    read_or_make,
)

TEXTS = [f"x{i} y{j} x{i} y{i} x{j}" for i in range(7) for j in range(7)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of caches, which the smallest file is large enough for."""
    monkeypatch.setattr(text, "CACHE_FROM", 0)
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read into splits, one entry each time."""
    calls: list[Path] = []
    original = text._pack

    def counted(path: Path, *others: Any) -> Any:
        calls.append(path)
        return original(path, *others)

    monkeypatch.setattr(text, "_pack", counted)
    return calls


def load(path: Path, cache: Path, **settings: Any) -> FixedTask:
    return text_task(TextConfig(path=str(path), cache=str(cache), **settings))


def in_memory(path: Path) -> FixedTask:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CACHE_FROM", 10**9)
        return text_task(TextConfig(path=str(path)))


def folders(cache: Path) -> list[Path]:
    return sorted(entry for entry in cache.iterdir() if entry.is_dir())


def assert_same(task: FixedTask, other: FixedTask) -> None:
    assert task.vocabulary == other.vocabulary
    for split in ("train", "dev", "test"):
        rows, others = (
            next(one.chunks(split, 1000))  # type: ignore[arg-type]
            for one in (task, other)
        )
        assert torch.equal(rows.tokens, others.tokens)
        assert torch.equal(rows.mask, others.mask)


def test_small_files_write_nothing(path: Path, tmp_path: Path) -> None:
    task = load(path, tmp_path / "cache")
    assert sorted(tmp_path.iterdir()) == [path]
    assert "cache" not in task.description


def test_cached_is_the_same_task_and_read_once(path: Path, cache: Path, made: list[Path]) -> None:
    first, second = load(path, cache), load(path, cache)
    assert len(made) == 1
    (folder,) = folders(cache)
    plain = in_memory(path)
    assert_same(first, plain)
    assert_same(second, plain)
    assert first.description == second.description
    assert first.description == f"{plain.description}; cached in {folder}"


def test_another_name_for_the_same_bytes_is_the_same_cache(
    path: Path, cache: Path, made: list[Path]
) -> None:
    load(path, cache)
    copy = path.with_name("copy.txt")
    copy.write_bytes(path.read_bytes())
    assert load(copy, cache).description.startswith("copy.txt: 49 texts")
    assert len(made) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"level": "character"},
        {"lowercase": False},
        {"spaces": False},
        {"min_count": 3},
        {"max_length": 30},
        {"dev_fraction": 0.1},
        {"test_fraction": 0.1},
        {"max_heldout": 1},
        {"seed": 1},
        {"column": "other"},
    ],
)
def test_another_setting_is_another_cache(
    path: Path, cache: Path, made: list[Path], settings: dict[str, Any]
) -> None:
    load(path, cache)
    load(path, cache, **settings)
    assert len(made) == 2
    assert len(folders(cache)) == 2


def test_other_bytes_or_another_format_are_another_cache(
    path: Path, cache: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(path, cache)
    table = path.with_suffix(".csv")
    table.write_text("text\n" + path.read_text())
    load(table, cache)
    path.write_text("\n".join(TEXTS[1:]))
    load(path, cache)
    lines = path.with_suffix(".csv")
    lines.write_bytes(path.read_bytes())
    with pytest.raises(TextFileError, match=r"has no column 'text' .*--task.column"):
        load(lines, cache)  # the bytes of a cached .txt file, read as a table
    monkeypatch.setattr(text, "CACHE_FORMAT", -1)
    load(path, cache)
    assert len(made) == 5
    assert len(folders(cache)) == 4


def test_another_unicode_version_is_another_cache(
    path: Path, cache: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(path, cache)
    monkeypatch.setattr("unicodedata.unidata_version", "1.1.5")
    load(path, cache)
    assert len(made) == len(folders(cache)) == 2


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", ["train_ids.npy", "test_starts.npy", "facts.json"])
def test_a_damaged_cache_is_made_again(
    path: Path,
    cache: Path,
    made: list[Path],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    whole = load(path, cache).description
    (folder,) = folders(cache)
    damage(folder / name)
    assert not caplog.records
    again = load(path, cache)
    assert len(made) == 2
    assert_same(again, in_memory(path))
    assert again.description == whole
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the cache {folder} is damaged (")
    assert name in record.getMessage().removeprefix(str(folder))
    assert record.getMessage().endswith("); making it again")
    assert load(path, cache).description == whole
    assert len(made) == 3  # the one in memory among them
    assert len(caplog.records) == 1
    assert list(cache.iterdir()) == [folder]


@pytest.mark.parametrize("manifest", ["", "[]", "{}", "nonsense"])
def test_a_damaged_manifest(
    path: Path,
    cache: Path,
    made: list[Path],
    caplog: pytest.LogCaptureFixture,
    manifest: str,
) -> None:
    load(path, cache)
    (folder,) = folders(cache)
    (folder / "manifest.json").write_text(manifest)
    load(path, cache)
    assert len(made) == 2
    assert len(caplog.records) == 1


def test_what_a_killed_process_left_is_no_cache(path: Path, cache: Path, made: list[Path]) -> None:
    whole = load(path, cache)
    (folder,) = folders(cache)
    half = folder.with_name(f".{folder.name}.half")
    folder.rename(half)
    (half / "test_ids.npy").unlink()
    again = load(path, cache)
    assert again.description == whole.description
    assert list(cache.iterdir()) == [folder]
    assert len(made) == 2


def test_an_error_in_the_texts_leaves_no_cache(path: Path, cache: Path) -> None:
    path.write_text("a b\na b\n")
    with pytest.raises(TextFileError, match="but at least 3 are needed"):
        load(path, cache)
    assert folders(cache) == []


def test_a_file_that_changes_while_it_is_read(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = text.number_texts

    def slow(*arguments: Any) -> Any:
        numbered = original(*arguments)
        path.write_text("\n".join(TEXTS * 2))
        return numbered

    monkeypatch.setattr(text, "number_texts", slow)
    with pytest.raises(TextFileError, match=" was changed while it was read"):
        load(path, cache)
    assert folders(cache) == []


def test_a_folder_that_cannot_be_made(path: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(CacheError) as caught:
        load(path, cache)
    message = str(caught.value)
    assert message.startswith(f"cannot write the cache {cache}/")
    assert message.endswith("; name another folder with --task.cache FOLDER")
    assert ": File exists; " in message


# Runs the command line under a limit on the size of files, which fails as a full disk does.
LIMITED = """
import resource, sys
from seqgan import cli
from seqgan.tasks.files import text
text.CACHE_FROM = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
cli.main(sys.argv[1:])
"""


def test_a_full_disk_is_one_line_that_names_the_folder(path: Path, cache: Path) -> None:
    arguments = ["train", "text", "--task.path", str(path), "--task.cache", str(cache)]
    arguments += ["--output", str(path.parent / "run")]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        # That of another test's record may have ended.
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"seqgan: cannot write the cache {cache}/")
    assert ": File too large; " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (path.parent / "run").exists()
    assert folders(cache) == []


def test_the_place_of_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder("") == Path("/elsewhere/seqgan/texts")
    assert cache_folder("here") == Path("here")
    # The XDG specification has relative paths ignored.
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder("") == Path("/home/somebody/.cache/seqgan/texts")


class Maker:
    """Fills a cache with two arrays. Before step `turn` of three, another process does the same."""

    def __init__(self, folder: Path, turn: int | None = None) -> None:
        self.folder, self.turn, self.made = folder, turn, 0

    def __call__(self, files: Files) -> Facts:
        for step, name in enumerate(("first", "second", None)):
            if step == self.turn:
                assert read_or_make(self.folder, Maker(self.folder)) == {"texts": 2}
                self.other = self.folder.stat().st_ino
            if name is not None:
                with files.create(name) as file:
                    np.save(file, np.array([step]))
        self.made += 1
        return {"texts": 2}


def check_arrays(folder: Path) -> None:
    files = FolderFiles(folder)
    assert [files.load(name).tolist() for name in ("first", "second")] == [[0], [1]]


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_the_slower_of_two_processes_uses_the_cache_of_the_faster(
    tmp_path: Path, turn: int, damaged: bool
) -> None:
    """The other one starts and ends within the first one's making, at each of its steps."""
    folder = tmp_path / "cache" / "key"
    if damaged:
        read_or_make(folder, Maker(folder))
        (folder / "second").unlink()
    slower = Maker(folder, turn)
    assert read_or_make(folder, slower) == {"texts": 2}
    assert list(folder.parent.iterdir()) == [folder]
    assert folder.stat().st_ino == slower.other
    check_arrays(folder)
    never = Maker(folder)
    assert read_or_make(folder, never) == {"texts": 2}
    assert never.made == 0


def test_an_error_of_the_disk_is_one_where_no_faster_process_is_its_reason(tmp_path: Path) -> None:
    def full(files: Files) -> Facts:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "key"
    with pytest.raises(CacheError, match=r"\S+key: No space left on device; .*--task.cache"):
        read_or_make(folder, full)
    assert list(tmp_path.iterdir()) == []


# Says that it is ready, and asks for the task when it is told to.
TOGETHER = """
import sys
from seqgan.tasks.files import text

text.CACHE_FROM = 0
print("ready", flush=True)
sys.stdin.readline()
print(text.text_task(text.TextConfig(path=sys.argv[1], cache=sys.argv[2])).description)
"""


@pytest.mark.slow
def test_processes_at_the_same_time_end_with_one_cache(
    path: Path, cache: Path, made: list[Path]
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(path), str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    descriptions = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert descriptions == [load(path, cache).description] * 3
    assert made == []
    assert len(list(cache.iterdir())) == 1
    assert_same(load(path, cache), in_memory(path))


@pytest.mark.slow
def test_a_run_from_a_cache_equals_one_from_memory(
    path: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = """
        --generator.hidden-size 4 --generator.embedding-size 4 --discriminator.hidden-size 4
        --discriminator.embedding-size 4 --pretrain.epochs 3 --pretrain.epoch-size 20
        --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16
        --adversarial.iterations 2 --adversarial.batch-size 4 --adversarial.num-rollouts 1
        --evaluation.every 2 --evaluation.num-samples 20 --evaluation.num-final 20
        --evaluation.num-heldout 2 --evaluation.temperatures 1.0 0.8 --threads 1
        --tracker.mode disabled
    """.split()
    signals = "seqgan.commands.train_run._stop_on_signals"
    monkeypatch.setattr(signals, lambda trainer, progress: None)
    threads = torch.get_num_threads()
    results = []
    for name, least in (("cached", 0), ("memory", 10**9)):
        monkeypatch.setattr(text, "CACHE_FROM", least)
        arguments = ["train", "text", "--task.path", str(path), "--task.cache", str(cache), *flags]
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--output", str(tmp_path / name)])
        assert stop.value.code == 0
        results.append(json.loads((tmp_path / name / "results.json").read_text()))
    torch.set_num_threads(threads)
    assert len(folders(cache)) == 1
    assert results[0] == results[1]
