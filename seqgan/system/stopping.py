"""Ctrl-C and SIGTERM end a command at any moment, with one line and exit code 130 or 143.

Python's own way, a KeyboardInterrupt, is lost in code that catches everything, and modules of other
packages do so while they are imported. An import writes no files, so there the process simply ends.
Training and sweeps put handlers of their own in the place of these.
"""

import os
import signal
from contextlib import suppress
from types import FrameType

SECONDS_TO_CLEAN_UP = 3.0  # after which the process ends, also where the interrupt was lost
IMPORTING = "<frozen importlib"  # start of the file name of the frames that import a module


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop. Nothing but the end of the program catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def stop_on_signals() -> None:
    """Lets SIGINT and SIGTERM stop this process: at once in an import, else by `Stopped`.

    A process that it forks, say the worker of a pool that a user's reward asks, has no handlers of
    ours: its pool ends it by SIGTERM, and waits for that. Ctrl-C, which a terminal sends to all of
    them, is left to this process.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    # Held back meanwhile: Python forgets a signal that comes while a child begins.
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_as_child)


def stop_at_once_on_signals() -> None:
    """Lets SIGINT and SIGTERM end this process, which has nothing left to clean up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(128 + number))


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _as_child() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # not SIG_IGN, which exec would keep
    _release()


def _stop(number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        _say_stopped()
        os._exit(128 + number)
    # The second signal, and the alarm, do not ask again.
    stop_at_once_on_signals()
    signal.signal(signal.SIGALRM, lambda alarm, frame: os._exit(128 + number))
    signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_CLEAN_UP)
    raise Stopped(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTING):
            return True
        frame = frame.f_back
    return False


def _say_stopped() -> None:
    with suppress(OSError):  # nobody reads it
        os.write(2, b"seqgan: stopped\n")
