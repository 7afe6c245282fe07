"""The flags of `seqgan train` on top of a configuration, with one line for each error."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, take, unknown_flag
from seqgan.commands.short_names import ELSEWHERE, MODEL, ONLY_ADVERSARY, SHORT

if TYPE_CHECKING:
    from seqgan.training.settings import TrainConfig

# Messages of tyro, and of the types that it calls, in the words of ours.
SAID_BY_TYRO = (
    (
        r"^Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)",
        r"\1 is \2, but must be a whole number",
    ),
    (
        r"^Error parsing (\S+): could not convert string to float: (.*)",
        r"\1 is \2, but must be a number",
    ),
    (r"^Error parsing (\S+): Could not find valid parse for arguments: (.*)", r"\1 cannot be \2"),
    (
        r"^invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*)\)\.",
        r"\2 is \1, but must be one of \3",
    ),
    (r"^Missing value for argument '(\S+)'\. .*", r"\1 has no value"),
)
HELP = ("-h", "--help")
HELP_ALL = "--help-all"


def asks_help(flags: list[str]) -> bool:
    """True if a flag asks for one of the helps."""
    return any(flag in (*HELP, HELP_ALL) for flag in flags)


def with_flags(config: "TrainConfig", flags: list[str], what: str) -> "TrainConfig":
    """The configuration with what the flags change.

    Args:
        flags: with the settings' own names.
        what: the command without flags, after `seqgan train`.

    Raises:
        SystemExit: a flag asked for help, which is printed.
        SeqganError: a flag is unknown, or its value cannot be used.
    """
    from seqgan.training.moved import present_flags

    config, flags = _with_kinds(config, present_flags(flags))
    if HELP_ALL in flags:
        print(_all_settings(config, what))
        raise SystemExit(0)
    if asks_help(flags):
        from seqgan.commands.train_help import train_help

        print(train_help(config, what))
        raise SystemExit(0)
    _check_given(config, flags)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), _wide_terminal():
            parsed, unknown = _parsed(config, flags, what)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_first_line_of_box(errors.getvalue())) from stop
    if unknown:
        raise InputError(_unknown(unknown[0], config, what))
    return parsed


def _parsed(
    config: "TrainConfig", flags: list[str], what: str, description: str = ""
) -> "tuple[TrainConfig, list[str]]":
    """The configuration after tyro read the flags, and those that it does not know."""
    import tyro

    from seqgan.training.settings import TrainConfig

    return tyro.cli(
        TrainConfig,
        prog=f"seqgan train {what}",
        description=description,
        default=config,
        args=flags,
        config=(tyro.conf.AvoidSubcommands,),
        return_unknown_args=True,
    )


def _all_settings(config: "TrainConfig", what: str) -> str:
    """Every setting with its comment and its value, as tyro lists them."""
    from seqgan.training.named_rules import NAMED_RULES
    from seqgan.training.slots import SLOTS

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        _parsed(config, ["--help"], what, "Every setting; `--help` has the commonest.")
    text = told.getvalue()
    for slot, kinds in SLOTS.items():  # tyro knows the settings of one class, and its kinds alone
        known = ",".join([*kinds, *(NAMED_RULES if slot == "rule" else ())])
        text = re.sub(rf"(?<=--{slot}\.kind )\{{.*?\}}", f"{{{known}}}", text)
    return text.rstrip()


def _unknown(flag: str, config: "TrainConfig", what: str) -> str:
    """The error about a flag that is no setting of this configuration."""
    if not flag.startswith("-"):
        return f"unexpected argument {flag!r}; flags begin with --, and a file comes first"
    name = flag.partition("=")[0].replace("_", "-")
    if here := ELSEWHERE.get(name.lstrip("-")):
        return f"unknown flag {flag}; it is called {here} here"
    if other := _of_another_kind(name, config):
        return other
    known = [*_flag_names(config), *SHORT, MODEL, ONLY_ADVERSARY]
    said = unknown_flag(flag, known)
    if ";" in said:
        return said
    section = name.rpartition(".")[0]
    there = [each.removeprefix(f"{section}.") for each in known if each.startswith(f"{section}.")]
    if section and there:
        return f"{said}; those of {section} are {', '.join(there)}"
    return f"{said}; seqgan train {what} --help-all has them all"


def _of_another_kind(name: str, config: "TrainConfig") -> str:
    """The error about a setting that another kind of its slot has; empty where none has it."""
    from dataclasses import fields

    from seqgan.training.slots import SLOTS, kind_of, settings_class

    slot, _, field = name.removeprefix("--").partition(".")
    having = [
        kind
        for kind in SLOTS.get(slot, ())
        if field.replace("-", "_") in {item.name for item in fields(settings_class(slot, kind))}
    ]
    if not having:
        return ""
    here = kind_of(slot, getattr(config, slot))
    return f"{name} is no setting of the {slot} {here}; --{slot}.kind {' or '.join(having)} has it"


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
    flag stays: one class may stand for several kinds. The name of a rule stands for its settings,
    which may be a kind of another slot: flags win over it.
    """
    from dataclasses import replace

    from seqgan.training.named_rules import named_rule
    from seqgan.training.slots import SLOTS, settings_class

    for slot in sorted(SLOTS, key=lambda slot: slot != "rule"):
        kinds = SLOTS[slot]
        kind, flags = _take_last(flags, f"--{slot}", f"--{slot}.kind")
        if kind is None:
            continue
        if slot == "rule" and named_rule(kind):
            config = _with_named_rule(config, kind, flags)
            continue
        chosen = settings_class(slot, kind)
        if type(getattr(config, slot)) is not chosen:
            config = replace(config, **{slot: _defaults(chosen)})
        if kind in kinds:
            flags = [*flags, f"--{slot}.kind", kind]
    return config, flags


def _with_named_rule(config: "TrainConfig", rule: str, flags: list[str]) -> "TrainConfig":
    """The configuration with a named rule, whose groups have to fit the batch that flags choose."""
    sizes = {}
    for name in ("batch_size", "group_size"):
        dotted = f"adversarial.{name}"
        value, _ = _take_last(flags, f"--{dotted}", f"--{dotted.replace('_', '-')}")
        if value is not None and value.isdecimal():
            sizes[dotted] = int(value)
    return config.with_(rule=rule, **sizes)


def chosen_kind(flags: list[str], slot: str) -> str:
    """The kind that flags choose for a slot; empty where they choose none."""
    return _take_last(flags, f"--{slot}", f"--{slot}.kind")[0] or ""


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
    """Checks that flags set all the fields without a default.

    Raises:
        InputError: one is not set; its name may have been misspelt.
    """
    import tyro

    from seqgan.training.slots import SLOTS, kind_of

    names = [flag.partition("=")[0].replace("_", "-") for flag in flags if flag.startswith("-")]
    for slot in SLOTS:
        settings = getattr(config, slot)
        for name, value in vars(settings).items():
            flag = f"--{slot}.{name.replace('_', '-')}"
            if value is tyro.MISSING and flag not in names:
                known = _flag_names(config)
                for other in names:
                    if other.startswith(f"--{slot}.") and other not in known:
                        raise InputError(unknown_flag(other, known))
                raise InputError(f"{flag} is not given; {kind_of(slot, settings)} needs it")


def _flag_names(config: Any, prefix: str = "--") -> list[str]:
    """The flags of all settings; of a switch both."""
    from dataclasses import fields, is_dataclass

    names = []
    for item in fields(config):
        value, name = getattr(config, item.name), item.name.replace("_", "-")
        if is_dataclass(value):
            names += _flag_names(value, f"{prefix}{name}.")
        else:
            names += [prefix + name, *[f"{prefix}no-{name}"] * isinstance(value, bool)]
    return names


def _first_line_of_box(text: str) -> str:
    """The message inside the frame that tyro draws around an error, in lines or in dashes."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)  # colours, where standard output is a terminal
    _title, *lines = [line.strip("│ ").strip() for line in text.splitlines()] or [""]
    message: list[str] = []
    for line in lines:
        if line.strip("─-╰╯"):
            message.append(line)
        elif message:
            break
    line = " ".join(message) or " ".join(text.split())
    for theirs, ours in SAID_BY_TYRO:
        line = re.sub(theirs, ours, line)
    return re.sub(r"^Error parsing [\w.-]+: (?=.* (is|are|has|names) )", "", line)  # our own rule
