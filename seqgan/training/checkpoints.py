"""Checkpoints that are either whole or absent, and nothing is ever unpickled.

A checkpoint is a folder `checkpoints/<step>/` of three files: `tensors.safetensors`, `state.json`
(everything that is not a tensor) and `manifest.json` (SHA-256 of the other two). It is written
under a temporary name, synced and renamed, so a crash at any moment leaves the one before it
untouched.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from seqgan.system.errors import CheckpointError, DataError, SeqganError, described
from seqgan.system.files import find_fault, name_of, replace_folder, seal, standing
from seqgan.system.inputs import open_file
from seqgan.system.reading import LARGEST, check_shape, clipped, parse_json, read_json, shown
from seqgan.training.old_checkpoints import up_to_date

logger = logging.getLogger(__name__)

TENSORS, STATE = "tensors.safetensors", "state.json"
# The outline of a trainer's state.
OF_TRAINER = {
    "rng": Tensor,
    "tracker": {
        "jsonl?": {"*": int},
        "wandb?": {"run_id?": str, "step?": int, "fork?": bool},
        "*": dict,
    },
    "players": {
        "generator": dict,
        "reference": dict,
        "rewards": dict,
        "average?": {"updates": int, "learner": dict},
        "position": {"iteration": int, "global_step": int},
    },
    "phases": {"*": dict},
    "observers": {"*": dict},
    "identity?": {"settings?": dict, "task.json?": str},
}
LONGEST_HEADER = 100_000_000  # bytes, of safetensors
STEP = re.compile("[0-9]{1,18}")  # the name of a checkpoint


def flatten(tree: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Splits a tree of dicts and lists into JSON-able values and named tensors.

    A tensor leaves `{"tensor": name}` behind, a dict a list of pairs so that integer keys (as in
    an optimiser's state) survive JSON.

    Raises:
        ValueError: two tensors have one name, as those of the keys "a/b" and "a", "b" have.
    """
    if isinstance(tree, Tensor):
        return {"tensor": path}, {path: tree.detach().cpu().contiguous()}
    if isinstance(tree, Mapping):
        tensors: dict[str, Tensor] = {}
        pairs = []
        for key, value in tree.items():
            plain, found = flatten(value, f"{path}/{key}")
            if same := found.keys() & tensors.keys():
                raise ValueError(f"tensor {min(same)!r} is named twice, but names must be distinct")
            pairs.append([key, plain])
            tensors |= found
        return {"dict": pairs}, tensors
    if isinstance(tree, list | tuple):
        tensors = {}
        items = []
        for index, value in enumerate(tree):
            plain, found = flatten(value, f"{path}/{index}")
            items.append(plain)
            tensors |= found
        return {"list": items}, tensors
    return {"value": tree}, {}


def unflatten(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`; tuples come back as lists."""
    if "tensor" in plain:
        return tensors[plain["tensor"]]
    if "dict" in plain:
        return {key: unflatten(value, tensors) for key, value in plain["dict"]}
    if "list" in plain:
        return [unflatten(value, tensors) for value in plain["list"]]
    return plain["value"]


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int = 3) -> Path:
    """Writes `state` as `folder/<step>` and removes all but the newest `keep`.

    Args:
        state: nested dicts and lists of tensors, numbers, strings and None.

    Raises:
        CheckpointError: the disk is full or refuses; names the last good checkpoint.
    """
    target = folder / f"{step:08d}"
    try:
        replace_checkpoint(target, state)
    except CheckpointError as error:
        good = _newest(folder)
        named = f"the last good checkpoint is {good}" if good else "there is no earlier one"
        raise CheckpointError(f"{error}; {named}") from error.__cause__
    for old in _all(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def replace_checkpoint(target: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` as the folder `target`, in place of what is there.

    Raises:
        CheckpointError: the disk is full or refuses.
    """
    plain, tensors = flatten(state)
    text = json.dumps(plain)
    temporary = target.with_name(f".{target.name}.writing")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        temporary.mkdir(parents=True)
        # Straight from the tensors' memory: a large model is not copied to be saved.
        save_file(_apart(tensors), temporary / TENSORS)
        (temporary / STATE).write_text(text, encoding="utf-8")
        seal(temporary)
        replace_folder(temporary, target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error


def load_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint that is intact; a damaged one is passed over with a warning.

    Raises:
        CheckpointError: there is none, or a file may not be read.
    """
    faults: list[str] = []
    for path in _all(folder):
        fault = _fault(path)
        if not fault:
            try:
                state = _read(path)
            except CheckpointError as error:
                fault = str(error)
        if not fault:
            for damaged in faults:
                logger.warning("%s; using the one before it", damaged)
            return path, state
        faults.append(f"checkpoint {path} is damaged ({fault})")
    found = f": {'; '.join(faults[:3])}" if faults else ""
    raise CheckpointError(f"{folder} has no intact checkpoint to resume from{found}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """One checkpoint, and no other in its place.

    Raises:
        CheckpointError: it is not there, or damaged.
    """
    folder = standing(path)
    if fault := _fault(folder):
        raise CheckpointError(f"checkpoint {path} is not whole: {fault}")
    return _read(folder)


def check_state(state: dict[str, Any], place: Path) -> None:
    """Checks the outline of a trainer's state; `fitting` is for what lies deeper.

    Raises:
        CheckpointError: it has another outline.
    """
    try:
        check_shape(state, OF_TRAINER, f"the state of {place}")
        tracker = state["tracker"]
        run_id = tracker.get("wandb", {}).get("run_id", "none")
        if not re.fullmatch(r"[\w-]{1,128}", run_id):
            raise DataError(
                f"the state of {place} has {shown(run_id)}, which is no id of a wandb run"
            )
        for kind, length in tracker.get("jsonl", {}).items():
            if length < 0:
                raise DataError(f"the state of {place} has {length}, which is no length of {kind}")
    except DataError as error:
        raise CheckpointError(str(error)) from error


@contextmanager
def fitting(place: Path) -> Iterator[None]:
    """Says in one line that what a checkpoint holds does not fit a run.

    A checkpoint that is whole may still be of another run, or made up. The parts of a run, the
    user's own among them, then raise errors of many kinds while they load it.

    Raises:
        CheckpointError: the block raised such an error.
    """
    try:
        yield
    except SeqganError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as e:
        reason = clipped(" ".join(described(e).split()), 300)
        raise CheckpointError(f"checkpoint {place} does not fit its run: {reason}") from e


def _fault(path: Path) -> str:
    """The damage of a checkpoint; "" where there is none.

    Raises:
        CheckpointError: a file may not be read, as another user's.
    """
    try:
        return find_fault(path, (TENSORS, STATE), _largest(path / TENSORS))
    except PermissionError as error:
        raise CheckpointError(
            f"cannot read the checkpoint {error.filename}: {error.strerror}"
        ) from error


def _largest(tensors: Path) -> int:
    """A bound on the bytes of a checkpoint's files: what its tensors take by their own header.

    A file that somebody made up may pretend to have so many that its digest takes hours.

    Raises:
        PermissionError: the file may not be read.
    """
    try:
        with open_file(tensors) as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(min(length, LONGEST_HEADER)), str(tensors))
        ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
        return max(LARGEST, 8 + length + max(ends, default=0))
    except PermissionError:
        raise
    except (OSError, DataError, LookupError, TypeError, AttributeError):  # damaged
        return LARGEST


def _read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint's folder.

    Raises:
        CheckpointError: it is none that was flattened, or its tensors cannot be read.
    """
    try:
        plain = read_json(path / STATE)
        tensors = _read_tensors(path / TENSORS)
    except (DataError, SafetensorError, OSError, LookupError, RuntimeError, ValueError) as error:
        reason = clipped(" ".join(str(error).split()))
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}") from error
    with fitting(path):
        return up_to_date(unflatten(plain, tensors))


def _all(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    if not folder.is_dir():
        return []
    names = {name_of(path) for path in folder.iterdir() if path.is_dir()}
    steps = sorted((name for name in names if STEP.fullmatch(name)), key=int, reverse=True)
    return [standing(folder / step) for step in steps]


def _newest(folder: Path) -> Path | None:
    for path in _all(folder):
        with suppress(PermissionError):
            if not find_fault(path, (TENSORS, STATE), _largest(path / TENSORS)):
                return path
    return None


def last_good_checkpoint(folder: Path) -> str:
    """A sentence's end about where the last good checkpoint is."""
    good = _newest(folder)
    return f"the last good checkpoint is {good}" if good else "there is no checkpoint yet"


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each with memory of its own: those that share another's are copied."""
    result, places = {}, set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if place in places else tensor
        places.add(place)
    return result


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # the library opens files whose names are UTF-8 alone
        tensors: dict[str, Tensor] = load(path.read_bytes())
        return tensors
    tensors = load_file(path)
    return tensors
