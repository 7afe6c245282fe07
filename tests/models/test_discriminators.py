"""Discriminators: one conformance suite for all of them, and each against its equations.

Another discriminator is checked by a subclass of `DiscriminatorConformance` that overrides `make`.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators import causal, cnn, pooled
from seqgan.models.discriminators.base import Discriminator, normalize_spectrally
from seqgan.models.discriminators.causal import CausalDiscriminator, CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.models.discriminators.transformer import (
    TransformerDiscriminator,
    TransformerDiscriminatorConfig,
)
from seqgan.rewards.discriminator_step import (
    DiscriminatorUpdate,
    discriminator_step,
    squared_gradient_norms,
    twice_differentiable,
)
from seqgan.system.seeding import seeded_from

VOCABULARY = Vocabulary(("a", "b", "c", "d", "e"))  # eos 5, bos 6, pad 7
MAX_LENGTH = 6
ROWS = [[0, 1, 2, 3, 4, 5], [5], [4, 4, 0], [2, 0, 1, 4, 3, 2], [1, 5]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sequences():
    return Sequences.from_rows(ROWS, VOCABULARY, MAX_LENGTH)


class DiscriminatorConformance:
    """What every discriminator promises. Subclasses override `make`."""

    def make(self, dropout):
        raise NotImplementedError

    @pytest.fixture
    def discriminator(self):
        with seeded_from(seeded()):
            return self.make(dropout=0.0).eval()

    def test_one_logit_a_row(self, discriminator, sequences):
        logits = discriminator(sequences)
        assert logits.shape == (5,)
        assert torch.isfinite(logits).all()
        assert logits.unique().numel() == 5
        assert isinstance(discriminator.output, nn.Linear)

    def test_features_are_what_the_output_reads(self, discriminator, sequences):
        for context in (torch.enable_grad(), torch.no_grad()):
            with context:
                logits = discriminator.output(discriminator.features(sequences))[:, 0]
            torch.testing.assert_close(logits, discriminator(sequences))
        with seeded_from(seeded()):
            forgetful = self.make(dropout=0.5).train()
        assert not torch.equal(forgetful.features(sequences), forgetful.features(sequences))

    def test_width_of_the_padding_never_matters(self, discriminator, sequences):
        expected = discriminator(sequences)
        short = torch.tensor([1, 2, 4])
        for rows, width in ((short, 3), (short, 4), (torch.arange(5), 9)):
            padded = Sequences.from_rows([ROWS[i] for i in rows.tolist()], VOCABULARY, width)
            torch.testing.assert_close(discriminator(padded), expected[rows])

    @pytest.mark.parametrize("fill", [0, 5, 6])
    def test_ids_on_padding_never_matter(self, discriminator, sequences, fill):
        filled = replace(sequences, tokens=sequences.tokens.masked_fill(~sequences.mask, fill))
        assert torch.equal(discriminator(filled), discriminator(sequences))

    def test_rows_are_independent(self, discriminator, sequences):
        rows = torch.tensor([4, 0, 0, 2])
        expected = discriminator(sequences)[rows]
        torch.testing.assert_close(discriminator(sequences.select(rows)), expected)
        for row in range(5):
            alone = discriminator(sequences.select(torch.tensor([row])))
            torch.testing.assert_close(alone, discriminator(sequences)[row : row + 1])

    def test_the_same_without_gradients(self, discriminator, sequences):
        """Scoring may take another path than training, for one text or for many."""
        many = sequences.select(torch.arange(5).repeat(9))
        with torch.no_grad():
            for scored in (many, sequences, sequences.select(torch.tensor([2]))):
                actual = discriminator(scored)
                with torch.enable_grad():
                    torch.testing.assert_close(actual, discriminator(scored).detach())

    def test_every_token_matters(self, discriminator, sequences):
        base = discriminator(sequences)[0]
        for step in range(6):
            tokens = sequences.tokens.clone()
            tokens[0, step] = 6
            assert discriminator(replace(sequences, tokens=tokens))[0] != base

    def test_dropout_in_training_mode_only(self, sequences):
        with seeded_from(seeded()):
            discriminator = self.make(dropout=0.5)
        with seeded_from(seeded()):
            discriminator.train()
            assert not torch.equal(discriminator(sequences), discriminator(sequences))
            discriminator.eval()
            assert torch.equal(discriminator(sequences), discriminator(sequences))

    def test_gradient_reaches_every_parameter(self, discriminator, sequences):
        discriminator(sequences).square().sum().backward()
        for name, parameter in discriminator.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_padding_is_never_trained(self, discriminator, sequences):
        before = copy.deepcopy(discriminator.embedding.weight.detach())
        optimizer = torch.optim.Adam(discriminator.parameters(), 0.1)
        for _ in range(2):
            discriminator_step(
                discriminator,
                optimizer,
                sequences,
                sequences.select(torch.arange(2)),
                DiscriminatorUpdate(),
            )
        after = discriminator.embedding.weight.detach()
        assert torch.all(after[VOCABULARY.pad_id] == 0)
        assert torch.all((after != before)[:6].any(dim=1))  # bos, 6, is in no text

    def test_the_prompt_is_read_and_its_padding_is_not(self, discriminator):
        completions = Sequences.from_rows([[0, 1, 5], [5], [4, 4, 0]], VOCABULARY, 3)

        def prompted(ids):
            prompts = torch.tensor(ids)
            mask = prompts != VOCABULARY.pad_id
            return replace(completions, prompts=prompts, prompt_mask=mask)

        expected = discriminator(prompted([[0, 1], [2, 3], [7, 1]]))
        changed = discriminator(prompted([[1, 0], [2, 4], [7, 1]]))
        assert (changed == expected).tolist() == [False, False, True]
        assert torch.all(discriminator(completions) != expected)
        wide = discriminator(prompted([[7, 7, 0, 1], [7, 7, 2, 3], [7, 7, 7, 1]]))
        torch.testing.assert_close(wide, expected)

    def test_gradients_of_gradients(self, discriminator, sequences):
        """Of the logits by the embeddings, against differences of logits and of those."""
        discriminator = discriminator.double()
        step = 1e-6

        def moved_by(shift):
            hook = discriminator.embedding.register_forward_hook(
                lambda module, given, output: output + shift
            )
            values = discriminator(sequences).detach()
            hook.remove()
            return values

        def penalties():
            with twice_differentiable(discriminator, True) as embeddings:
                return squared_gradient_norms(discriminator(sequences), embeddings)

        squares = penalties()
        # Along a random direction of each row, the logit changes by gradient times direction.
        with twice_differentiable(discriminator, True) as embeddings:
            values = discriminator(sequences)
            (gradient,) = torch.autograd.grad(values.sum(), embeddings)
        torch.testing.assert_close(values, discriminator(sequences))
        torch.testing.assert_close(squares, gradient.flatten(1).square().sum(dim=1))
        direction = torch.randn(gradient.shape, generator=seeded(), dtype=torch.float64)
        direction = direction * self.real_embeddings(gradient, sequences)
        slope = (moved_by(step * direction) - moved_by(-step * direction)) / (2 * step)
        torch.testing.assert_close(
            slope, (gradient * direction).flatten(1).sum(dim=1), rtol=1e-4, atol=1e-7
        )
        # And what a step descends is the gradient of that.
        trained = [p for p in discriminator.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(penalties().sum(), trained, allow_unused=True)
        ways = [torch.randn(p.shape, generator=seeded(i)).double() for i, p in enumerate(trained)]
        for parameter, way in zip(trained, ways, strict=True):
            if parameter is discriminator.embedding.weight:
                way[VOCABULARY.pad_id] = 0  # stays 0, and has no gradient
        expected = sum(
            float((g * way).sum()) for g, way in zip(gradients, ways, strict=True) if g is not None
        )
        totals = []
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, way in zip(trained, ways, strict=True):
                    parameter += sign * step * way
            totals.append(float(penalties().sum().detach()))
            with torch.no_grad():
                for parameter, way in zip(trained, ways, strict=True):
                    parameter -= sign * step * way
        assert (totals[0] - totals[1]) / (2 * step) == pytest.approx(expected, rel=1e-4)

    def real_embeddings(self, gradient, sequences):
        """1 where an embedding of that shape is one of a real token's."""
        mask = sequences.mask[:, :, None].to(gradient.dtype)
        return torch.nn.functional.pad(mask, (0, 0, 0, gradient.shape[1] - mask.shape[1]))

    def test_spectral_norms_of_one(self, sequences):
        """Of every linear and convolutional layer, as soon as power iteration has converged."""
        with seeded_from(seeded()):
            discriminator = self.make(dropout=0.0)
            normalize_spectrally(discriminator)
            for _ in range(200):
                discriminator.train()(sequences)
        layers = [
            module
            for module in discriminator.modules()
            if isinstance(module, nn.Linear | nn.Conv1d) and hasattr(module, "parametrizations")
        ]
        assert discriminator.output in layers
        discriminator.eval()
        for layer in layers:
            largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
            assert float(largest) == pytest.approx(1, abs=1e-3)
        with seeded_from(seeded(5)):
            other = self.make(dropout=0.0).eval()
            normalize_spectrally(other)
        other.load_state_dict(discriminator.state_dict())
        assert torch.equal(other(sequences), discriminator(sequences))
        # The vectors of the iteration are part of the state: the next pass is the same, too.
        logits = []
        for module in (other, discriminator):
            with seeded_from(seeded()):
                logits.append(module.train()(sequences))
        assert torch.equal(*logits)


class TestCNN(DiscriminatorConformance):
    CONFIG = CNNDiscriminatorConfig(
        embedding_size=4, filter_sizes=(1, 2, 3, 6), num_filters=(5, 6, 7, 3)
    )

    def make(self, dropout):
        discriminator = CNNDiscriminator(
            replace(self.CONFIG, dropout=dropout), VOCABULARY, MAX_LENGTH
        )
        with torch.no_grad():  # biases that are not zero, or their sign would not show
            for parameter in (discriminator.highway.bias, discriminator.gate.bias):
                parameter.uniform_(-1, 1)
        return discriminator

    def test_equals_the_equations(self, discriminator, sequences):
        """Window by window, in NumPy, with the rectifier before the maximum as in the paper."""
        weights = {k: v.double().numpy() for k, v in discriminator.state_dict().items()}

        def sigmoid(x):
            return 1 / (1 + np.exp(-x))

        expected = []
        for row in ROWS:
            padded = row + [7] * (6 - len(row))
            embedded = np.stack(
                [weights["embedding.weight"][i] if i != 7 else np.zeros(4) for i in padded]
            )
            features = []
            for group, size in enumerate((1, 2, 3, 6)):
                filters = weights[f"convolutions.{group}.weight"]  # (filter, embedding, size)
                biases = weights[f"convolutions.{group}.bias"]
                for kernel, bias in zip(filters, biases, strict=True):
                    windows = [
                        max(0.0, float((embedded[i : i + size].T * kernel).sum() + bias))
                        for i in range(6 - size + 1)
                    ]
                    features.append(max(windows))
            x = np.array(features)
            transform = np.maximum(0, weights["highway.weight"] @ x + weights["highway.bias"])
            gate = sigmoid(weights["gate.weight"] @ x + weights["gate.bias"])
            y = gate * transform + (1 - gate) * x
            expected.append((weights["output.weight"] @ y + weights["output.bias"])[0])
        np.testing.assert_allclose(discriminator(sequences).detach(), expected, atol=1e-5)

    def test_highway_by_hand(self):
        """One filter, g = relu(2 x), gate sigmoid(0) = 1/2: the logit is 1.5 max(x)."""
        config = CNNDiscriminatorConfig(
            embedding_size=1, filter_sizes=(1,), num_filters=(1,), dropout=0.0
        )
        discriminator = CNNDiscriminator(config, Vocabulary(("a", "b")), max_length=3)
        with torch.no_grad():
            for parameter in discriminator.parameters():
                parameter.zero_()
            discriminator.embedding.weight[:, 0] = torch.tensor([-3.0, 0.5, 4.0, 9.0, 0.0])
            discriminator.convolutions[0].weight.fill_(1.0)
            discriminator.highway.weight.fill_(2.0)
            discriminator.output.weight.fill_(1.0)
        rows = [[0], [0, 1], [1, 2], [0, 0, 0]]
        logits = discriminator(Sequences.from_rows(rows, Vocabulary(("a", "b")), max_length=3))
        assert logits.tolist() == pytest.approx([0.0, 0.75, 6.0, 0.0])

    def test_architecture_of_the_paper(self):
        vocabulary = Vocabulary(tuple(str(i) for i in range(5000)), has_eos=False, bos_word=0)
        with seeded_from(seeded()):
            discriminator = CNNDiscriminator(CNNDiscriminatorConfig(), vocabulary, max_length=20)
        groups = {c.kernel_size[0]: c.out_channels for c in discriminator.convolutions}
        assert groups == {
            1: 100, 2: 200, 3: 200, 4: 200, 5: 200, 6: 100,
            7: 100, 8: 100, 9: 100, 10: 100, 15: 160, 20: 160,
        }  # fmt: skip
        assert discriminator.output.in_features == 1720
        assert discriminator.highway.weight.shape == discriminator.gate.weight.shape == (1720, 1720)
        assert torch.all(discriminator.highway.bias == 0)
        assert torch.all(discriminator.gate.bias == 0)
        assert discriminator.dropout.p == 0.25
        words = discriminator.embedding.weight.detach()[:5000]
        assert discriminator.embedding.weight.shape == (5001, 64)
        # U(-1, 1): mean 0, variance 1/3; 320,000 draws.
        assert words.abs().max() <= 1
        assert float(words.mean()) == pytest.approx(0, abs=0.005)
        assert float(words.var()) == pytest.approx(1 / 3, abs=0.005)

    def test_short_texts_are_not_read_to_the_end(self):
        """Beside a text of full length, short ones are judged over all positions."""
        config = CNNDiscriminatorConfig(
            embedding_size=4, filter_sizes=(1, 3, 5), num_filters=(3, 2, 4), dropout=0.0
        )
        with seeded_from(seeded()):
            discriminator = CNNDiscriminator(config, VOCABULARY, max_length=12).eval()
        short = [[0, 1, 5], [5], [2, 5], [3, 3, 4, 1, 5]]
        alone = Sequences.from_rows(short, VOCABULARY, 12)
        beside = Sequences.from_rows([*short, [2] * 12], VOCABULARY, 12)
        torch.testing.assert_close(discriminator(alone), discriminator(beside)[:4])
        for row in torch.arange(4)[:, None]:
            torch.testing.assert_close(discriminator(alone.select(row)), discriminator(beside)[row])

    def test_a_table_that_would_be_too_large_is_not_made(
        self, monkeypatch, sequences, discriminator
    ):
        many = sequences.select(torch.arange(5).repeat(9))
        with torch.no_grad():
            expected = discriminator(many)
            monkeypatch.setattr(cnn, "LARGEST_TABLE", 8 * 4 * 6)  # of the first group alone
            monkeypatch.setattr(cnn, "JUDGED_TOGETHER", 7)
            torch.testing.assert_close(discriminator(many), expected)

    def test_no_text_is_judged_by_nobody(self, discriminator, sequences):
        with torch.no_grad():
            assert discriminator(sequences.select(torch.arange(0))).shape == (0,)

    def test_filters_wider_than_the_text_are_left_out(self):
        discriminator = CNNDiscriminator(self.CONFIG, VOCABULARY, max_length=3)
        assert [c.kernel_size[0] for c in discriminator.convolutions] == [1, 2, 3]
        assert discriminator.output.in_features == 5 + 6 + 7
        config = replace(self.CONFIG, filter_sizes=(4,), num_filters=(1,))
        with pytest.raises(ValueError, match=r"wider than max_length \(3\)"):
            CNNDiscriminator(config, VOCABULARY, max_length=3)

    def test_no_token_is_dropped_in_silence(self, discriminator):
        long = Sequences.from_rows([[0] * 7], VOCABULARY, max_length=8)
        with pytest.raises(
            ValueError, match="one sequence has 7 tokens, more than the 6 of the discriminator"
        ):
            discriminator(long)

    @pytest.mark.parametrize(
        ("setting", "rule"),
        [
            ({"embedding_size": 0}, "embedding_size is 0, but must be at least 1"),
            (
                {"filter_sizes": (1, 2)},
                (
                    "discriminator.filter_sizes has 2 entries and num_filters has 12, but both"
                    " must have one entry per group"
                ),
            ),
            (
                {"filter_sizes": (), "num_filters": ()},
                (
                    "discriminator.filter_sizes has 0 entries and num_filters has 0, but both"
                    " must have one entry per group"
                ),
            ),
            ({"filter_sizes": (0,), "num_filters": (1,)}, "at least 1"),
            ({"filter_sizes": (1,), "num_filters": (0,)}, "at least 1"),
            ({"dropout": 1.0}, r"dropout is 1.0, but must be at least 0 and below 1"),
        ],
    )
    def test_settings_out_of_range(self, setting, rule):
        with pytest.raises(ValueError, match=rule):
            CNNDiscriminatorConfig(**setting)


@pytest.mark.parametrize("num_layers", [1, 2])
class TestTransformer(DiscriminatorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, num_layers):
        self.config = TransformerDiscriminatorConfig(width=8, num_layers=num_layers, num_heads=2)

    def make(self, dropout):
        return TransformerDiscriminator(
            replace(self.config, dropout=dropout), VOCABULARY, MAX_LENGTH
        )

    def test_order_matters(self, discriminator):
        there, back = (
            Sequences.from_rows([row], VOCABULARY, MAX_LENGTH) for row in ([0, 1, 2], [2, 1, 0])
        )
        assert not torch.allclose(discriminator(there), discriminator(back))

    def test_many_texts_are_scored_in_parts(self, discriminator, sequences, monkeypatch):
        expected = discriminator(sequences).detach()
        monkeypatch.setattr(pooled, "JUDGED_TOGETHER", 2)
        with torch.no_grad():
            torch.testing.assert_close(discriminator(sequences), expected)


@pytest.mark.parametrize("num_layers", [1, 2])
class TestCausal(DiscriminatorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, num_layers):
        self.config = CausalDiscriminatorConfig(width=8, num_layers=num_layers, num_heads=2)

    def make(self, dropout):
        return CausalDiscriminator(replace(self.config, dropout=dropout), VOCABULARY, MAX_LENGTH)

    def test_each_token_is_judged_as_the_end_of_its_prefix(self, discriminator, sequences):
        """Each prefix by itself, with and without a prompt."""
        prompts = torch.tensor([[7, 1], [2, 3], [7, 7], [0, 0], [7, 4]])
        mask = prompts != VOCABULARY.pad_id
        for given in (sequences, replace(sequences, prompts=prompts, prompt_mask=mask)):
            logits = discriminator.token_logits(given)
            assert logits.shape == given.tokens.shape
            assert torch.all(logits[~given.mask] == 0)
            for row, ids in enumerate(ROWS):
                one = given.select(torch.tensor([row]))
                for length in range(1, len(ids) + 1):
                    prefix = replace(one, tokens=one.tokens[:, :length], mask=one.mask[:, :length])
                    torch.testing.assert_close(discriminator(prefix)[0], logits[row, length - 1])

    def test_many_texts_are_scored_in_parts(self, discriminator, sequences, monkeypatch):
        expected = discriminator.token_logits(sequences).detach()
        monkeypatch.setattr(causal, "JUDGED_TOGETHER", 2)
        with torch.no_grad():
            torch.testing.assert_close(discriminator.token_logits(sequences), expected)


class LinearDiscriminator(Discriminator):
    """The logit is the sum over real tokens of weight times embedding, plus a bias."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY.size, 3, padding_idx=VOCABULARY.pad_id)
        self.output = nn.Linear(3, 1)

    def features(self, sequences):
        return (self.embedding(sequences.tokens) * sequences.mask[..., None]).sum(dim=1)

    def forward(self, sequences):
        return self.output(self.features(sequences))[:, 0]


def test_gradient_penalty_of_a_linear_discriminator():
    """Its squared gradient norm is L ||w||^2 for a text of L tokens, so that the weight of the
    penalty, 4, adds 2 (mean L of real + mean L of generated) 2 w to the gradient by w."""
    real = Sequences.from_rows([[0, 1, 2, 3, 5], [1, 5, 0]], VOCABULARY, MAX_LENGTH)
    generated = Sequences.from_rows([[5], [2, 2, 5], [4, 5]], VOCABULARY, MAX_LENGTH)
    weights = []
    for penalty in (0.0, 4.0):
        with seeded_from(seeded()):
            discriminator = LinearDiscriminator()
        before = discriminator.output.weight.detach().clone()
        optimizer = torch.optim.SGD(discriminator.parameters(), 0.01)
        settings = DiscriminatorUpdate(gradient_penalty=penalty)
        discriminator_step(discriminator, optimizer, real, generated, settings)
        weights.append(discriminator.output.weight.detach())
    torch.testing.assert_close(weights[1] - weights[0], -0.01 * 4.0 * (4 + 2) * before)


@pytest.mark.parametrize("num_layers", [1, 2])
class TestRecurrent(DiscriminatorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, num_layers):
        self.config = RecurrentDiscriminatorConfig(
            embedding_size=4, hidden_size=5, num_layers=num_layers
        )

    def make(self, dropout):
        return RecurrentDiscriminator(replace(self.config, dropout=dropout), VOCABULARY, MAX_LENGTH)

    def test_reads_the_real_tokens_and_nothing_else(self, discriminator, sequences):
        """Each row alone, cut to its length: no padding, hence no packing."""
        expected = []
        for row in ROWS:
            embedded = discriminator.embedding.weight[torch.tensor(row)]
            values, _ = discriminator.recurrent(embedded[None])
            features = torch.cat([values[0].mean(dim=0), values[0].max(dim=0).values])
            expected.append(discriminator.output.weight @ features + discriminator.output.bias)
        torch.testing.assert_close(discriminator(sequences), torch.cat(expected))

    def test_scores_a_few_texts_at_a_time(self, monkeypatch, discriminator, sequences):
        """However many there are: all their states together would take gigabytes."""
        many, sizes = sequences.select(torch.arange(5).repeat(9)), []
        expected = discriminator(many).detach()
        monkeypatch.setattr(pooled, "JUDGED_TOGETHER", 7)
        discriminator.recurrent.register_forward_pre_hook(
            lambda module, given: sizes.append(int(given[0].batch_sizes[0]))
        )
        with torch.no_grad():
            torch.testing.assert_close(discriminator(many), expected)
        assert sizes == [7] * 6 + [3]

    def test_reads_both_ways(self, discriminator):
        """The states at a position know what comes before it and what comes after it."""
        embedded = torch.randn(1, 6, 4, generator=seeded())
        changed = embedded.clone()
        changed[0, 3] += 1
        difference = discriminator.recurrent(embedded)[0] - discriminator.recurrent(changed)[0]
        assert torch.all(difference[0].abs().amax(dim=1) > 0)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"embedding_size": 0}, "embedding_size is 0, but must be at least 1"),
        ({"hidden_size": 0}, "hidden_size is 0, but must be at least 1"),
        ({"num_layers": 0}, "num_layers is 0, but must be at least 1"),
        ({"dropout": -0.1}, r"dropout is -0.1, but must be at least 0 and below 1"),
    ],
)
def test_recurrent_settings_out_of_range(setting, rule):
    with pytest.raises(ValueError, match=rule):
        RecurrentDiscriminatorConfig(**setting)
