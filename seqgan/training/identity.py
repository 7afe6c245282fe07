"""A run's settings and vocabulary as its checkpoints know them, so that an edit does not pass.

`config.yaml` and `task.json` decide what the numbers of a checkpoint mean. Each checkpoint has the
settings and the digest of `task.json`; who opens the run compares them. A run that was made before
checkpoints had them is read as it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from seqgan.system.errors import ConfigurationError
from seqgan.system.files import digest_of
from seqgan.system.nested import flat
from seqgan.tasks.base import Task
from seqgan.training.config_files import plain_settings
from seqgan.training.inputs import Input, same_inputs
from seqgan.training.moved import present_settings
from seqgan.training.settings import TrainConfig

# Settings with which a run goes on and gives the same numbers; and its end, which may come later.
FREE = (
    *("device", "threads", "checkpoint_seconds", "checkpoint_keep"),
    *("output", "tracker", "trackers"),
    "adversarial.iterations",
)
ROWS = 64  # of each split, whose tokens stand for all


def identity_of(config: TrainConfig, task_file: Path) -> dict[str, Any]:
    """The settings and the digest that a checkpoint keeps of its run, in JSON's types.

    Args:
        config: as `config.yaml` holds it.
        task_file: the run's `task.json`.
    """
    return {"settings": plain_settings(config), "task.json": digest_of(task_file)}


def check_unedited(
    folder: Path, config: TrainConfig, inputs: Sequence[Input], identity: Mapping[str, Any]
) -> None:
    """Checks that `config.yaml` and `task.json` are those with which a run was trained.

    Args:
        folder: the run's.
        config: its settings as they are read now; inputs that have only moved may lie elsewhere.
        identity: of its checkpoint; empty in one of an older version.

    Raises:
        ConfigurationError: one was edited.
    """
    if not identity:
        return
    check_task_file(folder, identity)
    if edits := differences(identity.get("settings", {}), config, inputs):
        name, value, other = edits[0]
        more = f" and {len(edits) - 1} more" if len(edits) > 1 else ""
        raise ConfigurationError(
            f"{folder / 'config.yaml'} was edited after the run had begun: {name} was"
            f" {value!r} and is {other!r}{more}; put it back, and begin a new run with"
            f" other settings: seqgan train --fork {folder} --{name.replace('_', '-')} ..."
        )


def check_task_file(folder: Path, identity: Mapping[str, Any]) -> None:
    """Checks that `task.json` is as it was; raises as `check_unedited` does."""
    now = digest_of(folder / "task.json")
    before = identity.get("task.json", now)
    if before != now:
        raise ConfigurationError(
            f"{folder / 'task.json'} was edited after the run was made (sha256"
            f" {before[:12]} then, {now[:12]} now); put it back"
        )


def differences(
    recorded: Mapping[str, Any], config: TrainConfig, inputs: Sequence[Input]
) -> list[tuple[str, Any, Any]]:
    """The names of settings with other values, and both values; not of those that are free.

    A setting that names the same content at another place is not among them, nor one that a newer
    version has brought.
    """
    before, now = (flat(plain) for plain in (present_settings(recorded), plain_settings(config)))
    return [
        (name, value, now[name])
        for name, value in before.items()
        if name in now
        and now[name] != value
        and not any(f"{name}.".startswith(f"{free}.") for free in FREE)
        and not same_inputs(name, value, now[name], inputs)
    ]


def fingerprint(task: Task) -> str:
    """A digest of a few rows of each split, and of their numbers; "" where a true model drew them.

    It finds what no file's digest can: data of a task of the user's own, or of a version that cuts
    texts otherwise. What a model drew may differ in a last bit between two processors.
    """
    if task.exact is not None:
        return ""
    digest = hashlib.sha256()
    for split in ("train", "dev", "test"):
        size = task.size(split)
        rows = task.rows(split, torch.arange(min(size, ROWS)) * size // max(min(size, ROWS), 1))
        tokens = [row[real].tolist() for row, real in zip(rows.tokens, rows.mask, strict=True)]
        prompts: list[list[int]] = []
        if rows.prompts is not None and rows.prompt_mask is not None:
            pairs = zip(rows.prompts, rows.prompt_mask, strict=True)
            prompts = [row[real].tolist() for row, real in pairs]
        digest.update(json.dumps([split, size, tokens, prompts]).encode())
    return digest.hexdigest()
