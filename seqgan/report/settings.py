"""The settings of runs beside those of the preset that they are nearest to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqgan.report.recorded import Recorded
from seqgan.system.nested import flat
from seqgan.training.presets import PRESETS


@dataclass(frozen=True)
class Setting:
    """One setting, under its dotted name.

    Args:
        values: one for each run.
        preset: the preset's own value.
        changed: whether a run departs from the preset.
    """

    name: str
    values: tuple[str, ...]
    preset: str
    changed: bool


def compared_settings(runs: Sequence[Recorded]) -> tuple[str, list[Setting]]:
    """The preset from which the runs depart least, and every setting beside it."""
    given = [flatten(run.config) for run in runs]
    presets = {name: flatten(asdict(preset())) for name, preset in PRESETS.items()}
    nearest = min(presets, key=lambda name: sum(_differences(one, presets[name]) for one in given))
    preset = presets[nearest]
    settings = []
    for name in dict.fromkeys(name for one in given for name in one):
        values = tuple(one.get(name, "") for one in given)
        own = preset.get(name, "")
        # A run that is older than a setting has not changed it.
        changed = any(one.get(name, own) != own for one in given)
        settings.append(Setting(name, values, own, changed))
    return nearest, settings


def flatten(nested: Mapping[str, Any]) -> dict[str, str]:
    """Dotted names to values as text; lists are joined by commas."""
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in flat(nested).items()
    }


def _differences(run: Mapping[str, str], preset: Mapping[str, str]) -> int:
    return sum(run.get(name) != preset.get(name) for name in {**run, **preset})
