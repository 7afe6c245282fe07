"""Runs that are killed at every kind of event and at random moments, and then continued."""

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import command, empty, without_drawing
from .runs import RESUME, TRAIN, differences, fork_of
from .table import Verdict

# Events of Python's audit hooks that change files, with the place of their path.
CHANGES = {
    "open": 0,
    "os.rename": 0,
    "os.remove": 0,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.truncate": 0,
    "os.chmod": 0,
    "campaign.sync": 0,
    "campaign.half": 0,
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Then = Callable[[str], None]  # called with an event's label, before it happens


def watch(root: Path, then: Then) -> None:
    """Calls `then` before every change of a file below `root`, and in the middle of every write."""
    from seqgan.tracking.jsonl import JsonlTracker
    from seqgan.training import checkpoints

    inside = os.path.realpath(root)
    sync, write, append, save = os.fsync, Path.write_bytes, JsonlTracker._append, None
    save = checkpoints.save_file

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES:
            return
        if event == "open" and not (arguments[2] or 0) & WRITING:
            return
        path = arguments[0]
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = os.fsdecode(path)
        if not os.path.isabs(path):
            path = os.path.join(inside, path)
        if path.startswith(f"{inside}/") and Path(path).name not in (".output", ".error"):
            then(f"{event} {_kind(path[len(inside) + 1 :])}")

    def fsync(handle: int) -> None:
        sys.audit("campaign.sync", handle)
        sync(handle)

    def write_bytes(path: Path, content: bytes) -> int:
        half = len(content) // 2
        write(path, content[:half])
        sys.audit("campaign.half", str(path))
        return write(path, content)

    def append_half(tracker: Any, name: str, rows: Sequence[Any]) -> None:
        class Halved:
            """A file to which a row is written in two parts."""

            def __init__(self, file: Any) -> None:
                self.file = file

            def write(self, content: bytes) -> int:
                self.file.write(content[: len(content) // 2])
                sys.audit("campaign.half", self.file.fileno())
                self.file.write(content[len(content) // 2 :])
                return len(content)

        files = tracker._files
        tracker._files = {**files, name: Halved(files[name])}
        try:
            append(tracker, name, rows)
        finally:
            tracker._files = files

    def save_half(tensors: Any, path: Path) -> None:
        save(tensors, path)
        content = path.read_bytes()
        os.truncate(path, len(content) // 2)
        sys.audit("campaign.half", str(path))
        write(path, content)

    sys.addaudithook(hook)
    os.fsync, Path.write_bytes, JsonlTracker._append = fsync, write_bytes, append_half
    checkpoints.save_file = save_half


def _kind(path: str) -> str:
    """A path without what differs from run to run."""
    return re.sub(r"[0-9a-f]{32}", "*", path)


@dataclass(frozen=True)
class Base:
    """A command to kill, and the end that it has when it is left alone."""

    name: str
    arguments: tuple[str, ...]
    reference: Path
    start: Path | None  # the run folder that is there before
    events: tuple[str, ...]  # labels, in order
    seconds: float


def bases(folder: Path) -> list[Base]:
    """A new run, a run that is continued and one that branches off, each done once in peace."""
    made = []
    whole = folder / "train" / "run"
    for name in ("train", "resume", "fork"):
        place, log = empty(folder / name), folder / f"{name}.events"
        start = None
        arguments = TRAIN
        if name == "resume":
            start = folder / "half"
            dying = empty(folder / "dying")
            command(TRAIN, dying, _killing(dying, made[0].events.index(_label(made[0], 5)) + 1))
            shutil.copytree(dying / "run", start)
            shutil.copytree(start, place / "run")
            arguments = RESUME
        elif name == "fork":
            arguments = fork_of(whole)
        started = time.monotonic()
        outcome = command(arguments, place, _recording(place, log))
        if fault := outcome.fault(0):
            raise SystemExit(f"campaign: {name} in peace: {fault}\n{outcome.error}")
        events = tuple(log.read_text().splitlines())
        seconds = time.monotonic() - started
        made.append(Base(name, arguments, place / "run", start, events, seconds))
    return made


def _label(base: Base, number: int) -> str:
    """The event with which the n-th checkpoint gets its name."""
    names = [event for event in base.events if re.match(r"os.rename run/checkpoints/\.\d", event)]
    return names[number - 1]


def _recording(root: Path, log: Path) -> Callable[[], None]:
    def prepare() -> None:
        without_drawing()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        watch(root, lambda label: os.write(handle, f"{label}\n".encode()) and None)

    return prepare


def _killing(root: Path, number: int) -> Callable[[], None]:
    """Kills the process before the n-th event."""

    def prepare() -> None:
        without_drawing()
        seen = []

        def then(label: str) -> None:
            seen.append(label)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        watch(root, then)

    return prepare


def kills(count: int, seed: int, folder: Path) -> Iterator[Verdict]:
    """Kills `count` runs, continues each, and compares its end with that of a run left alone."""
    rng = random.Random(seed)
    found = bases(folder / "bases")
    timed = count // 4
    kinds = {}  # one moment of each kind of event, then others
    for base in found:
        for number, label in enumerate(base.events, 1):
            kinds.setdefault((base.name, re.sub(r"\d+", "#", label)), []).append((base, number))
    first = [rng.choice(places) for places in kinds.values()]
    rng.shuffle(first)
    every = [(base, number) for base in found for number in range(1, len(base.events) + 1)]
    chosen = (first + rng.sample(every, min(len(every), count)))[: count - timed]
    for base, number in chosen:
        place = _placed(folder / "case", base)
        outcome = command(base.arguments, place, _killing(place, number))
        name = f"{base.name}, SIGKILL before event {number}: {base.events[number - 1]}"
        if outcome.code != -signal.SIGKILL:
            yield Verdict("kill at an event", name, f"was not killed: {outcome.fault()}")
            continue
        yield Verdict("kill at an event", name, continued(place, base))
    numbers = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    for index in range(timed):
        base, number = rng.choice(found), numbers[index % len(numbers)]
        place, after = _placed(folder / "case", base), rng.random() * base.seconds
        outcome = command(base.arguments, place, without_drawing, (after, number))
        kind = "kill at random" if number == signal.SIGKILL else "SIGTERM or SIGINT"
        name = f"{base.name}, {number.name} after {after:.2f} s"
        # Before training, a signal ends the process itself.
        fault = outcome.fault(0, -number, 128 + number)
        yield Verdict(kind, name, fault or continued(place, base))


def _placed(place: Path, base: Base) -> Path:
    empty(place)
    if base.start is not None:
        shutil.copytree(base.start, place / "run")
    return place


def continued(place: Path, base: Base) -> str:
    """Goes on after a kill, and gives the reason why the end is another one; "" where it is not."""
    seen = [path.name for path in place.iterdir() if not path.name.startswith(".")]
    if seen not in ([], ["run"]):
        return f"left {', '.join(seen)}"
    arguments = RESUME if seen else base.arguments
    outcome = command(arguments, place)
    if fault := outcome.fault(0):
        return fault
    return "; ".join(differences(place / "run", base.reference)[:3])
