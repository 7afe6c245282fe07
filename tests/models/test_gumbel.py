"""The Gumbel-softmax: its draws, its gradients, and the networks that read mixtures of tokens."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from toys import ENDING, TableGenerator, every_sequence, prefix_codes, probabilities, seeded

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.models.gumbel import draw_mixtures, gumbel_noise
from seqgan.system.seeding import seeded_from

GENERATORS: dict[str, Any] = {
    "lstm": RecurrentGeneratorConfig(embedding_size=2, hidden_size=3, init_std=1.0),
    "gru": RecurrentGeneratorConfig("gru", embedding_size=2, hidden_size=2, num_layers=2),
    "transformer": TransformerGeneratorConfig(width=4, num_layers=2, num_heads=1),
}
DISCRIMINATORS: dict[str, Any] = {
    "gru": RecurrentDiscriminatorConfig(embedding_size=2, hidden_size=2, dropout=0.3),
    "cnn": CNNDiscriminatorConfig(embedding_size=2, filter_sizes=(1, 2), num_filters=(3, 3)),
    "transformer": TransformerDiscriminatorConfig(width=4, num_layers=1, num_heads=1),
    "causal": CausalDiscriminatorConfig(width=4, num_layers=1, num_heads=1),
}
# Prompts of different lengths, one of them empty.
PROMPTS = [[0, 2], [], [1], [2, 2], [1, 0], [0]]


def made(config: Any, *sizes: Any) -> Any:
    with seeded_from(seeded(1)):
        return config.build(ENDING, *sizes).eval()


def prompted(sequences: Sequences) -> Sequences:
    """The sequences with prompts, padded on the left."""
    rows = [PROMPTS[row % len(PROMPTS)] for row in range(len(sequences))]
    ids = [[ENDING.pad_id] * (2 - len(row)) + row for row in rows]
    real = [[False] * (2 - len(row)) + [True] * len(row) for row in rows]
    return replace(sequences, prompts=torch.tensor(ids), prompt_mask=torch.tensor(real))


def of_one_token(texts: Sequences) -> Mixtures:
    tokens = texts.tokens.masked_fill(~texts.mask, 0)
    return Mixtures(texts, torch.nn.functional.one_hot(tokens, ENDING.num_actions).float())


@pytest.mark.parametrize("with_prompts", [False, True])
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_mixture_of_one_token_is_judged_as_that_token(kind: str, with_prompts: bool) -> None:
    judge = made(DISCRIMINATORS[kind], 7)
    texts = every_sequence(ENDING)
    texts = prompted(texts) if with_prompts else texts
    for each in (texts, texts.select(torch.arange(16)).trimmed()):
        torch.testing.assert_close(judge.mixture_logits(of_one_token(each)), judge(each))


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_mixture_has_the_mean_embedding_of_its_tokens(kind: str) -> None:
    """So a word whose vector is the mean of two others is judged as their mixture."""
    judge = made(DISCRIMINATORS[kind], 4)
    with torch.no_grad():
        judge.embedding.weight[2] = (
            0.25 * judge.embedding.weight[0] + 0.75 * judge.embedding.weight[1]
        )
    texts = every_sequence(ENDING)
    mixtures = of_one_token(texts)
    spread = torch.eye(ENDING.num_actions)
    spread[2] = torch.tensor([0.25, 0.75, 0.0, 0.0])
    found = judge.mixture_logits(Mixtures(texts, mixtures.weights @ spread))
    torch.testing.assert_close(found, judge(texts))


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_step_after_a_mixture_of_one_token_is_that_after_the_token(kind: str) -> None:
    policy = made(GENERATORS[kind])
    texts = prompted(every_sequence(ENDING)).select(torch.arange(40, 80))
    _, state = policy.start(len(texts), texts)
    for tokens in texts.tokens.masked_fill(~texts.mask, 0).unbind(dim=1):
        weights = torch.nn.functional.one_hot(tokens, ENDING.num_actions).float()
        mixed, _ = policy.step_mixed(weights, state)
        logits, state = policy.step(tokens, state)
        torch.testing.assert_close(mixed, logits)


def test_noise_is_gumbels() -> None:
    noise = gumbel_noise((100_000,), seeded())
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.05)


def test_draws_have_the_generators_distribution() -> None:
    policy, count = TableGenerator(ENDING), 40_000
    noise = gumbel_noise((count, 4, ENDING.num_actions), seeded())
    texts = draw_mixtures(policy, ENDING, noise, 3.0, "token").texts
    everything = every_sequence(ENDING)
    expected = probabilities(policy, everything).detach()
    codes = prefix_codes(everything, ENDING.num_actions)[:, -1]
    drawn = prefix_codes(texts, ENDING.num_actions)[:, -1]
    found = (drawn[:, None] == codes).double().mean(dim=0)
    deviations = (expected * (1 - expected) / count).sqrt()
    assert float(found.sum()) == pytest.approx(1.0)
    assert float(((found - expected).abs() / deviations).max()) < 4.5


@pytest.mark.parametrize("kind", GENERATORS)
def test_what_is_drawn_is_drawn_with_the_logits_of_its_prefix(kind: str) -> None:
    policy = made(GENERATORS[kind])
    prompts = prompted(every_sequence(ENDING)).select(torch.arange(30))
    noise = gumbel_noise((30, 4, ENDING.num_actions), seeded(5))
    draw = draw_mixtures(policy, ENDING, noise, 2.0, "straight_through", prompts=prompts)
    mask = draw.texts.mask
    assert torch.equal(draw.texts.prompts, prompts.prompts)
    torch.testing.assert_close(draw.logits[mask], policy(draw.texts)[mask])
    chosen = (draw.logits + noise[:, : mask.shape[1]]).argmax(dim=-1)
    assert torch.equal(draw.texts.tokens, chosen.masked_fill(~mask, ENDING.pad_id))
    ends = (draw.texts.tokens == ENDING.eos_id).any(dim=1)
    assert bool(ends.any())
    assert not bool(ends.all())
    assert torch.equal(draw.texts.lengths[~ends], torch.full(((~ends).sum(),), 4))
    # A straight-through token is the drawn one, to the last bit.
    assert torch.equal(draw.mixtures.weights[mask], of_one_token(draw.texts).weights[mask])


@pytest.mark.parametrize(
    ("kind", "judge_kind"),
    [*(("lstm", judge) for judge in DISCRIMINATORS), ("gru", "cnn"), ("transformer", "cnn")],
)
def test_gradients_are_finite_differences_where_all_read_mixtures(
    kind: str, judge_kind: str
) -> None:
    policy, judge = made(GENERATORS[kind]).double(), made(DISCRIMINATORS[judge_kind], 4).double()
    noise = gumbel_noise((5, 4, ENDING.num_actions), seeded(3)).double()

    def value() -> torch.Tensor:
        draw = draw_mixtures(policy, ENDING, noise, 1.5, "mixture", "mixture")
        return judge.mixture_logits(draw.mixtures).dot(torch.arange(1.0, 6.0).double())

    parameters = [each for each in policy.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(value(), parameters)
    step, places = 1e-6, seeded()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        place = int(torch.randint(parameter.numel(), (), generator=places))
        flat, around = parameter.detach().view(-1), []
        for distance in (step, -2 * step):  # one step above, one below
            flat[place] += distance
            with torch.no_grad():
                around.append(float(value()))
        flat[place] += step
        slope = (around[0] - around[1]) / (2 * step)
        assert float(gradient.flatten()[place]) == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-3


def test_a_straight_through_token_has_the_gradient_of_its_mixture() -> None:
    """d/do = beta (diag(m) - m m^T) c, where a judge adds up c of the tokens that it reads."""
    policy, worth = TableGenerator(ENDING), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    noise = gumbel_noise((1, 1, ENDING.num_actions), seeded()).double()
    draw = draw_mixtures(policy, ENDING, noise, 2.0, "token")
    value = (draw.mixtures.weights @ worth).sum()
    assert float(value.detach()) == float(worth[draw.texts.tokens[0, 0]])
    value.backward()
    mixture = (2.0 * (policy.logits[0].detach() + noise[0, 0])).softmax(dim=0)
    expected = 2.0 * mixture * (worth - mixture @ worth)
    torch.testing.assert_close(policy.logits.grad[0], expected)


@pytest.mark.parametrize("judge_kind", DISCRIMINATORS)
def test_nothing_behind_the_end_of_a_text_matters(judge_kind: str) -> None:
    policy, judge = made(GENERATORS["lstm"]), made(DISCRIMINATORS[judge_kind], 4)
    noise = gumbel_noise((30, 4, ENDING.num_actions), seeded(2)).requires_grad_()
    draw = draw_mixtures(policy, ENDING, noise, 1.0, "straight_through", "mixture")
    judge.mixture_logits(draw.mixtures).sum().backward()
    reached = noise.grad.abs().sum(dim=-1) > 0
    mask = draw.texts.mask
    assert not bool((reached & ~mask).any())
    assert bool(reached.any(dim=1).all())
    assert not bool(mask.all())


@pytest.mark.parametrize(("inputs", "reaches"), [("token", False), ("straight_through", True)])
def test_a_token_that_is_read_may_pass_a_gradient(inputs: Any, reaches: bool) -> None:
    """The last token's mixture depends on the first one by what the generator read."""
    policy = made(GENERATORS["lstm"])
    noise = gumbel_noise((9, 4, ENDING.num_actions), seeded()).requires_grad_()
    draw = draw_mixtures(policy, ENDING, noise, 1.0, inputs, "mixture")
    draw.mixtures.weights[draw.texts.mask[:, 3], 3, 0].sum().backward()
    assert bool(noise.grad[:, 0].abs().sum() > 0) == reaches
