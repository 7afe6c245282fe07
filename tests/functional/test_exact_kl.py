"""The exact divergence of each token, by enumeration."""

import pytest
import torch
from toys import ENDING, FIXED, TableGenerator, every_sequence, probabilities

from seqgan.functional.kl_estimators import exact_token_kl


@pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed", "ending"])
def test_over_all_texts_it_is_the_divergence_of_the_whole_distributions(vocabulary):
    policy, other = TableGenerator(vocabulary, seed=0), TableGenerator(vocabulary, seed=1)
    texts = every_sequence(vocabulary)
    chances, others = probabilities(policy, texts), probabilities(other, texts)
    whole = (chances * (chances / others).log()).sum()
    of_tokens = exact_token_kl(policy(texts), other(texts), texts.mask)
    torch.testing.assert_close((chances * of_tokens.sum(dim=1)).sum(), whole)
    assert of_tokens.min().item() >= 0
    assert bool((of_tokens[~texts.mask] == 0).all())


def test_its_gradient_is_that_of_the_distribution_at_each_prefix():
    """d KL / d logit_v = pi_v (log pi_v - log other_v - KL), and the other one has none."""
    policy, other = TableGenerator(ENDING, seed=0), TableGenerator(ENDING, seed=1)
    texts = every_sequence(ENDING)
    logits, others = policy(texts), other(texts).detach()
    kl = exact_token_kl(logits, others, texts.mask)
    found = torch.autograd.grad(kl.sum(), logits)[0]
    log_pi, log_other = logits.log_softmax(dim=-1), others.log_softmax(dim=-1)
    expected = log_pi.exp() * (log_pi - log_other - kl[..., None])
    expected = torch.where(texts.mask[..., None], expected, 0.0)
    torch.testing.assert_close(found, expected)
    assert float(found.abs().max()) > 0.01
