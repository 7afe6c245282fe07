"""The places of files, folders and code that a run's settings name, and another place for one."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from seqgan.system.digests import OURS, exists, hub_revision, module_file
from seqgan.system.errors import SeqganError
from seqgan.system.plugins import parse_spec
from seqgan.training.slots import SLOTS

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


def place_of(setting: str, path: str) -> Path:
    """The place that a setting names: a file, a folder, or a module's file."""
    if setting in SPECS and not path.endswith(".py") and (file := module_file(path)):
        return file
    return Path(os.path.expanduser(path))


def named(plain: Mapping[str, Any], known: Collection[str] = ()) -> list[tuple[str, str]]:
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
            found.extend((setting, path) for path in named_in(setting, value, known))

    walk(plain, "")
    return found


def named_in(setting: str, value: Any, known: Collection[str]) -> Iterator[str]:
    """The places in a setting's value.

    Args:
        known: as in `named`.
    """
    for text in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(text, str) or not text:
            continue
        if setting in SPECS:
            yield from _named_by(text, known)
        elif text in known or (_may_be_place(setting, text) and (exists(text) or _on_hub(text))):
            yield text


def _named_by(text: str, known: Collection[str]) -> Iterator[str]:
    """The places in a specification: its code, and files among its arguments."""
    place, arguments = _read_spec(text)
    if place and (place in known or place_of(SPECS[0], place).is_file()):
        yield place
    for name, value in arguments:
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str) and (
                one in known or (_may_be_place(name, one) and (exists(one) or _on_hub(one)))
            ):
                yield one


def _read_spec(text: Any) -> tuple[str, list[tuple[str, Any]]]:
    """The code of a specification that is not seqgan's own, and its arguments; "" for none.

    An argument without a name has the name "path": it may be a place.
    """
    try:
        spec = parse_spec(text, "part") if isinstance(text, str) else None
    except SeqganError:
        spec = None
    if spec is None:
        return "", []
    ours = not spec.place.endswith(".py") and spec.place.partition(".")[0] in OURS
    in_order = [("path", value) for value in spec.in_order]
    return "" if ours else spec.place, [*in_order, *(spec.arguments or {}).items()]


def code_of(plain: Mapping[str, Any], setting: str) -> list[str]:
    """The places of the code that a setting names."""
    value: Any = plain if setting in SPECS else None
    for name in setting.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    texts = value if isinstance(value, list | tuple) else [value]
    return [place for place, _ in map(_read_spec, texts) if place]


def _may_be_place(name: str, text: str) -> bool:
    """A name or a text that speaks of a place: a column `text` is no folder of that name."""
    last = re.split(r"[._]", name)[-1]
    return (
        last in PLACES or last.removesuffix("s") in PLACES or "/" in text or bool(Path(text).suffix)
    )


def _on_hub(text: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:\w+)?", text)) and bool(hub_revision(text))


def replace_place(
    plain: dict[Any, Any], setting: str, path: str, place: str, code: bool = False
) -> None:
    """Writes another place in place of one, in the nested settings.

    Args:
        code: True for the code of specifications, of which else the arguments change alone.
    """
    *sections, name = setting.split(".")
    holder: Any = plain
    for section in sections:
        holder = holder[section]

    def replaced(text: Any) -> Any:
        if isinstance(text, list | tuple):
            return [replaced(each) for each in text]
        if setting not in SPECS:
            return place if text == path else text
        if code:
            return place + text.strip().removeprefix(path) if _read_spec(text)[0] == path else text
        target, parenthesis, arguments = str(text).partition("(")
        quoted = rf"(['\"]){re.escape(path)}\1"
        return target + parenthesis + re.sub(quoted, lambda match: repr(place), arguments)

    holder[name] = replaced(holder[name])
