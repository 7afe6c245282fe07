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
            "standardize",
            "kl_weight",
            "kl_target",
            "update",
        )
    },
    "reward_aggregation": "rule.aggregation",
}


REMOVED = ("estimate_time",)  # which changed no number


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
            name = _present_flag(name)
        present.append(name + equals + value)
    return present


def _present_flag(flag: str) -> str:
    """`--adversarial.no-standardize` stands for `--adversarial.standardize` turned off."""
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
        value = holder.pop(name)
        section, _, name = new.rpartition(".")
        target = settings.setdefault(section, {"kind": "policy_gradient"})
        if isinstance(target, dict):
            target.setdefault(name, value)
    return settings
