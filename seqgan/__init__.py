"""Text generation as reinforcement learning, with adversaries.

The names below are imported when they are first used, so that `import seqgan` costs nothing. It
registers the environments: `gymnasium.make("seqgan/TextGeneration-v0")` works after it.
"""

import sys

TYPE_CHECKING = False  # of `typing`, whose import takes longer than all else here

__version__ = "0.2.0"

if TYPE_CHECKING:
    from typing import Any

    from seqgan.commands.notebook import train
    from seqgan.commands.run import Run, evaluate, load, sample
    from seqgan.data.sequences import Sequences, Trajectories
    from seqgan.data.vocabulary import Vocabulary
    from seqgan.functional import advantages, losses
    from seqgan.learning import rollouts
    from seqgan.learning.dense_rewards import MonteCarloReward, dense_reward
    from seqgan.learning.environments import make_env
    from seqgan.learning.players import Players
    from seqgan.learning.rules.base import LearningRule
    from seqgan.models.discriminators.base import Discriminator
    from seqgan.models.generators.base import Generator
    from seqgan.rewards.adapters.functions import as_reward
    from seqgan.rewards.adapters.trl import as_trl
    from seqgan.rewards.base import RewardModel
    from seqgan.rewards.conformance import check_reward
    from seqgan.rewards.weighted import WeightedSum
    from seqgan.tasks.base import FixedTask, Measure, Task
    from seqgan.tracking.base import Tracker
    from seqgan.training import presets
    from seqgan.training.observers import Observer
    from seqgan.training.phases.base import Phase
    from seqgan.training.settings import TrainConfig
    from seqgan.training.trainer import Trainer

# Each name with its module; a name that ends its module is the module.
_PLACES = {
    "Discriminator": "seqgan.models.discriminators.base",
    "FixedTask": "seqgan.tasks.base",
    "Generator": "seqgan.models.generators.base",
    "LearningRule": "seqgan.learning.rules.base",
    "Measure": "seqgan.tasks.base",
    "MonteCarloReward": "seqgan.learning.dense_rewards",
    "Observer": "seqgan.training.observers",
    "Phase": "seqgan.training.phases.base",
    "Players": "seqgan.learning.players",
    "RewardModel": "seqgan.rewards.base",
    "Run": "seqgan.commands.run",
    "Sequences": "seqgan.data.sequences",
    "Task": "seqgan.tasks.base",
    "TrainConfig": "seqgan.training.settings",
    "Tracker": "seqgan.tracking.base",
    "Trainer": "seqgan.training.trainer",
    "Trajectories": "seqgan.data.sequences",
    "Vocabulary": "seqgan.data.vocabulary",
    "WeightedSum": "seqgan.rewards.weighted",
    "advantages": "seqgan.functional.advantages",
    "as_reward": "seqgan.rewards.adapters.functions",
    "as_trl": "seqgan.rewards.adapters.trl",
    "check_reward": "seqgan.rewards.conformance",
    "dense_reward": "seqgan.learning.dense_rewards",
    "evaluate": "seqgan.commands.run",
    "load": "seqgan.commands.run",
    "losses": "seqgan.functional.losses",
    "make_env": "seqgan.learning.environments",
    "presets": "seqgan.training.presets",
    "rollouts": "seqgan.learning.rollouts",
    "sample": "seqgan.commands.run",
    "train": "seqgan.commands.notebook",
}

__all__ = [
    "Discriminator",
    "FixedTask",
    "Generator",
    "LearningRule",
    "Measure",
    "MonteCarloReward",
    "Observer",
    "Phase",
    "Players",
    "RewardModel",
    "Run",
    "Sequences",
    "Task",
    "Tracker",
    "TrainConfig",
    "Trainer",
    "Trajectories",
    "Vocabulary",
    "WeightedSum",
    "advantages",
    "as_reward",
    "as_trl",
    "check_reward",
    "dense_reward",
    "evaluate",
    "load",
    "losses",
    "make_env",
    "presets",
    "rollouts",
    "sample",
    "train",
]


def __getattr__(name: str) -> "Any":
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module 'seqgan' has no attribute {name!r}")
    place = _PLACES[name]
    module = importlib.import_module(place)
    value = module if place.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _WithGymnasium:
    """Registers the environments in the moment in which gymnasium is imported.

    Gymnasium 1.x asks no entry points, and importing it here would take most of the time of
    `seqgan --help`.
    """

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name != "gymnasium":
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: "Any") -> None:
                execute(module)
                import seqgan_envs  # noqa: F401

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "gymnasium" in sys.modules:
    import seqgan_envs  # noqa: F401
else:
    sys.meta_path.insert(0, _WithGymnasium())
