"""The surroundings of a program that code of somebody else may change, and that are put back.

A user's reward runs amid a training run. Whatever it changes for the whole process (PyTorch's
default type, the working directory, the random states) would change the run's numbers or lose its
files, long after the call and without a trace.
"""

import locale
import logging
import operator
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

logger = logging.getLogger(__name__)
Tell = Callable[[str], object]
Draws = Literal["told", "untold", "left"]


def is_failure(error: BaseException) -> bool:
    """Tells an error of the code that was called from a person's Ctrl-C.

    Ctrl-C raises KeyboardInterrupt only where Python's own handler of SIGINT is in place.
    """
    if not isinstance(error, KeyboardInterrupt):
        return True
    return signal.getsignal(signal.SIGINT) is not signal.default_int_handler


@dataclass(frozen=True)
class Surrounding:
    """One thing that the whole process, or the whole thread, shares."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    same: Callable[[Any, Any], bool] = operator.eq
    silent: bool = False  # changes are put back without a word


@contextmanager
def kept_surroundings(who: str, tell: Tell | None = None, draws: Draws = "told") -> Iterator[None]:
    """Puts back what its body changes for the whole process, and says so.

    Threads share all this, so that one cannot tell its own changes from another's: nothing is kept
    outside the main thread. Whoever starts threads for such code keeps the surroundings for all.

    Args:
        who: the one who is blamed, say "reward 'politeness'".
        tell: gets one line if something was changed; by default it is a warning of the log.
        draws: `told` keeps the random states like all else. `untold` puts them back without a
            word, for a body that may initialise networks. `left` leaves them alone, for a body that
            may go on drawing from them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = (*SETTINGS, HANDLERS) if draws == "left" else (*SETTINGS, HANDLERS, *RANDOM_STATES)
    before = [(one, one.read()) for one in kept]
    try:
        yield
    finally:
        changed = []
        for one, value in before:
            if one.same(one.read(), value):
                continue
            one.write(value)
            told = draws == "told" or one not in RANDOM_STATES
            if told and not one.silent:
                changed.append(one.name)
        if changed:
            listed = " and ".join(filter(None, (", ".join(changed[:-1]), changed[-1])))
            say = logger.warning if tell is None else tell
            say(f"{who} changed {listed}: put back as it was before the call")


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""


def _to_folder(folder: str) -> None:
    if folder:
        with suppress(OSError):  # it was removed meanwhile
            os.chdir(folder)


def _device() -> str:
    return str(torch.get_default_device())


def _to_device(device: str) -> None:
    torch.set_default_device(None if device == "cpu" else device)


def _same_arrays(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one[2:] == other[2:] and np.array_equal(one[1], other[1])


def _deterministic() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


def _to_deterministic(modes: tuple[bool, ...]) -> None:
    enabled, warns, torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = modes
    torch.use_deterministic_algorithms(enabled, warn_only=warns)


def _handlers() -> tuple[tuple[int, Any], ...]:
    """The handlers that Python knows; None stands for one of another language."""
    every = ((number, signal.getsignal(number)) for number in SIGNALS)
    return tuple((number, handler) for number, handler in every if handler is not None)


def _to_handlers(handlers: tuple[tuple[int, Any], ...]) -> None:
    for number, handler in handlers:
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _autocast() -> tuple[tuple[bool, torch.dtype], ...]:
    return tuple(
        (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in AUTOCAST
    )


def _to_autocast(modes: tuple[tuple[bool, torch.dtype], ...]) -> None:
    for device, (enabled, dtype) in zip(AUTOCAST, modes, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _to_streams(streams: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


AUTOCAST = ("cpu", "cuda")
NAMES = ("HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT")
SIGNALS = tuple(getattr(signal, f"SIG{n}") for n in NAMES if hasattr(signal, f"SIG{n}"))
SETTINGS = (
    Surrounding("the working directory", _folder, _to_folder),
    Surrounding("the mode of new files", _umask, os.umask),
    Surrounding("the standard streams", lambda: (sys.stdin, sys.stdout, sys.stderr), _to_streams),
    Surrounding("NumPy's treatment of errors", np.geterr, lambda modes: np.seterr(**modes)),
    Surrounding(
        "PyTorch's default type",
        torch.get_default_dtype,
        lambda dtype: torch.set_default_dtype(dtype),
    ),
    Surrounding("PyTorch's default device", _device, _to_device),
    Surrounding("PyTorch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Surrounding("PyTorch's automatic precision", _autocast, _to_autocast),
    Surrounding("PyTorch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Surrounding("PyTorch's deterministic mode", _deterministic, _to_deterministic),
    Surrounding(
        "PyTorch's precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Surrounding(
        "the locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda name: locale.setlocale(locale.LC_ALL, name),
    ),
)
RANDOM_STATES = (
    # Python draws for itself now and then, say where it mixes files or names.
    Surrounding("Python's random state", random.getstate, random.setstate, silent=True),
    Surrounding("NumPy's random state", np.random.get_state, np.random.set_state, _same_arrays),
    Surrounding("PyTorch's random state", torch.get_rng_state, torch.set_rng_state, torch.equal),
)
HANDLERS = Surrounding("the handlers of signals", _handlers, _to_handlers)
