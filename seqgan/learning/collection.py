"""Collects trajectories: the generator steps the environment."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.losses import token_log_probs
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import sample_categorical
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.rewards.base import RewardModel
from seqgan.system.runtime import Runtime
from seqgan.tasks.base import Task
from seqgan_envs import TextGenerationVectorEnv


def make_task_env(
    task: Task, reward_model: RewardModel, num_envs: int, device: torch.device | str = "cpu"
) -> TextGenerationVectorEnv:
    """Makes the vector environment of the task's texts, with one row per episode.

    The prompts, if the task has any, are the training split's, in its order.
    """
    data = partial(task.rows, "train") if task.max_prompt_length else None
    reward = as_env_reward(reward_model, task.vocabulary, device, data)
    return TextGenerationVectorEnv(
        reward=reward, prompts=training_prompts(task), **env_arguments(task, num_envs)
    )


def training_prompts(task: Task) -> NDArray[np.int64] | None:
    """Every training row's prompt (rows, longest prompt), left-padded; None without prompts."""
    size = task.size("train") if task.max_prompt_length else 0
    if not size:
        return None
    prompts = np.full((size, task.max_prompt_length), task.vocabulary.pad_id, np.int64)
    first = 0
    for chunk in task.chunks("train", 4096):
        assert chunk.prompts is not None
        assert chunk.prompt_mask is not None
        ids = chunk.prompts.masked_fill(~chunk.prompt_mask, task.vocabulary.pad_id)
        width = ids.shape[1]
        prompts[first : first + len(chunk), prompts.shape[1] - width :] = ids.numpy()
        first += len(chunk)
    return prompts


def env_arguments(task: Task, num_envs: int) -> dict[str, Any]:
    """The environment's arguments, without its reward and its prompts.

    A row that has ended waits for the others (`AutoresetMode.DISABLED`), as `collect` expects.
    """
    vocabulary = task.vocabulary
    return {
        "num_envs": num_envs,
        "words": vocabulary.words,
        "max_length": task.max_length,
        "eos": vocabulary.has_eos,
        "pad_id": vocabulary.pad_id,
        "observation": "tokens",
        "separator": " " if vocabulary.level == "word" else "",
        "decode": vocabulary.decode if vocabulary.level == "subword" else None,
        "autoreset_mode": AutoresetMode.DISABLED,
    }


@torch.no_grad()
def collect(
    env: VectorEnv,
    generator: Generator,
    vocabulary: Vocabulary,
    max_length: int,
    rng: torch.Generator,
    prompts: Sequences | None = None,
    prompt_index: Int[Tensor, " batch"] | None = None,
) -> Trajectories:
    """Plays one episode per row of the environment, all rows together until the last one ends.

    Args:
        env: a vector environment with `AutoresetMode.DISABLED`.
        rng: the source of the actions; the environment has its own.
        prompts: the generator continues them; one row for each of the environment's.
        prompt_index: the numbers of these prompts in the environment, which starts from them.

    Returns:
        Trajectories of shape (num_envs, max_length), with the prompts and columns of `prompts`.

    Raises:
        ValueError: the environment resets its rows itself, or only one of `prompts` and
            `prompt_index` is given.
    """
    if (prompts is None) != (prompt_index is None):
        raise ValueError(
            "prompts were given without their numbers in the environment, or these without prompts"
        )
    if env.metadata["autoreset_mode"] is not AutoresetMode.DISABLED:
        raise ValueError("the environment's autoreset mode is not DISABLED, as collect needs it")
    generator.eval()
    start = None if prompt_index is None else {"prompt_index": prompt_index.numpy()}
    env.reset(options=start)
    size = env.num_envs
    logits, state = generator.start(size, prompts)
    device = logits.device
    tokens = torch.full((size, max_length), vocabulary.pad_id, device=device)
    mask = torch.zeros((size, max_length), dtype=torch.bool, device=device)
    log_probs = torch.zeros((size, max_length), device=device)
    rewards = torch.zeros((size, max_length), device=device)
    going = torch.ones(size, dtype=torch.bool, device=device)
    stepping = torch.arange(size, device=device)  # the rows of the environment in `state`
    parts: dict[str, torch.Tensor] | None = None
    for step in range(max_length):
        actions = sample_categorical(logits, rng)
        _, reward, terminated, truncated, infos = env.step(actions.cpu().numpy())
        chosen = token_log_probs(logits[:, None], actions[:, None], going[:, None])
        tokens[:, step] = torch.where(going, actions, vocabulary.pad_id)
        mask[:, step] = going
        log_probs[:, step] = chosen[:, 0]
        rewards[:, step] = torch.as_tensor(np.asarray(reward), dtype=torch.float32).to(device)
        if "reward_components" in infos:
            parts = _with_components(parts or {}, infos["reward_components"], size)
        ended = torch.from_numpy(np.logical_or(terminated, truncated)).to(device)
        going = going & ~ended
        if not bool(going.any()):
            break
        if generator.drops_ended_rows:
            rows = going.nonzero()[:, 0]
            state = state.select(torch.searchsorted(stepping, rows))
            logits = torch.zeros_like(logits)
            logits[rows], state = generator.step(actions[rows], state)
            stepping = rows
        else:
            logits, state = generator.step(actions, state)
    emitted = Sequences(tokens, mask, vocabulary=vocabulary)
    return Trajectories(
        emitted if prompts is None else prompts.with_completions(emitted),
        log_probs,
        rewards,
        None if parts is None else {name: part.to(device) for name, part in parts.items()},
    )


def _with_components(
    parts: dict[str, torch.Tensor], components: Mapping[str, NDArray[Any]], size: int
) -> dict[str, torch.Tensor]:
    """Adds the reward's parts of the rows that ended in this step; NaN where none is known."""
    joined = dict(parts)
    for name in [name for name in components if f"_{name}" in components]:
        applies = torch.from_numpy(components[f"_{name}"])
        values = torch.as_tensor(components[name], dtype=torch.float32)
        before = parts.get(name, torch.full((size,), torch.nan))
        joined[name] = torch.where(applies, values, before)
    return joined


def groups_of_batch(batch_size: int, group_size: int, rank: int) -> Int[Tensor, " batch"]:
    """The numbers of a process' groups, whose rows lie side by side; other processes have others.

    Args:
        batch_size: rows of each process, a multiple of `group_size`.
        rank: the number of the process.
    """
    num_groups = batch_size // group_size
    numbers = torch.arange(rank * num_groups, (rank + 1) * num_groups)
    return numbers.repeat_interleave(group_size)


def gathered(trajectories: Trajectories, runtime: Runtime) -> Trajectories:
    """The trajectories of all processes, in rank order, with prompts, columns and groups."""
    if runtime.world_size == 1:
        return trajectories
    sequences = trajectories.sequences
    prompts, prompt_mask = sequences.prompts, sequences.prompt_mask
    if prompts is not None and prompt_mask is not None:  # all processes need one width
        missing = int(runtime.maximum(float(prompts.shape[1]))) - prompts.shape[1]
        prompts = runtime.gather(pad(prompts, (missing, 0)))
        prompt_mask = runtime.gather(pad(prompt_mask, (missing, 0), value=False))
    shares = runtime.gather_objects((dict(sequences.columns), [*(trajectories.parts or {})]))
    columns = {
        name: [*chain.from_iterable(rows[name] for rows, _ in shares)] for name in shares[0][0]
    }
    parts = dict.fromkeys(chain.from_iterable(names for _, names in shares))
    return Trajectories(
        Sequences(
            runtime.gather(sequences.tokens),
            runtime.gather(sequences.mask),
            prompts,
            prompt_mask,
            columns,
            sequences.vocabulary,
        ),
        runtime.gather(trajectories.log_probs),
        runtime.gather(trajectories.rewards),
        {name: runtime.gather(trajectories.part(name)) for name in parts} if parts else None,
        None if trajectories.groups is None else runtime.gather(trajectories.groups),
    )
