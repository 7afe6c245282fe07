"""Sources of prompts and continuations: files with columns, and Hugging Face's data sets."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seqgan.data.model_folders import package
from seqgan.tasks.files.text_files import TextFileError, stream_lines, stream_records

Record = tuple[str, Mapping[str, Any]]  # its place in the data, and its columns


def open_records(path: str) -> tuple[str, Iterator[Record]]:
    """Opens a file or a data set.

    Returns:
        A name for the data, and their records.

    Raises:
        TextFileError: there are no such data, or they cannot be read.
        ModelFolderError: the package `datasets` is missing.
    """
    if not path:
        raise TextFileError("task.path is empty: name a file of prompts with --task.path FILE")
    place = Path(path)
    if place.suffix.lower() in (".jsonl", ".csv") and not place.is_dir():
        return place.name, stream_records(place)
    if place.suffix.lower() == ".txt" and not place.is_dir():
        lines = enumerate(stream_lines(place), 1)
        records = ((f"{place}, line {n}", {"prompt": text}) for n, text in lines if text)
        return place.name, records
    if place.is_dir():
        return place.name, _dataset_records(path, package("datasets").load_from_disk, path)
    name, _, split = path.partition(":")
    if place.exists() or path.startswith((".", "/", "~")) or name.count("/") != 1:
        raise TextFileError(
            f"cannot read prompts from {path}, which is no .jsonl, .csv or .txt file, no folder"
            " that save_to_disk wrote and no hub name (user/name:split)"
        )
    load = package("datasets").load_dataset
    return path, _dataset_records(path, load, name, split=split or "train")


def _dataset_records(
    path: str, load: Callable[..., Any], *arguments: Any, **options: Any
) -> Iterator[Record]:
    """The rows of a data set of Hugging Face's `datasets`; the split `train` if it has several."""
    try:
        data = load(*arguments, **options)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TextFileError(
            f"cannot read {path} as a data set on the disk or on a hub: {reason}"
        ) from error
    if isinstance(data, Mapping):
        if "train" not in data:
            raise TextFileError(f"{path} has no split train, but {', '.join(data)}")
        data = data["train"]
    return ((f"{path}, row {number}", row) for number, row in enumerate(data, 1))
