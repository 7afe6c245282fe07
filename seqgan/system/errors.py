"""The errors that a person can mend, and the two that end a run.

`SeqganError` and its kinds are about what the caller gave: a setting, a file, a reward, a model
folder, a checkpoint. Each says in one line, which is all that the command line prints, first the
fault with the value and its place, then the rule or what mends it. Any other exception is a bug and
keeps its traceback.
"""

import re


class SeqganError(ValueError):
    """Something that was given cannot be used."""


class ConfigurationError(SeqganError):
    """A setting, an argument or a combination of them breaks a rule."""


class DataError(SeqganError):
    """A file or a set of texts cannot be used."""


class CheckpointError(SeqganError):
    """No checkpoint can be written, or none can be read."""


class ModelFolderError(SeqganError):
    """A model folder of transformers cannot be read, or does not go with the run."""


class DivergedError(RuntimeError):
    """A loss, a gradient or a probability is not finite; the last step was not taken."""


class ProcessLostError(RuntimeError):
    """Another process of the run ended."""


class Interrupted(RuntimeError):
    """The run was asked to stop, and did so after saving a checkpoint."""


def described(error: BaseException) -> str:
    """`TypeName: message`; without the colon where there is no message."""
    try:
        message = str(error)
    except Exception:  # the message of somebody else's error is somebody else's code
        message = "(its message cannot be read)"
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def one_line(text: str) -> str:
    """The text with its line breaks as spaces, all else as it is."""
    return re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.strip())
