"""Tilted models on worlds that can be enumerated: a generator of 81 or 121 texts and a reward."""

import math

import torch
from toys import (
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    TableState,
    every_sequence,
    prefix_codes,
    probabilities,
    seeded,
)

from seqgan.decoding.tilt import Tilt
from seqgan.decoding.tilted import Tilted

BETA = 0.7


class Bounded(TableReward):
    """A table whose largest number is known."""

    @property
    def most(self):
        return float(self.values.max())


class World:
    """A generator, a reward, and everything about their tilted model by enumeration."""

    def __init__(self, vocabulary, beta=BETA):
        self.vocabulary = vocabulary
        self.generator = TableGenerator(vocabulary)
        self.reward = Bounded(vocabulary.num_actions)
        self.every = every_sequence(vocabulary)
        self.start = probabilities(self.generator, self.every).detach()
        self.tilt = Tilt(self.reward, beta)
        weighted = self.start * self.tilt(self.every).exp()
        self.log_z = math.log(weighted.sum())
        self.probs = weighted / weighted.sum()
        self.kl = float((self.probs * (self.probs / self.start).log()).sum())
        self.numbers = {tuple(row): i for i, row in enumerate(self.every.tokens.tolist())}
        self.model = Tilted(self.generator, vocabulary, MAX_LENGTH, self.tilt)

    def counts(self, texts):
        rows = torch.tensor([self.numbers[tuple(row)] for row in texts.tokens.tolist()])
        return torch.bincount(rows, minlength=len(self.every)).double()

    def chi_square(self, texts):
        """Pearson's statistic over cells that expect 5 texts or more; the rest is one cell.

        Returns:
            The statistic in standard deviations from its mean: (chi2 - df) / sqrt(2 df).
        """
        expected, found = self.probs * len(texts), self.counts(texts)
        large = expected >= 5
        pairs = [*zip(expected[large], found[large], strict=True)]
        if not bool(large.all()):
            pairs.append((expected[~large].sum(), found[~large].sum()))
        statistic = sum((f - e) ** 2 / e for e, f in pairs)
        freedom = len(pairs) - 1
        return float((statistic - freedom) / math.sqrt(2 * freedom))

    def exact_twist(self):
        """E[exp(tau) | prefix] of every prefix with each next token, by enumeration."""
        size = self.vocabulary.num_actions
        codes = prefix_codes(self.every, size)
        weights, start = self.probs * math.exp(self.log_z), self.start
        nodes = int(codes.max()) + 1
        reached, worth = torch.zeros(nodes).double(), torch.zeros(nodes).double()
        for row, length in enumerate(self.every.lengths.tolist()):
            for code in codes[row, : length + 1].tolist():
                reached[code] += start[row]
                worth[code] += weights[row]
        return TableTwist((worth / reached).log(), size)

    def wrong_twist(self):
        """A twist that knows nothing of the reward."""
        exact = self.exact_twist()
        wrong = torch.randn(len(exact.log_values), generator=seeded(12)).double() / 2
        return TableTwist(wrong, self.vocabulary.num_actions)


class TableTwist:
    """A twist of actions from a table of all prefixes, numbered as a tree's nodes."""

    def __init__(self, log_values, num_actions):
        self.log_values, self.num_actions = log_values, num_actions

    def start(self, batch_size, prompts=None):
        state = TableState(torch.zeros(batch_size, dtype=torch.long))
        return self._children(state), state

    def step(self, tokens, state):
        advanced = TableState(state.codes * self.num_actions + tokens + 1)
        return self._children(advanced), advanced

    def _children(self, state):
        first = state.codes[:, None] * self.num_actions + 1
        return self.log_values[first + torch.arange(self.num_actions)]
