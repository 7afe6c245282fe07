"""Critics: values of the states before each token, which know nothing of the token."""

import math
from dataclasses import replace

import pretrained_models
import pytest
import test_generators
import torch
from torch import nn
from toys import ENDING, MAX_LENGTH, TableGenerator, every_sequence

from seqgan.data.sequences import Sequences
from seqgan.learning.critic import CriticConfig
from seqgan.models.critics import surprises
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
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
        nn.init.normal_(critic.head.output.weight)
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
        learning = [weight for weight in critic.parameters() if weight.requires_grad]
        assert all(weight.grad is not None for weight in learning)


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


def test_a_head_on_a_generator_without_states_reads_its_surprises():
    policy = TableGenerator(ENDING)
    critic = CriticConfig(kind="head", size=5).build(policy, ENDING)
    sequences = every_sequence(ENDING)
    assert critic.states(policy, sequences).shape == (121, MAX_LENGTH, 6)
    nn.init.normal_(critic.head.output.weight)
    assert torch.equal(values(policy, critic, sequences) != 0, sequences.mask)


def test_surprises_by_hand():
    """Uniform among 4 tokens, but for one after "a", which is one of two."""
    policy = TableGenerator(ENDING)
    policy.logits.data.zero_()
    policy.logits.data[1] = torch.tensor([0.0, -1e4, -1e4, 0.0])  # after "a"
    sequences = Sequences.from_rows([[0, 0, 1]], ENDING, MAX_LENGTH)
    found = surprises(policy, sequences)[0, :3]
    two, four = math.log(2), math.log(4)
    expected = [
        # mean l, mean l + H, least l, least l + H, l of the last, H of the next
        [0, 0, 0, 0, 0, four],
        [-four, 0, -four, 0, -four, two],
        [-(four + two) / 2, 0, -four, 0, -two, four],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


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
