"""Settings of earlier versions that have another place now, or none. Files understand them all."""

from collections.abc import Mapping, Sequence
from typing import Any

# Old dotted names, and the new ones.
MOVED = {
    **{
        f"adversarial.{name}": f"rule.{name}"
        for name in (
            "learning_rate",
            "num_rollouts",
            "rollout_decay",
            "rollout_stride",
            "rollout_chunk",
            "baseline",
            "baseline_decay",
            "rescale",
            "kl_weight",
            "kl_target",
            "update",
        )
    },
    "reward_aggregation": "rule.aggregation",
}


REMOVED = ("estimate_time",)  # which changed no number
# Settings that were on or off, and the setting of several values that has taken their place.
_SCALE = ("rule.scale", {True: "batch", False: "none"})
SWITCHES = {"rule.standardize": _SCALE, "adversarial.standardize": _SCALE}


def present_setting(name: str, value: Any) -> tuple[str, Any]:
    """A setting as it is called now, and its value as it is written now."""
    if name in SWITCHES and isinstance(value, bool):
        present, values = SWITCHES[name]
        return present, values[value]
    return present_name(name), value


def present_name(name: str) -> str:
    """The dotted name of a setting as it is called now."""
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def present_flags(flags: Sequence[str]) -> list[str]:
    """Command-line flags with the present names of their settings."""
    present = []
    for flag in flags:
        name, equals, value = flag.partition("=")
        if name.startswith("--"):
            if switched := _switched(name, equals + value):
                present += switched
                continue
            name = _present_flag(name)
        present.append(name + equals + value)
    return present


def _switched(flag: str, value: str) -> list[str]:
    """The flags for a switch that has become a setting of several values; empty for others."""
    section, _, name = flag[2:].replace("-", "_").rpartition(".")
    on = not name.startswith("no_")
    if value or (old := f"{section}.{name.removeprefix('no_')}") not in SWITCHES:
        return []
    present, values = SWITCHES[old]
    return [f"--{present.replace('_', '-')}", values[on]]


def _present_flag(flag: str) -> str:
    """`--a.no-switch` stands for `--a.switch` turned off."""
    section, dot, name = flag[2:].replace("-", "_").rpartition(".")
    off = "no_" if name.startswith("no_") else ""
    present = present_name(section + dot + name.removeprefix("no_"))
    section, dot, name = present.rpartition(".")
    return "--" + (section + dot + off + name).replace("_", "-")


def present_settings(plain: Mapping[Any, Any]) -> dict[Any, Any]:
    """The nested settings of a file, each in its present place.

    A setting that stands in both places keeps the present one.
    """
    settings = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()
    }
    for name in REMOVED:
        settings.pop(name, None)
    if isinstance(settings.get("rule"), str):
        settings["rule"] = {"kind": settings["rule"]}
    for old, new in MOVED.items():
        section, _, name = old.rpartition(".")
        holder = settings.get(section) if section else settings
        if not isinstance(holder, dict) or name not in holder:
            continue
        _put(settings, new, holder.pop(name))
    for old, (new, values) in SWITCHES.items():
        section, _, name = old.rpartition(".")
        holder = settings.get(section)
        if isinstance(holder, dict) and isinstance(holder.get(name), bool):
            _put(settings, new, values[holder.pop(name)])
    return settings


def _put(settings: dict[Any, Any], dotted: str, value: Any) -> None:
    """Sets a setting of a rule, if it is not there."""
    section, _, name = dotted.rpartition(".")
    target = settings.setdefault(section, {"kind": "policy_gradient"})
    if isinstance(target, dict):
        target.setdefault(name, value)
