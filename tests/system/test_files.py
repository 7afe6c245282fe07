"""Files that are whole or absent: digests, durability before the name, damage, replacement."""

import os
import shutil
from pathlib import Path

import pytest

from seqgan.system.files import (
    digest_of,
    find_fault,
    name_of,
    replace_folder,
    seal,
    standing,
    write_text,
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
        assert content.startswith("sync .page.html.")
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
