"""Claim: an early-stopped MLE reaches the published NLL_oracle of text GANs by temperature alone.

Trains the paper's generator for 5 epochs on 10,000 sequences with `seqgan train`, measures it over
temperatures with `seqgan frontier`, and compares with an independent measurement of such a
generator (LSTM 32/32, Adam 1e-2, batch 64, one seed), in another implementation.

    python experiments/oracle_frontier.py --oracle oracle-paper.npz

Expected: at each temperature the held-out NLL is within two standard deviations over seeds of the
independent one; NLL_oracle is up to 0.23 lower, which is less than the start of the weights makes.
Without `--oracle` the weights are drawn from a seed and there is nothing to compare with. Numbers,
time and machine: experiments/README.md.
"""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

# Temperature: (NLL_oracle, held-out NLL), nats per token.
INDEPENDENT = {
    1.0: (9.51, 7.62),
    0.8: (8.86, 7.75),
    0.7: (8.31, 7.95),
    0.6: (7.63, 8.31),
    0.5: (6.93, 8.97),
    0.4: (6.05, 10.2),
}


@dataclass(frozen=True)
class Settings:
    oracle: str = ""  # .npz file with the paper's oracle; empty draws one from a seed
    seeds: tuple[int, ...] = (1, 2, 3)  # one run each
    epochs: int = 5  # of maximum likelihood
    train_size: int = 10000  # training sequences
    test_size: int = 10000  # held-out sequences
    num_samples: int = 4000  # generated, and scored held-out, sequences per point
    points: str = ""  # CSV file of published points, for the picture
    results: Path = Path("results/oracle_frontier.csv")  # CSV file to write; a picture beside it


def seqgan(*arguments: object) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "seqgan", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(settings: Settings) -> None:
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / f"seed-{seed}" for seed in settings.seeds]
        for seed, run in zip(settings.seeds, runs, strict=True):
            seqgan(
                *("train", "oracle", "--seed", seed, "--output", run, "--tracker.mode", "disabled"),
                *("--task.path", settings.oracle, "--task.train-size", settings.train_size),
                *("--task.test-size", settings.test_size),
                *("--pretrain.epochs", settings.epochs, "--pretrain.patience", 0),
                *("--discriminator-training.pretrain-rounds", 0, "--adversarial.iterations", 0),
                *("--evaluation.num-final", 20, "--evaluation.temperatures", 1, 0.8),
            )
        picture = Path(folder) / "frontier.png"
        points = ["--points", settings.points] if settings.points else []
        drawn = seqgan(
            *("frontier", *runs, "--temperatures", *INDEPENDENT, "-n", settings.num_samples),
            *("--json", "--output", picture, *points),
        )
        shutil.copy(picture, settings.results.with_suffix(".png"))
    for point in json.loads(drawn)["points"]:
        name, temperature = point["model"].partition(":")[0], point["temperature"]
        rows.append((name, temperature, point["nll_oracle"], point["nll_heldout"]))
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("run", "temperature", "nll_oracle", "nll_heldout"))
        writer.writerows(rows)
    print("temperature: NLL_oracle, held-out NLL, with their standard deviation over seeds")
    for temperature, independent in INDEPENDENT.items():
        here = np.array([row[2:] for row in rows if row[1] == temperature])
        spelt = [
            f"{values.mean():.3f} (sd {values.std(ddof=1) if len(values) > 1 else 0:.3f})"
            for values in here.T
        ]
        print(f"{temperature}: {', '.join(spelt)}; independent {independent}")
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
