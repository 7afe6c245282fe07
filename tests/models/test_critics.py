"""Critics: values of the states before each token, which know nothing of the token."""

from dataclasses import replace

import pretrained_models
import pytest
import test_generators
import torch
from torch import nn
from toys import ENDING, TableGenerator

from seqgan.models.critics import CriticConfig
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from

VOCABULARY = test_generators.VOCABULARY
GENERATORS = {
    "lstm": RecurrentGeneratorConfig("lstm", 4, 6),
    "transformer": TransformerGeneratorConfig(width=8, num_layers=1, num_heads=2, dropout=0.0),
}
KINDS = [("head", "lstm"), ("head", "transformer"), ("network", "lstm")]


def make(kind, generator):
    """A generator and its critic, whose last layer is random in place of zero."""
    with seeded_from(test_generators.seeded(3)):
        policy = GENERATORS[generator].build(VOCABULARY)
        critic = CriticConfig(kind=kind, size=5).build(policy, VOCABULARY)
        last = critic.head.output if kind == "head" else critic.body.output
        nn.init.normal_(last.weight)
    return policy, critic


def values(policy, critic, sequences):
    with torch.no_grad():
        return critic(sequences, critic.states(policy, sequences))


@pytest.mark.parametrize(("kind", "generator"), KINDS)
@pytest.mark.parametrize("prompted", [False, True], ids=["bare", "prompted"])
class TestValues:
    def test_they_know_the_tokens_before_and_no_other(self, kind, generator, prompted):
        policy, critic = make(kind, generator)
        sequences = test_generators.batch(prompted)
        first = values(policy, critic, sequences)
        tokens = sequences.tokens.clone()
        tokens[0, 2] = 4  # the third token of the first row
        second = values(policy, critic, replace(sequences, tokens=tokens))
        differ = ~torch.isclose(first, second, atol=1e-6)
        assert differ.nonzero().tolist() == [[0, 3], [0, 4]]

    def test_padding_is_0_and_changes_nothing(self, kind, generator, prompted):
        policy, critic = make(kind, generator)
        sequences = test_generators.batch(prompted)
        found = values(policy, critic, sequences)
        assert not found[~sequences.mask].any()
        assert found[sequences.mask].all()
        row = torch.tensor([1])  # of one token
        alone = values(policy, critic, sequences.select(row).trimmed())
        torch.testing.assert_close(alone, found[row, :1])

    def test_the_prompt_has_a_say(self, kind, generator, prompted):
        policy, critic = make(kind, generator)
        sequences = test_generators.batch(prompted)
        firsts = values(policy, critic, sequences)[:, 0]  # before the first token
        alike = torch.isclose(firsts[:, None], firsts[None, :], atol=1e-6)
        expected = torch.ones(5, 5, dtype=torch.bool)
        if prompted:
            expected = torch.eye(5, dtype=torch.bool)
            expected[2, 4] = expected[4, 2] = True  # they have one prompt
        assert torch.equal(alike, expected)

    def test_the_generator_gets_no_gradient(self, kind, generator, prompted):
        policy, critic = make(kind, generator)
        sequences = test_generators.batch(prompted)
        critic(sequences, critic.states(policy, sequences)).sum().backward()
        assert all(parameter.grad is None for parameter in policy.parameters())
        assert all(parameter.grad is not None for parameter in critic.parameters())


@pytest.mark.parametrize(("kind", "generator"), KINDS)
def test_an_untrained_critic_says_the_mean_of_the_returns(kind, generator):
    policy = GENERATORS[generator].build(VOCABULARY)
    critic = CriticConfig(kind=kind).build(policy, VOCABULARY)
    sequences = test_generators.batch(True)
    assert not values(policy, critic, sequences).any()
    returns = torch.where(sequences.mask, 5.0, 99.0)
    returns[1, 0], returns[4, 0] = 1.0, 2.0
    known = sequences.mask.clone()
    known[4, 0] = False
    critic.set_unit(returns, known)
    found = values(policy, critic, sequences)
    torch.testing.assert_close(found[sequences.mask], torch.full((16,), (14 * 5 + 1) / 15))
    assert float(critic.deviation) == pytest.approx((14 / 15 * 1 / 15) ** 0.5 * 4)


def test_returns_that_are_all_equal_leave_the_unit_at_1():
    _, critic = make("network", "lstm")
    sequences = test_generators.batch(False)
    critic.set_unit(torch.full(sequences.mask.shape, -3.0), sequences.mask)
    assert (float(critic.center), float(critic.deviation)) == (-3.0, 1.0)


def test_a_head_needs_states():
    with pytest.raises(
        ConfigurationError, match=r"rule.critic.kind is head, but TableGenerator has no top_layer"
    ):
        CriticConfig(kind="head").build(TableGenerator(ENDING), ENDING)
    CriticConfig(kind="network").build(TableGenerator(ENDING), ENDING)


@pytest.mark.integration
@pytest.mark.parametrize("model", ["gpt2", "gemma2"])
def test_a_head_on_a_pretrained_generator(model, tmp_path):
    """The second caps its logits, so that its top layer is the logits themselves."""
    path = pretrained_models.saved(tmp_path, model, VOCABULARY.words)
    policy = PretrainedGeneratorConfig(path=path, lora_rank=2).build(VOCABULARY)
    critic = CriticConfig(kind="head", size=5).build(policy, VOCABULARY)
    nn.init.normal_(critic.head.output.weight)
    sequences = test_generators.batch(True)
    found = values(policy, critic, sequences)
    assert torch.equal(found != 0, sequences.mask)
    assert torch.isclose(found[2, 0], found[4, 0])
    assert not torch.isclose(found[2, 0], found[1, 0])
