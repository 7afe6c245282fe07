"""docs/pretrained.md: its commands are ones that `seqgan train` takes, its numbers follow."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from seqgan.commands.given import configuration

PAGE = (Path(__file__).parents[2] / "docs" / "pretrained.md").read_text(encoding="utf-8")
GIB = 2**30
MINILM = 22_713_728  # parameters
COLUMNS, TOGETHER, RANK = 256, 64, 16


@dataclass(frozen=True)
class Shape:
    """A decoder as its config.json has it."""

    kind: str
    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    tied: bool

    @property
    def keys(self) -> int:
        """Width of a layer's keys, and of its values."""
        return self.width // self.heads * self.key_heads

    def adapter(self, rank: int, everywhere: bool = False) -> int:
        """Parameters beside queries and values, or beside every linear layer."""
        sizes = [(self.width, self.width), (self.width, self.keys)]
        if everywhere:
            sizes += [(self.width, self.keys), (self.width, self.width)]
            sizes += [(self.width, self.inner)] * 2 + [(self.inner, self.width)]
        return self.layers * rank * sum(map(sum, sizes))

    def update(self, rows: int) -> int:
        """Bytes of what checkpointing keeps, and of one layer's inside."""
        kept = self.layers * self.width
        return 2 * rows * COLUMNS * (kept + 6 * self.width + 4 * self.inner)

    def rollouts(self, rows: int) -> int:
        cache = 4 * self.layers * self.keys * COLUMNS * (rows + 2 * TOGETHER)
        return cache + 12 * TOGETHER * self.vocabulary


HALF = Shape("qwen2", 151_936, 896, 4864, 24, 14, 2, True)
PAIR = Shape("qwen2", 151_936, 1536, 8960, 28, 12, 2, True)
LARGE = Shape("llama", 128_256, 4096, 14336, 32, 32, 8, False)
PARAMETERS = {HALF: 494_032_768, PAIR: 1_543_714_304, LARGE: 8_030_261_248}


def test_its_commands_are_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[2:] for line in lines if line.startswith("seqgan train ")]
    assert len(commands) == 3
    for command in commands:
        config = configuration(command)
        assert config.generator.kind == config.discriminator.kind == "pretrained"


def row(name: str) -> list[float]:
    """The numbers of a row of the table."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name}")]
    return [float(cell.strip(" *")) for cell in line.split("|")[-4:-1]]


def test_the_table_adds_up() -> None:
    sizes = {HALF: 32, PAIR: 32, LARGE: 16}
    weights = [2 * PARAMETERS[shape] for shape in sizes]
    adapters = [28 * shape.adapter(RANK) for shape in sizes]
    judges = [4 * MINILM, 2 * PARAMETERS[HALF], 2 * PARAMETERS[HALF]]
    beside = [0, *[16 * HALF.adapter(8, everywhere=True)] * 2]
    updates = [shape.update(rows) for shape, rows in sizes.items()]
    judged = [0, HALF.update(16), HALF.update(16)]
    rollouts = [shape.rollouts(rows) for shape, rows in sizes.items()]
    stays = [sum(parts) for parts in zip(weights, adapters, judges, beside, strict=True)]
    largest = [max(parts) for parts in zip(updates, judged, rollouts, strict=True)]
    peaks = [sum(parts) for parts in zip(stays, largest, strict=True)]
    for name, expected in {
        "generator, bfloat16": weights,
        "its adapter: float32": adapters,
        "discriminator: float32": judges,
        "its adapter, of rank 8": beside,
        "generator's update": updates,
        "discriminator's update": judged,
        "rollouts": rollouts,
        "**at the peak**": peaks,
    }.items():
        assert row(name) == pytest.approx([size / GIB for size in expected], abs=0.0051), name


@pytest.mark.integration
@pytest.mark.parametrize("shape", PARAMETERS)
def test_the_formulas_count_what_there_is(shape: Shape) -> None:
    """On models without memory, by their own libraries."""
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    kind = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig}[shape.kind]
    config = kind(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
        assert sum(p.numel() for p in model.parameters()) == PARAMETERS[shape]
        usual = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING[shape.kind]
        layer = model.model.layers[0]
        sizes = {n.split(".")[-1]: m for n, m in layer.named_modules() if hasattr(m, "weight")}
    per_layer = sum(sizes[n].in_features + sizes[n].out_features for n in usual)
    assert shape.layers * RANK * per_layer == shape.adapter(RANK)
    linear = [m for m in sizes.values() if hasattr(m, "in_features")]
    whole = sum(m.in_features + m.out_features for m in linear)
    assert shape.layers * 8 * whole == shape.adapter(8, everywhere=True)
    assert sizes["k_proj"].out_features == sizes["v_proj"].out_features == shape.keys


def test_what_the_text_says_of_sizes() -> None:
    assert [4 * s.layers * s.keys / 1024 for s in PARAMETERS] == [12, 28, 128]
    assert f"{28 * PARAMETERS[HALF] / GIB:.1f} GiB for\n0.5B" in PAGE
    inside = 2 * 32 * COLUMNS * (6 * PAIR.width + 4 * PAIR.inner) / GIB
    assert f"{PAIR.layers * inside:.1f} in place of {inside:.2f} GiB" in PAGE
