"""The type that measuring functions return: numbers by metric name."""

from collections.abc import Mapping

# int is spelled out because checks at run time, unlike type checkers, tell it from float.
Metrics = Mapping[str, float | int]
