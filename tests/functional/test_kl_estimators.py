"""Estimators of a KL: their values by hand, their means and their gradients by enumeration."""

import math

import pytest
import torch
from toys import seeded

from seqgan.functional.kl_estimators import k1, k2, k3, kl_estimator

# Two policies over five tokens, far apart.
LOGITS = torch.randn((2, 5), generator=seeded(), dtype=torch.double)


def by_hand():
    """The policy twice and half as likely as the reference, and as likely."""
    log_probs = torch.tensor([[-1.0, -2.0, -3.0]])
    return log_probs, log_probs - torch.tensor([[math.log(2), -math.log(2), 0.0]])


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (k1, [math.log(2), -math.log(2), 0.0]),
        (k2, [math.log(2) ** 2 / 2, math.log(2) ** 2 / 2, 0.0]),
        (k3, [math.log(2) - 0.5, 1 - math.log(2), 0.0]),
    ],
)
def test_by_hand(estimator, expected):
    torch.testing.assert_close(estimator(*by_hand()), torch.tensor([expected]))


def test_k3_is_that_of_trl():
    """TRL 1.16.0, grpo_trainer.py line 3100."""
    log_probs, reference = LOGITS.log_softmax(dim=1)
    theirs = torch.exp(reference - log_probs) - (reference - log_probs) - 1
    torch.testing.assert_close(k3(log_probs[None], reference[None]), theirs[None])


@pytest.mark.parametrize(("kind", "unbiased"), [("k1", True), ("k2", False), ("k3", True)])
def test_means_over_all_tokens(kind, unbiased):
    log_probs, reference = LOGITS.log_softmax(dim=1)
    exact = float((log_probs.exp() * (log_probs - reference)).sum())
    estimates = kl_estimator(kind)(log_probs[None], reference[None])[0]
    mean = float((log_probs.exp() * estimates).sum())
    assert (mean == pytest.approx(exact, rel=1e-12)) == unbiased


class TestGradients:
    """In expectation over the policy's tokens, each weighted by its probability."""

    def expected(self, estimator):
        logits = LOGITS[0].clone().requires_grad_()
        log_probs = logits.log_softmax(dim=0)
        estimates = estimator(log_probs[None], LOGITS[1:].log_softmax(dim=1))[0]
        mean = (log_probs.detach().exp() * estimates).sum()
        return torch.autograd.grad(mean, logits)[0]

    def exact(self, forward):
        logits = LOGITS[0].clone().requires_grad_()
        log_probs, reference = logits.log_softmax(dim=0), LOGITS[1].log_softmax(dim=0)
        kl = (log_probs.exp() * (log_probs - reference)).sum()
        if forward:
            kl = (reference.exp() * (reference - log_probs)).sum()
        return torch.autograd.grad(kl, logits)[0]

    def test_k1_pulls_nowhere(self):
        torch.testing.assert_close(self.expected(k1), torch.zeros_like(LOGITS[0]))

    def test_k2_descends_the_kl_to_the_reference(self):
        torch.testing.assert_close(self.expected(k2), self.exact(forward=False))

    def test_k3_descends_the_kl_from_the_reference(self):
        torch.testing.assert_close(self.expected(k3), self.exact(forward=True))
        assert not torch.allclose(self.exact(forward=True), self.exact(forward=False), rtol=0.1)
