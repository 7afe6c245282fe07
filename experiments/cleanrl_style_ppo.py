"""Claim: PPO in one file, on the vector environment itself, learns to write sentences in a minute.

CleanRL's `ppo.py` (Huang et al., 2022) for Gymnasium 1.x: returns are in `infos["episode"]` where
`_episode` says so. The reward is at most 1. Numbers, time and machine: experiments/README.md.
`python experiments/cleanrl_style_ppo.py --seed 1 [--track]`
"""

import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
import tyro
import wandb
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import Tensor, nn
from torch.distributions import Categorical


@dataclass(frozen=True)
class Args:
    seed: int = 1
    track: bool = False  # log to wandb
    env_id: str = "seqgan_envs:seqgan/TextGeneration-v0"
    reward: str = "seqgan_envs.sentences:small_sentences"  # of the environment
    total_timesteps: int = 131_072  # tokens
    learning_rate: float = 2e-3  # at the start; falls to 0
    num_envs: int = 64
    num_steps: int = 16  # tokens of each row per update
    gae_lambda: float = 0.95  # the discount is 1
    minibatch_size: int = 256
    update_epochs: int = 4
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    results: Path = Path("results/cleanrl_style_ppo.csv")  # CSV file to write


class Agent(nn.Module):
    def __init__(self, length: int, num_ids: int, num_actions: int) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(num_ids, 16), nn.Linear(16 * length, 64)
        self.actor, self.critic = nn.Linear(64, num_actions), nn.Linear(64, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)  # at first all words are as likely

    def forward(self, tokens: Tensor) -> tuple[Categorical, Tensor]:
        hidden = self.hidden(self.embedding(tokens).flatten(1)).tanh()
        return Categorical(logits=self.actor(hidden)), self.critic(hidden)[:, 0]


def main(args: Args) -> None:
    torch.manual_seed(args.seed)
    made = {"reward": args.reward, "observation": "tokens", "autoreset_mode": "SameStep"}
    envs = RecordEpisodeStatistics(gymnasium.make_vec(args.env_id, args.num_envs, **made))
    space = envs.single_observation_space
    agent = Agent(space.shape[0], int(space.high[0]) + 1, envs.single_action_space.n)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    shape = (args.num_steps, args.num_envs)
    obs, actions = torch.zeros((*shape, *space.shape)).long(), torch.zeros(shape).long()
    logprobs, rewards, dones, values, advantages = (torch.zeros(shape) for _ in range(5))
    wandb.init(project="seqgan", config=asdict(args), mode=None if args.track else "disabled")
    next_obs, rows, started = torch.from_numpy(envs.reset(seed=args.seed)[0]), [], time.time()
    num_updates = args.total_timesteps // (args.num_steps * args.num_envs)
    for update in range(1, num_updates + 1):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - (update - 1) / num_updates)
        finished: list[tuple[float, str]] = []  # return and text of each episode
        for step in range(args.num_steps):
            obs[step] = next_obs
            with torch.no_grad():
                policy, values[step] = agent(next_obs)
            actions[step] = policy.sample()
            logprobs[step] = policy.log_prob(actions[step])
            new_obs, reward, ended, _, infos = envs.step(actions[step].numpy())
            next_obs, rewards[step] = torch.from_numpy(new_obs), torch.from_numpy(reward).float()
            dones[step] = torch.from_numpy(ended)
            if "episode" in infos:
                ends, texts = infos["_episode"], infos["final_info"]["text"]
                finished += zip(infos["episode"]["r"][ends], texts[ends], strict=True)
        with torch.no_grad():
            following, advantage = agent(next_obs)[1], torch.zeros(args.num_envs)
        for step in reversed(range(args.num_steps)):
            delta = rewards[step] + following * (1 - dones[step]) - values[step]
            advantage = delta + args.gae_lambda * (1 - dones[step]) * advantage
            advantages[step], following = advantage, values[step]
        batch = [t.flatten(0, 1) for t in (obs, actions, logprobs, advantages, advantages + values)]
        for _ in range(args.update_epochs):
            for part in torch.randperm(len(batch[0])).split(args.minibatch_size):
                o, a, old, adv, ret = (tensor[part] for tensor in batch)
                policy, value = agent(o)
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                ratio = (policy.log_prob(a) - old).exp()
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.min(adv * ratio, adv * clipped).mean()
                entropy, value_loss = policy.entropy().mean(), 0.25 * (value - ret).pow(2).mean()
                optimizer.zero_grad()
                (policy_loss + value_loss - args.ent_coef * entropy).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        returns, texts = zip(*finished, strict=True)
        metrics = {
            "global_step": update * len(batch[0]),
            "charts/episodic_return": np.mean(returns).item(),
            "charts/SPS": update * len(batch[0]) / (time.time() - started),
            "losses/policy_loss": policy_loss.item(),
            "losses/value_loss": value_loss.item(),
            "losses/entropy": entropy.item(),
        }
        rows.append(metrics)
        wandb.log(metrics)
        if update in (1, num_updates) or update % 32 == 0:
            print(f"step {metrics['global_step']}: {np.mean(returns):.3f}", texts[-3:])
    args.results.parent.mkdir(parents=True, exist_ok=True)
    with args.results.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *(row.values() for row in rows)])


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
