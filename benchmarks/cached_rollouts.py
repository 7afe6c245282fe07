"""Monte Carlo rollouts from cached prefixes, against drawing each completion from its text.

    python benchmarks/cached_rollouts.py             prints the table
    python benchmarks/cached_rollouts.py --write     also puts it into benchmarks/README.md

A two-layer model of GPT-2's shape with random weights, which never ends a text early, so that both
ways draw the same number of tokens. The other way is transformers' own `generate`, once for all
prefixes of one length: each is read anew, and has a cache from there on. The transformer of this
library is set against the same thing done with itself. Seconds are of this process's own time on
the processor, so other processes matter less. Needs the `pretrained` extra.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from seqgan.data.model_folders import package, quietly
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.models.generators.base import Generator
from seqgan.models.generators.pretrained import PretrainedGenerator, PretrainedGeneratorConfig
from seqgan.models.generators.transformer import TransformerGenerator, TransformerGeneratorConfig
from seqgan.models.sampling import complete, sample
from seqgan.rewards.base import Reward
from seqgan.system.memory import keep_freed_memory
from seqgan.system.seeding import seeded_from

MARK, END = "<!-- cached rollouts -->", "<!-- end of cached rollouts -->"


@dataclass(frozen=True)
class Settings:
    write: bool = False  # put the table into benchmarks/README.md
    threads: int = 1  # CPU threads
    length: int = 64  # tokens of a text
    batches: tuple[int, ...] = (1, 8)  # texts whose prefixes are completed together
    rollouts: int = 8  # completions of each prefix
    width: int = 64  # of the models
    words: int = 1000  # of the vocabulary
    repeats: int = 2  # the fastest of as many is taken


class MeanId(Reward):
    """A reward that costs next to nothing: the mean of the token ids."""

    name = "mean_id"

    def score(self, sequences: Sequences) -> torch.Tensor:
        return sequences.tokens.float().mean(dim=1)


def vocabulary_of(settings: Settings) -> Vocabulary:
    return Vocabulary(tuple(f"w{index}" for index in range(settings.words)))


def pretrained(settings: Settings, vocabulary: Vocabulary) -> PretrainedGenerator:
    """Written to a folder and read from it, as any model."""
    transformers, tokenizers = package("transformers"), package("tokenizers")
    words = {word: index for index, word in enumerate((*vocabulary.words, "<end>", "<start>"))}
    bare = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token="<end>", bos_token="<start>"
    )
    config = transformers.GPT2Config(
        vocab_size=len(words),
        n_positions=settings.length + 1,
        n_embd=settings.width,
        n_layer=2,
        n_head=4,
        tie_word_embeddings=False,
        bos_token_id=words["<start>"],
        eos_token_id=words["<end>"],
    )
    with seeded_from(torch.Generator().manual_seed(0)), torch.no_grad():
        model = transformers.GPT2LMHeadModel(config)
        for parameter in model.parameters():
            parameter.mul_(3.0)  # an opinion of what comes next
        # One unit is always 1, and only the end token listens to it.
        model.transformer.ln_f.weight[0], model.transformer.ln_f.bias[0] = 0.0, 1.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[words["<end>"]] = 0.0
        model.lm_head.weight[words["<end>"], 0] = -100.0
    with tempfile.TemporaryDirectory() as folder:
        with quietly(transformers):
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        settings_of = PretrainedGeneratorConfig(path=folder, adapter="none")
        return PretrainedGenerator(settings_of, vocabulary)


def scratch(settings: Settings, vocabulary: Vocabulary) -> TransformerGenerator:
    shape = TransformerGeneratorConfig(width=settings.width, num_layers=2, num_heads=4)
    with seeded_from(torch.Generator().manual_seed(0)), torch.no_grad():
        generator = TransformerGenerator(shape, vocabulary)
        generator.output.bias[vocabulary.eos_id] = -100.0
    return generator


def trajectories_of(
    generator: Generator, vocabulary: Vocabulary, batch: int, length: int
) -> Trajectories:
    texts = sample(generator, vocabulary, batch, length, seeded(1))
    assert bool(texts.mask.all()), "no text ends early"
    rewards = torch.zeros(texts.tokens.shape)
    rewards[:, -1] = MeanId().score(texts)
    return Trajectories(texts, torch.zeros_like(rewards), rewards)


@torch.no_grad()
def by_generate(
    generator: PretrainedGenerator, vocabulary: Vocabulary, given: Trajectories, rollouts: int
) -> torch.Tensor:
    """The same values by transformers' `generate`, from all prefixes of one length together."""
    tokens, model = given.tokens, generator.causal_model.eval()
    num_rows, length = tokens.shape
    values = given.returns[:, None].repeat(1, length)
    ours = torch.full((int(generator.ids.max()) + 1,), vocabulary.pad_id)
    ours[generator.ids] = torch.arange(len(generator.ids))
    bos = torch.full((num_rows, 1), vocabulary.bos_id)
    for size in range(1, length):
        prefixes = generator.ids[torch.cat([bos, tokens[:, :size]], dim=1)]
        drawn = model.generate(
            input_ids=prefixes,
            attention_mask=torch.ones_like(prefixes),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=length - size,
            num_return_sequences=rollouts,
            pad_token_id=model.config.eos_token_id,
        )
        whole = Sequences(ours[drawn[:, 1:]], torch.ones_like(drawn[:, 1:], dtype=torch.bool))
        values[:, size - 1] = MeanId().score(whole).view(num_rows, rollouts).mean(dim=1)
    return values


@torch.no_grad()
def from_every_text(
    generator: Generator, vocabulary: Vocabulary, given: Trajectories, rollouts: int
) -> torch.Tensor:
    """The same values from prefixes that are read anew, all of one length together."""
    num_rows, length = given.tokens.shape
    values = given.returns[:, None].repeat(1, length)
    generator.eval()
    for size in range(1, length):
        kept = torch.arange(length) < size
        texts = Sequences(
            given.tokens.masked_fill(~kept, vocabulary.pad_id), kept.expand(num_rows, -1)
        )
        lengths = torch.full((num_rows,), size)
        read = generator.encode(texts.trimmed())
        logits, state = read.gather(torch.arange(num_rows), lengths)
        drawn = complete(
            generator, vocabulary, texts.tokens, lengths, logits, state, seeded(2),
            num_completions=rollouts,
        )  # fmt: skip
        values[:, size - 1] = MeanId().score(drawn).view(num_rows, rollouts).mean(dim=1)
    return values


@torch.no_grad()
def difference_of_forced_tokens(generator: Generator, texts: Sequences) -> float:
    """The largest, of the log-probabilities that cached states and one whole pass give a token.

    Of each prefix, its next two tokens: what is cached, and what goes on from it.
    """
    generator.eval()
    rows, starts = (texts.mask[:, 1:]).nonzero(as_tuple=True)
    expected = generator(texts).log_softmax(dim=-1)
    logits, state = generator.encode(texts).gather(rows, starts)
    worst = float((logits.log_softmax(dim=-1) - expected[rows, starts]).abs().max())
    logits, _ = generator.step(texts.tokens[rows, starts], state)
    after = float((logits.log_softmax(dim=-1) - expected[rows, starts + 1]).abs().max())
    return max(worst, after)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seconds_of(action: Callable[[], object], repeats: int) -> float:
    """The least processor time of an action."""
    spent = []
    for _ in range(repeats):
        before = time.process_time()
        action()
        spent.append(time.process_time() - before)
    return min(spent)


def measured(
    name: str,
    generator: Generator,
    by_hand: Callable[..., torch.Tensor],
    vocabulary: Vocabulary,
    batch: int,
    settings: Settings,
) -> list[str]:
    """A row of the table."""
    given = trajectories_of(generator, vocabulary, batch, settings.length)
    difference = difference_of_forced_tokens(generator, given.sequences)
    assert difference < 2e-5, (
        f"cached prefixes equal whole passes, got {difference:.1e} between them"
    )

    def cached(stride: int) -> torch.Tensor:
        rollouts = settings.rollouts
        return monte_carlo_action_values(
            generator, MeanId(), given, rollouts, seeded(3), stride=stride
        )

    fast = seconds_of(lambda: cached(1), settings.repeats)
    slow = seconds_of(lambda: by_hand(generator, vocabulary, given, settings.rollouts), 1)
    strided = seconds_of(lambda: cached(4), settings.repeats)
    ratios = [f"{slow / fast:.1f}", f"{fast / strided:.1f}", f"{difference:.0e}"]
    return [name, str(batch), f"{fast:.2f}", f"{slow:.2f}", *ratios]


def main(settings: Settings) -> None:
    keep_freed_memory()
    torch.set_num_threads(settings.threads)
    vocabulary = vocabulary_of(settings)
    ways = [
        ("GPT-2's shape, against `generate`", pretrained(settings, vocabulary), by_generate),
        (
            "the library's transformer, against itself",
            scratch(settings, vocabulary),
            from_every_text,
        ),
    ]
    rows = [
        measured(name, generator, by_hand, vocabulary, batch, settings)
        for name, generator, by_hand in ways
        for batch in settings.batches
    ]
    head = ["rollouts", "texts", "cached, s", "from every prefix, s", "ratio"]
    head += ["a stride of 4", "difference"]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    print(table)
    if settings.write:
        page = Path(__file__).with_name("README.md")
        before, _, rest = page.read_text(encoding="utf-8").partition(f"{MARK}\n")
        _, end, after = rest.partition(END)
        page.write_text(f"{before}{MARK}\n\n{table}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
