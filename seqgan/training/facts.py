"""Facts about a run before it starts, beside its settings: for a tracker's configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from seqgan.learning.collection import env_arguments
from seqgan.system.machine import versions
from seqgan.tasks.base import Task
from seqgan.tasks.files.text_files import hash_file
from seqgan.training.settings import TrainConfig


def run_facts(config: TrainConfig, task: Task, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Versions, the environment, the task and the sizes of the networks, nested, in JSON types.

    Args:
        networks: those that the run trains, by name.
    """
    return {
        "versions": versions(),
        "environment": environment_facts(config, task),
        "facts": task_facts(task),
        "data": {file.name: digest for file, digest in data_files(config).items()},
        "num_parameters": {name: _count(network) for name, network in networks.items()},
    }


def environment_facts(config: TrainConfig, task: Task) -> dict[str, Any]:
    """The environment's id, and what it is made with; of its words only their number."""
    arguments = env_arguments(task, config.adversarial.batch_size)
    words = arguments.pop("words")
    mode = arguments.pop("autoreset_mode")
    del arguments["decode"]
    prompts = {"num_prompts": task.size("train")} if task.max_prompt_length else {}
    return {
        "id": "seqgan/TextGeneration-v0",
        **arguments,
        **prompts,
        "num_words": len(words),
        "autoreset_mode": mode.value,
    }


def task_facts(task: Task) -> dict[str, Any]:
    """The task's description, the sizes of its splits, and facts about its true model, if any.

    The entropy is in nats, of a sequence; `hash` is that of an oracle's weights.
    """
    facts: dict[str, Any] = {
        "description": getattr(task, "description", ""),
        "num_words": len(task.vocabulary.words),
        "max_length": task.max_length,
        "train_size": task.size("train"),
        "dev_size": task.size("dev"),
        "test_size": task.size("test"),
        "measures": list(task.measures),
        "quality": task.quality,
    }
    if task.exact is not None:
        facts["entropy"] = task.exact.entropy()
        facts["full_support"] = task.exact.full_support
        if hasattr(task.exact, "hash"):
            facts["hash"] = task.exact.hash
    return facts


def data_files(config: TrainConfig) -> dict[Path, str]:
    """SHA-256 of the file that a task's texts come from; empty for a task without a file."""
    path = Path(getattr(config.task, "path", ""))
    return {path: hash_file(path)} if path.is_file() else {}


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
