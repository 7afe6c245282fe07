"""Settings as YAML files: written with every field spelt out, read with errors in one line."""

import types
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from yaml.representer import RepresenterError

from seqgan.system.errors import ConfigurationError, DataError, SeqganError
from seqgan.system.files import write_text
from seqgan.system.plugins import call, nearest, parse_spec
from seqgan.system.reading import clipped, read_yaml, shown
from seqgan.training.moved import present_settings
from seqgan.training.named_rules import with_named_rule
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS, kind_of, settings_class
from seqgan.training.trust import (
    check_trusted,
    code_in_settings,
    is_trusted,
    without_replaced,
)


def save_config(config: TrainConfig, path: Path) -> None:
    """Writes the configuration as YAML, every field spelt out.

    Raises:
        ConfigurationError: a setting has a value that YAML does not know.
    """
    write_text(path, config_text(config))


def config_text(config: TrainConfig) -> str:
    """The configuration as the text of a YAML file; raises as `save_config` does."""
    try:
        text: str = yaml.safe_dump(plain_settings(config), sort_keys=False, allow_unicode=True)
    except RepresenterError as error:
        raise ConfigurationError(
            f"settings can hold no {error.args[-1]!r}: they are numbers, strings, lists and"
            " mappings, which a file can hold"
        ) from error
    return text


def plain_settings(config: TrainConfig) -> dict[str, Any]:
    """The configuration as nested mappings and lists, as `load_config` reads them.

    Settings of the user's own stand under the specification of their class: the absolute path of
    its file, or its module's name.
    """
    plain: dict[str, Any] = _plain(asdict(config))
    for slot in SLOTS:
        plain[slot] = {"kind": ""} | plain[slot] | {"kind": kind_of(slot, getattr(config, slot))}
    return plain


def load_config(
    path: Path,
    trust_run_code: bool = False,
    runs: Collection[str] = (),
    flags: Sequence[str] = (),
) -> TrainConfig:
    """Reads a YAML file that `save_config` or a person wrote; absent fields keep their defaults.

    Args:
        trust_run_code: lets the file name modules and files of Python, which then run.
        runs: settings beside the slots whose code will run: none of it runs here, and where it is
            not trusted the file is refused.
        flags: of the command line. Code that they name may run; what they replace is not looked at.

    Raises:
        ConfigurationError: no such file, no YAML, an unknown field (with the nearest known one), a
            value of the wrong type or out of range; or code that nobody has trusted.
    """
    return checked_settings(read_settings(path), path, trust_run_code, runs, flags)


def checked_settings(
    plain: dict[Any, Any],
    path: Path,
    trust_run_code: bool,
    runs: Collection[str],
    flags: Sequence[str] = (),
) -> TrainConfig:
    """The configuration of nested mappings, of which no code runs that nobody has trusted.

    Args:
        path: the file that holds them, for errors.
        trust_run_code, runs, flags: see `load_config`, which also has the errors.
    """
    try:
        code = code_in_settings(plain, runs)
    except SeqganError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if code and not is_trusted(trust_run_code):
        left, replaced = without_replaced(code, flags)
        check_trusted(left, path)
        plain = {name: value for name, value in plain.items() if name not in replaced}
    return settings_of(plain, path)


def read_settings(path: Path) -> dict[Any, Any]:
    """The nested mappings of a YAML file, each setting in its present place.

    Raises:
        ConfigurationError: no such file, or no YAML mapping.
    """
    try:
        plain = read_yaml(path)
    except DataError as error:
        raise ConfigurationError(str(error)) from error
    if not isinstance(plain, dict):
        raise ConfigurationError(f"{path} holds {shown(plain)}, but must hold a YAML mapping")
    return with_named_rule(present_settings(plain))


def settings_of(plain: dict[Any, Any], where: Path | str) -> TrainConfig:
    """The configuration of nested mappings, as `plain_settings` gives them.

    Args:
        where: names them in errors.

    Raises:
        ConfigurationError: an unknown field, or a value of the wrong type or out of range.
    """
    try:
        return _build(TrainConfig, plain, "")
    except SeqganError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _plain(value: Any) -> Any:
    """Tuples as lists and paths as strings, which YAML can say."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _build(annotation: Any, value: Any, where: str) -> Any:
    """A value of the annotated type from plain YAML; `where` is its dotted name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if where in SLOTS:
        return _build_slot(where, value)
    if origin in (types.UnionType, Union):
        return _build_one_of(arguments, value, where)
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _build_dataclass(annotation, value, where)
    if origin in (tuple, list):
        return _build_row(origin, arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(str(argument) for argument in arguments)
            raise ConfigurationError(f"{where} is {shown(value)}, but must be one of {known}")
        return value
    if annotation is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as a string
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(f"{where} is {shown(value)}, but must be a number") from error
    if annotation is Path and isinstance(value, str):
        return Path(value)
    wanted = origin or annotation
    if wanted is not Any and type(value) is not wanted:
        raise ConfigurationError(
            f"{where} is {shown(value)}, but must be of type {wanted.__name__}"
        )
    return value


def _build_row(
    origin: type, arguments: tuple[Any, ...], value: Any, where: str
) -> tuple[Any, ...] | list[Any]:
    if isinstance(value, str):  # one stands for a list of one
        value = [value]
    if not isinstance(value, list):
        raise ConfigurationError(f"{where} is {shown(value)}, but must be a list")
    if origin is list or arguments[-1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise ConfigurationError(
            f"{where} is {shown(value)}, but must be a list of {len(arguments)}"
        )
    return origin(_build(one, item, where) for one, item in zip(arguments, value, strict=True))


def _build_one_of(candidates: tuple[Any, ...], value: Any, where: str) -> Any:
    """A value of the first annotated type that it fits."""
    if value is None and type(None) in candidates:
        return None
    *others, last = (candidate for candidate in candidates if candidate is not type(None))
    for candidate in others:
        try:
            return _build(candidate, value, where)
        except ConfigurationError:
            continue
    return _build(last, value, where)


def _build_slot(slot: str, value: Any) -> Any:
    """The settings of the class that the mapping's `kind` names; a kind alone takes defaults."""
    plain = {"kind": value} if isinstance(value, str) else value
    kind = plain.get("kind") if isinstance(plain, dict) else None
    if not isinstance(kind, str):
        known = ", ".join(SLOTS[slot])
        raise ConfigurationError(
            f"{slot}.kind is {shown(kind)}, but must be one of {known} or one of your"
            " own (./file.py:Config)"
        )
    chosen = settings_class(slot, kind)
    if kind in SLOTS[slot]:
        return _build_dataclass(chosen, plain, slot)
    # The kind names the class, and is no field of it.
    own = {name: item for name, item in plain.items() if name != "kind"}
    return call(chosen, _build_fields(chosen, own, slot), parse_spec(kind, slot))


def _build_dataclass(annotation: type, value: Any, where: str) -> Any:
    return annotation(**_build_fields(annotation, value, where))


def _build_fields(annotation: type[Any], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is {shown(value)}, but must be a mapping")
    hints = get_type_hints(annotation)
    names = [item.name for item in fields(annotation)]
    for name in value:
        written = clipped(str(name), 80)
        if name not in names:
            raise ConfigurationError(
                f"unknown field {_dotted(where, written)}{nearest(written, names)}"
            )
    return {name: _build(hints[name], item, _dotted(where, name)) for name, item in value.items()}


def _dotted(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)
