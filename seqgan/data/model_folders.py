"""Reads model folders of transformers; a folder that cannot be read gives an error of one line.

transformers is imported on first use, because importing it takes seconds. A path is read from disk
only. The hub is asked about a hub name once, and briefly; where it cannot be reached, the local
cache stands in.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from seqgan.system.errors import ModelFolderError, one_line
from seqgan.system.plugins import nearest

# A hint where there is a model in llama.cpp's format, which transformers turns into a folder.
GGUF = "; a few lines of transformers make a folder of a GGUF file (docs/pretrained.md)"
SECONDS_FOR_HUB = 5.0  # until its first answer; transformers would ask again for half a minute


def package(name: str, extra: str = "pretrained") -> ModuleType:
    """Imports an optional package and returns its module.

    Args:
        extra: the extra of seqgan that installs the package; the error names it.

    Raises:
        ModelFolderError: the package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelFolderError(
            f"the package {name} is missing, which pretrained models need: pip install"
            f" 'seqgan[{extra}]' ({error})"
        ) from error


@lru_cache(maxsize=8)
def load_tokenizer(place: str) -> Any:
    """Loads the tokenizer of a model folder or hub name.

    The tokenizer needs no padding token: padding is masked, and models never see it.

    Raises:
        ModelFolderError: the place holds no tokenizer, or one without ordinary tokens.
    """
    where = found(place)
    transformers = package("transformers")
    with refusals(place, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, **where
        )
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        # transformers builds such an empty tokenizer from a folder with a config.json alone.
        raise ModelFolderError(
            f"{place} has no tokenizer: there are no words in its vocabulary; save the model's own"
            f" there, AutoTokenizer.from_pretrained(NAME).save_pretrained({place!r})"
        )
    return tokenizer


def ending_tokenizer(place: str) -> Any:
    """Loads a generator's tokenizer, which needs an eos token: a generator ends its texts.

    Raises:
        ModelFolderError: the place holds no tokenizer, or one without eos.
    """
    tokenizer = load_tokenizer(place)
    if tokenizer.eos_token_id is None:
        raise ModelFolderError(
            f"the tokenizer in {place} has no end-of-text token (eos_token), which a"
            " generator needs"
        )
    return tokenizer


def load_model(place: str, auto_class: str, **arguments: Any) -> Any:
    """Loads a model with one of transformers' `Auto...` classes.

    Raises:
        ModelFolderError: the place holds no model, or none of that class.
    """
    where = found(place)
    transformers = package("transformers")
    with refusals(place, "model"), quietly(transformers):
        loader = getattr(transformers, auto_class)
        return loader.from_pretrained(place, trust_remote_code=False, **where, **arguments)


def load_settings(place: str) -> Any:
    """Loads a model's configuration.

    Raises:
        ModelFolderError: the place holds no configuration.
    """
    where = found(place)
    transformers = package("transformers")
    with refusals(place, "model"):
        return transformers.AutoConfig.from_pretrained(place, trust_remote_code=False, **where)


def context_window(place: str) -> int | None:
    """Returns the largest number of tokens the model reads, prompt and completion together.

    None means that the configuration states no limit.

    Raises:
        ModelFolderError: the place holds no model.
    """
    settings = load_settings(place).get_text_config()
    window = getattr(settings, "max_position_embeddings", None)
    return int(window) if window else None


def found(place: str) -> dict[str, Any]:
    """Finds a model folder or a hub name, without waiting for a hub that does not answer.

    Returns:
        Arguments with which `from_pretrained` reads it.

    Raises:
        ModelFolderError: it is no folder with a config.json, and the hub does not have it.
    """
    check_place(place)
    if Path(place).is_dir():
        return {}
    cached = package("huggingface_hub").try_to_load_from_cache(place, "config.json")
    problem = _hub_problem(place)
    if problem and not isinstance(cached, str):
        raise ModelFolderError(f"cannot read {place}: no such folder, and {problem}{_near(place)}")
    return {"local_files_only": True} if problem else {}


@lru_cache(maxsize=32)
def _hub_problem(place: str) -> str:
    """Asks the hub for a name; the reason why it cannot be read from there, empty where it can."""
    hub = package("huggingface_hub")
    if hub.constants.is_offline_mode():
        return "HF_HUB_OFFLINE forbids asking the Hugging Face hub"
    try:
        hub.HfApi().model_info(place, timeout=SECONDS_FOR_HUB)
    except hub.errors.RepositoryNotFoundError:
        return "the Hugging Face hub has no such model that may be read here"
    except Exception as error:  # of its HTTP library, another one in each of its versions
        return f"the Hugging Face hub cannot be reached ({one_line(str(error))[:100]})"
    return ""


def check_place(place: str) -> None:
    """Checks that a place looks like a model folder (it has a config.json) or like a hub name.

    Raises:
        ModelFolderError: the place looks like neither.
    """
    path = Path(place)
    if not place:
        raise ModelFolderError("no model is named; a model is a folder or a hub name")
    if path.is_dir():
        if not (path / "config.json").is_file():
            hint = GGUF if any(path.glob("*.gguf")) else ""
            raise ModelFolderError(f"{place} is no model folder: it has no config.json{hint}")
    elif path.exists():
        hint = GGUF if path.suffix.lower() == ".gguf" else ""
        raise ModelFolderError(f"{place} is a file; a model is a folder or a hub name{hint}")
    elif not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", place):  # no hub name
        raise ModelFolderError(f"cannot read {place}: no such folder{_near(place)}")


def _near(place: str) -> str:
    """A hint at a folder of a like name beside a missing one; empty where none is."""
    path = Path(place)
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(path.name, names)


@contextmanager
def refusals(place: str, what: str) -> Iterator[None]:
    """Turns an error of transformers, which may fill a page, into a ModelFolderError of one line.

    Args:
        what: the thing being read (tokenizer, model), for the message.
    """
    try:
        yield
    except ModelFolderError:
        raise
    except Exception as error:  # parsers and the folder's own code raise errors of any type
        if not Path(place).is_dir():
            raise ModelFolderError(
                f"cannot read the {what} {place} of the Hugging Face hub:"
                f" {one_line(str(error))[:200]}"
            ) from error
        reason = one_line(str(error))
        if "trust_remote_code" in reason:
            raise ModelFolderError(
                f"the {what} in {place} is Python code of its own, which seqgan does not run"
            ) from error
        reason = reason[:200]
        raise ModelFolderError(f"cannot read the {what} in {place}: {reason}") from error


@contextmanager
def quietly(transformers: ModuleType) -> Iterator[None]:
    """Silences transformers' progress bar and its table of unused weights while a model loads."""
    logging = transformers.utils.logging
    had_bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()
