"""The settings that `seqgan train` is given: a preset or a file, changed by flags."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, given_path, take, unknown_flag
from seqgan.system.plugins import nearest

if TYPE_CHECKING:
    from seqgan.training.settings import TrainConfig


def configuration(given: list[str]) -> "TrainConfig":
    """The settings with which `seqgan train` would start, for whoever starts it later.

    Raises:
        SeqganError: what `seqgan train` would report.
    """
    preset = given[0] if given and not given[0].startswith("-") else None
    path, flags = take(given if preset is None else given[1:], "--config")
    trusted, flags = trusted_flags(flags)
    return parse_config(preset, path, flags, trusted)


def trusted_flags(flags: list[str]) -> tuple[bool, list[str]]:
    """True if code that files name may run, and the other flags."""
    from seqgan.training.trust import FLAG, is_trusted

    return is_trusted(FLAG in flags), [flag for flag in flags if flag != FLAG]


def parse_config(
    preset: str | None, path: str | None, flags: list[str], trusted: bool
) -> "TrainConfig":
    from seqgan.training.config_files import load_config
    from seqgan.training.presets import PRESETS
    from seqgan.training.trust import TRAINING

    asks_help = any(flag in ("-h", "--help") for flag in flags)
    if preset is None and path is None and not asks_help:
        raise InputError(
            f"train takes a preset ({', '.join(PRESETS)}), --config FILE, --resume RUN or"
            " --fork RUN"
        )
    if preset is not None and preset not in PRESETS:
        raise InputError(
            f"a preset is one of {', '.join(PRESETS)}, got {preset!r}{nearest(preset, PRESETS)}"
        )
    if path:
        config = load_config(given_path(path), trusted, TRAINING, flags)
    else:
        config = PRESETS[preset or "captions"]()
    return with_flags(config, flags, preset or "PRESET")


def with_flags(config: "TrainConfig", flags: list[str], what: str) -> "TrainConfig":
    """The configuration with what the flags change."""
    import tyro

    from seqgan.training.moved import present_flags
    from seqgan.training.presets import PRESETS
    from seqgan.training.settings import TrainConfig

    config, flags = _with_kinds(config, present_flags(flags))
    _check_given(config, flags)
    errors = io.StringIO()
    asks_help = any(flag in ("-h", "--help") for flag in flags)
    unbroken = contextlib.nullcontext() if asks_help else _wide_terminal()
    try:
        with contextlib.redirect_stderr(errors), unbroken:
            parsed, unknown = tyro.cli(
                TrainConfig,
                prog=f"seqgan train {what}",
                description=(
                    f"Presets: {', '.join(PRESETS)}. Instead of a preset: --config FILE (YAML),"
                    " --resume RUN, or --fork RUN for a new run that goes on from RUN's newest"
                    " checkpoint with RUN's settings. --trust-run-code runs the files and"
                    " modules of Python that FILE or RUN names."
                ),
                default=config,
                args=flags,
                config=(tyro.conf.AvoidSubcommands,),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_first_line_of_box(errors.getvalue())) from stop
    if unknown:
        raise InputError(unknown_flag(unknown[0], _flag_names(config)))
    return parsed


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Lets tyro write an error without breaking its lines, within a path for example."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _with_kinds(config: "TrainConfig", flags: list[str]) -> tuple["TrainConfig", list[str]]:
    """The configuration with the classes that flags choose for its slots, and the other flags.

    `--task.kind KIND` and `--task KIND` are the same. Of the kinds that come with the package, the
    flag stays: one class may stand for several kinds.
    """
    from dataclasses import replace

    from seqgan.training.slots import SLOTS, settings_class

    for slot, kinds in SLOTS.items():
        kind, flags = _take_last(flags, f"--{slot}", f"--{slot}.kind")
        if kind is None:
            continue
        chosen = settings_class(slot, kind)
        if type(getattr(config, slot)) is not chosen:
            config = replace(config, **{slot: _defaults(chosen)})
        if kind in kinds:
            flags = [*flags, f"--{slot}.kind", kind]
    return config, flags


def _take_last(flags: list[str], *names: str) -> tuple[str | None, list[str]]:
    """As `take`, of a flag with several names that may be given again; the last value counts."""
    last = None
    for name in names:
        value, others = take(flags, name)
        while value is not None:
            last, flags = value, others
            value, others = take(flags, name)
    return last, flags


def _defaults(chosen: type) -> Any:
    """The settings of a class with its defaults, and with tyro's mark for what has to be given.

    `__post_init__` is left out: it checks settings that are complete.
    """
    from dataclasses import MISSING, fields

    import tyro

    settings: Any = object.__new__(chosen)
    for item in fields(chosen):
        if item.default_factory is not MISSING:
            default = item.default_factory()
        else:
            default = tyro.MISSING if item.default is MISSING else item.default
        object.__setattr__(settings, item.name, default)
    return settings


def _check_given(config: "TrainConfig", flags: list[str]) -> None:
    """Checks that flags set all the fields without a default, where no help is asked for.

    Raises:
        InputError: one is not set; its name may have been misspelt.
    """
    import tyro

    from seqgan.training.slots import SLOTS, kind_of

    names = [flag.partition("=")[0].replace("_", "-") for flag in flags if flag.startswith("-")]
    if "-h" in names or "--help" in names:
        return
    for slot in SLOTS:
        settings = getattr(config, slot)
        for name, value in vars(settings).items():
            flag = f"--{slot}.{name.replace('_', '-')}"
            if value is tyro.MISSING and flag not in names:
                known = _flag_names(config)
                for other in names:
                    if other.startswith(f"--{slot}.") and other not in known:
                        raise InputError(unknown_flag(other, known))
                raise InputError(f"{kind_of(slot, settings)} needs {flag}, got none")


def _flag_names(config: Any, prefix: str = "--") -> list[str]:
    from dataclasses import fields, is_dataclass

    names = []
    for item in fields(config):
        value, name = getattr(config, item.name), prefix + item.name.replace("_", "-")
        names += _flag_names(value, f"{name}.") if is_dataclass(value) else [name]
    return names


def _first_line_of_box(text: str) -> str:
    """The message inside the frame that tyro draws around an error."""
    lines = [line.strip("│ ").strip() for line in text.splitlines() if line.startswith("│")]
    message = []
    for line in lines:
        if not line.strip("─"):
            break
        message.append(line)
    line = " ".join(message) or " ".join(text.split())
    return re.sub(r"^Error parsing [\w.-]+: (?=.* (is|are|has|names) )", "", line)  # our own rule
