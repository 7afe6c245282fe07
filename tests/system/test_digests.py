"""Files and folders known again by their content."""

import os
from pathlib import Path

import pytest

from seqgan.system import digests
from seqgan.system.digests import (
    digests as digests_of,
)
from seqgan.system.digests import (
    exists,
    hub_revision,
    imported_files,
    module_file,
    moved_files,
    parts_of,
    stamp,
)


def test_what_exists_is_a_file_or_a_folder_and_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    os.mkfifo(tmp_path / "pipe.txt")
    assert exists(str(tmp_path / "a.txt"))
    assert exists(str(tmp_path))
    assert not exists(str(tmp_path / "pipe.txt"))
    assert not exists("")
    assert not exists("/dev/zero")


def test_notes_and_hidden_files_of_a_folder_decide_nothing(tmp_path: Path) -> None:
    for name in ("config.json", "README.md", ".gitattributes", "cache-1.arrow", "model.bin"):
        (tmp_path / name).write_text(name)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_text("o")
    assert list(parts_of(tmp_path)) == ["config.json", "model.bin", "onnx/model.onnx"]
    assert list(parts_of(tmp_path, weights=False)) == ["config.json"]


def test_of_a_run_its_newest_checkpoint_counts(tmp_path: Path) -> None:
    for name in ("config.yaml", "task.json", "report.html"):
        (tmp_path / name).write_text(name)
    for step in ("00000002", "00000010", ".00000011.writing"):
        (tmp_path / "checkpoints" / step).mkdir(parents=True)
        (tmp_path / "checkpoints" / step / "manifest.json").write_text("{}")
    expected = ["config.yaml", "task.json", "checkpoints/00000010/manifest.json"]
    assert list(parts_of(tmp_path)) == expected


def test_a_python_file_comes_with_what_it_imports(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (tmp_path / "reward.py").write_text(
        "import math\nimport words\nfrom package import part\n\ndef f(text):\n    import late\n"
    )
    (tmp_path / "words.py").write_text("from deeper import X\n")
    (tmp_path / "deeper.py").write_text("import reward\nimport seqgan\n")  # around in a circle
    (tmp_path / "seqgan.py").write_text("")
    (tmp_path / "late.py").write_text("not Python at all")
    (tmp_path / "unused.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("from . import other\nfrom .more import name\n")
    (package / "other.py").write_text("")
    (package / "more.py").write_text("from package import other\n")
    assert list(imported_files(tmp_path / "reward.py")) == [
        "deeper.py",
        "late.py",
        "package/__init__.py",
        "package/more.py",
        "package/other.py",
        "package/part.py",
        "words.py",
    ]
    assert list(imported_files(package / "more.py")) == [
        "package/__init__.py",
        "package/other.py",
    ]


def test_a_module_of_ones_own_has_a_file_and_an_installed_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_judge.py").write_text("raise RuntimeError('imported')\n")
    assert module_file("own_judge") == tmp_path / "own_judge.py"
    assert module_file("own_judge.part") is None
    assert module_file("numpy") is None
    assert module_file("json") is None
    assert module_file("nowhere") is None


def test_a_large_file_that_lies_still_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"12345678")
    assert stamp(parts_of(path)) == ""
    monkeypatch.setattr(digests, "LARGE", 8)
    before, times = stamp(parts_of(path)), path.stat()
    assert before == stamp(parts_of(path)) != ""
    path.write_bytes(b"12345679")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been written
    assert stamp(parts_of(path)) != before
    assert digests_of(parts_of(path)) != digests_of({"": Path(__file__)})


def test_a_moved_file_is_looked_for_nearby_by_its_size_and_ending(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deep").mkdir()
    for name, content in (
        ("data/other.txt", "1234"),
        ("z.txt", "1234"),
        ("data/short.txt", "123"),
        ("data/four.csv", "1234"),
        ("data/deep/four.txt", "1234"),
    ):
        (tmp_path / name).write_text(content)
    found = [path.name for path in moved_files("z.txt", 4, [tmp_path, tmp_path])]
    assert found == ["z.txt", "other.txt"]
    assert list(moved_files("z.txt", 4, [tmp_path / "nowhere"])) == []


def test_the_revision_of_a_name_on_the_hub_is_in_the_local_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name, commit in (("models--org--small", "abc"), ("datasets--me--pairs", "def")):
        (tmp_path / "hub" / name / "refs").mkdir(parents=True)
        (tmp_path / "hub" / name / "refs" / "main").write_text(f"{commit}\n")
    assert hub_revision("org/small") == "abc"
    assert hub_revision("me/pairs:train") == "def"
    assert hub_revision("org/none") == ""
