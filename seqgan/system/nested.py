"""Nested settings by their dotted names."""

from collections.abc import Mapping
from typing import Any


def flat(plain: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted names with their values, `{"pretrain": {"epochs": 2}}` as `{"pretrain.epochs": 2}`."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found
