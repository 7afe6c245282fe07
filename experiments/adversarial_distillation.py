"""Claim: a student of a teacher's texts goes on against a discriminator; two KLs tell its worth.

As in generative adversarial distillation (Ye et al., 2025) the teacher is a black box: a larger
transformer that continues a caption's first words. A small one learns its continuations by maximum
likelihood (SFT), then plays against a discriminator with the Bradley-Terry loss on pairs for one
prompt. Evaluation alone sees the teacher's likelihood: both KLs on held-out prompts, nats per text.

    python experiments/adversarial_distillation.py --texts captions.txt

Expected of a few thousand captions: a discriminator from scratch knows next to nothing on held-out
prompts, and the game helps neither KL; temperature helps one. Numbers: experiments/README.md.
"""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import torch
import tyro

from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text_files import read_texts
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.build import build_task
from seqgan.training.presets import text_preset
from seqgan.training.settings import PretrainConfig, TrainConfig
from seqgan.training.start import make_trainer

HEAD = ("seed", "student", "temperature", "kl_student_teacher", "error_student_teacher")
HEAD += ("kl_teacher_student", "error_teacher_student", "nll_heldout", "entropy", "information")


@dataclass(frozen=True)
class Settings:
    texts: Path | None = None  # one caption a line; without it captions of the bundled grammar
    first: int = 3  # words of a caption that are given
    teacher_width: int = 64  # of a transformer of two layers
    student_width: int = 24  # of one of one layer
    epochs: int = 10  # of maximum likelihood, at most, for each of the two
    rounds: int = 10  # of discriminator pretraining
    iterations: int = 40  # of the game
    learning_rate: float = 1e-3  # of the game
    kl_weight: float = 0.02  # of the KL to the student before the game, reward units per nat
    temperatures: tuple[float, ...] = (1.0, 0.9, 0.8)  # at which students are compared
    num_samples: int = 2000  # held-out continuations per measurement
    seeds: tuple[int, ...] = (1,)  # one teacher, one student each
    results: Path = Path("results/adversarial_distillation.csv")  # CSV file to write


def main(settings: Settings) -> None:
    grammar = captions_task(CaptionsConfig(train_size=5000)).splits["train"].texts
    words = map(str.split, grammar if settings.texts is None else read_texts(settings.texts))
    cut = ((" ".join(w[: settings.first]), " ".join(w[settings.first :])) for w in words)
    (path := settings.results.with_suffix(".jsonl")).parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps({"prompt": a, "continuation": b}) for a, b in cut if b))
    rows = [row for seed in settings.seeds for row in run(settings, path, seed)]
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    print(f"written: {settings.results}")


def run(settings: Settings, path: Path, seed: int) -> list[list[object]]:
    rules, rng = text_preset(), torch.Generator().manual_seed(seed)
    judged = {"pretrain_rounds": settings.rounds, "num_sequences": 500, "loss": "pairwise"}
    rule = {"learning_rate": settings.learning_rate, "kl_weight": settings.kl_weight}
    config = TrainConfig(
        task=PromptsConfig(path=str(path)),
        generator=TransformerGeneratorConfig(width=settings.teacher_width),
        pretrain=PretrainConfig(settings.epochs, patience=1),
        discriminator_training=replace(rules.discriminator_training, **judged),
        rule=replace(rules.rule, num_rollouts=0, **rule),
        adversarial=replace(rules.adversarial, iterations=settings.iterations, batch_size=256),
        evaluation=replace(rules.evaluation, every=10**6, num_samples=500, num_shown=0),
        seed=seed,
    )
    task = build_task(config)
    with Progress() as progress:
        trainer = make_trainer(config, task, MemoryTracker(), progress)
        trainer.run(trainer.phase("maximum_likelihood"))
        teacher = trainer.players.generator.eval()
        shape = {"vocabulary": task.vocabulary, "max_length": task.max_length, "rng": rng}
        whole = {split: next(task.chunks(split, 10**6)) for split in task.splits}
        told = {s: sample(teacher, n=len(r), prompts=r, **shape) for s, r in whole.items()}
        black_box = replace(task, splits=told)
        small = TransformerGeneratorConfig("transformer", settings.student_width, 1, 2)
        config = replace(config, generator=small)
        trainer = make_trainer(config, black_box, MemoryTracker(), progress)
        prompts, real = black_box.real("test", settings.num_samples, rng), whole["test"]

        def measured(name: str, temperature: float) -> list[object]:
            policy, how = trainer.players.generator, Sampling(temperature)
            own = sample(policy, n=len(prompts), sampling=how, prompts=prompts, **shape)
            away = sequence_log_probs(policy, own, how) - sequence_log_probs(teacher, own)
            back = sequence_log_probs(teacher, prompts) - sequence_log_probs(policy, prompts, how)
            row: list[object] = [seed, name, temperature]
            for difference in (away, back):
                row += [float(difference.mean()), float(difference.std()) / len(prompts) ** 0.5]
            nll = -float(sequence_log_probs(policy, real, how).sum()) / float(real.mask.sum())
            entropy = -float(sequence_log_probs(policy, own, how).sum()) / float(own.mask.sum())
            known = trainer.players.heldout_information(own)["discriminator/information_heldout"]
            print(*(f"{x:.3f}" if isinstance(x, float) else x for x in [*row, nll, entropy, known]))
            return [*row, nll, entropy, known]

        for phase in trainer.phases[:2]:
            trainer.run(phase)
        rows = [measured("SFT", temperature) for temperature in settings.temperatures]
        trainer.run(trainer.phase("game"))
        rows += [measured("game", temperature) for temperature in settings.temperatures]
        print(f"seed {seed}: {process_time():.0f} s of processor time", flush=True)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
