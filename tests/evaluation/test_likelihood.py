"""Likelihood metrics: equal to enumeration over every sequence, in units of nats per token."""

import math
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from toys import (
    ENDING,
    FIXED,
    TableGenerator,
    every_sequence,
    prefix_codes,
    probabilities,
    seeded,
)

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.metrics.likelihood import likelihood_report
from seqgan.models.generators.base import Generator
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.tracking.metrics import find_metric

LENGTH = 3
NUM_DRAWS = 3_000
SHARES = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 8), Fraction(1, 8))
THREE_SHARES = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 4))


@dataclass(frozen=True)
class Exact:
    """A true model made of a generator."""

    generator: Generator
    vocabulary: Vocabulary
    full_support: bool = True

    def log_prob(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return sequence_log_probs(self.generator, sequences)

    def sample(self, n: int, rng: torch.Generator) -> Sequences:
        return sample(self.generator, self.vocabulary, n, LENGTH, rng)

    def entropy(self) -> float:
        p = probabilities(self.generator, every_sequence(self.vocabulary, LENGTH)).detach()
        return float(-(p * p.log()).sum())


class Dyadic:
    """A distribution whose probabilities are whole multiples of one small fraction.

    So a finite list of sequences, each repeated in proportion, *is* the distribution, and a
    Monte Carlo mean over the list has no error.
    """

    def __init__(self, vocabulary: Vocabulary, turn: int) -> None:
        self.vocabulary, self.turn = vocabulary, turn
        self.shares = SHARES if vocabulary.has_eos else THREE_SHARES
        self.generator = TableGenerator(vocabulary, max_length=LENGTH)
        self.everything = every_sequence(vocabulary, LENGTH)
        codes = prefix_codes(self.everything, vocabulary.num_actions).tolist()
        self.rows = [
            tuple(row[:n])
            for row, n in zip(
                self.everything.tokens.tolist(), self.everything.lengths.tolist(), strict=True
            )
        ]
        with torch.no_grad():
            for row, prefixes in zip(self.rows, codes, strict=True):
                for position, code in enumerate(prefixes[: len(row)]):
                    shares = [float(share) for share in self.step(row[:position])]
                    self.generator.logits[code] = torch.tensor(shares, dtype=torch.double).log()

    def step(self, prefix: tuple[int, ...]) -> list[Fraction]:
        """Next-token probabilities: the shares, turned by an amount that the prefix decides."""
        turn = (self.turn + sum((place + 2) * token for place, token in enumerate(prefix))) % len(
            self.shares
        )
        return [*self.shares[turn:], *self.shares[:turn]]

    def probability(self, row: tuple[int, ...]) -> Fraction:
        return math.prod(
            (self.step(row[:place])[token] for place, token in enumerate(row)), start=Fraction(1)
        )

    def all_draws(self) -> Sequences:
        """Each sequence as often as its probability says."""
        unit = min(self.shares) ** LENGTH
        repeats = [int(self.probability(row) / unit) for row in self.rows]
        return self.everything.select(
            torch.arange(len(repeats)).repeat_interleave(torch.tensor(repeats))
        )

    def mean(self, value) -> float:
        return sum(float(self.probability(row)) * value(row) for row in self.rows)

    def cross_entropy(self, other: "Dyadic") -> float:
        """-E_self[log other], nats per token of self."""
        return self.mean(lambda row: -math.log(other.probability(row))) / self.mean(len)


@pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed length", "with eos"])
def test_metrics_equal_enumeration(vocabulary):
    q, p = Dyadic(vocabulary, turn=0), Dyadic(vocabulary, turn=1)
    assert sum(q.probability(row) for row in q.rows) == 1
    report = likelihood_report(
        q.generator, q.all_draws(), p.all_draws(), Exact(p.generator, vocabulary)
    )
    assert report.metrics == pytest.approx(
        {
            "eval/entropy": q.cross_entropy(q),
            "eval/nll_heldout": p.cross_entropy(q),
            "eval/mean_length": q.mean(len),
            "eval/nll_oracle": q.cross_entropy(p),
            "eval/kl_generator_oracle": q.cross_entropy(p) - q.cross_entropy(q),
            "eval/kl_symmetric": q.cross_entropy(p)
            - q.cross_entropy(q)
            + p.cross_entropy(q)
            - p.cross_entropy(p),
            "eval/kl_oracle_generator": p.cross_entropy(q) - p.cross_entropy(p),
        },
        abs=1e-6,
    )
    assert report.metrics["eval/kl_generator_oracle"] > 0.05
    assert report.metrics["eval/kl_oracle_generator"] > 0.05


def test_the_two_divergences_differ_in_direction():
    likely, even = Dyadic(ENDING, turn=0), TableGenerator(ENDING, max_length=LENGTH)
    with torch.no_grad():
        even.logits.zero_()
    report = likelihood_report(
        likely.generator, likely.all_draws(), likely.everything, Exact(even, ENDING)
    )
    # Of each token log(share * 4), whatever the prefix.
    share = sum(float(share) * math.log(share * 4) for share in SHARES)
    assert report.metrics["eval/kl_generator_oracle"] == pytest.approx(share, abs=1e-6)
    assert report.metrics["eval/nll_oracle"] == pytest.approx(math.log(4), abs=1e-6)


def test_rates_are_per_token_of_sequences_of_any_length():
    """Total nats over total tokens, not the mean of each sequence's own rate."""
    q = Dyadic(ENDING, turn=0)
    eos = ENDING.eos_id
    heldout = Sequences.from_rows([[eos], [0, 0, eos]], ENDING, LENGTH)
    nats = [-math.log(q.probability(row)) for row in ((eos,), (0, 0, eos))]
    report = likelihood_report(q.generator, heldout, heldout, None)
    assert report.per_text["eval/nll_heldout"].values.tolist() == pytest.approx(nats)
    assert report.metrics == pytest.approx(
        {
            "eval/entropy": sum(nats) / 4,
            "eval/nll_heldout": sum(nats) / 4,
            "eval/mean_length": 2.0,
        }
    )
    assert sum(nats) / 4 != pytest.approx((nats[0] + nats[1] / 3) / 2, abs=0.05)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_monte_carlo_agrees_with_enumeration(temperature):
    torch.manual_seed(0)
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=5, init_std=1.0)
    generator, truth = (RecurrentGenerator(config, ENDING) for _ in range(2))
    sampling = Sampling(temperature=temperature)
    everything = every_sequence(ENDING, LENGTH)

    def log_probs(model: Generator, temperature: float) -> Float[Tensor, " batch"]:
        logits = model(everything).detach().double() / temperature
        tokens = everything.tokens.where(everything.mask, 0)
        steps = logits.log_softmax(dim=-1).gather(2, tokens[:, :, None])[:, :, 0]
        return (steps * everything.mask).sum(dim=1)

    q, p = log_probs(generator, temperature), log_probs(truth, 1.0)
    assert float(q.exp().sum()) == pytest.approx(1.0, abs=1e-7)

    samples = sample(generator, ENDING, NUM_DRAWS, LENGTH, seeded(1), sampling)
    heldout = sample(truth, ENDING, NUM_DRAWS, LENGTH, seeded(2))
    exact = Exact(truth, ENDING)
    metrics = likelihood_report(generator, samples, heldout, exact, sampling).metrics
    lengths = everything.lengths.double()
    for name, weights, values in (
        ("entropy", q, -q),
        ("nll_heldout", p, -q),
        ("nll_oracle", q, -p),
        ("kl_generator_oracle", q, q - p),
        ("kl_oracle_generator", p, p - q),
    ):
        mean_length = (weights.exp() * lengths).sum()
        expected = (weights.exp() * values).sum() / mean_length
        # The spread of a ratio estimator.
        spread = (weights.exp() * (values - expected * lengths) ** 2).sum().sqrt() / mean_length
        tolerance = 4 * float(spread) / math.sqrt(NUM_DRAWS)
        assert metrics[f"eval/{name}"] == pytest.approx(float(expected), abs=tolerance), name
        assert tolerance < 0.1


def test_temperature_is_applied_in_scoring():
    """p^(1/T), normalised at each step: T = 1/2 squares the shares."""
    q = Dyadic(ENDING, turn=0)
    row = (0, 1)
    sharp = [[float(share) ** 2 for share in q.step(prefix)] for prefix in ((), (0,))]
    expected = sum(
        math.log(values[token] / sum(values)) for token, values in zip(row, sharp, strict=True)
    )
    heldout = Sequences.from_rows([[*row, ENDING.eos_id]], ENDING, LENGTH)
    last = [float(share) ** 2 for share in q.step(row)]
    expected += math.log(last[ENDING.eos_id] / sum(last))
    plain, adjusted = (
        likelihood_report(q.generator, heldout, heldout, Exact(q.generator, ENDING), sampling)
        for sampling in (None, Sampling(temperature=0.5))
    )
    nll = adjusted.per_text["eval/nll_heldout"]
    assert nll.values.tolist() == pytest.approx([-expected], abs=1e-6)
    assert adjusted.metrics["eval/entropy"] == pytest.approx(-expected / 3, abs=1e-6)
    # The true model is never sharpened.
    assert adjusted.metrics["eval/nll_oracle"] == plain.metrics["eval/nll_oracle"]
    assert adjusted.metrics["eval/nll_heldout"] != plain.metrics["eval/nll_heldout"]


def test_partial_support_has_no_oracle_likelihood():
    q = Dyadic(ENDING, turn=0)
    exact = Exact(q.generator, ENDING, full_support=False)
    report = likelihood_report(q.generator, q.everything, q.everything, exact)
    assert set(report.metrics) == {
        "eval/entropy",
        "eval/nll_heldout",
        "eval/mean_length",
        "eval/kl_oracle_generator",
    }


def test_a_perfect_generator_has_no_divergence():
    torch.manual_seed(0)
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=5, init_std=1.0)
    truth, generator = (RecurrentGenerator(config, ENDING) for _ in range(2))
    generator.load_state_dict(truth.state_dict())
    samples, heldout = (sample(truth, ENDING, 50, LENGTH, seeded(seed)) for seed in range(2))
    metrics = likelihood_report(generator, samples, heldout, Exact(truth, ENDING)).metrics
    assert metrics["eval/kl_oracle_generator"] == 0.0
    assert metrics["eval/kl_generator_oracle"] == 0.0
    assert metrics["eval/nll_oracle"] == metrics["eval/entropy"]


def test_parameters_are_left_alone():
    torch.manual_seed(0)
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=5, dropout=0.5)
    generator = RecurrentGenerator(config, ENDING)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    everything = every_sequence(ENDING, LENGTH)
    report = likelihood_report(generator, everything, everything, None, Sampling(0.7))
    again = likelihood_report(generator, everything, everything, None, Sampling(0.7))
    assert again.metrics == report.metrics  # dropout is off
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_names_are_in_the_metric_list():
    q = Dyadic(FIXED, turn=0)
    report = likelihood_report(q.generator, q.everything, q.everything, Exact(q.generator, FIXED))
    assert all(find_metric(name) for name in report.metrics)
