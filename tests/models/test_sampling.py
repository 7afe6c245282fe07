"""Sampling: draws against exact distributions, by hand and by enumeration."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.sampling import (
    Sampling,
    complete,
    sample,
    sample_categorical,
    sample_repeatedly,
    sequence_log_probs,
)
from seqgan.system.errors import DivergedError
from seqgan.system.seeding import seeded_from

INFINITY = float("inf")
VOCABULARY = Vocabulary(("a", "b"))  # eos 2, bos 3, pad 4
# The 99.9% quantile of chi-square, by degrees of freedom.
CHI_SQUARE = {
    **{1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 6: 22.46},
    **{7: 24.32, 8: 26.12, 14: 36.12, 30: 59.70},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def generator_for(vocabulary):
    config = RecurrentGeneratorConfig(embedding_size=3, hidden_size=4, init_std=0.8)
    with seeded_from(seeded()):
        return RecurrentGenerator(config, vocabulary).eval()


@pytest.fixture(scope="module")
def generator():
    return generator_for(VOCABULARY)


def every_sequence(max_length):
    """All finished sequences: those that end with eos (2), and those of full length."""
    return [
        [*words, *end]
        for length in range(max_length + 1)
        for words in itertools.product([0, 1], repeat=length)
        for end in ([[]] if length == max_length else [[2]])
    ]


def as_sequences(rows, max_length, vocabulary=VOCABULARY):
    return Sequences.from_rows(rows, vocabulary, max_length)


def row_tuples(sequences):
    pairs = zip(sequences.tokens.tolist(), sequences.lengths.tolist(), strict=True)
    return [tuple(row[:length]) for row, length in pairs]


def assert_drawn_from(draws, probabilities):
    """Chi-square of the draws against the probabilities of all possible outcomes."""
    counts = Counter(draws)
    assert set(counts) <= set(probabilities)
    assert math.fsum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    expected = {key: probability * len(draws) for key, probability in probabilities.items()}
    assert min(expected.values()) > 5
    statistic = sum((counts[key] - value) ** 2 / value for key, value in expected.items())
    assert statistic < CHI_SQUARE[len(probabilities) - 1]


class TestCategorical:
    def test_draws_from_the_softmax(self):
        weights = [1.0, 2.0, 0.5, 4.0, 2.5]
        logits = torch.tensor(weights).log() + 3.0
        draws = sample_categorical(logits.expand(20000, 5), seeded())
        assert_drawn_from(draws.tolist(), {i: w / 10 for i, w in enumerate(weights)})

    def test_each_row_has_its_own_distribution(self):
        logits = torch.full((4, 4), -INFINITY)
        wanted = torch.tensor([2, 0, 3, 1])
        logits[torch.arange(4), wanted] = 0.0
        assert torch.equal(sample_categorical(logits, seeded()), wanted)

    @pytest.mark.parametrize("nothing", [-INFINITY, -1e4], ids=["minus_infinity", "underflow"])
    def test_impossible_tokens_are_never_drawn(self, nothing):
        logits = torch.tensor([nothing, 0.0, nothing, 1.0, nothing])
        draws = sample_categorical(logits.expand(100_000, 5), seeded())
        assert set(draws.tolist()) == {1, 3}

    def test_impossible_tokens_at_both_ends_of_the_uniform(self):
        """Seeds whose first uniform number is the smallest and the largest float below 1."""
        smallest, largest = seeded(5528393), seeded(22771378)
        first = (float(torch.rand((), generator=rng.clone_state())) for rng in (smallest, largest))
        if tuple(first) != (0.0, 1 - 2**-24):
            pytest.skip("this PyTorch draws other numbers from these seeds")
        logits = torch.tensor([[-INFINITY, 0.0, 0.0, 0.0, -INFINITY]])
        assert sample_categorical(logits, smallest).tolist() == [1]
        assert sample_categorical(logits, largest).tolist() == [3]

    @pytest.mark.parametrize("num_tokens", [2, 3, 4, 15, 31])
    def test_repeated_draws_from_any_number_of_tokens(self, num_tokens):
        """Whole blocks and a rest of any size: every token by its own chance, in every row."""
        logits = torch.randn(2, num_tokens, generator=seeded(num_tokens))
        draws = sample_repeatedly(logits, 60_000, seeded())
        assert draws.shape == (2, 60_000)
        for row, chances in zip(draws.tolist(), logits.softmax(dim=1).tolist(), strict=True):
            assert_drawn_from(row, dict(enumerate(chances)))

    def test_repeated_draws_are_independent(self):
        """Pairs of neighbouring draws of a row are drawn from the product of their chances."""
        chances = [0.2, 0.5, 0.3]
        logits = torch.tensor([chances]).log()
        pairs = sample_repeatedly(logits, 60_000, seeded()).view(-1, 2).tolist()
        assert_drawn_from(
            [tuple(pair) for pair in pairs],
            {(i, j): p * q for i, p in enumerate(chances) for j, q in enumerate(chances)},
        )

    @pytest.mark.parametrize("num_tokens", [4, 5])
    def test_no_rows(self, num_tokens):
        assert sample_categorical(torch.zeros(0, num_tokens), seeded()).shape == (0,)

    def test_the_logits_are_not_changed(self):
        logits = torch.tensor([[0.0, 1.0]])
        sample_categorical(logits, seeded())
        assert logits.tolist() == [[0.0, 1.0]]

    @pytest.mark.parametrize(
        "row", [[0.0, math.nan], [0.0, INFINITY], [-INFINITY, -INFINITY], [math.nan, -INFINITY]]
    )
    def test_no_distribution(self, row):
        with pytest.raises(DivergedError, match="the logits have NaN or infinity"):
            sample_categorical(torch.tensor([[0.0, 0.0], row]), seeded())


class TestAdjustment:
    def adjusted(self, probabilities, **settings):
        return Sampling(**settings).apply(torch.tensor(probabilities).log()).softmax(dim=-1)

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, [8 / 16, 4 / 16, 3 / 16, 1 / 16]),
            # Squares: 64, 16, 9, 1.
            ({"temperature": 0.5}, [64 / 90, 16 / 90, 9 / 90, 1 / 90]),
            ({"top_k": 1}, [1, 0, 0, 0]),
            ({"top_k": 2}, [8 / 12, 4 / 12, 0, 0]),
            ({"top_k": 4}, [8 / 16, 4 / 16, 3 / 16, 1 / 16]),
            ({"top_k": 9}, [8 / 16, 4 / 16, 3 / 16, 1 / 16]),
            # The cumulative probabilities are 8, 12, 15, 16 sixteenths.
            ({"top_p": 0.01}, [1, 0, 0, 0]),
            ({"top_p": 0.49}, [1, 0, 0, 0]),
            ({"top_p": 0.51}, [8 / 12, 4 / 12, 0, 0]),
            ({"top_p": 0.76}, [8 / 15, 4 / 15, 3 / 15, 0]),
            ({"top_p": 0.95}, [8 / 16, 4 / 16, 3 / 16, 1 / 16]),
            # Top-k comes first: of 8, 4, 3 fifteenths the first two reach 0.78 (12 / 15).
            ({"top_k": 3, "top_p": 0.78}, [8 / 12, 4 / 12, 0, 0]),
            # And temperature before both: 64 / 89 reaches 0.7, where 8 / 15 does not.
            ({"temperature": 0.5, "top_k": 3, "top_p": 0.7}, [1, 0, 0, 0]),
        ],
    )
    def test_by_hand(self, settings, expected):
        probabilities = [8 / 16, 4 / 16, 3 / 16, 1 / 16]
        order = torch.tensor([2, 0, 3, 1])
        rows = torch.tensor([probabilities, torch.tensor(probabilities)[order].tolist()])
        wanted = torch.tensor([expected, torch.tensor(expected)[order].tolist()])
        result = self.adjusted(rows.tolist(), **settings)
        torch.testing.assert_close(result, wanted.float(), atol=1e-6, rtol=1e-5)
        assert torch.equal(result == 0, wanted == 0)

    def test_a_cut_token_stays_cut(self):
        logits = torch.tensor([0.0, -INFINITY, 1.0])
        for sampling in (Sampling(), Sampling(top_k=3), Sampling(top_p=0.999)):
            assert sampling.apply(logits)[1] == -INFINITY
            assert not sampling.apply(logits).isnan().any()

    @pytest.mark.parametrize(
        ("settings", "rule"),
        [
            ({"temperature": 0.0}, "temperature is 0.0, but must be above 0 and finite"),
            ({"temperature": math.nan}, "temperature is nan, but must be above 0 and finite"),
            ({"temperature": INFINITY}, "temperature is inf, but must be above 0 and finite"),
            ({"top_k": -1}, "top_k is -1, but must be at least 0"),
            ({"top_p": 0.0}, r"top_p is 0.0, but must be above 0 and at most 1"),
            ({"top_p": 1.5}, r"top_p is 1.5, but must be above 0 and at most 1"),
            ({"top_p": math.nan}, r"top_p is nan, but must be above 0 and at most 1"),
        ],
    )
    def test_settings_out_of_range(self, settings, rule):
        with pytest.raises(ValueError, match=rule):
            Sampling(**settings)


class TestComplete:
    """From prefixes of mixed lengths, several of them twice."""

    SEQUENCES = as_sequences([[0, 1, 0, 1], [1, 1, 0, 2], [0, 0, 2]], max_length=4)

    def completions(self, generator, rows, lengths, rng, **settings):
        rows, lengths = torch.tensor(rows), torch.tensor(lengths)
        prefix = torch.arange(4)[None, :] < lengths[:, None]
        tokens = self.SEQUENCES.tokens[rows].masked_fill(~prefix, VOCABULARY.pad_id)
        with torch.no_grad():
            logits, state = generator.encode(self.SEQUENCES).gather(rows, lengths)
        before = tokens.clone()
        completed = complete(generator, VOCABULARY, tokens, lengths, logits, state, rng, **settings)
        assert torch.equal(tokens, before)
        return completed

    def test_form(self, generator):
        rows, lengths = [0, 1, 2, 0, 1, 2] * 50, [3, 0, 2, 1, 3, 0] * 50
        completed = self.completions(generator, rows, lengths, seeded())
        seen = set()
        for i, drawn in enumerate(row_tuples(completed)):
            prefix = tuple(self.SEQUENCES.tokens[rows[i], : lengths[i]].tolist())
            assert drawn[: lengths[i]] == prefix
            assert len(drawn) > lengths[i]
            assert 2 not in drawn[:-1]
            assert drawn[-1] == 2 or len(drawn) == 4
            assert completed.tokens[i, len(drawn) :].tolist() == [4] * (4 - len(drawn))
            assert completed.mask[i].tolist() == [step < len(drawn) for step in range(4)]
            seen.add(drawn)
        assert len(seen) > 8

    def test_completions_of_a_prefix_are_neighbours(self, generator):
        """Row i of three completes prefix i // 3, from the state after it."""
        rows, lengths = [1, 0, 2, 0], [3, 1, 2, 3]
        completed = self.completions(generator, rows, lengths, seeded(), num_completions=3)
        assert len(completed) == 12
        for i, drawn in enumerate(row_tuples(completed)):
            prefix = self.SEQUENCES.tokens[rows[i // 3], : lengths[i // 3]].tolist()
            assert list(drawn[: len(prefix)]) == prefix
            assert len(drawn) > len(prefix)

    def test_many_completions_draw_from_the_conditional_distribution(self, generator):
        everything = every_sequence(4)
        likely = sequence_log_probs(generator, as_sequences(everything, 4)).exp().tolist()
        completed = self.completions(generator, [1, 0], [1, 1], seeded(), num_completions=8000)
        for first, drawn in zip((1, 0), completed.tokens.split(8000), strict=True):
            chances = {
                tuple(row): chance
                for row, chance in zip(everything, likely, strict=True)
                if row[0] == first
            }
            total = sum(chances.values())
            draws = [tuple(token for token in row if token < 4) for row in drawn.tolist()]
            expected = {row: chance / total for row, chance in chances.items()}
            assert_drawn_from(draws, expected)

    @pytest.mark.parametrize("prefix", [(), (1,), (0, 0)])
    def test_draws_from_the_conditional_distribution(self, generator, prefix):
        """Teacher-forced probabilities of whole sequences say how prefixes go on."""
        rows = [row for row in every_sequence(4) if tuple(row[: len(prefix)]) == prefix]
        logs = sequence_log_probs(generator, as_sequences(rows, 4)).double()
        conditional = (logs - logs.logsumexp(dim=0)).exp().tolist()
        row = {(): 0, (1,): 1, (0, 0): 2}[prefix]
        # Among rows with other prefixes, whose states must not be mixed in.
        row_list, lengths = [row, 0] * 8000, [len(prefix), 3] * 8000
        completed = self.completions(generator, row_list, lengths, seeded(1))
        draws = row_tuples(completed)[::2]
        assert_drawn_from(draws, dict(zip(map(tuple, rows), conditional, strict=True)))

    @pytest.mark.parametrize("forbidden", [0, 2])
    def test_forbidden_ids_are_never_drawn(self, generator, forbidden):
        completed = self.completions(
            generator, [0, 1] * 500, [0, 0] * 500, seeded(), forbidden=torch.tensor([forbidden])
        )
        drawn = set(itertools.chain.from_iterable(row_tuples(completed)))
        assert drawn == {0, 1, 2} - {forbidden}

    def test_adjusted_draws(self, generator):
        greedy = self.completions(
            generator, [0, 1] * 20, [1, 2] * 20, seeded(), sampling=Sampling(top_k=1)
        )
        assert len(set(row_tuples(greedy)[::2])) == 1
        assert len(set(row_tuples(greedy)[1::2])) == 1


class TestSample:
    def test_draws_from_the_generator(self, generator):
        rows = every_sequence(3)
        probabilities = sequence_log_probs(generator, as_sequences(rows, 3)).double().exp()
        drawn = sample(generator, VOCABULARY, 20000, 3, seeded())
        expected = dict(zip(map(tuple, rows), probabilities.tolist(), strict=True))
        assert_drawn_from(row_tuples(drawn), expected)

    def test_without_eos_every_row_has_full_length(self):
        vocabulary = Vocabulary(("a", "b", "c"), has_eos=False, bos_word=0)
        drawn = sample(generator_for(vocabulary), vocabulary, 50, 6, seeded())
        assert drawn.tokens.shape == (50, 6)
        assert bool(drawn.mask.all())
        assert set(drawn.tokens.flatten().tolist()) == {0, 1, 2}
        assert len(drawn.texts[0].split()) == 6

    def test_same_seed_same_draw(self, generator):
        first, second = (sample(generator, VOCABULARY, 40, 5, seeded(7)) for _ in range(2))
        other = sample(generator, VOCABULARY, 40, 5, seeded(8))
        assert torch.equal(first.tokens, second.tokens)
        assert not torch.equal(first.tokens, other.tokens)

    def test_global_random_state_is_left_alone(self, generator):
        before = torch.get_rng_state()
        numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
        sample(generator, VOCABULARY, 10, 5, seeded())
        assert torch.equal(torch.get_rng_state(), before)
        assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002

    def test_batches_keep_rows_with_their_prompts(self):
        vocabulary = Vocabulary(tuple("abcdefgh"), has_eos=False)
        prompts = torch.tensor([[0, 0, 1], [5, 6, 7], [7, 1, 0], [2, 3, 4], [4, 4, 4]])
        real = torch.ones_like(prompts, dtype=torch.bool)
        contexts = Sequences(prompts, real, prompts, real)
        whole, split = (
            sample(
                generator_for(vocabulary),
                vocabulary,
                5,
                4,
                seeded(),
                Sampling(top_k=1),
                contexts,
                batch_size=size,
            )
            for size in (0, 2)
        )
        assert torch.equal(whole.tokens, split.tokens)
        assert torch.equal(split.prompts, prompts)
        # The likeliest continuations of these prompts differ, or nothing was compared.
        assert len(set(row_tuples(whole))) >= 3

    def test_batches_differ_from_one_another(self, generator):
        drawn = sample(generator, VOCABULARY, 25, 6, seeded(), batch_size=10)
        assert drawn.tokens.shape == (25, 6)
        assert not torch.equal(drawn.tokens[:10], drawn.tokens[10:20])

    def test_one_prompt_a_row(self, generator):
        prompts = torch.zeros(3, 1, dtype=torch.long)
        contexts = Sequences(prompts, prompts == 0, prompts, prompts == 0)
        with pytest.raises(
            ValueError, match="there are 3 prompts for 2 sequences, but must be one for each"
        ):
            sample(generator, VOCABULARY, 2, 4, seeded(), prompts=contexts)


class TestLogProbs:
    def test_product_of_the_steps(self, generator):
        rows = every_sequence(3)
        expected = []
        for row in rows:
            logits, state = generator.start(1)
            total = 0.0
            for token in row:
                total += float(logits.double().log_softmax(dim=1)[0, token].detach())
                logits, state = generator.step(torch.tensor([token]), state)
            expected.append(total)
        actual = sequence_log_probs(generator, as_sequences(rows, 3), batch_size=4)
        assert actual.tolist() == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize(
        "sampling",
        [
            None,
            Sampling(temperature=0.7),
            Sampling(top_k=2),
            Sampling(top_p=0.7),
            Sampling(temperature=1.3, top_k=2, top_p=0.8),
        ],
    )
    def test_probabilities_sum_to_one(self, generator, sampling):
        sequences = as_sequences(every_sequence(4), 4)
        log_probs = sequence_log_probs(generator, sequences, sampling)
        assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-5)
        assert not log_probs.isnan().any()

    def test_scores_what_is_drawn(self, generator):
        """Draws under top-k have the probability that `sequence_log_probs` gives under it."""
        sampling = Sampling(temperature=1.2, top_k=2)
        rows = every_sequence(3)
        probabilities = sequence_log_probs(generator, as_sequences(rows, 3), sampling).exp()
        possible = {
            tuple(row): float(p) for row, p in zip(rows, probabilities, strict=True) if p > 0
        }
        drawn = sample(generator, VOCABULARY, 20000, 3, seeded(), sampling)
        assert 2 < len(possible) < len(rows)
        assert_drawn_from(row_tuples(drawn), possible)
