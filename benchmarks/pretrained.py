"""A pretrained generator, against the same work done with transformers and peft alone.

    python benchmarks/pretrained.py models/smollm2             prints the table
    python benchmarks/pretrained.py models/smollm2 --write     and puts it into benchmarks/README.md

The folder is that of any causal language model; docs/pretrained.md says how to make this one. Both
sides have the same model with an adapter of rank 16. They take turns, and the fastest of several
times is taken. Seconds are of this process's own time on the processor, so other processes matter
less. Needs the `pretrained` extra.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary, subword_vocabulary
from seqgan.functional.policy_losses import make_policy_loss
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.learning.updates import likelihood_step
from seqgan.models.generators.pretrained import PretrainedGenerator, PretrainedGeneratorConfig
from seqgan.models.sampling import sample
from seqgan.system.memory import keep_freed_memory
from seqgan.system.runtime import ALONE

MARK, END = "<!-- pretrained -->", "<!-- end of pretrained -->"
IGNORED = -100  # the label of a token that is in no loss


@dataclass(frozen=True)
class Settings:
    path: Annotated[str, tyro.conf.Positional]  # folder of a causal language model
    write: bool = False  # put the table into benchmarks/README.md
    threads: int = 1  # CPU threads
    texts: int = 32  # of a batch; a likelihood step takes half of them
    length: int = 20  # tokens of a text at most
    prompt: int = 64  # tokens of a prompt
    group: int = 8  # texts of one prompt
    repeats: int = 3  # the fastest of as many is taken


@dataclass(frozen=True)
class Bench:
    """One model, and texts of its own of different lengths."""

    settings: Settings
    generator: PretrainedGenerator
    vocabulary: Vocabulary
    texts: Sequences

    @property
    def trained(self) -> list[nn.Parameter]:
        return [each for each in self.generator.parameters() if each.requires_grad]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.trained, lr=1e-5)

    def inputs(self, texts: Sequences) -> tuple[Tensor, Tensor]:
        """The model's ids with bos in front, and their mask."""
        tokens = texts.tokens.masked_fill(~texts.mask, self.vocabulary.bos_id)
        bos = torch.full((len(texts), 1), self.vocabulary.bos_id)
        mask = torch.cat([torch.ones_like(bos, dtype=torch.bool), texts.mask], dim=1)
        return self.generator.ids[torch.cat([bos, tokens], dim=1)], mask

    def likelihood(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """A step of maximum likelihood on half of the texts."""
        model, optimizer = self.generator.model, self.optimizer()
        half = self.texts.select(torch.arange(len(self.texts) // 2)).trimmed()
        ids, mask = self.inputs(half)
        labels = ids.masked_fill(~mask, IGNORED)
        labels[:, 0] = IGNORED

        def by_hand() -> None:
            model.train()
            optimizer.zero_grad()
            model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss.backward()
            nn.utils.clip_grad_norm_(self.trained, 1.0)
            optimizer.step()

        def ours() -> object:
            self.generator.train()
            return likelihood_step(self.generator, optimizer, half, 1.0, ALONE)

        return ours, by_hand

    def policy_gradient(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """A step of REINFORCE on all texts, with equal advantages."""
        model, optimizer, loss = (
            self.generator.model,
            self.optimizer(),
            make_policy_loss("reinforce"),
        )
        texts = self.texts.trimmed()
        ids, mask = self.inputs(texts)
        nothing = torch.zeros(texts.tokens.shape)
        trajectories = Trajectories(texts, nothing, nothing)

        def by_hand() -> None:
            model.eval()
            optimizer.zero_grad()
            logits = model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1]
            log_probs = logits.log_softmax(dim=-1)
            entropies = -(log_probs.exp() * log_probs).sum(dim=-1)  # is logged
            chosen = log_probs.gather(2, ids[:, 1:, None])[:, :, 0]
            (-chosen[mask[:, 1:]].mean() - 0.0 * entropies[mask[:, 1:]].mean()).backward()
            nn.utils.clip_grad_norm_(self.trained, 1.0)
            optimizer.step()

        def ours() -> object:
            return update_generator(
                *(self.generator, optimizer, loss, trajectories),
                *(torch.ones_like(nothing), GeneratorUpdate(), ALONE),
            )

        return ours, by_hand

    def drawing(self, grouped: bool) -> tuple[Callable[[], object], Callable[[], object]]:
        """All texts at their full length; if grouped, of prompts that several texts share."""
        settings, vocabulary, generator = self.settings, self.vocabulary, self.generator
        ends = torch.tensor([vocabulary.eos_id])
        numbers, group, prompts = torch.arange(settings.texts), 1, None
        ids = torch.full((settings.texts, 1), vocabulary.bos_id)
        if grouped:
            group = settings.group
            rng = torch.Generator().manual_seed(2)
            shape = (settings.texts // group, settings.prompt)
            ids = torch.randint(len(vocabulary.words), shape, generator=rng)
            rows = ids[numbers // group]
            empty = torch.zeros(settings.texts, 0, dtype=torch.long)
            prompts = replace(
                Sequences(empty, empty.bool(), vocabulary=vocabulary),
                prompts=rows,
                prompt_mask=torch.ones_like(rows, dtype=torch.bool),
            )

        @torch.no_grad()
        def by_generate() -> object:
            model = generator.model.eval()
            return model.generate(
                input_ids=generator.ids[ids],
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                min_new_tokens=settings.length,
                max_new_tokens=settings.length,
                num_return_sequences=group,
                pad_token_id=int(generator.ids[vocabulary.eos_id]),
            )

        def ours() -> object:
            rng = torch.Generator().manual_seed(1)
            size = (settings.texts, settings.length)
            return sample(generator, vocabulary, *size, rng, None, prompts, ends)

        return ours, by_generate

    def rows(self) -> list[list[str]]:
        grouped = f"drawing, {self.settings.group} texts of each prompt"
        works = {
            "likelihood step, against peft's": self.likelihood(),
            "policy-gradient step, against autograd's": self.policy_gradient(),
            "drawing, against `generate`": self.drawing(grouped=False),
            f"{grouped}, against `generate`": self.drawing(grouped=True),
        }
        rows = []
        for name, pair in works.items():
            ours, plain = seconds_of(pair, self.settings.repeats)
            rows.append([name, f"{ours:.2f}", f"{plain:.2f}", f"{plain / ours:.2f}"])
        return rows


def seconds_of(
    pair: tuple[Callable[[], object], Callable[[], object]], repeats: int
) -> tuple[float, float]:
    """The least processor time of each, after one time that does not count."""
    least = [float("inf"), float("inf")]
    for repeat in range(repeats + 1):
        for number, action in enumerate(pair):
            before = time.process_time()
            action()
            if repeat:
                least[number] = min(least[number], time.process_time() - before)
    return least[0], least[1]


def bench(settings: Settings) -> Bench:
    vocabulary = subword_vocabulary(settings.path)
    generator = PretrainedGenerator(PretrainedGeneratorConfig(path=settings.path), vocabulary)
    size, rng = (settings.texts, settings.length), torch.Generator().manual_seed(0)
    texts = sample(generator, vocabulary, *size, rng, forbidden=torch.tensor([vocabulary.eos_id]))
    # A third of the columns is padding, as in files of captions or replies.
    lengths = settings.length // 3 + torch.arange(settings.texts) % (2 * settings.length // 3 + 1)
    mask = torch.arange(settings.length) < lengths[:, None].clamp(max=settings.length)
    tokens = texts.tokens.masked_fill(~mask, vocabulary.pad_id)
    return Bench(settings, generator, vocabulary, Sequences(tokens, mask, vocabulary=vocabulary))


def main(settings: Settings) -> None:
    keep_freed_memory()
    torch.set_num_threads(settings.threads)
    rows = [["work", "seconds", "with the library alone", "times faster"], ["---"] * 4]
    rows += bench(settings).rows()
    table = "\n".join("| " + " | ".join(line) + " |" for line in rows)
    print(table)
    if settings.write:
        page = Path(__file__).with_name("README.md")
        before, _, rest = page.read_text(encoding="utf-8").partition(f"{MARK}\n")
        _, end, after = rest.partition(END)
        page.write_text(f"{before}{MARK}\n\n{table}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
