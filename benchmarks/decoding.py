"""Decoding with an adversary, against plain drawing of as many texts.

    python benchmarks/decoding.py             prints the table
    python benchmarks/decoding.py --write     also puts it into benchmarks/README.md

The demo's discriminator, and its generator in several widths, after a few passes over its captions.
Each row is the time for weighted texts and 1,000 drawn from them, over the time of drawing as many
texts and nothing else. Seconds are of this process's own time on the processor, so other processes
matter less.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from seqgan.decoding.learned_twist import learn_twist
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.models.sampling import sample
from seqgan.system.memory import keep_freed_memory
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import captions_preset
from seqgan.training.start import make_trainer

MARK, END = "<!-- decoding -->", "<!-- end of decoding -->"


@dataclass(frozen=True)
class Settings:
    write: bool = False  # put the table into benchmarks/README.md
    threads: int = 1  # CPU threads
    epochs: int = 3  # of maximum likelihood, so that captions have about the usual length
    hidden_sizes: tuple[int, ...] = (16, 256)  # of the generator
    proposals: int = 2304  # texts that are weighted
    texts: int = 1000  # drawn from them
    learnt_from: int = 4000  # texts for the twist, beforehand
    repeats: int = 5  # the fastest of as many is taken


def tilted(settings: Settings, hidden_size: int) -> Tilted:
    """The demo's start, tilted by its discriminator."""
    changes = {
        "generator.hidden_size": hidden_size,
        "pretrain.epochs": settings.epochs,
        "discriminator_training.pretrain_rounds": 2,
    }
    config = captions_preset().with_(**changes)
    task = config.task.build(config.generator)
    trainer = make_trainer(config, task, MemoryTracker(), Progress())
    for phase in ("maximum_likelihood", "adversary"):
        trainer.run(trainer.phase(phase))
    players = trainer.players
    assert players.discriminator is not None
    tilt = Tilt(DiscriminatorLogit(players.discriminator))
    return Tilted(players.generator, task.vocabulary, task.max_length, tilt)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seconds_of(action: Callable[[], object], repeats: int) -> float:
    """The least processor time of an action."""
    spent = []
    for _ in range(repeats):
        before = time.process_time()
        action()
        spent.append(time.process_time() - before)
    return min(spent)


def rows_of(settings: Settings, hidden_size: int) -> list[list[str]]:
    model, count, texts = tilted(settings, hidden_size), settings.proposals, settings.texts
    generator, vocabulary, length = model.generator, model.vocabulary, model.max_length
    twist = learn_twist(model.propose(settings.learnt_from, seeded(1)), vocabulary, seeded(2))
    ways: dict[str, Callable[[], object]] = {
        "plain drawing": lambda: sample(generator, vocabulary, count, length, seeded(3)),
        "resampling": lambda: model.propose(count, seeded(3)).draw(texts, seeded(4)),
        "twisted SMC": lambda: model.smc(count, seeded(3), twist).draw(texts, seeded(4)),
    }
    seconds = {name: seconds_of(action, settings.repeats) for name, action in ways.items()}
    plain = seconds["plain drawing"]
    return [
        [name, str(hidden_size), f"{spent:.3f}", f"{spent / plain:.2f}"]
        for name, spent in seconds.items()
    ]


def main(settings: Settings) -> None:
    keep_freed_memory()
    torch.set_num_threads(settings.threads)
    rows = [["way", "units of the generator", "seconds", "of plain drawing"], ["---"] * 4]
    for hidden_size in settings.hidden_sizes:
        rows += rows_of(settings, hidden_size)
    table = "\n".join("| " + " | ".join(line) + " |" for line in rows)
    print(table)
    if settings.write:
        page = Path(__file__).with_name("README.md")
        before, _, rest = page.read_text(encoding="utf-8").partition(f"{MARK}\n")
        _, end, after = rest.partition(END)
        page.write_text(f"{before}{MARK}\n\n{table}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
