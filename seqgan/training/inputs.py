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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqgan.system.digests import (
    digests,
    exists,
    hub_revision,
    moved_files,
    parts_of,
    stamp,
)
from seqgan.system.errors import DataError
from seqgan.system.files import write_text
from seqgan.system.reading import read_json
from seqgan.training.config_files import plain_settings, settings_of
from seqgan.training.places import SPECS, code_of, named, named_in, place_of, replace_place
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS
from seqgan.training.trust import FLAG

logger = logging.getLogger(__name__)

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
    places = named(plain_settings(config))
    return [asdict(_recorded(setting, path, folder)) for setting, path in places]


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

    Code is compared, but read from no other place than the settings name: see `move_code`.

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
            place = _find(one, path, folder, path in code_of(plain, one.setting))
        except _ChangedError as error:
            if not forking:
                raise
            logger.warning("%s; the fork goes on with it", str(error).partition(";")[0])
            continue
        if place != path:
            found[one.setting, path] = place
    for (setting, path), place in found.items():
        replace_place(plain, setting, path, place)
    return settings_of(plain, folder) if found else config


def move_code(
    plain: dict[Any, Any], inputs: Sequence[Input], folder: Path, runs: Collection[str]
) -> None:
    """Writes the present place of code that has moved into settings as a file has them.

    This comes before anybody is asked to trust the code, and is told which file would run.

    Args:
        runs: settings beside the slots whose code will run.
    """
    for setting in (*(f"{slot}.kind" for slot in SLOTS), *runs):
        for path in dict.fromkeys(code_of(plain, setting)):
            mine = [one for one in inputs if (one.setting, one.path) == (setting, path)]
            changed = mine and _change(mine[0], place_of(setting, path))
            if changed and (place := _elsewhere(mine[0], path, folder)):
                replace_place(plain, setting, path, str(place), code=True)


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
    places = list(named_in(setting, other, ()))
    if not mine or len(mine) != len(places) or type(one) is not type(other):
        return False
    before, after = str(one), str(other)
    for each, place in zip(mine, places, strict=True):
        before, after = before.replace(each.path, "*", 1), after.replace(place, "*", 1)
    if before != after:
        return False
    return all(
        not _change(each, place_of(setting, place))
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
    place = place_of(setting, path)
    if not place.exists():
        return Input(setting, path, files={"revision": hub_revision(path)})
    parts = _parts(setting, place)
    try:
        files, stamped = digests(parts), stamp(parts)
        num_bytes = place.stat().st_size if place.is_file() else 0
    except OSError as error:
        raise DataError(f"cannot read {path} of {setting}: {error}") from error
    absolute = os.path.abspath(place)
    beside = os.path.relpath(absolute, os.path.abspath(folder))
    return Input(setting, path, absolute, beside, files, num_bytes, stamped)


def _parts(setting: str, place: Path) -> dict[str, Path]:
    return parts_of(place, weights=not setting.endswith("tokenizer"))


def _find(one: Input, path: str, folder: Path, is_code: bool) -> str:
    """The place of an input, as it is written where it lies there unchanged.

    Args:
        path: the place as the settings have it now.
    """
    if "revision" in one.files:
        now = hub_revision(path)
        if now in ("", one.files["revision"]):
            return path
        raise _changed(one, path, folder, f"revision {one.files['revision']} then, {now} now")
    here = place_of(one.setting, path)
    if not _change(one, here):
        return path
    if not is_code and (place := _elsewhere(one, path, folder)):
        return str(place)
    places = [here] if is_code else _places(one, path, folder)
    there = [place for place in places if place.exists()]
    if there:
        raise _changed(one, str(there[0]), folder, _change(one, there[0]))
    raise DataError(
        f"cannot find {one.setting} of {folder}: {path} is not there any more, nor"
        f" {one.absolute}; where it has moved, name its place: seqgan train --resume"
        f" {folder} --{one.setting.replace('_', '-')} PLACE"
    )


def _elsewhere(one: Input, path: str, folder: Path) -> Path | None:
    """The place of an input that does not lie unchanged where it is written; None for none."""
    places = _places(one, path, folder)
    if one.num_bytes and not any(place.exists() for place in places):
        around = [Path.cwd(), Path(one.absolute).parent, folder, folder.parent]
        places += moved_files(Path(one.absolute).name, one.num_bytes, around)
    place = next((place for place in places if not _change(one, place)), None)
    if place is not None:
        logger.warning("%s: %s is read from %s, where its content is now", one.setting, path, place)
    return place


def _places(one: Input, path: str, folder: Path) -> list[Path]:
    """The places where an input may lie, the one that is written first."""
    places = [place_of(one.setting, path)]
    if path != one.path and one.path and places[0].exists():
        return places  # a person has named another place, and no other stands in for it
    if moved := _remembered(folder).get(_key(one)):
        places.append(Path(moved))
    if one.absolute:
        places += [Path(one.absolute), Path(os.path.normpath(folder.resolve() / one.beside))]
    return places


def _change(one: Input, place: Path) -> str:
    """The first difference between an input as it was and what lies at a place; "" for none."""
    if not exists(str(place)):
        return f"{place} is not there"
    parts = _parts(one.setting, place)
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
        f"{place}, {one.setting} of {folder}, has another content than when the run was"
        f" made ({change}); put it back, or {_with_other(one.setting, folder)}"
    )


def _with_other(setting: str, folder: Path) -> str:
    """The command for another content. Other texts may have other words, which no fork learns."""
    if setting in SPECS:
        return f"go on with it: seqgan train --fork {folder} {FLAG}"
    if setting.partition(".")[0] == "task":
        return f"begin anew with it: seqgan train --config {folder / 'config.yaml'}"
    return f"go on with it: seqgan train --fork {folder}"


def _remembered(folder: Path) -> dict[str, str]:
    places: dict[str, str] = {}
    if (folder / MOVED).exists():
        places = read_json(folder / MOVED, {"*": str})
    return places


def _key(one: Input) -> str:
    return f"{one.setting} {one.path}"


def _pairs(plain: Mapping[str, Any], inputs: Sequence[Input]) -> Iterator[tuple[Input, str]]:
    """Each recorded input, with its place as the settings have it now."""
    now: dict[str, list[str]] = {}
    for setting, path in named(plain, {one.path for one in inputs}):
        now.setdefault(setting, []).append(path)
    for setting, paths in now.items():
        mine = [one for one in inputs if one.setting == setting]
        if len(mine) < len(paths):  # a text may have become the name of a file since
            paths = [path for path in paths if path in {one.path for one in mine}]
        if len(mine) == len(paths):  # else the setting has become another, as a fork's may
            yield from zip(mine, paths, strict=True)
