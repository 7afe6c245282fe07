"""Files that anybody may have written, read in bounded time and memory.

A file is a regular file of a bounded size. YAML and JSON become plain values (mappings, lists,
texts, numbers, true, false, null) of bounded depth, and `check_shape` says what they have to look
like. Whatever is wrong is a `DataError` of one line that names the file.
"""

import io
import json
import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from seqgan.system.errors import DataError
from seqgan.system.inputs import open_file

MEGABYTE = 2**20
LARGEST = 256 * MEGABYTE  # bytes of a JSON file
LARGEST_YAML = MEGABYTE // 2  # bytes; PyYAML takes seconds for this much
LARGEST_LINES = 2048 * MEGABYTE  # bytes of a file of JSON lines
LARGEST_LINE = 16 * MEGABYTE  # bytes of one of its lines
DEEPEST = 100  # levels of lists and mappings in each other
MOST_NODES = 200_000  # of a YAML file, aliases written out
MOST_CHARACTERS = 4 * MEGABYTE  # of its texts, aliases written out
MOST_DIGITS = 20  # of a whole number

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Shape = Any  # see `check_shape`


def shown(value: object) -> str:
    """The value as errors quote it: its `repr`, shortened."""
    return clipped(_SHORT.repr(value), 300)


def clipped(text: str, most: int = 200) -> str:
    """The text as errors have it: shortened."""
    return text if len(text) <= most else f"{text[:most]}..."


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file.

    Raises:
        DataError: there is no such file, it is a device, a pipe or a folder, or it is too large.
    """
    try:
        with open_file(path, once=True) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(largest + 1) if size <= largest else b""
    except (OSError, ValueError) as error:  # ValueError: a NUL character in its name
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {_named(path)}: {reason}") from error
    if (size := max(len(content), size)) > largest:
        raise DataError(f"{path} has {size} bytes, more than the {largest} that are read")
    return content


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The text of a file in UTF-8; raises as `read_bytes` does."""
    try:
        return read_bytes(path, largest).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the byte 0x{error.object[error.start]:02x} at {error.start} is not UTF-8"
        ) from error


def read_json(path: Path, shape: Shape = object) -> Any:
    """The value in a JSON file.

    Raises:
        DataError: as `read_bytes`; it is no JSON, or its value is of another shape.
    """
    value = parse_json(read_bytes(path), str(path))
    check_shape(value, shape, str(path))
    return value


def parse_json(content: bytes, place: str) -> Any:
    """The value of JSON in UTF-8, NaN and infinities included.

    Args:
        place: of the content, as errors name it.

    Raises:
        DataError: it is no JSON, it is nested too deeply, or a number has too many digits.
    """
    try:
        value = json.loads(content, parse_int=_whole)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{place} is not whole JSON: {error.msg} ({where})") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, an endless number, a bottomless list
        raise DataError(f"{place} is not whole JSON: {_reason(error)}") from error
    _check_depth(value, place)
    if _SURROGATE.search(content):
        try:
            _check_unicode(json.dumps(value, ensure_ascii=False))
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place} has half a character, but must be JSON of Unicode text"
            ) from error
    return value


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of a file with their ends, each with its place; none where there is no file.

    Raises:
        DataError: as `read_bytes`; or a line is too long.
    """
    if not path.exists():
        return
    for number, line in enumerate(io.BytesIO(read_bytes(path, LARGEST_LINES)), 1):
        place = f"{path}, line {number}"
        if len(line) > LARGEST_LINE:
            raise DataError(
                f"{place} has {len(line)} bytes, more than the {LARGEST_LINE} that are read"
            )
        yield place, line


def parse_row(line: bytes, place: str, shape: Shape) -> dict[str, Any]:
    """The JSON object in a line.

    Raises:
        DataError: there is none, or it is of another shape.
    """
    row = parse_json(line, place)
    if not isinstance(row, dict):
        raise DataError(f"{place} is {shown(row)}, but must be a JSON object")
    check_shape(row, shape, place)
    return row


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; raises as `read_bytes` and `parse_yaml` do."""
    return parse_yaml(read_text(path, LARGEST_YAML), path)


def parse_yaml(text: str, path: Path) -> Any:
    """The value of a YAML file's text.

    Raises:
        DataError: it is no YAML, it is too large with its aliases written out, or it holds
            something else than texts, numbers, true, false, null, lists and mappings.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node, path)
        value = loader.construct_document(node)
    except DataError:
        raise
    except RecursionError as error:
        raise DataError(f"{path} has more than {DEEPEST} levels of YAML") from error
    # PyYAML's own, and what its constructors raise for a date, a number or a tag that is none.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is not YAML: {_reason(error)}") from error
    _check_plain(value, path)
    return value


def check_shape(value: Any, shape: Shape, place: str) -> None:
    """Checks a plain value from a file.

    Args:
        shape: a type, or several; `[shape]` for a list; a mapping from keys to shapes, of which
            those that end in `?` may be absent and `*` stands for all others. `float` allows whole
            numbers too, `object` anything.
        place: of the value, as errors name it.

    Raises:
        DataError: it has another shape.
    """
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise DataError(f"{place} is {shown(value)}, but must be a list")
        for index, item in enumerate(value):
            check_shape(item, shape[0], f"{place}[{index}]")
    elif isinstance(shape, Mapping):
        _check_mapping(value, shape, place)
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        # True and false are no numbers here.
        fits = isinstance(value, tuple(int if kind is float else kind for kind in kinds) + kinds)
        if not fits or (isinstance(value, bool) and not {bool, object} & {*kinds}):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise DataError(f"{place} is {shown(value)}, but must be of type {names}")


def _check_mapping(value: Any, shape: Mapping[str, Shape], place: str) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{place} is {shown(value)}, but must be a mapping")
    known = {key.removesuffix("?"): inner for key, inner in shape.items()}
    for key in shape:
        if not key.endswith("?") and key != "*" and key not in value:
            raise DataError(f"{place} has no {key}")
    for key, item in value.items():
        if (inner := known.get(key, shape.get("*", object))) is not object:
            check_shape(item, inner, f"{place}: {clipped(str(key))}")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(
            f"{len(digits)} digits in one number are more than the {MOST_DIGITS} that are read"
        )
    return int(digits)


def _check_depth(value: Any, place: str) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise DataError(f"{place} has more than {DEEPEST} levels")
        level = [
            item
            for one in level
            if isinstance(one, list | dict)
            for item in (one.values() if isinstance(one, dict) else one)
        ]


def _check_nodes(root: yaml.Node, path: Path) -> None:
    """Bounds the values that a YAML file stands for, aliases written out; none holds itself."""
    sizes: dict[int, tuple[int, int, int]] = {}
    open_nodes: set[int] = set()

    def size_of(node: yaml.Node) -> tuple[int, int, int]:
        """Values, characters and levels of a node."""
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise DataError(f"{path} has a value that contains itself")
        open_nodes.add(id(node))
        values, characters, levels = 1, 0, 0
        if isinstance(node, yaml.ScalarNode):
            characters = len(node.value)
        else:
            pairs = isinstance(node, yaml.MappingNode)
            for child in chain(*node.value) if pairs else node.value:
                more, longer, deeper = size_of(child)
                values, characters = values + more, characters + longer
                levels = max(levels, deeper)
        open_nodes.remove(id(node))
        sizes[id(node)] = values, characters, levels + 1
        if values > MOST_NODES or characters > MOST_CHARACTERS or levels >= DEEPEST:
            raise DataError(
                f"{path} is too large with its aliases written out: more than {MOST_NODES}"
                f" values, {MOST_CHARACTERS} characters or {DEEPEST} levels"
            )
        return sizes[id(node)]

    size_of(root)


def _check_plain(value: Any, path: Path) -> None:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            if "\0" in one or not one.isascii():
                _check_text(one, path)
        elif isinstance(one, int) and abs(one) >= 10**MOST_DIGITS:
            raise DataError(f"{path} has a number of more than {MOST_DIGITS} digits")
        elif not (one is None or isinstance(one, bool | int | float)):
            kind = type(one).__name__
            raise DataError(
                f"{path} has a {kind}, but must hold texts, numbers, lists and mappings"
            )


def _check_text(text: str, path: Path) -> None:
    if "\0" in text:
        raise DataError(f"{path} has a NUL character in {shown(text)}")
    try:
        _check_unicode(text)
    except UnicodeEncodeError as error:
        raise DataError(f"{path} has half a character, but must be Unicode text") from error


def _reason(error: BaseException) -> str:
    return clipped(" ".join(str(error).split())) or type(error).__name__


def _named(path: Path) -> str:
    return clipped(str(path).replace("\0", "\\0"), 500)


def _check_unicode(text: str) -> None:
    """Checks that no character is half of one, but for the bytes of a file name that is no UTF-8.

    Raises:
        UnicodeEncodeError: one is.
    """
    text.encode("utf-8", "surrogateescape")
