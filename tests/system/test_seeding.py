"""Random states by value: what is taken back, what pauses and goes on, and what stays outside."""

import pytest
import torch
from toys import seeded

from seqgan.system.seeding import GlobalState, atomic


def drawn(count: int) -> list[float]:
    """Draws from the global state."""
    return torch.rand(count).tolist()


def test_atomic_takes_the_draws_of_a_failure_back() -> None:
    rng, other = seeded(3), seeded(3)
    torch.rand(2, generator=rng), torch.rand(2, generator=other)
    with pytest.raises(KeyError, match="down"), atomic(rng):  # noqa: PT012
        torch.rand(5, generator=rng)
        raise KeyError("down")
    assert torch.equal(torch.rand(4, generator=rng), torch.rand(4, generator=other))


def test_atomic_takes_the_draws_of_an_interrupt_back() -> None:
    rng = seeded(3)
    before = rng.get_state()
    with pytest.raises(KeyboardInterrupt), atomic(rng):  # noqa: PT012
        torch.rand(5, generator=rng)
        raise KeyboardInterrupt
    assert torch.equal(rng.get_state(), before)


def test_atomic_keeps_the_draws_of_a_success() -> None:
    rng, other = seeded(3), seeded(3)
    with atomic(rng):
        torch.rand(5, generator=rng)
    torch.rand(5, generator=other)
    assert torch.equal(rng.get_state(), other.get_state())


def test_a_stretch_that_pauses_draws_what_one_in_a_piece_draws() -> None:
    torch.manual_seed(11)
    whole = drawn(6)
    stretch = GlobalState("cpu", 11)
    parts = []
    for count in (1, 0, 2, 3):
        torch.manual_seed(count)  # others draw meanwhile
        drawn(5)
        with stretch.resumed():
            parts += drawn(count)
    assert parts == whole


def test_the_global_state_outside_is_as_it_was() -> None:
    torch.manual_seed(5)
    expected = drawn(4)
    torch.manual_seed(5)
    found = drawn(2)
    stretch = GlobalState("cpu", 11)
    with stretch.resumed():
        drawn(3)
    assert found + drawn(2) == expected


def test_a_stretch_goes_on_from_its_state() -> None:
    first = GlobalState("cpu", 11)
    with first.resumed():
        drawn(2)
    second = GlobalState()
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    with first.resumed():
        expected = drawn(3)
    with second.resumed():
        assert drawn(3) == expected


def test_a_stretch_that_fails_stays_where_it_paused() -> None:
    stretch = GlobalState("cpu", 11)
    before = stretch.state_dict()["cpu"].clone()
    with pytest.raises(KeyError), stretch.resumed():  # noqa: PT012
        drawn(3)
        raise KeyError
    assert torch.equal(stretch.state_dict()["cpu"], before)
