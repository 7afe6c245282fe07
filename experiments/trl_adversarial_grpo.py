"""Claim: TRL's GRPO, which keeps its reward models frozen, can train against one that learns.

A small GPT-2 over words learns captions by maximum likelihood. Then `GRPOTrainer` goes on with a
discriminator as reward, which `AdversarialCallback` trains after every step.

    python experiments/trl_adversarial_grpo.py

Expected: more grammatical captions, fewer than a temperature of 0.8 gives: experiments/README.md.
"""

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from trl import GRPOConfig, GRPOTrainer

from seqgan.data.sequences import Sequences
from seqgan.evaluation.game.adversary import heldout_information
from seqgan.integrations.trl import AdversarialCallback
from seqgan.learning.updates import train_discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.rewards.adapters.trl import as_trl
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.tasks.captions import CaptionsConfig, captions_task

HEAD = ("seed", "model", "grammatical", "nll_heldout", "information_heldout")
SPECIAL = {"eos_token": "</s>", "bos_token": "<s>", "pad_token": "<pad>"}
TASK = captions_task(CaptionsConfig(train_size=10000))
START, LENGTH = TASK.vocabulary.bos_id, TASK.max_length
IDS = {word: index for index, word in enumerate((*TASK.vocabulary.words, *SPECIAL.values()))}


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1,)  # one run each
    epochs: int = 6  # of maximum likelihood
    rounds: int = 20  # of discriminator pretraining, with fresh samples each
    steps: int = 100  # of GRPO
    batch_size: int = 128  # captions in a step of anything
    learning_rate: float = 3e-4  # of GRPO, decayed to 0
    temperatures: tuple[float, ...] = (0.9, 0.8, 0.7)  # of the control
    num_samples: int = 2000  # generated captions per measurement
    results: Path = Path("results/trl_adversarial_grpo.csv")  # CSV file to write


def main(settings: Settings) -> None:
    rows = [row for seed in settings.seeds for row in run(settings, seed)]
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    print(*rows, f"written: {settings.results}", sep="\n")


def run(settings: Settings, seed: int) -> list[list[object]]:
    set_seed(seed)
    rng, size = torch.Generator().manual_seed(seed), settings.batch_size
    words = Tokenizer(models.WordLevel(IDS, unk_token=SPECIAL["pad_token"]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL)
    shape = {f"{token}_id": IDS[text] for token, text in SPECIAL.items()}
    shape |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    shape |= {"vocab_size": len(IDS), "n_positions": LENGTH + 1, "n_embd": 16}
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, **shape))
    adam, steps = torch.optim.AdamW(model.parameters()), -(-TASK.size("train") // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-2, settings.epochs * steps)
    for _ in range(settings.epochs):
        for batch in TASK.batches("train", size, rng):
            adam.zero_grad()
            (-log_probs(model, batch, 1.0).mean()).backward()
            adam.step()
            schedule.step()
    filters = CNNDiscriminatorConfig(filter_sizes=(1, 2, 3, 4, 6, 8, 12), num_filters=(50,) * 7)
    judge = CNNDiscriminator(filters, TASK.vocabulary, LENGTH)
    reward = DiscriminatorReward(judge, torch.optim.Adam(judge.parameters(), 2e-3), "logit")
    function = as_trl(reward, TASK.vocabulary, LENGTH, remember=size)

    def sample(n: int, temperature: float = 1.0) -> Sequences:
        how = {"do_sample": True, "top_k": 0, "max_new_tokens": LENGTH, "temperature": temperature}
        start = torch.full((n, 1), START)
        ids = model.generate(start, attention_mask=torch.ones_like(start), **how)
        return function.encode(tokenizer.batch_decode(ids, skip_special_tokens=True))

    def measured(what: str, temperature: float = 1.0) -> list[object]:
        samples, test = sample(settings.num_samples, temperature), TASK.splits["test"]
        rate = float(TASK.measures["grammatical"].score(samples).mean())
        nll = -float(log_probs(model, test, temperature).detach().mean())
        told = heldout_information(reward.logits(test), reward.logits(samples))
        print(what, *samples.texts[:3], sep="\n", flush=True)
        return [seed, what, rate, nll, told["discriminator/information_heldout"]]

    for _ in range(settings.rounds):
        train_discriminator(reward, TASK.real("train", 1500, rng), sample(1500), 1, size, rng)
    rows = [measured("MLE"), *(measured(f"MLE at {t}", t) for t in settings.temperatures)]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)  # where GRPO finds what it is kept close to
        model = GPT2LMHeadModel.from_pretrained(folder)
        how = {"use_cpu": True, "bf16": False, "activation_checkpointing": False, "seed": seed}
        how |= {"per_device_train_batch_size": size, "num_generations": size}
        how |= {"max_completion_length": LENGTH, "beta": 0.05, "report_to": "none"}
        how |= {"max_steps": settings.steps, "learning_rate": settings.learning_rate}
        game = [AdversarialCallback(function, TASK, rng, batch_size=size)]
        prompts = Dataset.from_dict({"prompt": [SPECIAL["bos_token"]] * size})
        grpo = GRPOConfig(folder, **how)
        GRPOTrainer(model, function, grpo, prompts, None, tokenizer, callbacks=game).train()
    return [*rows, measured("GRPO")]


def log_probs(model: GPT2LMHeadModel, batch: Sequences, temperature: float) -> torch.Tensor:
    start = torch.full_like(batch.tokens[:, :1], START)
    logits = model(torch.cat([start, batch.tokens[:, :-1]], dim=1)).logits / temperature
    return logits.log_softmax(dim=2).gather(2, batch.tokens[:, :, None])[:, :, 0][batch.mask]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
