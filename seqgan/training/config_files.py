"""Settings as YAML files: written with every field spelt out, read with errors in one line."""

import difflib
import types
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from seqgan.system.errors import ConfigurationError
from seqgan.training.moved import present_settings
from seqgan.training.settings import (
    TrainConfig,
)


def save_config(config: TrainConfig, path: Path) -> None:
    """Writes the configuration as YAML, every field spelt out."""
    plain = _plain(asdict(config))
    path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_config(path: Path) -> TrainConfig:
    """Reads a YAML file that `save_config` or a person wrote; absent fields keep their defaults.

    Raises:
        ConfigurationError: no such file, no YAML, an unknown field (with the nearest known one), a
            value of the wrong type or out of range.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"a configuration is a YAML file, got {path}: no such file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"a configuration is a readable YAML file, {path}: {error}"
        ) from error
    except yaml.YAMLError as error:
        summary = " ".join(str(error).split())
        raise ConfigurationError(f"a configuration is a YAML file, {path}: {summary}") from error
    if not isinstance(plain, dict):
        raise ConfigurationError(f"a configuration is a YAML mapping, {path} holds {plain!r}")
    try:
        return _build(TrainConfig, present_settings(plain), "")
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML can say."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _build(annotation: Any, value: Any, where: str) -> Any:
    """A value of the annotated type from plain YAML; `where` is its dotted name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (types.UnionType, Union):
        return _build(_of_kind(arguments, value, where), value, where)
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _build_dataclass(annotation, value, where)
    if origin is tuple:
        if isinstance(value, str):  # one stands for a list of one
            value = [value]
        if not isinstance(value, list):
            raise ConfigurationError(f"{where} is a list, got {value!r}")
        return tuple(_build(arguments[0], item, where) for item in value)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(str(argument) for argument in arguments)
            raise ConfigurationError(f"{where} is one of {known}, got {value!r}")
        return value
    if annotation is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as a string
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(f"{where} is a number, got {value!r}") from error
    if type(value) is not annotation:
        raise ConfigurationError(f"{where} is of type {annotation.__name__}, got {value!r}")
    return value


def _build_dataclass(annotation: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is a mapping, got {value!r}")
    hints = get_type_hints(annotation)
    names = [item.name for item in fields(annotation)]
    for name in value:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; the nearest known field is {near[0]}" if near else ""
            raise ConfigurationError(f"unknown field {_dotted(where, name)}{hint}")
    built = {name: _build(hints[name], item, _dotted(where, name)) for name, item in value.items()}
    return annotation(**built)


def _dotted(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _of_kind(candidates: tuple[Any, ...], value: Any, where: str) -> Any:
    """The dataclass whose `kind` field admits the kind that the mapping names."""
    kinds = {
        kind: candidate
        for candidate in candidates
        for kind in get_args(get_type_hints(candidate)["kind"])
    }
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigurationError(f"{where} has a kind, one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind]


def configs_by_kind(slot: str) -> dict[str, Any]:
    """The kinds that may stand in a slot of `TrainConfig`, with their dataclasses."""
    annotation = get_type_hints(TrainConfig)[slot]
    candidates = (
        get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,)
    )
    return {
        kind: candidate
        for candidate in candidates
        for kind in get_args(get_type_hints(candidate)["kind"])
    }
