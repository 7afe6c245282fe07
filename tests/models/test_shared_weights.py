"""Frozen weights that two networks share."""

import torch
from torch import nn

from seqgan.models.shared_weights import share_frozen_weights


def network(frozen: bool, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3, bias=False))
    return nn.Sequential(body.requires_grad_(not frozen), nn.Linear(3, 1))


def test_equal_frozen_weights_have_one_memory() -> None:
    owner, other = network(True, 1), network(True, 1)
    other[0][1].weight.data[2, 3] += 1.0  # one number differs, behind the first ones
    before = {name: weight.clone() for name, weight in other.named_parameters()}
    saved = share_frozen_weights(other, owner)
    assert saved == 4 * (3 * 4 + 4)  # weight and bias of the first layer, float32
    for name, weight in other.named_parameters():
        shared = weight.data_ptr() == owner.get_parameter(name).data_ptr()
        assert shared is (name in ("0.0.weight", "0.0.bias")), name
        assert torch.equal(weight, before[name])
    assert share_frozen_weights(other, owner) == 0


def test_weights_that_train_are_left_alone() -> None:
    owner, other = network(False, 1), network(True, 1)
    assert share_frozen_weights(other, owner) == 0
    assert share_frozen_weights(owner, other) == 0


def test_a_weight_of_another_type_is_another() -> None:
    owner, other = network(True, 1), network(True, 1).to(torch.bfloat16)
    assert share_frozen_weights(other, owner) == 0
