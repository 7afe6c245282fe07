"""Steps of many texts together, against a loop over single environments.

    python benchmarks/vector_environments.py             prints the table
    python benchmarks/vector_environments.py --write     also puts it into benchmarks/README.md

Random actions with the default words. Gymnasium's way is `SyncVectorEnv`, that of
Stable-Baselines3 is `DummyVecEnv` over environments in `Monitor`; `TextVecEnv` has the same infos.
The last row is PPO of Stable-Baselines3 with a small network, whose own work is the same in both
ways. The ratio of two times in one run depends little on the machine. Needs stable_baselines3.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium.vector import SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from seqgan.integrations.sb3 import TextVecEnv
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

MARK, END = "<!-- vector environments -->", "<!-- end of vector environments -->"
LENGTH = 20  # tokens of the longest text


@dataclass(frozen=True)
class Settings:
    write: bool = False  # put the table into benchmarks/README.md
    num_envs: int = 256  # texts that advance together
    steps: int = 100  # of each environment
    ppo_steps: int = 8192  # tokens that PPO collects and learns from
    repeats: int = 3  # the fastest of as many is taken


def single() -> TextGenerationEnv:
    return TextGenerationEnv(max_length=LENGTH)


def seconds(step: Callable[[Any], Any], num_envs: int, settings: Settings) -> float:
    """Seconds per token, of this process' own time on the processor."""
    actions = np.random.default_rng(0).integers(12, size=(settings.steps, num_envs))
    times = []
    for _ in range(settings.repeats):
        start = time.process_time()
        for row in actions:
            step(row)
        times.append(time.process_time() - start)
    return min(times) / actions.size


def learning(env: VecEnv, settings: Settings) -> float:
    """Seconds per token of PPO's collecting and learning."""
    model = PPO(
        "MultiInputPolicy",
        env,
        n_steps=settings.ppo_steps // env.num_envs,
        batch_size=settings.ppo_steps // 2,
        n_epochs=2,
        seed=0,
    )
    start = time.process_time()
    model.learn(settings.ppo_steps)
    return (time.process_time() - start) / settings.ppo_steps


def table(settings: Settings) -> str:
    """The measurements as a table in Markdown."""
    n = settings.num_envs
    native = TextGenerationVectorEnv(n, max_length=LENGTH)
    sync = SyncVectorEnv([single] * n)
    together = TextVecEnv(TextGenerationVectorEnv(n, max_length=LENGTH, autoreset_mode="SameStep"))
    loop = DummyVecEnv([lambda: Monitor(single())] * n)
    for env in (native, sync, together, loop):
        env.reset()
    rows = [
        ("Gymnasium", *(seconds(env.step, n, settings) for env in (native, sync))),
        ("Stable-Baselines3", *(seconds(env.step, n, settings) for env in (together, loop))),
        ("PPO of Stable-Baselines3", *(learning(env, settings) for env in (together, loop))),
    ]
    lines = ["| in | together, µs a token | one by one, µs | ratio |", "| --- | --- | --- | --- |"]
    for name, fast, slow in rows:
        lines.append(f"| {name} | {fast * 1e6:.2f} | {slow * 1e6:.2f} | {slow / fast:.1f} |")
    return "\n".join(lines)


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    torch.set_num_threads(1)
    measured = table(settings)
    print(measured)
    if settings.write:
        path = Path(__file__).parent / "README.md"
        page = path.read_text(encoding="utf-8")
        before, rest = page.split(MARK)
        path.write_text(f"{before}{MARK}\n\n{measured}\n\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
