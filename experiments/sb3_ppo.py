"""Claim: with an embedding of the words Stable-Baselines3's PPO writes whole sentences, each time.

The same PPO with and without `TokenFeatures`; without, it takes token ids for quantities, and two
of three runs seldom end a sentence. The reward is `seqgan_envs.sentences:small_sentences`:
grammar, variety and an end, at most 1.

    pip install "seqgan[integrations]"; python experiments/sb3_ppo.py

Numbers, time and machine: experiments/README.md.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from seqgan.integrations.sb3 import TokenFeatures

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
REWARD = "seqgan_envs.sentences:small_sentences"


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2, 3)  # one run each, with and without an embedding
    steps: int = 24_576  # of the environment in a run, that is tokens
    num_samples: int = 200  # texts per measurement
    results: Path = Path("results/sb3_ppo.csv")  # CSV file to write


def sample(model: PPO, count: int) -> tuple[list[float], list[dict[str, Any]]]:
    """Returns and final infos of texts that the policy draws."""
    env = gymnasium.make(ENV_ID, reward=REWARD)
    returns, infos = [], []
    for episode in range(count):
        observation, info = env.reset(seed=episode)
        ended, total = False, 0.0
        while not ended:
            action, _ = model.predict(observation)
            observation, reward, ended, _, info = env.step(action)
            total += float(reward)
        returns.append(total)
        infos.append(info)
    return returns, infos


def main(settings: Settings) -> None:
    rows: list[list[object]] = []
    for features in (None, TokenFeatures):
        name = "ids as numbers" if features is None else "TokenFeatures"
        for seed in settings.seeds:
            started = time.perf_counter()
            policy = {} if features is None else {"features_extractor_class": features}
            model = PPO(
                "MultiInputPolicy",
                make_vec_env(lambda: gymnasium.make(ENV_ID, reward=REWARD), n_envs=8, seed=seed),
                n_steps=128,
                batch_size=256,
                learning_rate=2e-3,
                n_epochs=6,
                gamma=1.0,
                ent_coef=0.01,
                seed=seed,
                policy_kwargs=policy,
            )
            for when in ("before", "after"):
                if when == "after":
                    model.learn(settings.steps)
                returns, infos = sample(model, settings.num_samples)
                parts = {
                    part: float(np.mean([info["reward_components"][part] for info in infos]))
                    for part in ("grammatical", "varied", "complete")
                }
                mean = float(np.mean(returns))
                rows.append([name, seed, when, mean, *parts.values()])
                print(f"{name}, seed {seed}, {when}: reward {mean:.3f}")
                for info in infos[:4]:
                    print(f"  {info['text']}")
            print(f"{time.perf_counter() - started:.0f} s")
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["features", "seed", "when", "reward", "grammatical", "varied", "complete"])
        writer.writerows(rows)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
