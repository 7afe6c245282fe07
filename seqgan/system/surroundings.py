"""The surroundings of a program that code of somebody else may change, and that are put back.

A user's reward runs amid a training run. Whatever it changes for the whole process (PyTorch's
default type, the working directory, the random states) would change the run's numbers or lose its
files, long after the call and without a trace.
"""

import signal


def is_failure(error: BaseException) -> bool:
    """Tells an error of the code that was called from a person's Ctrl-C.

    Ctrl-C raises KeyboardInterrupt only where Python's own handler of SIGINT is in place.
    """
    if not isinstance(error, KeyboardInterrupt):
        return True
    return signal.getsignal(signal.SIGINT) is not signal.default_int_handler
