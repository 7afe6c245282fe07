"""Settings of a record in Weights & Biases: flags beat the environment, which beats our defaults.

They are checked before training begins, by the rules of the wandb that is installed: a setting that
wandb refuses later would cost the whole record.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqgan.system.errors import ConfigurationError

if TYPE_CHECKING:
    import wandb

Mode = Literal["auto", "online", "offline", "disabled"]
Checkpoints = Literal["best", "none"]

OFFLINE = ("offline", "dryrun")  # modes without a server
PROJECT, JOB_TYPE = "seqgan", "train"  # where neither a flag nor the environment says another
SECRETS = ("KEY", "TOKEN", "PASSWORD", "HEADERS")  # in names of variables: their values stay unseen
LONGEST = 60  # characters of a value that a message repeats

# wandb's names of our settings.
NAMES = {
    "project": "project",
    "entity": "entity",
    "name": "run_name",
    "group": "run_group",
    "job_type": "run_job_type",
    "tags": "run_tags",
    "notes": "run_notes",
}


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of a run's record in Weights & Biases. What is empty is as WANDB_... says."""

    mode: Mode = "auto"  # auto: as WANDB_MODE says, else online with an API key, else offline
    project: str = ""  # the project that the run belongs to; empty: WANDB_PROJECT, else seqgan
    entity: str = ""  # the user or team that owns it; empty: WANDB_ENTITY, else that of the login
    name: str = ""  # the run's display name; empty: WANDB_NAME, else the name of its folder
    group: str = ""  # groups runs, say the seeds of one experiment; empty: WANDB_RUN_GROUP, if any
    job_type: str = ""  # what the run is in its group; empty: WANDB_JOB_TYPE, else train
    tags: tuple[str, ...] = ()  # labels to filter runs by; none: those of WANDB_TAGS, if any
    notes: str = ""  # what a person wants to remember about the run; empty: WANDB_NOTES, if any
    # Checkpoints as versions of an artifact. best: each that is the best of the game so far (least
    # checkpoint/loss, which quality alone does not lower), and the last; none: in the folder only.
    checkpoints: Checkpoints = "best"


def is_disabled(config: TrackerConfig) -> bool:
    """True if nothing is recorded in wandb; wandb is not imported to find out."""
    mode = os.environ.get("WANDB_MODE", "") if config.mode == "auto" else config.mode
    return mode == "disabled"


def check_settings(config: TrackerConfig) -> None:
    """Checks everything that a record will be started with, if one will be.

    Raises:
        ConfigurationError: a setting or a variable WANDB_... breaks a rule of wandb's, WANDB_DIR
            cannot be written, or a run is to be online and nobody has logged in.
    """
    if is_disabled(config):
        return
    import wandb
    from wandb.sdk.lib.service.service_token import WandbServiceConnectionError

    variables = {name: os.environ[name] for name in os.environ if name.startswith("WANDB_")}
    for name, value in sorted(variables.items()):
        _ask(name, value, lambda given: wandb.Settings().update_from_env_vars(given), {name: value})
    for ours, theirs in NAMES.items():
        if value := getattr(config, ours):
            _ask(f"tracker.{ours}", value, lambda given: wandb.Settings(**given), {theirs: value})
    # Each for itself is right; now all of them together, and wandb's files of settings.
    try:
        _ask("the settings together", "", lambda given: settings_now(), {})
    except WandbServiceConnectionError as error:  # left behind by a program that has ended
        service = os.environ["WANDB_SERVICE"]
        raise ConfigurationError(
            f"WANDB_SERVICE is {service!r}, where no process of wandb's answers: unset it"
        ) from error
    settings = settings_now()
    if (chosen_mode(config) or settings.mode) == "online" and not has_credentials(settings):
        raise ConfigurationError(
            "there is no API key for a run that is online: log in with `wandb login` or set"
            " WANDB_API_KEY; --tracker.mode offline records without one"
        )
    if "WANDB_DIR" in os.environ:
        _make_folder(record_folder(Path()))


def _make_folder(folder: Path) -> None:
    """Makes the folder of WANDB_DIR; wandb itself would take another one without a word.

    Raises:
        ConfigurationError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder of WANDB_DIR, {folder}: {error}"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"cannot write into the folder of WANDB_DIR, {folder}")


def _ask(
    name: str,
    value: object,
    rules: Callable[[dict[str, Any]], object],
    given: Mapping[str, Any],
) -> None:
    """Lets wandb look at a setting.

    Raises:
        ConfigurationError: wandb refuses it.
    """
    import wandb

    try:
        for text in value if isinstance(value, tuple) else (value,):
            str(text).encode()  # wandb writes UTF-8
        rules(dict(given))
    except (ValueError, wandb.errors.UsageError) as error:
        first = error.errors()[0]["msg"] if hasattr(error, "errors") else str(error)
        reason = " ".join(first.removeprefix("Value error, ").split())
        hidden = any(word in name for word in SECRETS)
        shown = "" if hidden or not 0 < len(repr(value)) <= LONGEST else f" {value!r}"
        raise ConfigurationError(f"{name}{shown} breaks wandb's rules: {reason}") from error


def settings_now() -> "wandb.Settings":
    """wandb's settings from its files and from the environment as it is at this moment."""
    import wandb

    settings = wandb.setup().settings.model_copy()
    settings.update_from_env_vars(dict(os.environ))
    return settings


def record_folder(run_folder: Path) -> Path:
    """The folder that gets `wandb/` with the records: WANDB_DIR, else that of the run."""
    return Path(os.environ.get("WANDB_DIR") or run_folder).expanduser().resolve()


def chosen_mode(config: TrackerConfig) -> str | None:
    """The mode to pass to init; None leaves it to WANDB_MODE and wandb's own settings files."""
    if config.mode != "auto":
        return config.mode
    settings = settings_now()
    if "WANDB_MODE" in os.environ or settings.mode != "online":
        return None
    return "online" if has_credentials(settings) else "offline"


def logged_in() -> bool:
    """True if wandb would find an API key without asking. Reads files, calls no server."""
    return has_credentials(settings_now())


def has_credentials(settings: "wandb.Settings") -> bool:
    """True if wandb would find an API key without asking. Reads files, calls no server."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    return bool(
        os.environ.get("WANDB_API_KEY")
        or settings.api_key
        or settings.identity_token_file
        or read_netrc_auth(host=settings.base_url)
    )


def continuation_of(position: Mapping[str, Any], offline: bool) -> dict[str, Any]:
    """Arguments of init that continue a run, or branch off from it.

    Offline, `resume` is ignored and the steps would start at 0 again, so the run is rewound to
    its step instead.
    """
    if not position:
        return {}
    begun = position["step"] >= 0
    moment = f"{position['run_id']}?_step={position['step']}"
    if position.get("fork"):
        return {"fork_from": moment} if begun else {}
    if offline and begun:
        return {"resume_from": moment}
    return {"id": position["run_id"], "resume": "allow"}


@contextmanager
def data_in(folder: Path) -> Iterator[None]:
    """Lets wandb keep its data and its cache in `folder`; by default they go to the home folder.

    A table waits there for its upload, so a run folder copied to another machine would lack it.
    Where the environment names folders, it is obeyed.
    wandb reads these variables whenever it stages a file and has no setting for them.
    """
    ours = {"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder / "cache")}
    ours = {name: value for name, value in ours.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
