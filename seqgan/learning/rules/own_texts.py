"""The look of a rule's own texts, for rules that ask no reward of them."""

import torch

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.learning.players import Players
from seqgan.models.sampling import sequence_log_probs


def describe_own_texts(players: Players, texts: Sequences) -> Metrics:
    """Lengths, repeats and the sampled KL to the reference, over all processes.

    Args:
        texts: this process' own, drawn from the generator as it is.
    """
    own = sequence_log_probs(players.generator, texts)
    reference = sequence_log_probs(players.reference, texts)
    lengths = texts.lengths
    described = {
        "kl/reference": float((own - reference).double().mean()),
        "charts/episodic_length": float(lengths.float().mean()),
        "completions/unique_fraction": len(torch.unique(texts.tokens, dim=0)) / len(texts),
    }
    return players.runtime.average(described, float(len(texts)))
