"""Comparisons of samples with real texts: overlap, language models, shapes, embeddings.

A text is a sequence of words or of ids, any hashable tokens; embeddings and toxicity read it as a
string. The work on the real texts alone is done once, when the comparisons are made.
"""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float

from seqgan.data.metrics import Metrics
from seqgan.evaluation.metrics.copies import Copies
from seqgan.evaluation.metrics.divergences import frechet_distance, frechet_floor, mauve
from seqgan.evaluation.metrics.embeddings import EMBEDDINGS, FITTED, Embedding, load_embedding
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.metrics.language_model import LanguageModel
from seqgan.evaluation.metrics.ngrams import (
    bleu_pairs,
    distinct,
    duplicate_rate,
    sentence_bleu,
    sentence_self_bleu,
)
from seqgan.evaluation.metrics.rouge import rouge_pairs
from seqgan.evaluation.metrics.shapes import length_divergence, zipf_divergence
from seqgan.rewards.shipped.packages import Profanity
from seqgan.system.errors import ConfigurationError, DataError

Text = Sequence[Hashable]

MAX_TEXTS = 10_000  # samples that are averaged over or learnt from; references are complete
MIN_FLOOR_TEXTS = 4  # references that are compared; a floor needs two on each side
TOXIC = 0.5  # probability above which a text counts as toxic


@dataclass(frozen=True)
class Scores:
    """Metrics by name.

    Args:
        numbers: counts, and other metrics that are no means over texts.
        per_text: metrics that are means over texts, text by text, for intervals.
    """

    numbers: Metrics = field(default_factory=dict)
    per_text: Mapping[str, PerText] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        means = {name: metric.value for name, metric in self.per_text.items()}
        numbers = {name: float(value) for name, value in self.numbers.items()}
        return numbers | means

    def __or__(self, other: "Scores") -> "Scores":
        return Scores({**self.numbers, **other.numbers}, {**self.per_text, **other.per_text})


def check_embeddings(name: str, embeddings: Sequence[str], with_mauve: bool) -> None:
    """Raises ValueError for an unknown or repeated embedding, and for MAUVE without any."""
    for embedding in embeddings:
        if embedding not in EMBEDDINGS:
            near = difflib.get_close_matches(embedding, EMBEDDINGS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            names = ", ".join(EMBEDDINGS)
            raise ConfigurationError(f"{name} has the unknown {embedding!r}{hint} (known: {names})")
    if len(set(embeddings)) < len(embeddings):
        raise ConfigurationError(
            f"{name} has one twice ({', '.join(embeddings)}), but must name each once"
        )
    if with_mauve and not embeddings:
        raise ConfigurationError(f"{name} is empty, but must name at least one for MAUVE")


def repetition_scores(samples: Sequence[Text]) -> Scores:
    """Computes distinct-1 to distinct-3 and the duplicate rate."""
    numbers = {f"distinct_{order}": distinct(samples, order) for order in (1, 2, 3)}
    return Scores(numbers | {"duplicate_rate": duplicate_rate(samples)})


def copy_scores(copies: Copies) -> Scores:
    """The share of samples that are training texts, and the share of words in copied spans."""
    return Scores(
        per_text={
            "copied_rate": PerText.mean_of(copies.whole.astype(float)),
            "copied_spans": PerText(copies.in_spans.astype(float), copies.lengths.astype(float)),
        }
    )


def bleu_scores(samples: Sequence[Text], references: Sequence[Text], seed: int = 0) -> Scores:
    """BLEU against all references and Self-BLEU against all other samples, with both counts.

    At most 10,000 samples are averaged over. The reference sets stay complete, because BLEU
    depends on their size. One sample has no Self-BLEU.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(samples))[:MAX_TEXTS])
    numbers = {"bleu_references": float(len(references))}
    scores = sentence_bleu([samples[row] for row in chosen], references)
    per_text = {f"bleu_{n}": PerText.mean_of(values) for n, values in scores.items()}
    if len(samples) > 1:
        numbers["self_bleu_references"] = float(len(samples) - 1)
        own = sentence_self_bleu(samples, num_hypotheses=min(MAX_TEXTS, len(samples)), rng=rng)
        per_text |= {f"self_bleu_{n}": PerText.mean_of(values) for n, values in own.items()}
    return Scores(numbers, per_text)


def paired_scores(samples: Sequence[Text], references: Sequence[Text]) -> Scores:
    """BLEU and ROUGE of each sample against the one reference at its own place.

    Raises:
        DataError: the numbers of samples and references differ, or there are none.
    """
    scores = {f"paired_bleu_{n}": each for n, each in bleu_pairs(samples, references).items()}
    scores |= rouge_pairs(samples, references)
    return Scores(per_text={name: PerText.mean_of(values) for name, values in scores.items()})


class TextMeasures:
    """Compares samples with real texts that no generator was trained on.

    `lm_score`: nats per token of the samples under a language model that learnt from `lm_texts`
    references; the end of a text is a token. `reverse_lm_score`: nats per token of the references
    under a language model that learnt from as many samples. Fluent samples that leave much out are
    good at the first and bad at the second (Semeniuta et al., 2018). Both models have the words of
    the references, and take all others for one.

    `length_divergence`, `zipf_divergence`: see `shapes`; the second one on equally many texts.

    `frechet_<embedding>` and `mauve_<embedding>`: see `divergences`; MAUVE on equally many texts.
    An embedding may learn from real texts, but not from those that it then compares.
    `frechet_<embedding>_floor`: the value that as many new real texts would get, see
    `frechet_floor`.

    `toxicity_rate`: share of samples that alt-profanity-check calls offensive with a probability
    above one half.

    Args:
        references: the real texts, word by word.
        strings: the same texts as strings.
        other_strings: real texts that are no references, for embeddings to learn from. Without
            them, an embedding learns from half of the references, and compares with the other.
        embeddings: names as in `EMBEDDINGS`.
        with_mauve: whether MAUVE is computed, for each of the embeddings.
        with_toxicity: whether toxicity is computed.

    Raises:
        DataError: there is no reference.
        ConfigurationError: an embedding is unknown, or its package is missing.
        RewardError: alt-profanity-check is missing.
    """

    def __init__(
        self,
        references: Sequence[Text],
        strings: Sequence[str],
        other_strings: Sequence[str] = (),
        embeddings: Sequence[str] = ("hashed",),
        with_mauve: bool = False,
        with_toxicity: bool = False,
    ) -> None:
        if not len(references):
            raise DataError("there are no references, but a measure of texts needs at least one")
        self.references = references
        self._with_mauve = with_mauve
        self._profanity = Profanity() if with_toxicity else None
        self._vocabulary = dict.fromkeys(chain.from_iterable(references))
        self._models: dict[int, LanguageModel] = {}  # by the number of texts to learn from
        self._embeddings: list[tuple[Embedding, Float[np.ndarray, "text feature"]]] = []
        self._floors: dict[tuple[str, int], float] = {}  # by embedding and number of samples
        order = np.random.default_rng(0).permutation(len(strings))
        halves = [[strings[i] for i in order[start::2]] for start in (0, 1)]
        for name in embeddings:
            apart = other_strings or name not in FITTED
            learnt, compared = (other_strings, strings) if apart else halves
            if len(compared) > 1:  # a single reference has no spread to compare with
                embedding = load_embedding(name, learnt[:MAX_TEXTS])
                self._embeddings.append((embedding, embedding(compared)))

    def scores(self, samples: Sequence[Text], strings: Sequence[str], seed: int = 0) -> Scores:
        """All measures of the samples, given word by word and as strings.

        Raises:
            ConfigurationError: no sample.
        """
        rng = np.random.default_rng(seed)
        scores = self._language_model_scores(samples, rng)
        scores |= self._shapes(samples, rng)
        scores |= self._divergences(strings, rng, seed)
        if self._profanity is not None:
            toxic = -np.array(self._profanity.judge(strings)) > TOXIC
            scores |= Scores(per_text={"toxicity_rate": PerText.mean_of(toxic.astype(float))})
        return scores

    def _language_model_scores(self, samples: Sequence[Text], rng: np.random.Generator) -> Scores:
        num_texts = min(len(samples), len(self.references), MAX_TEXTS)
        if num_texts not in self._models:
            fixed = np.random.default_rng(0)  # every evaluation meets the same model
            learnt = _some(self.references, num_texts, fixed)
            self._models[num_texts] = LanguageModel(learnt, self._vocabulary)
        reverse = LanguageModel(_some(samples, num_texts, rng), self._vocabulary)
        judged = _some(samples, MAX_TEXTS, rng)
        forward = _nats_per_token(self._models[num_texts], judged)
        backward = _nats_per_token(reverse, self.references)
        return Scores(
            {"lm_texts": num_texts, "reverse_lm_score": backward.value}, {"lm_score": forward}
        )

    def _shapes(self, samples: Sequence[Text], rng: np.random.Generator) -> Scores:
        size = min(len(samples), len(self.references))
        equal = [_some(texts, size, rng) for texts in (samples, self.references)]
        return Scores(
            {
                "length_divergence": length_divergence(samples, self.references),
                "zipf_divergence": zipf_divergence(*equal),
            }
        )

    def _divergences(self, strings: Sequence[str], rng: np.random.Generator, seed: int) -> Scores:
        """Compares embeddings; a single text has no spread, so it gets no score."""
        numbers: dict[str, float] = {}
        judged = _some(strings, MAX_TEXTS, rng)
        if len(judged) < 2:
            return Scores()
        for embedding, real in self._embeddings:
            generated = embedding(judged)
            name = f"frechet_{embedding.name}"
            numbers[name] = frechet_distance(real, generated)
            if len(real) >= MIN_FLOOR_TEXTS:
                key = embedding.name, len(generated)
                if key not in self._floors:
                    self._floors[key] = frechet_floor(real, len(generated))
                numbers[f"{name}_floor"] = self._floors[key]
            if self._with_mauve:
                size = min(len(real), len(generated))
                chosen = np.random.default_rng(0).permutation(len(real))[:size]
                numbers[f"mauve_{embedding.name}"] = mauve(real[chosen], generated[:size], seed)
        return Scores(numbers)


def _some(texts: Sequence[Any], n: int, rng: np.random.Generator) -> Sequence[Any]:
    """Draws n of the texts in random order; n texts or fewer are returned as they are."""
    if len(texts) <= n:
        return texts
    return [texts[index] for index in rng.permutation(len(texts))[:n]]


def _nats_per_token(model: LanguageModel, texts: Sequence[Text]) -> PerText:
    tokens = np.array([len(text) + 1.0 for text in texts])
    return PerText(-model.log_probs(texts), tokens)
