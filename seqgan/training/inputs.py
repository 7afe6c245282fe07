"""The files and folders that a run's settings name: recorded with digests, compared, found again.

Data, rewards and models lie outside a run's folder and may change while the run lies still. It
would go on without a word, with other texts behind its ids. So `task.json` has the digest of each,
and whoever reads one for the run compares it first. What has only moved is found: its place is
recorded as it was written, absolute, and from the run's folder on.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqgan.system.digests import (
    digests,
    exists,
    hub_revision,
    module_file,
    moved_files,
    parts_of,
    stamp,
)
from seqgan.system.errors import DataError, SeqganError
from seqgan.system.files import write_text
from seqgan.system.plugins import parse_spec
from seqgan.training.config_files import plain_settings, settings_of
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS

logger = logging.getLogger(__name__)

# Settings that name no input of a run.
NO_INPUTS = ("output", "tracker", "task.cache")
# Settings that name code of the user's own, perhaps with arguments.
SPECS = (
    "reward",
    "phases",
    "observers",
    "evaluation.measures",
    *(f"{slot}.kind" for slot in SLOTS),
)
# Names of settings and arguments, or their last words, that stand for places.
PLACES = ("path", "file", "folder", "dir", "directory", "tokenizer", "vocabulary", "model", "run")
MOVED = "places.json"  # in a run's folder: where a person has said that its inputs lie now
SHOWN = 12  # digits of a digest in a message


# The shape of an `Input` in `task.json`.
OF_INPUT = {
    **dict.fromkeys(("setting", "path", "absolute", "beside", "stamp"), str),
    "files": {"*": str},
    "num_bytes": int,
}


@dataclass(frozen=True)
class Input:
    """A file, a folder or a name on a hub that a run reads.

    Args:
        setting: the dotted name of the setting that names it.
        path: the place as it is written there; of a module of the user's own, its dotted name.
        absolute: the place; of a module, its file. Empty for a name on a hub.
        beside: the place, from the run's folder on.
        files: the SHA-256 of each of its files, as `parts_of` names them; of a name on a hub its
            revision. Version 0.1.0 has recorded the first digits alone.
        num_bytes: of a single file.
        stamp: of large files, as `stamp` gives it.
    """

    setting: str
    path: str
    absolute: str = ""
    beside: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    num_bytes: int = 0
    stamp: str = ""


class _ChangedError(DataError):
    """An input has another content than it had when its run was made."""


def record_inputs(config: TrainConfig, folder: Path) -> list[dict[str, Any]]:
    """The inputs that the settings of a new run name, for its `task.json`.

    Args:
        folder: the run's.

    Raises:
        DataError: a file cannot be read.
    """
    named = _named(plain_settings(config))
    return [asdict(_recorded(setting, path, folder)) for setting, path in named]


def read_inputs(plain: Mapping[str, Any]) -> list[Input]:
    """The inputs that a `task.json` holds; of version 0.1.0 the data, as it describes them.

    Args:
        plain: with records of the shape `OF_INPUT`, if any.
    """
    if "inputs" in plain:
        return [Input(**{name: each[name] for name in OF_INPUT}) for each in plain["inputs"]]
    if digest := re.search(r"sha256 ([0-9a-f]{12})\b", str(plain.get("description", ""))):
        return [Input("task.path", "", files={"": digest[1]})]
    return []


def located(
    config: TrainConfig,
    inputs: Sequence[Input],
    folder: Path,
    reads: Sequence[str],
    forking: bool = False,
) -> TrainConfig:
    """The settings with the present place of each input; a line says so where one has moved.

    Args:
        folder: the run's.
        reads: settings, or sections of them, whose inputs are going to be read.
        forking: an input that has changed costs a line and no more.

    Raises:
        DataError: an input is not as it was when the run was made, or is gone.
    """
    plain, found = plain_settings(config), {}
    for one, path in _pairs(plain, inputs):
        if not any(f"{one.setting}.".startswith(f"{read}.") for read in reads):
            continue
        try:
            place = _find(one, path, folder)
        except _ChangedError as error:
            if not forking:
                raise
            logger.warning("%s; the fork goes on with it", str(error).partition(";")[0])
            continue
        if place != path:
            found[one.setting, path] = place
    for (setting, path), place in found.items():
        logger.warning("%s: %s is read from %s, where its content is now", setting, path, place)
        _replace(plain, setting, path, place)
    return settings_of(plain, folder) if found else config


def with_moved_code(plain: dict[Any, Any], inputs: Sequence[Input], folder: Path) -> None:
    """Gives slots whose file has moved its new place, before the settings are built of the file."""
    for one in inputs:
        section, _, name = one.setting.rpartition(".")
        here = isinstance(plain.get(section), dict) and name == "kind"
        if here and not _place_of(one.setting, one.path).exists():
            place = next(_unchanged(one, _places(one, one.path, folder)), None)
            if place is not None:
                _replace(plain, one.setting, one.path, str(place))


def place_now(path: str, config: TrainConfig, inputs: Sequence[Input]) -> str:
    """The place that the settings have now for an input that was recorded as `path`."""
    pairs = _pairs(plain_settings(config), inputs)
    return next((now for one, now in pairs if one.path == path), path)


def same_inputs(setting: str, one: Any, other: Any, inputs: Sequence[Input]) -> bool:
    """True if two values of a setting differ at most in where the run's inputs lie.

    Args:
        one: the value of which `inputs` were recorded.
        other: a value whose places are read now.
    """
    mine = [each for each in inputs if each.setting == setting]
    places = list(_named_in(setting, other, ()))
    if not mine or len(mine) != len(places) or type(one) is not type(other):
        return False
    before, after = str(one), str(other)
    for each, place in zip(mine, places, strict=True):
        before, after = before.replace(each.path, "*", 1), after.replace(place, "*", 1)
    if before != after:
        return False
    return all(
        not _change(each, _place_of(setting, place))
        for each, place in zip(mine, places, strict=True)
    )


def remember_places(config: TrainConfig, inputs: Sequence[Input], folder: Path) -> None:
    """Writes down where inputs lie that are not where they were recorded, for later commands."""
    places = {
        _key(one): os.path.abspath(path)
        for one, path in _pairs(plain_settings(config), inputs)
        if exists(path) and os.path.abspath(path) not in (one.absolute, os.path.abspath(one.path))
    }
    if places:
        write_text(folder / MOVED, json.dumps(_remembered(folder) | places))


def _recorded(setting: str, path: str, folder: Path) -> Input:
    place = _place_of(setting, path)
    if not place.exists():
        return Input(setting, path, files={"revision": hub_revision(path)})
    parts = parts_of(place, weights=_reads_weights(setting))
    try:
        files, stamped = digests(parts), stamp(parts)
        num_bytes = place.stat().st_size if place.is_file() else 0
    except OSError as error:
        raise DataError(f"{setting} names what can be read, got {path}: {error}") from error
    absolute = os.path.abspath(place)
    beside = os.path.relpath(absolute, os.path.abspath(folder))
    return Input(setting, path, absolute, beside, files, num_bytes, stamped)


def _place_of(setting: str, path: str) -> Path:
    """The place that a setting names: a file, a folder, or a module's file."""
    if setting in SPECS and not path.endswith(".py") and (file := module_file(path)):
        return file
    return Path(os.path.expanduser(path))


def _reads_weights(setting: str) -> bool:
    return not setting.endswith("tokenizer")


def _find(one: Input, path: str, folder: Path) -> str:
    """The place of an input, as it is written where it lies there unchanged.

    Args:
        path: the place as the settings have it now.
    """
    if "revision" in one.files:
        now = hub_revision(path)
        if now in ("", one.files["revision"]):
            return path
        raise _changed(one, path, folder, f"revision {one.files['revision']} then, {now} now")
    places = _places(one, path, folder)
    for place in _unchanged(one, places):
        return path if place == places[0] else str(place)
    there = [place for place in places if place.exists()]
    if there:
        raise _changed(one, str(there[0]), folder, _change(one, there[0]))
    if one.num_bytes:
        around = [Path.cwd(), Path(one.absolute).parent, folder, folder.parent]
        near = moved_files(Path(one.absolute).name, one.num_bytes, around)
        for place in _unchanged(one, near):
            return str(place)
    raise DataError(
        f"{one.setting} of {folder} is found, got {path}, which is not there any more, nor at"
        f" {one.absolute}; where it has moved, name its place: seqgan train --resume {folder}"
        f" --{one.setting.replace('_', '-')} PLACE"
    )


def _places(one: Input, path: str, folder: Path) -> list[Path]:
    """The places where an input may lie, the one that is written first."""
    places = [_place_of(one.setting, path)]
    if path != one.path and one.path and places[0].exists():
        return places  # a person has named another place, and no other stands in for it
    if moved := _remembered(folder).get(_key(one)):
        places.append(Path(moved))
    if one.absolute:
        places += [Path(one.absolute), Path(os.path.normpath(folder.resolve() / one.beside))]
    return places


def _unchanged(one: Input, places: Iterator[Path] | Sequence[Path]) -> Iterator[Path]:
    return (place for place in places if exists(str(place)) and not _change(one, place))


def _change(one: Input, place: Path) -> str:
    """The first difference between an input as it was and what lies at a place; "" for none."""
    parts = parts_of(place, weights=_reads_weights(one.setting))
    try:
        if one.stamp and stamp(parts) == one.stamp:
            return ""
        now = digests(parts)
    except OSError as error:
        return f"{place} cannot be read: {error}"
    for name in sorted(one.files.keys() | now.keys()):
        before, after = one.files.get(name, ""), now.get(name, "")
        if not after.startswith(before) or bool(before) != bool(after):
            spelt = (f"sha256 {digest[:SHOWN]}" if digest else "none" for digest in (before, after))
            named = f"{name}: " if name else ""
            return named + "{} then, {} now".format(*spelt)
    return ""


def _changed(one: Input, place: str, folder: Path, change: str) -> "_ChangedError":
    return _ChangedError(
        f"{one.setting} of {folder} is as it was when the run was made, got {place} with another"
        f" content ({change}); put it back, or begin a new run: seqgan train --fork {folder}"
    )


def _remembered(folder: Path) -> dict[str, str]:
    try:
        plain = json.loads((folder / MOVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of no run that has moved; a digest decides in any case
        return {}
    return plain if isinstance(plain, dict) else {}


def _key(one: Input) -> str:
    return f"{one.setting} {one.path}"


def _pairs(plain: Mapping[str, Any], inputs: Sequence[Input]) -> Iterator[tuple[Input, str]]:
    """Each recorded input, with its place as the settings have it now."""
    now: dict[str, list[str]] = {}
    for setting, path in _named(plain, {one.path for one in inputs}):
        now.setdefault(setting, []).append(path)
    for setting, paths in now.items():
        mine = [one for one in inputs if one.setting == setting]
        if len(mine) == len(paths):  # else the setting has become another, as a fork's may
            yield from zip(mine, paths, strict=True)


def _named(plain: Mapping[str, Any], known: set[str] | tuple[()] = ()) -> list[tuple[str, str]]:
    """The settings that name files or folders, and what they name, in their order.

    Args:
        known: places that are such whether anything lies there or not.
    """
    found: list[tuple[str, str]] = []

    def walk(value: Any, setting: str) -> None:
        if setting in NO_INPUTS:
            return
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(inner, f"{setting}.{name}" if setting else str(name))
        else:
            found.extend((setting, path) for path in _named_in(setting, value, known))

    walk(plain, "")
    return found


def _named_in(setting: str, value: Any, known: set[str] | tuple[()]) -> Iterator[str]:
    """The places in a setting's value."""
    for text in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(text, str) or not text:
            continue
        if setting in SPECS:
            yield from _named_by(text, known)
        elif text in known or (_may_be_place(setting, text) and (exists(text) or _on_hub(text))):
            yield text


def _named_by(text: str, known: set[str] | tuple[()]) -> Iterator[str]:
    """The places in a specification: its code, and files among its arguments."""
    try:
        spec = parse_spec(text, "part")
    except SeqganError:
        return
    if spec.place and (spec.place in known or _place_of(SPECS[0], spec.place).is_file()):
        yield spec.place
    for name, value in (spec.arguments or {}).items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str) and (
                one in known or (_may_be_place(name, one) and exists(one))
            ):
                yield one


def _may_be_place(name: str, text: str) -> bool:
    """A name or a text that speaks of a place: a column `text` is no folder of that name."""
    last = re.split(r"[._]", name)[-1]
    return (
        last in PLACES or last.removesuffix("s") in PLACES or "/" in text or bool(Path(text).suffix)
    )


def _on_hub(text: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:\w+)?", text)) and bool(hub_revision(text))


def _replace(plain: dict[Any, Any], setting: str, path: str, place: str) -> None:
    """Writes another place in place of one, in the nested settings."""
    *sections, name = setting.split(".")
    holder: Any = plain
    for section in sections:
        holder = holder[section]

    def replaced(text: Any) -> Any:
        if isinstance(text, list | tuple):
            return [replaced(each) for each in text]
        if not isinstance(text, str) or text == path:
            return place if text == path else text
        code = place if text.startswith(f"{path}:") else ""
        rest = text.removeprefix(path) if code else text
        return code + re.sub(rf"(['\"]){re.escape(path)}\1", lambda match: repr(place), rest)

    holder[name] = replaced(holder[name])
