"""Training from Python, in a few words.

The command line does the same with a folder, a report and wandb for each run; here a run lives in
memory unless `output` names its folder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from seqgan.commands.given import SETTINGS, configuration
from seqgan.commands.run import Run
from seqgan.report.summary import ending, results_dict
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardModel
from seqgan.system.devices import check_device
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task
from seqgan.tasks.files.text import task_of_texts
from seqgan.tracking.base import MemoryTracker, Tracker, Trackers
from seqgan.tracking.progress import Progress, silent_progress
from seqgan.tracking.table import MetricTable
from seqgan.training.final import final_evaluation
from seqgan.training.identity import identity_of
from seqgan.training.presets import PRESETS, kept_by, with_beside
from seqgan.training.run_folders import create_run, lock_run
from seqgan.training.run_results import save_results
from seqgan.training.run_trackers import check_trackers, make_trackers
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import built, kind_of
from seqgan.training.start import make_players, trainer_for


def train(
    settings: str | Path | Iterable[str] | TrainConfig = "captions",
    *,
    task: Task | str | Path | Iterable[str] | None = None,
    reward: RewardModel | Callable[..., Any] | str | Sequence[str] | None = None,
    tracker: Tracker | None = None,
    progress: bool = True,
    output: str | Path = "",
    **changes: Any,
) -> Run:
    """Trains a generator: maximum likelihood, then the game.

    Args:
        settings: a list of texts, a file of texts or of settings, the name of a preset, or settings
            of your own. Texts, a file of them and a preset have other values beside a pretrained
            `generator=`, as on the command line; other settings are taken as they are.
        task: real texts, as a task, as strings or as a file; None for the task of the settings.
        reward: a function of a text, any reward, or names as `--reward` takes them; None for the
            rewards of the settings.
        tracker: one of your own, where metrics go besides the run's record.
        progress: False shows nothing.
        output: a new folder for the run's settings, record, checkpoints and results, of which
            `seqgan report` draws a page; empty keeps the run in memory. Settings name a task and
            rewards by a file or a module, objects cannot be written down.
        changes: other settings by their dotted names: `seed=2, **{"pretrain.epochs": 3}`. From
            Python a run has no further tracker but for `trackers=("wandb", "tensorboard", "csv")`,
            as `--trackers` takes them; they record a run that has an `output`.

    Raises:
        ConfigurationError: a setting is unknown or breaks a rule.
        DataError: the texts are too few.
        RewardError: the reward failed.
        DivergedError: a loss is not finite.
    """
    if isinstance(task, str | Path):
        task, changes = None, changes | {"task.path": str(task)}
    if not isinstance(settings, str | Path | TrainConfig):
        if task is not None:
            raise ConfigurationError("texts are given twice, in front and as task")
        settings, task = "text", settings
    config = _named(str(settings), changes) if isinstance(settings, str | Path) else settings
    # The default is the command line's.
    others = config.trackers if config.trackers != TrainConfig().trackers else ()
    named = changes.get("trackers", others)
    named = (named,) if isinstance(named, str) else tuple(named)
    config = config.with_(**changes | {"trackers": named})
    if config.trackers and not str(output):
        raise ConfigurationError(
            f"{' and '.join(config.trackers)} write into a run's folder, but output is empty;"
            ' name a new folder, as output="runs/mine"'
        )
    if isinstance(reward, str | Sequence):
        config = config.with_(reward=(reward,) if isinstance(reward, str) else tuple(reward))
        reward = None
    if str(output) and task is not None:
        raise ConfigurationError(
            "the texts are objects of Python, but a run in a folder has them in a file, which its"
            ' settings name: seqgan.train("texts.txt", output=...)'
        )
    if str(output) and reward is not None:
        raise ConfigurationError(
            "the reward is an object of Python, but a run in a folder has it in a file or a module,"
            ' which its settings name: reward="./my_reward.py:FUNCTION"'
        )
    check_trackers(config)
    check_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    if task is None:
        real: Task = built("task", config.task, Task, generator=config.generator)
    else:
        real = task if isinstance(task, Task) else task_of_texts(task)
    rewards = None if reward is None else as_reward(reward, vocabulary=real.vocabulary)
    rng = torch.Generator().manual_seed(config.seed)
    players = make_players(config, real, rng, rewards)
    folder = create_run(config.with_(output=str(output)), real) if str(output) else None
    memory = MemoryTracker()
    held = nullcontext() if folder is None else lock_run(folder)
    with held, Progress() if progress else silent_progress() as shown:
        trackers: dict[str, Tracker] = {"memory": memory}
        if folder is not None:
            trackers |= make_trackers(config, players, folder.path)
        if tracker is not None:
            trackers["own"] = tracker
        everything, code = Trackers(trackers), 1
        try:
            trainer = trainer_for(
                config,
                players,
                rng,
                everything,
                shown,
                None if folder is None else folder.checkpoints,
                None if folder is None else folder.best,
            )
            if folder is not None:
                trainer.identity = identity_of(config, folder.task)
            trainer.train()
            result = final_evaluation(trainer)
            if folder is not None:
                save_results(folder, results_dict(result))
            everything.results(ending(results_dict(result), {}))
            code = 0
        finally:
            everything.close(code)
    return Run(
        config,
        trainer.players.evaluated.eval(),
        real.vocabulary,
        real.max_length,
        MetricTable(memory.logged),
        real,
        result,
        None if folder is None else folder.path,
        trainer.players.rewards,
    )


def _named(name: str, changes: Mapping[str, Any]) -> TrainConfig:
    """The settings of a preset or a file, as `seqgan train` finds them.

    Args:
        changes: those of the task may say which columns of a file are meant.

    Raises:
        SeqganError: there is none of this name.
    """
    of_task = [
        f"--{setting.replace('_', '-')}={value}"
        for setting, value in changes.items()
        if setting.startswith("task.") and isinstance(value, str)
    ]
    config = PRESETS[name]() if name in PRESETS else configuration([name, *of_task])
    if name.lower().endswith(SETTINGS):
        return config
    chosen = kind_of("generator", changes.get("generator", config.generator))
    kind = changes.get("generator.kind", chosen)
    return with_beside(config, kind, kept_by(name, kind))[0]
