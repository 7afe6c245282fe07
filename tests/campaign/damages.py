"""Files of run folders that are damaged: each is found in one line, or does no harm."""

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .commands import Outcome, command, empty, without_drawing
from .kills import Base, bases
from .runs import RECORDS, RESUME, differences
from .table import Verdict

ROW = re.compile(r"\S+, row \d+ differs")
NOBODY = 65534  # the user that may read what everybody may


def _flipped(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _shorter(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


Damage = Callable[[Path, random.Random], None]
DAMAGES: dict[str, Damage] = {
    "truncated": lambda path, rng: path.write_bytes(_shorter(path.read_bytes(), rng)) and None,
    "emptied": lambda path, rng: path.write_bytes(b"") and None,
    "a bit flipped": lambda path, rng: path.write_bytes(_flipped(path.read_bytes(), rng)) and None,
    "overwritten": lambda path, rng: path.write_bytes(rng.randbytes(path.stat().st_size)) and None,
    "deleted": lambda path, rng: path.unlink(),
    "swapped with a neighbour": lambda path, rng: _swap(path),
    "made a folder": lambda path, rng: path.unlink() or path.mkdir(),
    "made unreadable": lambda path, rng: path.chmod(0),
}
HARMLESS = {
    "machine.json": "machine.json describes the machine; training does not read it",
    "checkpoints": "an older checkpoint; the newest one is whole",
    "report": "a picture or page; it is drawn anew",
    "record": "a character of the record that has no digest; all else ends the same",
    "samples": "the command does not read this file",
}


def _neighbour(path: Path) -> Path:
    """The next file in a file's folder."""
    others = sorted(each for each in path.parent.iterdir() if each.is_file() and each != path)
    return next((each for each in others if each > path), others[0])


def _swap(path: Path) -> None:
    """Exchanges a file with the next one in its folder."""
    other = _neighbour(path)
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def damages(count: int, seed: int, folder: Path) -> Iterator[Verdict]:
    """Damages `count` files, one at a time, and runs the command that reads them."""
    rng = random.Random(seed)
    whole, half, _ = bases(folder / "bases")
    for parent in (*folder.parents, folder):
        if "seqgan-campaign" in str(parent):
            parent.chmod(0o755)
    intact = command(("sample", "run", "-n", "5"), whole.reference.parent)
    cases = [
        (base, run, file.relative_to(run), damage)
        for base, run in ((half, half.start), (whole, whole.reference))
        for file in sorted(path for path in run.rglob("*") if path.is_file())
        for damage in DAMAGES
        if file.name != ".lock"
        and (file.stat().st_size > 1 or damage in ("deleted",))
        and (
            base is half
            or file.name in ("config.yaml", "task.json", "results.json")
            or "checkpoints" in file.parts
            or "best" in file.parts
        )
    ]
    for base, run, file, damage in rng.sample(cases, min(count, len(cases))):
        place = empty(folder / "case")
        shutil.copytree(run, place / "run")
        names = [file.name]
        if damage == "swapped with a neighbour":
            names.append(_neighbour(place / "run" / file).name)
        DAMAGES[damage](place / "run" / file, rng)
        prepare = without_drawing
        if damage == "made unreadable" and os.geteuid() == 0:
            _give_away(place)
            prepare = _as_nobody
        arguments = RESUME
        if file.parts[0] == "best":
            arguments = ("sample", "run", "--checkpoint", "best", "-n", "5")
        elif base is whole and file.name != "results.json":
            arguments = ("sample", "run", "-n", "5")
        outcome = command(arguments, place, prepare)
        name = f"{base.name}: {file} {damage}, then {' '.join(arguments[:2])}"
        fault, harmless = judge(outcome, file, names, place, base, intact)
        yield Verdict(f"damage: {damage}", name, fault, harmless)


def judge(
    outcome: Outcome, file: Path, names: Sequence[str], place: Path, base: Base, intact: Outcome
) -> tuple[str, str]:
    """The fault, and the reason why damage did no harm; both empty where it was found.

    Args:
        names: of the files that were damaged; a line of the command names one of them.
    """
    if len(file.parts) > 1:
        names = [*names, str(file.parent)]
    named = [line for line in outcome.said if any(name in line for name in names)]
    if outcome.code != 0:
        fault = outcome.refusal_fault(1, 2)
        return fault or ("" if named else f"the file is not named: {outcome.said[-1][:200]}"), ""
    if fault := outcome.fault(0):
        return fault, ""
    if outcome.output and "results:" not in outcome.output:  # texts
        same = outcome.output == intact.output
        silent = "" if named or same else "other texts without a word"
        return silent, "" if named else HARMLESS[_kind(file)]
    others = differences(place / "run", base.reference)
    if file.name in RECORDS and all(ROW.match(each) and file.name in each for each in others):
        return "", "" if named else HARMLESS["record" if others else "samples"]
    others = [each for each in others if each != "machine.json is missing"]
    if others:
        return f"goes on with {'; '.join(others[:3])}", ""
    if named:
        return "", ""
    return "", HARMLESS[_kind(file)]


def _kind(file: Path) -> str:
    """The key of the reason why a file's damage does no harm."""
    return next((key for key in HARMLESS if str(file).startswith(key)), "samples")


def _give_away(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


def _as_nobody() -> None:
    """Root may read everything; another user may not."""
    without_drawing()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
