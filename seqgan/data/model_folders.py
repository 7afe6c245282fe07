"""Model folders of transformers: reading them, and one clear line where one cannot be read.

transformers is imported when something is read, and not before. Nothing is fetched for a path;
a hub name is looked for in the local cache first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from seqgan.system.errors import ModelFolderError


def package(name: str, extra: str = "pretrained") -> ModuleType:
    """An optional package.

    Raises:
        ModelFolderError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelFolderError(
            f"pretrained models need the package {name}: pip install 'seqgan[{extra}]' ({error})"
        ) from error


@lru_cache(maxsize=8)
def load_tokenizer(place: str) -> Any:
    """The tokenizer of a model folder (or hub name).

    A missing padding token is no obstacle: rows are padded with a mask, and never shown to a model.

    Raises:
        ModelFolderError: there is none, or an empty one.
    """
    check_place(place)
    transformers = package("transformers")
    with refusals(place, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        # What transformers makes of a folder that has a model's configuration alone.
        raise ModelFolderError(
            f"a model folder has its tokenizer's files (tokenizer.json), got {place} without a"
            " token that is not a special one"
        )
    return tokenizer


def ending_tokenizer(place: str) -> Any:
    """`load_tokenizer`, of a generator.

    Raises:
        ModelFolderError: there is none, or it has no eos.
    """
    tokenizer = load_tokenizer(place)
    if tokenizer.eos_token_id is None:
        raise ModelFolderError(
            f"a generator's tokenizer has an end-of-text token (eos_token), {place} has none"
        )
    return tokenizer


def load_model(place: str, auto_class: str, **arguments: Any) -> Any:
    """A model by one of transformers' `Auto...` classes.

    Raises:
        ModelFolderError: the place holds no model, or none of that class.
    """
    check_place(place)
    transformers = package("transformers")
    with refusals(place, "model"), quietly(transformers):
        return getattr(transformers, auto_class).from_pretrained(place, **arguments)


def load_settings(place: str) -> Any:
    """A model's configuration.

    Raises:
        ModelFolderError: the place holds none.
    """
    check_place(place)
    transformers = package("transformers")
    with refusals(place, "model"):
        return transformers.AutoConfig.from_pretrained(place)


def context_window(place: str) -> int | None:
    """How many tokens the model can read, prompt and completion together; None sets no limit.

    Raises:
        ModelFolderError: the place holds no model.
    """
    settings = load_settings(place).get_text_config()
    window = getattr(settings, "max_position_embeddings", None)
    return int(window) if window else None


def check_place(place: str) -> None:
    """That a place may hold a model: a folder with a config.json, or what could be a hub name.

    Raises:
        ModelFolderError: it can be neither.
    """
    if not place:
        raise ModelFolderError("a pretrained model is a folder or a hub name, got nothing")
    path = Path(place)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelFolderError(f"a model folder has a config.json, got {place} without one")
    elif path.exists():
        raise ModelFolderError(
            f"a pretrained model is a folder or a hub name, got the file {place}"
        )
    elif place.startswith((".", "/", "~", "\\")) or place.count("/") > 1:
        raise ModelFolderError(
            f"a pretrained model is a folder or a hub name, got {place}: no such folder"
        )


@contextmanager
def refusals(place: str, what: str) -> Iterator[None]:
    """Turns what transformers says, often over a page, into one line."""
    try:
        yield
    except ModelFolderError:
        raise
    except Exception as error:  # each parser behind it, and code of the folder's own, has others
        if not Path(place).is_dir():
            raise ModelFolderError(
                f"{place!r} is no local folder, and as a hub name it is neither in the local cache"
                " nor can it be fetched; without a network, give the path of a model folder"
            ) from error
        said = " ".join(str(error).split())[:200]
        raise ModelFolderError(
            f"{place} holds a {what} that transformers can read: {said}"
        ) from error


@contextmanager
def quietly(transformers: ModuleType) -> Iterator[None]:
    """Loading takes no time worth a bar, nor a table of the weights that were left out."""
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
