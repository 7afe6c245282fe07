"""The settings that `seqgan train` is given: a preset, or a file of texts or of settings."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqgan.commands.flags import asks_help, chosen_kind, with_flags
from seqgan.commands.parsing import InputError, given_path, take
from seqgan.commands.short_names import long_names, said_as_typed
from seqgan.system.plugins import nearest

if TYPE_CHECKING:
    from seqgan.training.settings import TrainConfig

WAYS = "--config FILE (YAML), --resume RUN or --fork RUN"
# Files by the ends of their names; those with columns are told apart by them.
PRESET_OF = {".txt": "text", ".npz": "oracle"}
TABLES = (".jsonl", ".csv")
SETTINGS = (".yaml", ".yml")
NO_CONTINUATIONS = ("--task.continuation-column", "")
PROMPT_COLUMNS = {"--task.prompt-column", "--task.continuation-column"}


@dataclass(frozen=True)
class Given:
    """The first argument of `seqgan train`, and the flags after it.

    Args:
        preset: empty where there is none.
        config: a file of settings; empty where there is none.
        flags: with the settings' own names; a file of texts is `--task.path` among them.
        note: a line about the preset that was chosen for a file; empty where nobody wonders.
    """

    preset: str = ""
    config: str = ""
    flags: list[str] = field(default_factory=list)
    note: str = ""


def read_given(given: list[str]) -> Given:
    """Tells presets from files, and gives each setting its own name.

    Raises:
        SeqganError: the first argument is neither a preset nor a file that can be read.
    """
    if not given or given[0].startswith("-"):
        config, flags = take(long_names(given), "--config")
        return Given(config=config or "", flags=flags)
    from seqgan.training.presets import PRESETS

    first, flags = given[0], long_names(given[1:])
    if first in PRESETS:
        flags = _with_path(first, flags)
        read = _of_prompts(flags) if first == "prompts" else Given(first, flags=flags)
    elif _is_path(first):
        read = _of_file(first, flags)
    else:
        raise InputError(
            f"unknown preset {first!r}{nearest(first, PRESETS)} (train takes a file of"
            f" texts or one of {', '.join(PRESETS)})"
        )
    config, flags = take(read.flags, "--config")
    if config is not None:
        raise InputError(f"{first} and --config {config} together; train takes one of them")
    return replace(read, flags=flags)


def configuration(given: list[str]) -> "TrainConfig":
    """The settings with which `seqgan train` would start, for whoever starts it later.

    Raises:
        SeqganError: what `seqgan train` would report.
    """
    with said_as_typed(given):
        read = read_given(given)
        trusted, flags = trusted_flags(read.flags)
        return parse_config(replace(read, flags=flags), trusted)


def trusted_flags(flags: list[str]) -> tuple[bool, list[str]]:
    """True if code that files name may run, and the other flags."""
    from seqgan.training.trust import FLAG, is_trusted

    return is_trusted(FLAG in flags), [flag for flag in flags if flag != FLAG]


def parse_config(given: Given, trusted: bool) -> "TrainConfig":
    """The settings of a preset or a file, with what the flags change.

    Raises:
        SeqganError: nothing is given, or a setting or a flag cannot be used.
    """
    from seqgan.training.config_files import load_config
    from seqgan.training.presets import PRESETS, kept_by, with_beside
    from seqgan.training.trust import TRAINING

    if not given.preset and not given.config and not asks_help(given.flags):
        late = next((flag for flag in given.flags if flag in PRESETS or _is_file(flag)), "")
        hint = f"; {late} comes first: seqgan train {late} ..." if late else ""
        raise InputError(
            f"nothing to train on; train takes a file of texts (captions.txt), a preset"
            f" ({', '.join(PRESETS)}), {WAYS}{hint}"
        )
    if given.config:
        config = load_config(given_path(given.config), trusted, TRAINING, given.flags)
        config, _ = with_beside(config, _generator(given, config), _settings_in_file(given))
        return with_flags(config, given.flags, f"--config {given.config}")
    config = PRESETS[given.preset or "text"]()
    kind = _generator(given, config)
    config, _ = with_beside(config, kind, kept_by(given.preset, kind))
    return with_flags(config, given.flags, given.preset or "FILE")


def _generator(given: Given, config: "TrainConfig") -> str:
    """The kind of generator that the flags choose, else that of the settings."""
    from seqgan.training.slots import kind_of

    return chosen_kind(given.flags, "generator") or kind_of("generator", config.generator)


def _settings_in_file(given: Given) -> set[str]:
    """The dotted names of the settings in the file of settings, if one is given."""
    from seqgan.system.nested import flat
    from seqgan.training.config_files import read_settings

    return set(flat(read_settings(given_path(given.config)))) if given.config else set()


def note_beside(given: Given, config: "TrainConfig") -> str:
    """A line about the settings that a kind of generator has brought; empty where it has none.

    Args:
        config: as `parse_config` gives it.
    """
    from seqgan.training.named_rules import named_rule, named_settings
    from seqgan.training.presets import kept_by, with_beside
    from seqgan.training.trust import named_in_flags

    kind = _generator(given, config)
    kept = _settings_in_file(given) | kept_by(given.preset, kind)
    _, changes = with_beside(config, kind, kept)
    set_by_flags = named_in_flags(given.flags)
    if named := named_rule(chosen_kind(given.flags, "rule")):
        set_by_flags |= named_settings(named).keys()
    left = {name: value for name, value in changes.items() if name not in set_by_flags}
    if not left:
        return ""
    spelt = ", ".join(
        f"{name.replace('_', '-')} {' '.join(map(str, value)) if type(value) is tuple else value}"
        for name, value in left.items()
    )
    return f"a {kind} generator brings settings of its own (flags change them): {spelt}"


def _with_path(preset: str, flags: list[str]) -> list[str]:
    """The flags, a file in front of them as `--task.path`.

    Raises:
        InputError: there is no such file, or the preset reads none.
    """
    from seqgan.training.presets import PRESETS

    if not flags or flags[0].startswith("-"):
        return flags
    path, *others = flags
    if not hasattr(PRESETS[preset]().task, "path"):
        own = f"; your own texts: seqgan train {path}" if _is_path(path) else ""
        raise InputError(f"the preset {preset} takes no file, but {path} is given{own}")
    if not (preset == "prompts" and _is_hub_name(path)):
        _check_exists(path)
    return ["--task.path", path, *others]


def _of_file(path: str, flags: list[str]) -> Given:
    """The preset for a file, or the file of settings itself."""
    place, suffix = given_path(path), given_path(path).suffix.lower()
    _check_exists(path)
    if place.is_dir():
        return _of_folder(path, flags)
    if suffix in SETTINGS:
        return Given(config=path, flags=flags)
    named, flags = _named(flags), ["--task.path", path, *flags]
    if suffix in TABLES:
        return _of_table(place, flags)
    preset, note = PRESET_OF.get(suffix, "text"), ""
    if preset == "text" and "--generator.path" in named:
        note = f"{path}: texts, one a line (preset text); of prompts: seqgan train prompts {path}"
    return Given(preset, flags=flags, note=note)


def _of_folder(path: str, flags: list[str]) -> Given:
    """The preset for a data set of Hugging Face's `datasets`.

    Raises:
        InputError: the folder holds something else.
    """
    place = given_path(path)
    if any((place / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        read = _of_prompts(["--task.path", path, *flags])
        return replace(read, note=f"{path}: preset prompts")
    if (place / "config.yaml").is_file():
        raise InputError(
            f"{path} is a run; --resume {path} continues it, --fork {path} begins another there"
        )
    if (place / "config.json").is_file():
        raise InputError(f"{path} is a language model; seqgan train FILE --model {path} trains it")
    raise InputError(f"{path} is a folder; train takes a file of texts (.txt, .jsonl or .csv)")


def _of_table(place: Path, flags: list[str]) -> Given:
    """The preset for a file with columns, by the columns of its first record.

    Raises:
        InputError: the columns do not tell.
        TextFileError: the file cannot be read.
    """
    from seqgan.tasks.files.text_files import stream_records

    named = _named(flags)
    if "--task.column" in named:
        return Given("text", flags=flags)
    if named & PROMPT_COLUMNS:
        return _of_prompts(flags)
    columns = next(stream_records(place), ("", {}))[1]
    if "prompt" in columns or "messages" in columns:
        return _of_prompts(flags)
    if len(columns) == 1 and any(mark in next(iter(columns)) for mark in ";\t|"):
        raise InputError(
            f"{place} has the one column {next(iter(columns))!r}, but commas must separate columns"
            " (a column that is called so: --column NAME)"
        )
    if "text" in columns or len(columns) == 1:
        column = "text" if "text" in columns else next(iter(columns))
        chosen = [] if column == "text" else ["--task.column", column]
        note = f"{place}: texts in the column {column!r} (preset text)"
        return Given("text", flags=[*flags, *chosen], note=note)
    listed = ", ".join(map(repr, columns)) or "none"
    longest = max(columns, key=lambda name: len(str(columns[name])), default="NAME")
    raise InputError(
        f"{place} has the columns {listed}, but none is called text or prompt; name that of the"
        f" texts (--column {shlex.quote(longest)}), or those of prompts and continuations"
        " (--task.prompt-column NAME --task.continuation-column NAME)"
    )


def _of_prompts(flags: list[str]) -> Given:
    """The preset for prompts, with the columns of the first record where no flag names them.

    Raises:
        TextFileError: the file cannot be read.
    """
    from seqgan.tasks.files.text_files import stream_records

    place = given_path(take(flags, "--task.path")[0] or "")
    if _named(flags) & PROMPT_COLUMNS:
        named = zip(flags, [*flags[1:], "..."], strict=True)
        alone = f"{NO_CONTINUATIONS[0]}=" in [flag.replace("_", "-") for flag in flags] or any(
            (flag.replace("_", "-"), value) == NO_CONTINUATIONS for flag, value in named
        )
        return Given("prompts", flags=_without_likelihood(flags) if alone else flags)
    if place.suffix.lower() == ".txt":
        note = f"{place}: prompts alone, one a line (preset prompts)"
        return Given("prompts", flags=_alone(flags), note=note)
    if place.suffix.lower() in TABLES and place.is_file():
        columns = next(stream_records(place), ("", {}))[1]
        if "prompt" in columns or "messages" in columns:
            return _of_columns(place, columns, flags)
    return Given("prompts", flags=flags)


def _of_columns(place: Path, columns: Mapping[str, object], flags: list[str]) -> Given:
    """The preset for prompts, in a column of their own or at the beginning of messages."""
    from seqgan.tasks.files.prompt_columns import COMPLETION, CONTINUATION, is_alone

    prompts = "prompt" if "prompt" in columns else "messages"
    found = [name for name in (CONTINUATION, COMPLETION) if name in columns]
    listed = " and ".join(map(repr, [prompts, *found[:1]]))
    column = "columns" if found else "column"
    alone = is_alone(columns, prompts)
    said = "prompts alone" if alone else "prompts"
    note = f"{place}: {said} in the {column} {listed} (preset prompts)"
    others = [name for name in columns if name != prompts]
    if alone and others:
        note += f"; continuations in another: --task.continuation-column {others[0]}"
    named = _named(flags)
    chosen = [] if prompts == "prompt" else ["--task.prompt-column", prompts]
    if found[:1] == [COMPLETION]:
        chosen += ["--task.continuation-column", COMPLETION]
    if isinstance(columns[prompts], list) and named & {"--generator.path", "--task.tokenizer"}:
        chosen.append("--task.chat-template")
    flags = [*chosen, *flags]
    return Given("prompts", flags=_alone(flags) if alone else flags, note=note)


def _alone(flags: list[str]) -> list[str]:
    """The flags, with those of prompts alone in front of them."""
    return [*NO_CONTINUATIONS, *_without_likelihood(flags)]


def _without_likelihood(flags: list[str]) -> list[str]:
    """The flags, with no epochs of maximum likelihood where they name no number."""
    return flags if "--pretrain.epochs" in _named(flags) else ["--pretrain.epochs", "0", *flags]


def _named(flags: list[str]) -> set[str]:
    """The settings among the flags, spelt with hyphens."""
    return {flag.partition("=")[0].replace("_", "-") for flag in flags}


def _is_path(text: str) -> bool:
    """Tells a file, also a missing one, from a misspelt preset."""
    return bool("/" in text or "\\" in text or re.search(r"\.\w+$", text)) or _is_file(text)


def _is_file(text: str) -> bool:
    return not text.startswith("-") and given_path(text).exists()


def _is_hub_name(text: str) -> bool:
    """True for `user/name` and `user/name:split`, which is no path of anything here."""
    name = re.fullmatch(r"[\w.-]+/[\w.-]+(:\w+)?", text)
    return bool(name) and not text.startswith(".") and Path(text).suffix.lower() not in TABLES


def _check_exists(path: str) -> None:
    """Raises InputError for a file that is not there, with a name like it in its folder."""
    place = given_path(path)
    if place.exists():
        return
    folder = place.parent
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    hint = nearest(place.name, names)
    if not hint and _is_hub_name(path) and not place.suffix:
        hint = f"; a data set of the Hugging Face hub: seqgan train prompts {path}"
    raise InputError(f"cannot read {path}: no such file{hint}")
