"""Generators: one conformance suite for all of them, and what only recurrent ones have.

Another generator is checked by a subclass of `GeneratorConformance` that overrides `make`.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.losses import negative_log_likelihood, token_entropies, token_log_probs
from seqgan.models.generators.base import PrefixStates, State
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGenerator, TransformerGeneratorConfig
from seqgan.system.seeding import seeded_from

VOCABULARY = Vocabulary(("a", "b", "c", "d", "e"))  # eos 5, bos 6, pad 7
ROWS = [[0, 1, 2, 3, 5], [5], [4, 4, 0], [2, 0, 1, 4, 3], [1, 5]]
PROMPTS = [[], [0, 3], [1, 2, 3], [4], [1, 2, 3]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def left_padded(prompts, width):
    """Ids and mask of prompts, in `width` columns."""
    ids = [[VOCABULARY.pad_id] * (width - len(row)) + row for row in prompts]
    mask = [[False] * (width - len(row)) + [True] * len(row) for row in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def batch(prompted):
    sequences = Sequences.from_rows(ROWS, VOCABULARY, max_length=5)
    if not prompted:
        return sequences
    prompts, prompt_mask = left_padded(PROMPTS, width=3)
    return replace(sequences, prompts=prompts, prompt_mask=prompt_mask)


def step_by_step(generator, sequences):
    """Next-token logits of every prefix (batch, time + 1, vocab); NaN beyond a row's end."""
    num_rows, num_steps = sequences.tokens.shape
    logits, state = generator.start(num_rows, sequences)
    table = torch.full((num_rows, num_steps + 1, logits.shape[1]), torch.nan)
    table[:, 0] = logits
    for step, tokens in enumerate(sequences.tokens.masked_fill(~sequences.mask, 0).unbind(dim=1)):
        logits, state = generator.step(tokens, state)
        table[sequences.mask[:, step], step + 1] = logits[sequences.mask[:, step]]
    return table


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


class GeneratorConformance:
    """What every generator promises. Subclasses override `make`."""

    def make(self, vocabulary, dropout):
        """A generator whose weights are random and large enough for tokens to matter."""
        raise NotImplementedError

    @pytest.fixture
    def generator(self):
        with seeded_from(seeded()):
            return self.make(VOCABULARY, dropout=0.0).eval()

    @pytest.fixture(params=[False, True], ids=["bare", "prompted"])
    def sequences(self, request):
        return batch(prompted=request.param)

    @pytest.fixture
    def expected(self, generator, sequences):
        with torch.no_grad():
            return step_by_step(generator, sequences)

    def test_emits_words_and_eos_only(self, generator, sequences):
        assert generator.num_actions == 6
        assert generator(sequences).shape == (5, 5, 6)

    def test_steps_equal_forward(self, generator, sequences, expected):
        logits = generator(sequences)
        close(logits[sequences.mask], expected[:, :-1][sequences.mask])

    def test_gather_equals_steps_for_every_prefix(self, generator, sequences, expected):
        rows, lengths = (~expected.isnan().any(dim=2)).nonzero(as_tuple=True)
        assert len(rows) == 5 + int(sequences.lengths.sum())
        assert set(lengths.tolist()) == {0, 1, 2, 3, 4, 5}
        # Every prefix twice, in random order.
        order = torch.cat([torch.randperm(len(rows), generator=seeded(i)) for i in (0, 1)])
        rows, lengths = rows[order], lengths[order]
        states = generator.encode(sequences)
        assert isinstance(states, PrefixStates)
        logits, state = states.gather(rows, lengths)
        assert isinstance(state, State)
        close(logits, expected[rows, lengths])

    def test_gathered_states_go_on(self, generator, sequences, expected):
        rows, steps = sequences.mask.nonzero(as_tuple=True)
        order = torch.randperm(len(rows), generator=seeded())
        rows, steps = rows[order], steps[order]
        _, state = generator.encode(sequences).gather(rows, steps)
        logits, _ = generator.step(sequences.tokens[rows, steps], state)
        close(logits, expected[rows, steps + 1])

    def test_selected_states_go_on(self, generator, sequences, expected):
        _, state = generator.start(5, sequences)
        _, state = generator.step(sequences.tokens[:, 0], state)
        rows = torch.tensor([3, 0, 0, 2, 3])  # repeated, out of order, rows 1 and 4 missing
        logits, state = generator.step(sequences.tokens[rows, 1], state.select(rows))
        close(logits, expected[rows, 2])
        again = torch.tensor([4, 1])
        logits, _ = generator.step(sequences.tokens[rows[again], 2], state.select(again))
        close(logits, expected[rows[again], 3])

    def test_old_state_stays_valid(self, generator, sequences):
        _, state = generator.start(5, sequences)
        tokens = torch.tensor([0, 1, 2, 3, 4])
        first, next_state = generator.step(tokens, state)
        other, _ = generator.step((tokens + 1) % 5, state)
        second, _ = generator.step(tokens, state)
        assert not torch.allclose(first, other, atol=1e-3)
        assert torch.equal(first, second)
        after, _ = generator.step(tokens, next_state)
        next_state.select(torch.tensor([1, 1]))
        assert torch.equal(after, generator.step(tokens, next_state)[0])

    def test_logits_are_the_callers_own(self, generator, sequences, expected):
        """Writing over them changes no parameter and no state."""
        rows, tokens = torch.arange(5), sequences.tokens
        with torch.no_grad():
            states = generator.encode(sequences)
            logits, state = generator.start(5, sequences)
            close(logits, expected[:, 0])
            logits.fill_(torch.nan)
            logits, state = generator.step(tokens[:, 0], state)
            close(logits, expected[:, 1])
            logits.fill_(torch.nan)
            gathered, gathered_state = states.gather(rows, torch.ones_like(rows))
            close(gathered, expected[:, 1])
            gathered.fill_(torch.nan)
            close(generator.start(5, sequences)[0], expected[:, 0])
            close(states.gather(rows, torch.ones_like(rows))[0], expected[:, 1])
            close(generator.step(tokens[:, 0], generator.start(5, sequences)[1])[0], expected[:, 1])
            longer = sequences.lengths > 1
            for stepped in (state, gathered_state):
                after = generator.step(tokens[:, 1].where(longer, 0), stepped)[0]
                close(after[longer], expected[:, 2][longer])

    @pytest.mark.parametrize("fill", [0, 5, 6, 7])
    def test_padding_never_matters(self, generator, sequences, expected, fill):
        """Neither the number of padding columns nor the ids in them; `fill` 5 is eos, 6 bos."""
        tokens = sequences.tokens.masked_fill(~sequences.mask, fill)
        tokens = torch.cat([tokens, torch.full((5, 3), fill)], dim=1)
        mask = torch.cat([sequences.mask, torch.zeros(5, 3, dtype=torch.bool)], dim=1)
        padded = replace(sequences, tokens=tokens, mask=mask)
        close(generator(padded)[mask], expected[:, :-1][sequences.mask])
        rows, lengths = (~expected.isnan().any(dim=2)).nonzero(as_tuple=True)
        logits, _ = generator.encode(padded).gather(rows, lengths)
        close(logits, expected[rows, lengths])

    def test_ids_outside_the_vocabulary_are_fine_on_padding(self, generator, sequences):
        odd = replace(sequences, tokens=sequences.tokens.masked_fill(~sequences.mask, -100))
        close(generator(odd)[sequences.mask], generator(sequences)[sequences.mask])

    def test_rows_are_independent(self, generator, sequences):
        rows = torch.tensor([4, 2, 2])
        selected = sequences.select(rows)
        close(generator(selected)[selected.mask], generator(sequences)[rows][selected.mask])

    def test_log_probs_and_their_mean_are_those_of_forward(self, generator, sequences):
        """The values, and every parameter's gradient."""
        expected = token_log_probs(generator(sequences), sequences.tokens, sequences.mask)
        close(generator.log_probs(sequences), expected)
        log_probs, entropies = generator.log_probs_and_entropies(sequences)
        close(log_probs, expected)
        close(entropies, token_entropies(generator(sequences), sequences.mask))
        loss = generator.negative_log_likelihood(sequences)
        close(loss, negative_log_likelihood(expected, sequences.mask))
        parameters = [p for p in generator.parameters() if p.requires_grad]
        wanted = torch.autograd.grad(negative_log_likelihood(expected, sequences.mask), parameters)
        for mine, theirs in zip(torch.autograd.grad(loss, parameters), wanted, strict=True):
            close(mine, theirs)

    def test_sees_the_past_and_only_the_past(self, generator):
        tokens = torch.tensor([[0, 1, 2, 3]])
        mask = torch.ones_like(tokens, dtype=torch.bool)
        logits = generator(Sequences(tokens, mask))
        for step in range(4):
            changed = tokens.clone()
            changed[0, step] = 4
            difference = (generator(Sequences(changed, mask)) - logits).abs().amax(dim=2)[0]
            assert torch.all(difference[: step + 1] == 0)
            assert torch.all(difference[step + 1 :] > 1e-4)

    def test_bos_starts_every_sequence(self):
        """With the same weights, another bos gives another first distribution."""
        first = []
        for bos_word in (0, 1):
            vocabulary = Vocabulary(("a", "b", "c"), has_eos=False, bos_word=bos_word)
            with seeded_from(seeded()):
                generator = self.make(vocabulary, dropout=0.0).eval()
            logits, state = generator.start(2)
            assert logits.shape == (2, 3)
            again, _ = generator.step(torch.tensor([bos_word, 1 - bos_word]), state)
            assert not torch.allclose(again[0], again[1], atol=1e-4)
            first.append(logits[0])
        assert not torch.allclose(first[0], first[1], atol=1e-4)

    def test_dropout_in_training_mode_only(self):
        sequences = batch(prompted=False)
        with seeded_from(seeded()):
            plain = self.make(VOCABULARY, dropout=0.0)
        with seeded_from(seeded()):
            dropping = self.make(VOCABULARY, dropout=0.5)
        with seeded_from(seeded()):
            assert torch.equal(plain.train()(sequences), plain.eval()(sequences))
            assert torch.equal(dropping.eval()(sequences), plain.eval()(sequences))
            dropping.train()
            assert not torch.allclose(dropping(sequences), dropping(sequences), atol=1e-3)

    def test_gradient_reaches_every_parameter_in_evaluation_mode(self, generator, sequences):
        """Policy-gradient updates run without dropout."""
        logits = generator(sequences)
        negative_log_likelihood(
            token_log_probs(logits, sequences.tokens, sequences.mask), sequences.mask
        ).backward()
        for name, parameter in generator.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.abs().max() > 0, name

    def test_prompts_matter_and_their_padding_does_not(self, generator):
        narrow, wide = left_padded(PROMPTS, width=3), left_padded(PROMPTS, width=6)
        odd = (wide[0].masked_fill(~wide[1], 2), wide[1])
        base = batch(prompted=False)
        bare, _ = generator.start(5)
        first, _ = generator.start(5, replace(base, prompts=narrow[0], prompt_mask=narrow[1]))
        for prompts, mask in (wide, odd):
            sequences = replace(base, prompts=prompts, prompt_mask=mask)
            close(generator.start(5, sequences)[0], first)
            close(generator(sequences)[:, 0], first)
        close(first[0], bare[0])  # an empty prompt is none
        close(first[2], first[4])  # the same prompt
        differences = (first[1:4] - torch.stack([bare[1], first[1], first[2]])).abs().amax(dim=1)
        assert torch.all(differences > 1e-3)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("single_bias", [False, True], ids=["two_biases", "one_bias"])
class TestRecurrentGenerator(GeneratorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, kind, num_layers, single_bias):
        self.config = RecurrentGeneratorConfig(
            kind=kind,
            embedding_size=4,
            hidden_size=6,
            num_layers=num_layers,
            single_bias=single_bias,
            init_std=0.7,
        )

    def make(self, vocabulary, dropout):
        return RecurrentGenerator(replace(self.config, dropout=dropout), vocabulary)


@pytest.mark.parametrize("num_layers", [1, 2])
class TestTransformerGenerator(GeneratorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, num_layers):
        self.config = TransformerGeneratorConfig(width=8, num_layers=num_layers, num_heads=2)

    def make(self, vocabulary, dropout):
        generator = TransformerGenerator(replace(self.config, dropout=dropout), vocabulary)
        for parameter in generator.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
        return generator


@pytest.mark.parametrize("kind", ["lstm", "gru", "transformer"])
@pytest.mark.parametrize("prompted", [False, True], ids=["bare", "prompted"])
def test_bfloat16_is_close_and_trains_in_float32(kind, prompted):
    if kind == "transformer":
        config = TransformerGeneratorConfig(width=16, num_layers=2, num_heads=2)
    else:
        config = RecurrentGeneratorConfig(kind, 8, 16, num_layers=2, init_std=0.3)
    with seeded_from(seeded()):
        exact = config.build(VOCABULARY).eval()
    half = replace(config, precision="bfloat16").build(VOCABULARY).eval()
    half.load_state_dict(exact.state_dict())
    sequences = batch(prompted)
    log_probs, entropies = half.log_probs_and_entropies(sequences)
    expected, expected_entropies = exact.log_probs_and_entropies(sequences)
    assert log_probs.dtype == torch.float32
    assert 0 < float((log_probs - expected).detach().abs().max()) < 0.05
    torch.testing.assert_close(entropies, expected_entropies, atol=0.05, rtol=0)
    with torch.no_grad():
        stepped = step_by_step(half, sequences)[:, :-1][sequences.mask]
    torch.testing.assert_close(stepped, exact(sequences)[sequences.mask], atol=0.05, rtol=0)
    gradients = []
    for generator in (half, exact):
        generator.negative_log_likelihood(sequences).backward()
        assert all(p.grad.dtype == torch.float32 for p in generator.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in generator.parameters()]))
    apart = torch.linalg.vector_norm(gradients[0] - gradients[1])
    assert 0 < apart < 0.03 * torch.linalg.vector_norm(gradients[1])


def recurrent(**settings):
    with seeded_from(seeded()):
        return RecurrentGenerator(RecurrentGeneratorConfig(**settings), VOCABULARY)


@pytest.mark.parametrize(("kind", "num_gates"), [("lstm", 4), ("gru", 3)])
def test_single_bias_is_not_trained(kind, num_gates):
    generator = recurrent(
        kind=kind, embedding_size=4, hidden_size=6, single_bias=True, init_std=0.1
    )
    trained = sum(p.numel() for p in generator.parameters() if p.requires_grad)
    # 7 ids to look up (pad is none of them), one bias a gate, 6 outputs.
    assert trained == 7 * 4 + num_gates * (4 * 6 + 6 * 6 + 6) + 6 * 6 + 6
    frozen = [p for p in generator.parameters() if not p.requires_grad]
    assert [tuple(p.shape) for p in frozen] == [(num_gates * 6,)]
    assert torch.all(frozen[0] == 0)


def test_dropout_on_input_and_output():
    generator = recurrent(dropout=0.5).train()
    with seeded_from(seeded()):
        _, first = generator.start(1)
        _, second = generator.start(1)
        assert not torch.equal(first.parts[0], second.parts[0])
        top = torch.ones(1, generator.config.hidden_size)
        assert not torch.equal(generator.project(top), generator.project(top))


def test_dropout_acts_on_likelihoods_as_on_logits():
    generator, sequences = recurrent(dropout=0.5, init_std=0.7).train(), batch(prompted=False)

    def seed_alike(function):
        with seeded_from(seeded()):
            return function(sequences)

    expected = token_log_probs(seed_alike(generator), sequences.tokens, sequences.mask)
    close(seed_alike(generator.log_probs), expected)
    close(seed_alike(generator.log_probs_and_entropies)[0], expected)
    loss = seed_alike(generator.negative_log_likelihood)
    close(loss, negative_log_likelihood(expected, sequences.mask))
    with torch.no_grad():
        quiet = generator.eval().log_probs(sequences)
    assert not torch.allclose(quiet, expected, atol=0.1)


def test_init_std_is_the_deviation_of_every_parameter():
    generator = recurrent(embedding_size=64, hidden_size=64, init_std=0.1)
    for name, parameter in generator.named_parameters():
        error = 4 / np.sqrt(2 * parameter.numel())
        assert float(parameter.detach().std()) == pytest.approx(0.1, rel=max(error, 0.02)), name


def test_gru_equals_the_equations():
    """Cho et al. (2014), as PyTorch words it: the reset gate acts after the matrix product."""
    generator = recurrent(kind="gru", embedding_size=4, hidden_size=6, init_std=0.7).double()
    weights = {name: p.detach().numpy() for name, p in generator.named_parameters()}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden = np.zeros(6)
    for token in (VOCABULARY.bos_id, 2, 0):
        embedded = weights["embedding.weight"][token]
        x = weights["layers.0.weight_ih_l0"] @ embedded + weights["layers.0.bias_ih_l0"]
        h = weights["layers.0.weight_hh_l0"] @ hidden + weights["layers.0.bias_hh_l0"]
        reset, update = sigmoid(x[:6] + h[:6]), sigmoid(x[6:12] + h[6:12])
        candidate = np.tanh(x[12:] + reset * h[12:])
        hidden = (1 - update) * candidate + update * hidden
    expected = weights["output.weight"] @ hidden + weights["output.bias"]
    logits = generator(Sequences.from_rows([[2, 0, 1]], VOCABULARY, max_length=3))
    np.testing.assert_allclose(logits[0, 2].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"embedding_size": 0}, "generator.embedding_size is 0, but must be at least 1"),
        ({"hidden_size": -1}, "generator.hidden_size is -1, but must be at least 1"),
        ({"num_layers": 0}, "generator.num_layers is 0, but must be at least 1"),
        ({"dropout": 1.0}, r"generator.dropout is 1.0, but must be at least 0 and below 1"),
        ({"init_std": -0.1}, "generator.init_std is -0.1, but must be at least 0"),
    ],
)
def test_settings_out_of_range(setting, rule):
    with pytest.raises(ValueError, match=rule):
        RecurrentGeneratorConfig(**setting)
