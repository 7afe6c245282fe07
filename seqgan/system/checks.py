"""Rules that many settings have, checked where a settings dataclass is made."""

from collections.abc import Mapping

from seqgan.system.errors import ConfigurationError


def at_least(where: str, config: object, least: Mapping[str, int]) -> None:
    """Checks that fields of `config` are not below their bounds.

    Args:
        where: the section of the settings, as errors name it.

    Raises:
        ConfigurationError: a field is below its bound, or NaN.
    """
    for name, bound in least.items():
        value = getattr(config, name)
        if not value >= bound:
            raise ConfigurationError(f"{where}.{name} is at least {bound}, got {value}")


def above_zero(where: str, config: object, *names: str) -> None:
    """Checks that fields of `config` are above 0 and finite.

    Raises:
        ConfigurationError: a field is not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 < value < float("inf"):
            raise ConfigurationError(f"{where}.{name} is above 0 and finite, got {value}")


def in_unit_interval(where: str, config: object, *names: str) -> None:
    """Checks that fields of `config` are in [0, 1).

    Raises:
        ConfigurationError: a field is not.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise ConfigurationError(f"{where}.{name} is in [0, 1), got {value}")
