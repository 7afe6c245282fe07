"""Claim: no metric of generated text sees every failure, and each of them has a blind spot.

Real texts are spoiled in known ways and compared with other real texts, all samples of one size:
BLEU and Self-BLEU beside Frechet distance and MAUVE on each embedding. What a metric gives to new
real texts is its floor; a failure that it puts there is one that it does not see.

    python experiments/metrics_compared.py --train train.txt --test test.txt --samples samples.txt

Expected on COCO captions: averages over word vectors put shuffled words at the floor, and none
sees one wrong word in ten as BLEU does, to which a few texts repeated are as good as real ones.
Numbers, time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from seqgan.data.vocabulary import split_words
from seqgan.evaluation.metrics.divergences import frechet_distance, mauve_over_seeds
from seqgan.evaluation.metrics.embeddings import load_embedding
from seqgan.evaluation.metrics.ngrams import bleu, self_bleu
from seqgan.tasks.files.text_files import read_texts


@dataclass(frozen=True)
class Settings:
    train: Path  # texts that a generator was trained on, one a line
    test: Path  # real texts of the same kind
    samples: Path | None = None  # texts of a generator, for one row more
    embeddings: tuple[str, ...] = ("hashed", "wordllama", "minilm")
    num_hypotheses: int = 1000  # texts whose BLEU is averaged; references are always complete
    num_repeated: int = 100  # texts that are left after the collapse
    seed: int = 0  # of the halves, of what is spoiled, and of the hypotheses
    results: Path = Path("results/metrics_compared.csv")  # CSV file to write


def spoiled(texts: list[str], num_repeated: int, rng: np.random.Generator) -> dict[str, list[str]]:
    """Known failures of as many texts: their words, their order, their variety."""
    words = [split_words(text) for text in texts]
    every = [word for text in words for word in text]
    wrong = [
        [every[rng.integers(len(every))] if rng.random() < 0.1 else w for w in t] for t in words
    ]
    shuffled = [rng.permutation(np.array(text, dtype=object)) for text in words]
    third = [texts[0] if rng.random() < 1 / 3 else text for text in texts]
    return {
        "one word in ten replaced": [" ".join(text) for text in wrong],
        "words shuffled in each text": [" ".join(text) for text in shuffled],
        f"{num_repeated} texts repeated": [texts[i % num_repeated] for i in range(len(texts))],
        "a third are one text": third,
    }


def main(settings: Settings) -> None:
    rng = np.random.default_rng(settings.seed)
    test, train = read_texts(settings.test), read_texts(settings.train)
    size = min(len(test), len(train)) // 2
    test = [test[index] for index in rng.permutation(len(test))[: 2 * size]]
    train = [train[index] for index in rng.permutation(len(train))[: 2 * size]]
    real, new = test[:size], test[size:]
    compared = {"new real texts": new, "training texts": train[:size]}
    if settings.samples is not None:
        samples = read_texts(settings.samples)
        compared["samples"] = [samples[index] for index in rng.permutation(len(samples))[:size]]
    compared |= spoiled(new, settings.num_repeated, rng)

    references = [split_words(text) for text in real]
    chosen = rng.permutation(size)[: settings.num_hypotheses]
    rows: dict[str, dict[str, float]] = {}
    for name, texts in compared.items():
        split = [split_words(text) for text in texts]
        alike = self_bleu(split, 4, len(chosen), np.random.default_rng(settings.seed))[4]
        quality = bleu([split[index] for index in chosen], references, 4)[4]
        rows[name] = {"bleu_4": quality, "self_bleu_4": alike}
    for embedding in settings.embeddings:
        started = time.perf_counter()
        # Fitted on training texts that are on neither side of any comparison.
        embed = load_embedding(embedding, train[size:])
        real_features = embed(real)
        for name, texts in compared.items():
            features = embed(texts)
            rows[name][f"frechet_{embedding}"] = frechet_distance(real_features, features)
            area, deviation = mauve_over_seeds(real_features, features)
            rows[name][f"mauve_{embedding}"] = area
            rows[name][f"mauve_{embedding}_deviation"] = deviation
        print(f"{embedding}: {time.perf_counter() - started:.0f} s")

    columns = list(rows["new real texts"])
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["texts", "number", *columns])
        for name, row in rows.items():
            print(name.ljust(28), *(f"{column} {row[column]:.4g} " for column in columns))
            writer.writerow([name, size, *(f"{row[column]:.6g}" for column in columns)])
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
