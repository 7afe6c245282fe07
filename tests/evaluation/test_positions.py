"""Groups of positions, and histograms of what stands there."""

import pytest
import torch

from seqgan.evaluation.game.positions import NUM_BINS, histograms_by_position, position_groups


@pytest.mark.parametrize(
    ("max_length", "first", "last", "count"),
    [
        (1, "01-01", "01-01", 1),
        (4, "01-01", "04-04", 4),
        (10, "01-01", "10-10", 10),
        (11, "01-02", "11-11", 6),
        (20, "01-02", "19-20", 10),
        (22, "01-03", "22-22", 8),
        (250, "001-025", "226-250", 10),
    ],
)
def test_groups(max_length: int, first: str, last: str, count: int) -> None:
    groups = position_groups(max_length)
    names = list(groups)
    assert (names[0], names[-1], len(names)) == (first, last, count)
    assert names == sorted(names)
    columns = [column for part in groups.values() for column in range(max_length)[part]]
    assert columns == list(range(max_length))


def test_each_value_is_counted_once_at_its_position() -> None:
    """Values 100 * row + position, so that a swap of the axes shows."""
    rows, positions = 3, 22
    values = 100.0 * torch.arange(rows)[:, None] + torch.arange(1, positions + 1)
    known = torch.ones(rows, positions, dtype=torch.bool)
    known[2, 3:] = False
    histograms = histograms_by_position("action_value", values, known)
    assert list(histograms)[:2] == ["action_value/01-03", "action_value/04-06"]
    assert len(histograms) == 8
    first, second = list(histograms.values())[:2]
    assert (first.edges[0], first.edges[-1], sum(first.counts)) == (1.0, 203.0, 9)
    assert (second.edges[0], second.edges[-1], sum(second.counts)) == (4.0, 106.0, 6)
    assert len(first.counts) == NUM_BINS == len(first.edges) - 1
    # 1, 2, 3 lie in the first bin of width 202/32; 101 to 103 in the middle; 201 to 203 in the last
    assert first.counts[0] == first.counts[-1] == 3
    assert first.counts[15] + first.counts[16] == 3


def test_unknown_values_are_nowhere() -> None:
    values = torch.tensor([[1.0, torch.nan], [2.0, torch.nan]])
    histograms = histograms_by_position("advantage", values, ~values.isnan())
    assert list(histograms) == ["advantage/01-01"]
    assert sum(histograms["advantage/01-01"].counts) == 2


def test_one_value_alone() -> None:
    (histogram,) = histograms_by_position(
        "advantage", torch.full((5, 1), 0.25), torch.ones(5, 1, dtype=torch.bool)
    ).values()
    assert sum(histogram.counts) == 5
    assert histogram.edges[0] < 0.25 < histogram.edges[-1]
