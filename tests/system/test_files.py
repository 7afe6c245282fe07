"""Files that are whole or absent: digests, durability before the name, damage, replacement."""

import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from seqgan.system import files
from seqgan.system.errors import DataError
from seqgan.system.files import (
    append_to,
    cut,
    digest_of,
    find_fault,
    make_folder,
    making,
    name_of,
    next_free,
    replace_folder,
    seal,
    standing,
    write_text,
    writing,
)


def sealed(folder, content="content"):
    folder.mkdir()
    (folder / "b.txt").write_text(content)
    (folder / "a.txt").write_text("other")
    seal(folder)
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def events(monkeypatch):
    """Every sync and renaming, in order, by the names of the files."""
    seen = []
    opened, synced, renamed, replaced = os.open, os.fsync, Path.rename, Path.replace
    handles = {}

    def open_(path, *others, **named):
        handle = opened(path, *others, **named)
        handles[handle] = Path(path).name
        return handle

    def fsync(handle):
        seen.append(f"sync {handles[handle]}")
        synced(handle)

    def rename(path, target):
        seen.append(f"rename to {Path(target).name}")
        return renamed(path, target)

    def replace(path, target):
        seen.append(f"rename to {Path(target).name}")
        return replaced(path, target)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "replace", replace)
    return seen


def test_the_digest_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")  # the example of FIPS 180-2
    assert digest_of(path).startswith("ba7816bf8f01cfea414140de5dae2223b00361a396177a9c")


class TestText:
    def test_replaces_what_was_there_and_leaves_nothing_beside_it(self, tmp_path):
        for text in ("caf\u00e9", ""):
            write_text(tmp_path / "page.html", text)
            assert (tmp_path / "page.html").read_text("utf-8") == text
        assert names(tmp_path) == ["page.html"]

    def test_is_durable_before_it_gets_its_name(self, tmp_path, events):
        write_text(tmp_path / "page.html", "text")
        (content, *rest) = events
        assert content.startswith("sync .seqgan-")
        assert rest == ["rename to page.html", f"sync {tmp_path.name}"]

    def test_what_cannot_be_written_leaves_the_file_before(self, tmp_path, monkeypatch):
        write_text(tmp_path / "page.html", "old")

        def full(handle):
            raise OSError("No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_text(tmp_path / "page.html", "new")
        assert (tmp_path / "page.html").read_text() == "old"
        assert names(tmp_path) == ["page.html"]


class TestSealed:
    def test_a_whole_folder_has_no_fault(self, tmp_path):
        folder = sealed(tmp_path / "folder")
        assert find_fault(folder, ("a.txt", "b.txt")) == ""
        assert find_fault(folder, ("a.txt",)) == ""

    @pytest.mark.parametrize("content", ["conten", "Content", "", None])
    def test_a_file_that_changed_is_named(self, tmp_path, content):
        folder = sealed(tmp_path / "folder")
        (folder / "b.txt").unlink()
        if content is not None:
            (folder / "b.txt").write_text(content)
        assert "b.txt" in find_fault(folder, ("a.txt",))

    @pytest.mark.parametrize("content", ["", "[]", "{}", "5", "{", '{"b.txt": "0"}'])
    def test_a_manifest_that_is_none(self, tmp_path, content):
        folder = sealed(tmp_path / "folder")
        (folder / "manifest.json").write_text(content)
        assert find_fault(folder, ("a.txt",))

    def test_a_folder_that_is_not_there(self, tmp_path):
        assert "No such file" in find_fault(tmp_path / "folder", ())

    def test_all_files_are_durable_and_then_their_names(self, tmp_path, events):
        sealed(tmp_path / "folder")
        assert events == ["sync a.txt", "sync b.txt", "sync manifest.json", "sync folder"]

    def test_sealing_again_takes_in_what_is_new(self, tmp_path):
        folder = sealed(tmp_path / "folder")
        (folder / "c.txt").write_text("new")
        seal(folder)
        assert find_fault(folder, ("a.txt", "b.txt", "c.txt")) == ""


class TestReplacing:
    def test_a_folder_takes_the_place_of_another(self, tmp_path):
        target = sealed(tmp_path / "target", "old")
        replace_folder(sealed(tmp_path / "new", "new"), target)
        assert (target / "b.txt").read_text() == "new"
        assert names(tmp_path) == ["target"]
        assert standing(target) == target

    def test_there_need_be_none(self, tmp_path):
        replace_folder(sealed(tmp_path / "new", "new"), tmp_path / "target")
        assert names(tmp_path) == ["target"]

    def test_after_a_kill_between_the_renames_the_old_one_is_found(self, tmp_path, monkeypatch):
        target = sealed(tmp_path / "target", "old")
        new, original = sealed(tmp_path / "new", "new"), Path.rename

        def killed(path, place):
            if path == new:
                raise KeyboardInterrupt
            return original(path, place)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                replace_folder(new, target)
        assert not target.exists()
        assert (standing(target) / "b.txt").read_text() == "old"
        assert name_of(standing(target)) == "target"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                replace_folder(new, target)  # the old one is not lost
        assert (standing(target) / "b.txt").read_text() == "old"
        replace_folder(new, target)
        assert (standing(target) / "b.txt").read_text() == "new"
        assert names(tmp_path) == ["target"]

    def test_what_a_kill_after_the_renames_left_is_not_found(self, tmp_path):
        target = sealed(tmp_path / "target", "new")
        shutil.copytree(target, tmp_path / ".target.replaced")
        assert standing(target) == target
        replace_folder(sealed(tmp_path / "newest", "newest"), target)
        assert names(tmp_path) == ["target"]

    def test_names(self, tmp_path):
        assert name_of(tmp_path / "00000007") == "00000007"
        assert name_of(tmp_path / ".00000007.replaced") == "00000007"
        assert name_of(tmp_path / ".00000007.writing") == ".00000007.writing"


class TestWriting:
    def test_a_link_is_replaced_and_its_target_left_alone(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "page.html").symlink_to("precious")
        write_text(tmp_path / "page.html", "page")
        assert (tmp_path / "precious").read_text() == "precious"
        assert (tmp_path / "page.html").read_text() == "page"
        assert not (tmp_path / "page.html").is_symlink()

    @pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
    def test_the_mode_is_that_of_new_files(self, tmp_path, mask):
        """Also where a library puts a file of its owner's alone in its place."""
        before = os.umask(mask)
        try:
            with writing(tmp_path / "file") as temporary:
                temporary.unlink()
                temporary.touch(0o600)
            folder = sealed(tmp_path / "folder")
            (folder / "a.txt").chmod(0o600)
            seal(folder)
        finally:
            os.umask(before)
        for path in (tmp_path / "file", folder / "a.txt", folder / "manifest.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    def test_an_error_leaves_the_file_before(self, tmp_path, error):
        write_text(tmp_path / "file", "old")

        def half():
            with writing(tmp_path / "file") as temporary:
                temporary.write_text("half")
                raise error

        with pytest.raises(error):
            half()
        assert (tmp_path / "file").read_text() == "old"
        assert names(tmp_path) == ["file"]

    def test_what_killed_processes_left_goes_after_a_day(self, tmp_path):
        old, new = tmp_path / ".seqgan-0.tmp", tmp_path / ".seqgan-1.tmp"
        for folder in (old, new):
            folder.mkdir()
            (folder / "file").touch()
        os.utime(old, (0, 0))
        write_text(tmp_path / "file", "text")
        assert names(tmp_path) == [".seqgan-1.tmp", "file"]


class TestMaking:
    def test_the_folder_has_its_name_when_it_is_whole_and_durable(self, tmp_path, events):
        with making(tmp_path / "run") as folder:
            (folder / "a.txt").write_text("a")
            (folder / "inner").mkdir()
            (folder / "inner" / "b.txt").write_text("b")
            assert not (tmp_path / "run").exists()
        assert events == [
            *("sync a.txt", "sync b.txt", "sync inner", f"sync {folder.name}"),
            *("rename to run", f"sync {tmp_path.name}"),
        ]
        assert names(tmp_path) == ["run"]

    def test_an_error_leaves_nothing_not_even_the_folders_above(self, tmp_path):
        def full():
            with making(tmp_path / "a" / "b" / "run") as folder:
                (folder / "file").touch()
                raise OSError("full")

        with pytest.raises(OSError, match="full"):
            full()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    @pytest.mark.parametrize("kind", ["folder", "file", "link"])
    def test_nothing_is_written_over(self, tmp_path, when, kind):
        def come():
            match kind:
                case "folder":
                    (tmp_path / "run").mkdir()
                    (tmp_path / "run" / "precious").touch()
                case "file":
                    (tmp_path / "run").touch()
                case "link":
                    (tmp_path / "run").symlink_to("nowhere")

        if when == "before":
            come()
        with pytest.raises(FileExistsError), making(tmp_path / "run"):
            come()
        assert names(tmp_path) == ["run"]
        assert (tmp_path / "run" / "precious").exists() == (kind == "folder")

    @pytest.mark.parametrize("kind", ["file", "dangling link", "link to itself"])
    def test_what_is_no_folder_in_the_place_of_one_above(self, tmp_path, kind):
        if kind == "file":
            (tmp_path / "file").touch()
        else:
            (tmp_path / "file").symlink_to("nowhere" if kind == "dangling link" else "file")
        with pytest.raises(NotADirectoryError), making(tmp_path / "file" / "run"):
            pass
        assert names(tmp_path) == ["file"]

    def test_a_way_through_a_folder_that_is_not_there_yet(self, tmp_path):
        with making(tmp_path / "new" / ".." / "run") as folder:
            (folder / "file").touch()
        assert names(tmp_path) == ["new", "run"]


class TestCutting:
    def test_leaves_the_start_and_other_names(self, tmp_path):
        (tmp_path / "file").write_text("0123456789")
        cut(tmp_path / "file", 8)
        (tmp_path / "copy").hardlink_to(tmp_path / "file")
        cut(tmp_path / "file", 3)
        assert (tmp_path / "file").read_text() == "012"
        assert (tmp_path / "copy").read_text() == "01234567"

    @pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
    def test_only_files(self, tmp_path, kind):
        (tmp_path / "precious").write_text("precious")
        place = tmp_path / "place"
        match kind:
            case "link":
                place.symlink_to("precious")
            case "pipe":
                os.mkfifo(place)
            case "folder":
                place.mkdir()
        for write in (append_to, lambda path: cut(path, 0)):
            with pytest.raises(DataError, match=f"{place} is a link, pipe or folder, but must"):
                write(place)
        assert (tmp_path / "precious").read_text() == "precious"


# Elsewhere a file is opened for writing only where nobody looks for it yet: the number of places.
UNNAMED = {
    "commands/frontier.py": 1,  # the file that `writing` gives
    "commands/judge.py": 1,  # as well
    "exporting/recipe.py": 1,  # the new folder, before it has its name
    "exporting/scratch.py": 1,  # the folder that `making` gives
    "tasks/files/text_cache.py": 2,  # the folder of a cache, before it has its name
    "training/checkpoints.py": 1,  # the folder of a checkpoint, before it has its name
}
WRITES = re.compile(
    r"\.write_(text|bytes)\(|\bopen\([^)]*[\"'][rb]*[wxa][b+]*[\"']|copyfile|os\.truncate"
)


def test_every_file_is_written_here():
    package = Path(files.__file__).parents[1]
    found = {}
    for path in sorted(package.rglob("*.py")):
        if number := len(WRITES.findall(path.read_text("utf-8"))):
            found[str(path.relative_to(package))] = number
    assert found.pop("system/files.py") > 3
    assert found == UNNAMED


def test_a_name_that_nobody_chose_is_the_next_free_one(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("whole")

    made = [make_folder(tmp_path / "a.b" / "run", fill, numbered=True) for _ in range(3)]
    assert [path.name for path in made] == ["run", "run-2", "run-3"]
    assert all((path / "file").read_text() == "whole" for path in made)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")  # is no free name either
    assert next_free(tmp_path / "link") == tmp_path / "link-2"
    with pytest.raises(FileExistsError):
        make_folder(made[0], fill)


def test_two_that_take_a_name_at_once_get_one_each(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("slow")
        (tmp_path / "run").mkdir(exist_ok=True)  # somebody else was quicker
        (tmp_path / "run" / "file").write_text("quick")

    assert make_folder(tmp_path / "run", fill, numbered=True) == tmp_path / "run-2"
    assert (tmp_path / "run" / "file").read_text() == "quick"
    assert (tmp_path / "run-2" / "file").read_text() == "slow"


def test_an_error_of_what_fills_a_folder_is_no_name_that_is_taken(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        raise FileExistsError("of its own")

    with pytest.raises(FileExistsError, match="of its own"):
        make_folder(tmp_path / "run", fill, numbered=True)


def test_bytes_of_a_file_name_are_written_so_that_json_reads_them(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", json.dumps({"path": "caf\udce9 é"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"path": "caf\udce9 é"}
