"""The prompt and the continuation of a record: texts, or chat messages as TRL has them.

A record may be a prompt alone; its continuation is then empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqgan.tasks.files.text_files import TextFileError, text_of

# The name of TRL for continuations, which stands in where the default is no column.
CONTINUATION, COMPLETION = "continuation", "completion"

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A record that was read.

    Args:
        prompt: its text; of several messages, a line for each with its role.
        continuation: what follows; of messages, the last answer's content.
        messages: the prompt as messages; empty where it is a text.
        columns: the names of the columns that were read.
    """

    prompt: str
    continuation: str
    messages: tuple[Message, ...]
    columns: tuple[str, ...]


def read_pair(place: str, record: Mapping[str, Any], prompt: str, continuation: str) -> Pair:
    """Reads a record by the names of its two columns.

    A prompt that is a list of messages needs no column of continuations: its last message, an
    assistant's, is the continuation.

    Args:
        continuation: empty for a prompt alone.

    Raises:
        TextFileError: a column is missing, or holds neither a text nor messages.
    """
    if not continuation:
        return _alone(place, record, prompt)
    if continuation == CONTINUATION not in record and COMPLETION in record:
        continuation = COMPLETION
    _check_column(place, record, "prompt-column", prompt)
    if not isinstance(record[prompt], list):
        _check_column(place, record, "continuation-column", continuation)
        after = _answer(place, record, continuation)
        return Pair(text_of(place, record, prompt), after, (), (prompt, continuation))
    messages = _messages(place, record, prompt)
    if continuation in record:
        after = _answer(place, record, continuation)
        return Pair(as_text(messages), after, tuple(messages), (prompt, continuation))
    *before, last = messages
    after = _content_of_answer(place, last, prompt)
    if not before:
        raise TextFileError(f"{place}: no message stands before the answer in {prompt!r}")
    return Pair(as_text(before), after, tuple(before), (prompt,))


def _alone(place: str, record: Mapping[str, Any], prompt: str) -> Pair:
    """A record that is a prompt, of whose messages the last waits for an answer."""
    _check_column(place, record, "prompt-column", prompt)
    if not isinstance(record[prompt], list):
        return Pair(text_of(place, record, prompt), "", (), (prompt,))
    messages = _messages(place, record, prompt)
    if messages[-1]["role"] == "assistant":
        raise TextFileError(
            f"{place}: the last message in {prompt!r} is the assistant's, but a prompt alone must"
            " end before the answer"
        )
    return Pair(as_text(messages), "", tuple(messages), (prompt,))


def is_alone(record: Mapping[str, Any], prompt: str) -> bool:
    """True for a record without a continuation: no column of that name, no answer at the end."""
    if CONTINUATION in record or COMPLETION in record:
        return False
    messages = record[prompt]
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], Mapping):
        return not isinstance(messages, list)
    return messages[-1].get("role") != "assistant"


def _check_column(place: str, record: Mapping[str, Any], flag: str, column: str) -> None:
    if column not in record:
        there = ", ".join(map(repr, record)) or "no columns"
        alone = ", or '' for prompts alone" if flag == "continuation-column" else ""
        raise TextFileError(
            f"{place} has no column {column!r}; --task.{flag} is one of {there}{alone}"
        )


def _answer(place: str, record: Mapping[str, Any], column: str) -> str:
    """A continuation that is a text, or a list of one message."""
    if not isinstance(record[column], list):
        return text_of(place, record, column)
    messages = _messages(place, record, column)
    if len(messages) > 1:
        raise TextFileError(f"{place}: {column!r} has {len(messages)} messages, but must have 1")
    return _content_of_answer(place, messages[0], column)


def _content_of_answer(place: str, message: Message, column: str) -> str:
    if message["role"] != "assistant":
        raise TextFileError(
            f"{place}: the last message in {column!r} is of the role {message['role']!r}, but must"
            " be the assistant's, which is the continuation"
        )
    return str(message["content"])


def _messages(place: str, record: Mapping[str, Any], column: str) -> list[Message]:
    """The messages in a column, at least one."""
    messages = record[column]
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise TextFileError(
                f"{place}: a message in {column!r} is {message!r}, but must have a role and content"
            )
        text_of(f"{place}, a message in {column!r}", message, "role")
        text_of(f"{place}, a message in {column!r}", message, "content")
    if not messages:
        raise TextFileError(f"{place}: {column!r} has no messages")
    return list(messages)


def as_text(messages: Sequence[Message]) -> str:
    """A single message's content; of several a line for each, with its role."""
    if len(messages) == 1:
        return str(messages[0]["content"])
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
