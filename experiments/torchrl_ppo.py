"""Claim: TorchRL's collector, GAE and PPO loss take the vector environment as it is, and learn.

Small sentences again (`seqgan_envs.sentences:small_sentences`, at most 1), and here the agent may
not write a word twice in a row: the policy reads `action_mask` from the observation. Numbers, time
and machine: experiments/README.md.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"


@dataclass(frozen=True)
class Settings:
    seed: int = 1
    iterations: int = 60
    num_envs: int = 32
    steps: int = 32  # tokens of each row per iteration
    epochs: int = 4  # passes over them
    learning_rate: float = 2e-3
    results: Path = Path("results/torchrl_ppo.csv")  # CSV file to write


def no_repetition(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], prompts: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """Any of the 13 actions but the one before."""
    masks = np.ones((len(tokens), 13), dtype=np.bool_)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


class Network(nn.Module):
    def __init__(self, length: int, num_ids: int, num_outputs: int) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(num_ids, 16), nn.Linear(16 * length, 64)
        self.outputs = nn.Linear(64, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.outputs(self.hidden(self.embedding(tokens).flatten(-2)).tanh())


def texts_of(data: TensorDict, words: tuple[str, ...]) -> list[str]:
    """The texts that ended in a batch."""
    ended = data["next"][data["next", "done"][..., 0]]
    return [" ".join(words[i] for i in row if i < len(words)) for row in ended["tokens"].tolist()]


def main(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    inner = gymnasium.make_vec(
        ENV_ID,
        settings.num_envs,
        reward="seqgan_envs.sentences:small_sentences",
        action_mask=no_repetition,
        autoreset_mode="Disabled",  # TorchRL resets the rows that ended
    )
    env = GymWrapper(inner, categorical_action_encoding=True)
    env.set_seed(settings.seed)
    rules = inner.unwrapped.rules
    shape = (rules.max_length, rules.pad_id + 1)
    actor = ProbabilisticActor(
        TensorDictModule(Network(*shape, rules.num_actions), ["tokens"], ["logits"]),
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=lambda logits, mask: MaskedCategorical(logits=logits, mask=mask.bool()),
        return_log_prob=True,
    )
    critic = ValueOperator(Network(*shape, 1), in_keys=["tokens"])
    loss_module = ClipPPOLoss(actor, critic, entropy_coeff=0.01, critic_coeff=0.5)
    advantages = GAE(gamma=1.0, lmbda=0.95, value_network=critic, average_gae=True)
    optimizer = torch.optim.Adam(loss_module.parameters(), lr=settings.learning_rate)
    batch_size = settings.num_envs * settings.steps
    collector = Collector(
        env,
        actor,
        frames_per_batch=batch_size,
        total_frames=batch_size * settings.iterations,
        auto_register_policy_transforms=False,
    )
    rows: list[list[object]] = []
    for iteration, data in enumerate(collector, start=1):
        returns = data["next", "reward"][data["next", "done"]]
        rows.append([settings.seed, iteration * batch_size, returns.mean().item()])
        if iteration in (1, settings.iterations) or iteration % 20 == 0:
            print(
                f"{rows[-1][1]} tokens: reward {rows[-1][2]:.3f}", texts_of(data, rules.words)[:3]
            )
        for _ in range(settings.epochs):
            advantages(data)
            for part in data.reshape(-1)[torch.randperm(batch_size)].split(256):
                losses = loss_module(part)
                optimizer.zero_grad()
                sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
                nn.utils.clip_grad_norm_(loss_module.parameters(), 0.5)
                optimizer.step()
    collector.shutdown()
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([["seed", "tokens", "reward"], *rows])


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
