"""The n-gram metrics in plain Python: one text after the other, one n-gram at a time.

`seqgan.evaluation.metrics.ngrams` computes the same numbers with sorted arrays.
"""

import math
from collections import Counter

EPSILON = 0.1


def count_ngrams(text, order):
    """Counts each n-gram of that order; empty for a text shorter than `order`."""
    return Counter(zip(*(text[start:] for start in range(order)), strict=False))


def largest_counts(references, max_order):
    """The largest count of each n-gram in a single reference."""
    largest = {}
    for reference in references:
        for order in range(1, max_order + 1):
            for ngram, count in count_ngrams(reference, order).items():
                largest[ngram] = max(count, largest.get(ngram, 0))
    return largest


def sentence_bleu(hypotheses, references, max_order=5):
    """Scores of each hypothesis, by order from 2."""
    largest = largest_counts(references, max_order)
    lengths = {len(reference) for reference in references}
    rows = [_sentence_bleu(text, largest, lengths, max_order) for text in hypotheses]
    return dict(enumerate(map(list, zip(*rows, strict=True)), start=2))


def _sentence_bleu(text, largest, reference_lengths, max_order):
    log_precisions = []
    for order in range(1, max_order + 1):
        counts = count_ngrams(text, order)
        matches = sum(min(count, largest.get(ngram, 0)) for ngram, count in counts.items())
        if order == 1 and matches == 0:
            return [0.0] * (max_order - 1)
        log_precisions.append(math.log((matches or EPSILON) / max(counts.total(), 1)))
    closest = min(reference_lengths, key=lambda length: (abs(length - len(text)), length))
    log_penalty = min(0.0, 1 - closest / len(text))
    return [
        math.exp(log_penalty + math.fsum(log_precisions[:order]) / order)
        for order in range(2, max_order + 1)
    ]


def sentence_self_bleu(texts, max_order=5):
    """Scores of each text against all others, by order from 2: one text left out at a time."""
    rows = []
    for index, text in enumerate(texts):
        others = [*texts[:index], *texts[index + 1 :]]
        scores = sentence_bleu([text], others, max_order)
        rows.append([values[0] for values in scores.values()])
    return dict(enumerate(map(list, zip(*rows, strict=True)), start=2))


def distinct(texts, order):
    counts = sum((count_ngrams(text, order) for text in texts), Counter())
    return len(counts) / max(counts.total(), 1)


def copied_rate(texts, train_texts):
    """Share of texts that occur verbatim in the training set, repeated ones each time."""
    train = {tuple(text) for text in train_texts}
    return sum(tuple(text) in train for text in texts) / len(texts)


def words_in_copied_spans(texts, train_texts, span):
    """Counts each text's words in runs of `span` words that some training text contains."""
    known = {ngram for text in train_texts for ngram in count_ngrams(text, span)}
    counts = []
    for text in texts:
        starts = [i for i in range(len(text)) if tuple(text[i : i + span]) in known]
        counts.append(len({place for i in starts for place in range(i, i + span)}))
    return counts
