"""The paper's synthetic task: a random LSTM is the true model (Yu et al., 2017, sec. 4).

Every weight, embeddings and biases included, is drawn from N(0, 1). Token 0 starts every sequence
and is also an ordinary word. No end token exists, so every sequence has `max_length` tokens. Other
weights make another task with another entropy, so a run records the weights' hash.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.losses import token_entropies
from seqgan.models.generators.base import GeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.sampling import sample, sequence_log_probs, sequences_at_once
from seqgan.system.checks import Seed, Size, at_least, check_settings, expand_home
from seqgan.system.errors import ConfigurationError
from seqgan.system.inputs import open_file
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask

GATES = ("i", "f", "c", "o")  # PyTorch's order; c is the candidate cell

# Errors that NumPy raises for a damaged file or one that is no .npz (TypeError: it is an .npy).
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class OracleConfig:
    kind: Literal["oracle"] = "oracle"  # a random LSTM as the true model
    path: str = ""  # .npz file with the oracle's weights; empty draws them from oracle_seed
    oracle_seed: Seed = 0  # seed of the drawn weights
    vocabulary_size: Annotated[int, at_least(2)] = 5000  # words, where the weights are drawn
    hidden_size: Size = 32  # width of embedding and state, where the weights are drawn
    max_length: Size = 20  # tokens of every sequence
    train_size: Size = 10000  # training sequences
    dev_size: Size = 1000  # sequences for early stopping and for watching the discriminator
    test_size: Size = 10000  # sequences for reported likelihoods
    seed: Seed = 0  # seed of the drawn sequences

    def __post_init__(self) -> None:
        check_settings("task", self)
        expand_home(self, "path")

    def build(self, generator: GeneratorConfig) -> FixedTask:
        return oracle_task(self)


class Oracle:
    """The true model, with exact log-probabilities and exact conditional entropies.

    Args:
        weights: `embedding` (V, E); per gate g in i, f, o, c `input_w_g` (E, H), `hidden_w_g`
            (H, H), `bias_g` (H,); `output_w` (H, V); `output_b` (V,). Gates are
            x @ input_w + h @ hidden_w + bias.

    Raises:
        ConfigurationError: an array is missing or has the wrong shape.
    """

    full_support = True

    def __init__(self, weights: dict[str, NDArray[np.float32]], max_length: int) -> None:
        names = ["embedding", "output_w", "output_b"]
        names += [f"{part}_{gate}" for gate in GATES for part in ("input_w", "hidden_w", "bias")]
        missing = [name for name in names if name not in weights]
        if missing:
            raise ConfigurationError(
                f"the oracle file lacks the array {missing[0]!r}, one of {len(names)}"
            )
        size, hidden_size = weights["output_b"].size, weights["bias_i"].size
        embedding_size = weights["embedding"].size // max(size, 1)
        shapes: dict[str, tuple[int, ...]] = {"embedding": (size, embedding_size)}
        shapes |= {"output_w": (hidden_size, size), "output_b": (size,)}
        for gate in GATES:
            shapes[f"input_w_{gate}"] = (embedding_size, hidden_size)
            shapes[f"hidden_w_{gate}"] = (hidden_size, hidden_size)
            shapes[f"bias_{gate}"] = (hidden_size,)
        for name, shape in shapes.items():
            if weights[name].shape != shape:
                raise ConfigurationError(
                    f"oracle array {name!r} is {weights[name].shape}, but must be {shape}"
                )
        self.max_length = max_length
        self.vocabulary = Vocabulary(
            tuple(str(index) for index in range(size)), has_eos=False, bos_word=0
        )
        self.hash = hashlib.sha256(
            b"".join(np.ascontiguousarray(weights[name]).tobytes() for name in names)
        ).hexdigest()[:16]
        config = RecurrentGeneratorConfig(
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            single_bias=True,
        )
        with seeded_from(torch.Generator()):  # keeps the global state; the weights are overwritten
            self.generator = RecurrentGenerator(config, self.vocabulary)

        def stacked(part: str) -> Tensor:
            """A part's arrays of all gates side by side, as PyTorch stores them."""
            columns = [torch.from_numpy(weights[f"{part}_{gate}"]) for gate in GATES]
            return torch.cat(columns, dim=-1)

        self.generator.load_state_dict(
            {
                "embedding.weight": torch.from_numpy(weights["embedding"]),
                "layers.0.weight_ih_l0": stacked("input_w").T,
                "layers.0.weight_hh_l0": stacked("hidden_w").T,
                "layers.0.bias_ih_l0": stacked("bias"),
                "layers.0.bias_hh_l0": torch.zeros(4 * hidden_size),
                "output.weight": torch.from_numpy(weights["output_w"]).T,
                "output.bias": torch.from_numpy(weights["output_b"]),
            }
        )
        self.generator.requires_grad_(False)

    @classmethod
    def draw(cls, vocabulary_size: int, hidden_size: int, max_length: int, seed: int) -> "Oracle":
        """Draws a new oracle, every weight from N(0, 1)."""
        rng = np.random.default_rng(seed)

        def normal(*shape: int) -> NDArray[np.float32]:
            return rng.standard_normal(shape, dtype=np.float32)

        weights = {"embedding": normal(vocabulary_size, hidden_size)}
        for gate in ("i", "f", "o", "c"):
            weights[f"input_w_{gate}"] = normal(hidden_size, hidden_size)
            weights[f"hidden_w_{gate}"] = normal(hidden_size, hidden_size)
            weights[f"bias_{gate}"] = normal(hidden_size)
        weights["output_w"] = normal(hidden_size, vocabulary_size)
        weights["output_b"] = normal(vocabulary_size)
        return cls(weights, max_length)

    @classmethod
    def load(cls, path: Path, max_length: int) -> "Oracle":
        """Loads an oracle from an `.npz` file, without unpickling.

        Raises:
            ConfigurationError: the file is missing or damaged, or holds no oracle.
        """
        try:
            # It is opened here, because NumPy leaves a damaged file open.
            with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
                weights = {name: np.asarray(arrays[name], np.float32) for name in arrays.files}
            return cls(weights, max_length)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"cannot read {path}: no such file; task.path must name an .npz file"
            ) from error
        except UNREADABLE as error:
            raise ConfigurationError(
                f"cannot read {path} as an .npz file of weights: {error}"
            ) from error

    def log_prob(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return sequence_log_probs(self.generator, sequences)

    def sample(self, n: int, rng: torch.Generator) -> Sequences:
        return sample(self.generator, self.vocabulary, n, self.max_length, rng)

    def entropy(self) -> float:
        """Estimates H(p), nats per sequence, from 4,000 drawn sequences.

        The entropy of each step given its prefix is exact; only the prefixes are sampled.
        """
        return self._entropy

    @cached_property
    def _entropy(self) -> float:
        samples = self.sample(4000, torch.Generator().manual_seed(0))
        size = sequences_at_once(self.generator, self.max_length)
        batches = (samples.select(rows) for rows in torch.arange(len(samples)).split(size))
        with torch.no_grad():
            parts = [
                token_entropies(self.generator(batch), batch.mask).sum(dim=1) for batch in batches
            ]
        return float(torch.cat(parts).double().mean())


def oracle_task(config: OracleConfig) -> FixedTask:
    """Loads or draws the oracle, then draws the three splits from it independently."""
    if config.path:
        oracle = Oracle.load(Path(config.path), config.max_length)
    else:
        oracle = Oracle.draw(
            config.vocabulary_size, config.hidden_size, config.max_length, config.oracle_seed
        )
    rng = torch.Generator().manual_seed(config.seed)
    return FixedTask(
        vocabulary=oracle.vocabulary,
        max_length=config.max_length,
        splits={
            "train": oracle.sample(config.train_size, rng),
            "dev": oracle.sample(config.dev_size, rng),
            "test": oracle.sample(config.test_size, rng),
        },
        exact=oracle,
        description=(
            f"oracle {config.path or f'drawn from seed {config.oracle_seed}'}, weights"
            f" {oracle.hash}, {len(oracle.vocabulary.words)} words, {config.max_length} tokens,"
            f" entropy {oracle.entropy() / config.max_length:.3f} nats per token;"
            f" {config.train_size} train, {config.dev_size} dev, {config.test_size} test"
        ),
    )
