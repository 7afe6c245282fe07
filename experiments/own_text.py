"""Claim: a person's own file of texts trains end to end on a laptop, and says what came of it.

Pretrains an LSTM on a text file, plays the game against a discriminator, and compares the result
with the pretrained generator at its best temperature: held-out NLL against BLEU-4.

    python experiments/own_text.py --path captions.txt

Expected on 10,000 captions: a scratch discriminator knows little about unseen text that a
well-pretrained generator does not, and the game does not beat temperature by much, if at all.
Numbers, time, memory and machine: experiments/README.md.
"""

import csv
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from seqgan.report.summary import information_sentence, result_table
from seqgan.system.memory import keep_freed_memory
from seqgan.tasks.files.text import TextConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.build import build_task
from seqgan.training.final import final_evaluation
from seqgan.training.presets import text_preset
from seqgan.training.start import make_trainer


@dataclass(frozen=True)
class Settings:
    path: str  # text file: .txt, .jsonl or .csv
    seeds: tuple[int, ...] = (1, 2, 3)  # one run each
    epochs: int = 40  # of maximum likelihood, at most
    iterations: int = 40  # of the game
    num_samples: int = 2000  # generated texts per measurement
    results: Path = Path("results/own_text.csv")  # CSV file to write


def main(settings: Settings) -> None:
    keep_freed_memory()
    preset = text_preset()
    rows: list[list[object]] = []
    for seed in settings.seeds:
        started = time.perf_counter()
        config = replace(
            preset,
            task=TextConfig(path=settings.path),
            pretrain=replace(preset.pretrain, epochs=settings.epochs),
            adversarial=replace(preset.adversarial, iterations=settings.iterations),
            evaluation=replace(preset.evaluation, num_final=settings.num_samples),
            seed=seed,
        )
        task = build_task(config)
        with Progress() as progress:
            trainer = make_trainer(config, task, MemoryTracker(), progress)
            trainer.train()
            result = final_evaluation(trainer)
        table = result_table(result)
        print("\n".join(table.lines()))
        print(result.comparison.sentence)
        print(information_sentence(result.information))
        for text in result.final.samples.texts[:5]:
            print(f"  {text}")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"seed {seed}  {time.perf_counter() - started:.0f} s  {memory:.2f} GiB at the peak")
        for name, values in table.rows:
            rows.append([seed, name, *values, result.comparison.verdict])
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "generator", *table.columns, "verdict"])
        writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
