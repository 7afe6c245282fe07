"""A run's `task.json`: its vocabulary, the length of its texts, and its inputs."""

from dataclasses import dataclass, fields, replace
from typing import get_args

from seqgan.data.vocabulary import Level, Vocabulary
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.reading import read_json, shown
from seqgan.training.inputs import OF_INPUT, Input, place_now, read_inputs
from seqgan.training.run_folders import RunFolder
from seqgan.training.settings import TrainConfig

OF_TASK = {
    "max_length": int,
    "whole_length?": int,
    "description?": str,
    "vocabulary": {
        "words": [str],
        "level": str,
        "has_eos": bool,
        "bos_word": (int, type(None)),
        "unk_word": (str, type(None)),
        "specials?": [str],
        "tokenizer?": str,
    },
    "fingerprint?": str,
    "inputs?": [OF_INPUT],
}


@dataclass(frozen=True)
class TaskFacts:
    """The parts of `task.json` that others read."""

    vocabulary: Vocabulary
    max_length: int
    whole_length: int  # `max_length`, and prompt and bos where there are prompts
    fingerprint: str  # of the task's texts; empty in older runs, and where a true model drew them
    inputs: list[Input]

    def vocabulary_here(self, config: TrainConfig) -> Vocabulary:
        """The vocabulary with its tokenizer, if it has one, where the settings have it now."""
        if not self.vocabulary.tokenizer:
            return self.vocabulary
        place = place_now(self.vocabulary.tokenizer, config, self.inputs)
        return replace(self.vocabulary, tokenizer=place)


def read_task(folder: RunFolder) -> TaskFacts:
    """Reads `task.json`.

    Raises:
        DataError: it is damaged, or somebody has edited it.
    """
    plain = read_json(folder.task, OF_TASK)
    max_length = plain["max_length"]
    whole_length = plain.get("whole_length", max_length)  # runs that are older have no prompts
    if not 1 <= max_length <= whole_length:
        raise DataError(
            f"{folder.task} has max_length {max_length} and whole_length {whole_length},"
            " but they must be at least 1, and the second no less than the first"
        )
    known = {item.name for item in fields(Vocabulary)}
    words = plain["vocabulary"]
    if words["level"] not in get_args(Level) or not words.keys() <= known:
        raise DataError(
            f"{folder.task} has the vocabulary {shown(words)}, but must have one of level"
            f" {', '.join(get_args(Level))} with {', '.join(sorted(known))}"
        )
    try:
        vocabulary = Vocabulary.from_dict(words)
    except ConfigurationError as error:
        raise DataError(f"{folder.task}: {error}") from error
    mark = plain.get("fingerprint", "")
    return TaskFacts(vocabulary, max_length, whole_length, mark, read_inputs(plain))


def same_words(one: Vocabulary, other: Vocabulary) -> bool:
    """True if two vocabularies give the same ids, wherever their tokenizers lie."""
    if bool(one.tokenizer) != bool(other.tokenizer):
        return False
    return replace(one, tokenizer=other.tokenizer) == other
