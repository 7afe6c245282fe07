"""What a run says of the machine that it ran on."""

import platform
import subprocess

import torch

from seqgan.system.machine import commit, describe_machine, versions


def git(folder, *arguments):
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path):
    assert commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) == ""  # nothing is committed yet
    (tmp_path / "file").write_text("first")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert len(head) == 40
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("second")
    assert commit(tmp_path) == f"{head} with changes"
    # A folder inside of a repository is not its checkout.
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") == ""


def test_versions_are_those_that_run():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__


def test_the_machine_is_described_in_text():
    described = describe_machine()
    assert versions().items() <= described.items()
    assert described["platform"] == platform.platform()
    assert all(isinstance(value, str) and value for value in described.values())
