"""What functions that measure return: numbers by the names of the metric list."""

from collections.abc import Mapping

# int is spelled out because checks at run time, unlike type checkers, tell it from float.
Metrics = Mapping[str, float | int]
