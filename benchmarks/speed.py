"""How fast the library is, as ratios measured in one run.

    python benchmarks/speed.py             prints the tables, writes results/speed.json
    python benchmarks/speed.py --write     also puts them into benchmarks/README.md

Each piece of work is done by the library and the obvious way (`plain.py`), and set against the
machine's own peak in multiplying matrices. Run it on a quiet machine: a second busy process
makes everything several times slower, as both wait for each other's threads.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import gymnasium
import numpy as np
import plain
import torch
import tyro

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.ngrams import bleu, distinct, self_bleu
from seqgan.learning.collection import collect, make_task_env
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.learning.updates import pretrain_epoch, train_discriminator
from seqgan.models.precision import Precision
from seqgan.models.sampling import sample
from seqgan.system.memory import keep_freed_memory
from seqgan.system.runtime import SingleProcess
from seqgan.system.timing import fastest
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.networks import build_discriminator_reward, build_generator
from seqgan.training.presets import captions_preset, oracle_paper_preset
from seqgan.training.settings import TrainConfig
from seqgan_envs import TextGenerationVectorEnv

MARK = "<!-- measured -->"


@dataclass(frozen=True)
class Settings:
    write: bool = False  # put the tables into benchmarks/README.md
    threads: int = 0  # CPU threads; 0 leaves PyTorch's choice
    smoke: bool = False  # a fiftieth of the work, to see that it runs; the numbers mean nothing
    results: Path = Path("results/speed.json")  # JSON file to write
    memory_of: str = ""  # internal: rollouts in a fresh process, "N,T,V"


@dataclass(frozen=True)
class Row:
    """One piece of work. Seconds are of the whole of it, the fastest of the repeats."""

    work: str
    seconds: float
    plain: float  # seconds of the obvious way
    goal: float  # seconds on a machine with a peak of 166 GFLOP/s (405 in bfloat16)
    flop: float = 0.0  # counted multiplications and additions of matrices
    peak: float = 1.0  # FLOP/s

    def cells(self) -> list[str]:
        share = f"{self.flop / self.seconds / self.peak:.0%}" if self.flop else ""
        ratio = f"{self.plain / self.seconds:.1f}" if self.plain else ""
        before = f"{self.plain:.2f}" if self.plain else ""
        return [self.work, f"{self.seconds:.2f}", before, ratio, share, f"{self.goal:.1f}"]


def matmul_peak(dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of a product of square matrices."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / fastest(lambda: a @ b, repeats=10)


class Paper:
    """The paper's networks on a drawn oracle, in any size."""

    def __init__(
        self,
        batch: int = 64,
        length: int = 20,
        vocabulary: int = 5000,
        precision: Precision = "float32",
        train_size: int = 64,
    ) -> None:
        preset = oracle_paper_preset()
        self.config: TrainConfig = replace(
            preset,
            task=OracleConfig(
                max_length=length,
                vocabulary_size=vocabulary,
                train_size=train_size,
                dev_size=64,
                test_size=64,
            ),
            discriminator_training=replace(preset.discriminator_training, precision=precision),
            adversarial=replace(preset.adversarial, batch_size=batch),
        )
        self.task = self.config.task.build(self.config.generator)
        self.rng = torch.Generator().manual_seed(1)
        self.generator = build_generator(self.config, self.task.vocabulary, self.rng)
        self.reward = build_discriminator_reward(self.config, self.task, self.rng)
        env = make_task_env(self.task, self.reward, batch)
        self.trajectories = collect(
            env, self.generator, self.task.vocabulary, self.task.max_length, self.rng
        )

    def draw(self, n: int) -> Sequences:
        vocabulary, length = self.task.vocabulary, self.task.max_length
        return sample(self.generator, vocabulary, n, length, self.rng)

    def rollouts(self, num_rollouts: int) -> torch.Tensor:
        return monte_carlo_action_values(
            self.generator, self.reward, self.trajectories, num_rollouts, self.rng
        )

    def projection_flop(self, tokens: float) -> float:
        return 2 * tokens * self.generator.output.weight.numel()

    def discriminator_flop(self, texts: float) -> float:
        """Convolutions written out, two highway products."""
        length = self.task.max_length
        convolutions = sum(
            layer.weight.numel() * (length - layer.weight.shape[2] + 1)
            for layer in self.reward.discriminator.convolutions
        )
        highway = 2 * self.reward.discriminator.highway.weight.numel()
        return 2.0 * texts * (float(convolutions) + float(highway))


def work_table(peak: float, peak_half: float, smoke: bool) -> list[Row]:
    """The paper's configuration: V 5000, T 20, batch 64, 16 rollouts."""
    vocabulary, num_sequences, num_batches, num_rollouts = 5000, 9984, 78, 16
    if smoke:
        vocabulary, num_sequences, num_batches, num_rollouts = 300, 128, 2, 1
    scale = num_sequences / 9984
    paper = Paper(vocabulary=vocabulary, train_size=num_sequences)
    half = Paper(vocabulary=vocabulary, train_size=num_sequences, precision="bfloat16")
    completions = 16 * 19 * 64
    tokens = 16 * 64 * 190  # a prefix of t tokens is completed by 20 - t
    rows = []
    slow = fastest(
        lambda: plain.action_values(
            paper.generator, paper.reward.discriminator, paper.trajectories, num_rollouts, paper.rng
        ),
        repeats=1,
    )
    for name, of, best, goal in (
        ("float32", paper, peak, 3.0),
        ("bfloat16 scoring", half, peak_half, 2.0),
    ):
        seconds = fastest(lambda of=of: of.rollouts(num_rollouts))
        flop = of.projection_flop(tokens) + of.discriminator_flop(completions)
        rows.append(Row(f"rollout rewards of one update, {name}", seconds, slow, goal, flop, best))

    seconds = fastest(lambda: paper.draw(num_sequences)) / scale
    slow = fastest(lambda: plain.sample(paper.generator, num_sequences, 20, paper.rng), 1) / scale
    flop = paper.projection_flop(9984 * 20)
    rows.append(Row("draw 9,984 sequences", seconds, slow, 1.3, flop, peak))

    real = paper.task.real("train", num_batches * 32, paper.rng)
    generated = paper.draw(num_batches * 32)
    slow_optimizer = torch.optim.Adam(paper.reward.discriminator.parameters(), 1e-4)
    tokens_of_both = torch.cat([real.tokens[:32], generated.tokens[:32]])
    slow = 312 * fastest(
        lambda: plain.discriminator_step(
            paper.reward.discriminator, slow_optimizer, tokens_of_both
        ),
        repeats=5,
    )
    for name, of, best, goal in (
        ("float32", paper, peak, 15.0),
        ("bfloat16", half, peak_half, 9.0),
    ):
        seconds = fastest(
            lambda of=of: train_discriminator(of.reward, real, generated, 1, 64, of.rng), repeats=2
        )
        flop = 3 * of.discriminator_flop(312 * 64)
        work = f"discriminator epoch, 19,968 sequences, {name}"
        rows.append(Row(work, seconds * 312 / num_batches, slow, goal, flop, best))

    data = paper.task.real("train", num_sequences, paper.rng)
    batches = [data.select(chunk) for chunk in torch.arange(num_sequences).split(64)]
    optimizer = torch.optim.Adam(paper.generator.parameters(), 1e-2, fused=True)
    seconds = fastest(lambda: mle_epoch(paper, optimizer, data)) / scale
    slow_optimizer = torch.optim.Adam(paper.generator.parameters(), 1e-2)
    slow = len(batches) * fastest(
        lambda: plain.mle_step(paper.generator, slow_optimizer, batches[0]),
        repeats=5,
    )
    flop = 3 * paper.projection_flop(9984 * 20)
    rows.append(
        Row("maximum likelihood epoch, 9,984 sequences", seconds, slow / scale, 2.5, flop, peak)
    )
    return rows


def mle_epoch(paper: Paper, optimizer: torch.optim.Optimizer, data: Sequences) -> None:
    batches = (data.select(rows) for rows in torch.arange(len(data)).split(64))
    pretrain_epoch(paper.generator, optimizer, batches, 5.0, SingleProcess())


def scaling_table(smoke: bool) -> list[tuple[str, list[int], list[float], float]]:
    """Seconds of rollouts against each size in turn, with the exponent of a fitted power."""
    base = {"N": 8, "T": 20, "V": 300 if smoke else 5000, "batch": 2 if smoke else 32}
    swept = {"N": [4, 8, 16, 32], "T": [10, 20, 40], "V": [2500, 5000, 10000, 20000]}
    swept["batch"] = [16, 32, 64, 128]
    lines = []
    for name, sizes in swept.items():
        seconds = []
        for size in [size // 4 for size in sizes[:2]] if smoke else sizes:
            at = {**base, name: size}
            paper = Paper(at["batch"], at["T"], at["V"])
            seconds.append(fastest(lambda paper=paper, n=at["N"]: paper.rollouts(n), 2))
        sizes = sizes[: len(seconds)]
        exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        lines.append((name, sizes, seconds, exponent))
    return lines


def other_table(smoke: bool) -> list[tuple[str, str]]:
    """What has no plain counterpart, or one that takes hours."""
    rows = []
    words = [f"w{i}" for i in range(5000)]
    vector = TextGenerationVectorEnv(
        256, words=words, eos=False, max_length=20, reward=share_of_length
    )
    rng = np.random.default_rng(0)
    actions = rng.integers(5000, size=(42, 256))
    vector.reset(seed=0)
    seconds = fastest(lambda: [vector.step(a) for a in actions], 25)
    rate = 40 * 256 / seconds  # two of the 42 steps are resets
    rows.append(("vector environment, 256 rows, V 5000, mask included", f"{rate:,.0f} tokens/s"))
    for layout in ("dict", "tokens"):
        single = gymnasium.make(
            "seqgan_envs:seqgan/TextGeneration-v0",
            words=words,
            max_length=20,
            observation=layout,
        ).unwrapped
        rate = 1000 / fastest(lambda single=single: steps(single, rng.integers(5000, size=1000)), 9)
        rows.append((f"single environment, V 5000, {layout}", f"{rate:,.0f} steps/s"))

    config = captions_preset()
    task = config.task.build(config.generator)
    texts, references = (token_rows(task.real("train", 10000, seeded(seed))) for seed in (1, 2))
    for name, action in (
        ("BLEU-2..5, 10,000 texts against 10,000", lambda: bleu(texts, references)),
        ("Self-BLEU-2..5, 10,000 texts", lambda: self_bleu(texts)),
        ("distinct-1..3, 10,000 texts", lambda: [distinct(texts, n) for n in (1, 2, 3)]),
    ):
        rows.append((name, f"{fastest(action):.3f} s"))

    generator = build_generator(captions_preset(), task.vocabulary, seeded(0))
    drawn = sample(generator, task.vocabulary, 4000, task.max_length, seeded(0))
    with torch.no_grad():
        generator.output.bias[task.vocabulary.eos_id] = -30.0
    full = sample(generator, task.vocabulary, 4000, task.max_length, seeded(0))
    share = float(drawn.mask.sum() / full.mask.sum())
    endless = fastest(lambda: sample(generator, task.vocabulary, 4000, task.max_length, seeded(0)))
    with torch.no_grad():
        generator.output.bias[task.vocabulary.eos_id] = 0.0
    ending = fastest(lambda: sample(generator, task.vocabulary, 4000, task.max_length, seeded(0)))
    rows.append(
        (
            f"texts that end, with {share:.0%} of the tokens of full length",
            f"{ending / endless:.0%} of the time",
        )
    )
    memory = {"paper's configuration": "16,20,5000", "N 64, T 40, V 20,000": "64,40,20000"}
    for label, sizes in () if smoke else memory.items():
        gigabytes = float(
            subprocess.run(
                [sys.executable, __file__, "--memory-of", sizes],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        rows.append((f"peak resident memory of rollouts, {label}", f"{gigabytes:.2f} GB"))
    return rows


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def share_of_length(tokens: np.ndarray, lengths: np.ndarray, prompts: object) -> np.ndarray:
    return lengths / tokens.shape[1]


def steps(env: gymnasium.Env, actions: np.ndarray) -> None:
    env.reset(seed=0)
    for action in actions.tolist():
        if env.step(action)[2]:
            env.reset()


def peak_memory(sizes: str) -> float:
    """Gigabytes resident at the peak of one step of rollouts, everything included."""
    num_rollouts, length, vocabulary = map(int, sizes.split(","))
    Paper(64, length, vocabulary).rollouts(num_rollouts)
    # Not `ru_maxrss`, which starts at what the parent had resident.
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e9


def as_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(settings: Settings) -> None:
    keep_freed_memory()
    if settings.memory_of:
        print(peak_memory(settings.memory_of))
        return
    if settings.threads:
        torch.set_num_threads(settings.threads)
    peak, peak_half = matmul_peak(torch.float32), matmul_peak(torch.bfloat16)
    machine = (
        f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch"
        f" {torch.__version__}, Python {platform.python_version()}; peak {peak / 1e9:.0f} GFLOP/s"
        f" in float32, {peak_half / 1e9:.0f} in bfloat16; {date.today()}. No GPU: not run on one."
    )
    print(machine, flush=True)
    work = work_table(peak, peak_half, settings.smoke)
    head = ["work", "seconds", "plain", "ratio", "of peak", "goal"]
    tables = [as_markdown(head, [row.cells() for row in work])]
    print(tables[0], flush=True)
    others = other_table(settings.smoke)
    tables.append(as_markdown(["work", "measured"], others))
    print(tables[1], flush=True)
    scaling = scaling_table(settings.smoke)
    tables.append(
        as_markdown(
            ["rollouts against", "sizes", "seconds", "exponent"],
            [
                [name, " ".join(map(str, sizes)), " ".join(f"{s:.2f}" for s in seconds), f"{e:.2f}"]
                for name, sizes, seconds, e in scaling
            ],
        )
    )
    print(tables[2])
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    measured = {
        "machine": machine,
        "work": [asdict(row) for row in work],
        "others": dict(others),
        "scaling": {
            name: {"sizes": sizes, "seconds": seconds, "exponent": exponent}
            for name, sizes, seconds, exponent in scaling
        },
    }
    settings.results.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    if settings.write:
        page = Path(__file__).with_name("README.md")
        text = page.read_text(encoding="utf-8").split(MARK)[0]
        page.write_text("\n\n".join([text + MARK, machine, *tables]) + "\n", encoding="utf-8")


def processor() -> str:
    """The processor's name where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
