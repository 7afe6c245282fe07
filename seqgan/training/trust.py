"""Code that a file names, found before any of it runs.

A run's `config.yaml` and a sweep's file may name files and modules of Python, and so may a folder
that somebody sent. Such code runs only where a person has said so: by `--trust-run-code`, or by
naming the same code on the command line. Short names are no such code: they are seqgan's own, or
entry points of packages that somebody has installed here.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgan.rewards.adapters.finding import SHIPPED, spelt_out
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import is_file, parse_spec
from seqgan.training.moved import present_flags
from seqgan.training.slots import SHIPPED_PHASES, SLOTS

FLAG, VARIABLE = "--trust-run-code", "SEQGAN_TRUST_RUN_CODE"

# Settings whose code a command runs beside that of the slots, which every command builds.
MEASURING = ("evaluation.measures",)
TRAINING = ("reward", "phases", "observers", "trackers", *MEASURING)

# The package's own specifications, spelt out. Other names in its modules are anybody's: a module
# also has what it imports, `subprocess` for one.
OWN = frozenset(
    spec for table in (*SLOTS.values(), SHIPPED, SHIPPED_PHASES) for spec in table.values()
)
NUM_NAMED = 8  # pieces of code that an error lists


def is_trusted(given: bool) -> bool:
    """True if a person has said that code which files name may run.

    Args:
        given: by the flag, or by an argument in Python; else the environment says so.
    """
    return given or os.environ.get(VARIABLE) == "1"


def code_in_settings(plain: Mapping[Any, Any], runs: Collection[str]) -> dict[str, list[str]]:
    """The code that settings from a file name: `place:attribute`, by dotted setting.

    Args:
        plain: nested settings as a file has them, perhaps of a wrong shape.
        runs: settings beside the slots whose code will run.

    Raises:
        ConfigurationError: a specification does not follow the grammar.
    """
    found = {}
    for setting in (*SLOTS, *runs):
        value: Any = plain
        for name in setting.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if setting in SLOTS and isinstance(value, Mapping):
            value = value.get("kind")
        specs = value if isinstance(value, list) else [value]
        texts = [spec for spec in specs if isinstance(spec, str)]
        if code := _foreign(setting, texts):
            found[setting] = code
    return found


def code_in_flags(flags: Sequence[str]) -> dict[str, list[str]]:
    """The code that flags of `seqgan train` name, as `code_in_settings` gives it."""
    found: dict[str, list[str]] = {}
    setting = ""
    for word in present_flags(flags):
        values = [word]
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            setting, values = _setting(name), [value] if equals else []
        if setting in (*SLOTS, *TRAINING) and (code := _foreign(setting, values)):
            found.setdefault(setting, []).extend(code)
    return found


def named_in_flags(flags: Sequence[str]) -> set[str]:
    """The dotted settings that flags give, those of a slot's kind under the slot's name."""
    words = [word.partition("=")[0] for word in present_flags(flags)]
    return {_setting(word[2:]) for word in words if word.startswith("--")}


def without_replaced(
    found: Mapping[str, Sequence[str]], flags: Sequence[str]
) -> tuple[dict[str, Sequence[str]], set[str]]:
    """The code of a file that flags leave in place, and the slots whose class they replace.

    A class that a flag names again is not replaced: the file's other fields of it stay.
    """
    given, again = named_in_flags(flags), code_in_flags(flags)
    left = {setting: code for setting, code in found.items() if setting not in given}
    same = {slot for slot in SLOTS if slot in found and found[slot] == again.get(slot, [])[-1:]}
    return left, {slot for slot in SLOTS if slot in found and slot in given} - same


def check_trusted(found: Mapping[str, Sequence[str]], path: Path) -> None:
    """Refuses code that a file names and nobody has trusted.

    Raises:
        ConfigurationError: there is some; the message names it.
    """
    named = [f"{setting} {code}" for setting, codes in found.items() for code in codes]
    if named:
        more = f" and {len(named) - NUM_NAMED} more" if len(named) > NUM_NAMED else ""
        raise ConfigurationError(
            f"{path} names code that would run here: {', '.join(named[:NUM_NAMED])}{more}; once"
            f" you have read that code and trust it, add {FLAG} (or set {VARIABLE}=1; in Python"
            " trust_run_code=True)"
        )


def _foreign(setting: str, specs: Iterable[str]) -> list[str]:
    """The code among specifications that is neither seqgan's nor an installed package's."""
    found = []
    for text in specs:
        spec = parse_spec(spelt_out(text) if setting == "reward" else text, setting)
        if spec.place and f"{spec.place}:{spec.attribute}" not in OWN:
            file = is_file(spec.place)
            place = str(Path(spec.place).expanduser().resolve()) if file else spec.place
            found.append(f"{place}:{spec.attribute}")
    return found


def _setting(flag: str) -> str:
    """The dotted setting of a flag without its dashes; of `--task.kind` the slot."""
    return flag.replace("-", "_").removesuffix(".kind")
