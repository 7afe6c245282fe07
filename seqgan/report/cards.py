"""Samples as cards: tokens coloured by their Monte Carlo value, before the game and after it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from seqgan.report.recorded import END_OF_RUN, Recorded, Row

NUM_CARDS = 8  # on either side
MAX_TOKENS = 300  # of one card
MAX_CHARACTERS = 2000  # of a text without tokens
STEPS = 4  # shades on either side of the middle
REWARD = "what the rewards say of the whole text, weighted and added up; higher is better"
LOG = "of the whole text under its generator, in nats; nearer to 0 is likelier"
REACH = 0.95  # share of the values that the outer shades begin beyond


@dataclass(frozen=True)
class Scale:
    """From a value to a shade: 0 in the middle, `STEPS` at `middle + reach` and above.

    The middle is the median of all values that are shown, so that a shade says better or worse
    than usual here; what a value means depends on the reward.
    """

    middle: float
    reach: float

    def shade(self, value: float) -> int:
        """-STEPS to STEPS."""
        steps = round((value - self.middle) / self.reach * STEPS)
        return max(-STEPS, min(STEPS, steps))


@dataclass(frozen=True)
class Token:
    """A token, the characters before it in its text, and its value if that is known."""

    gap: str
    text: str
    value: float | None
    shade: int
    special: bool  # not part of the text, as an eos


@dataclass(frozen=True)
class Card:
    """One sample. Without tokens its text is shown as it is."""

    text: str
    prompt: str
    tokens: tuple[Token, ...]
    left_out: int  # tokens or characters
    facts: tuple[tuple[str, str, str], ...]  # reward and the like: name, value, what it is


@dataclass(frozen=True)
class Side:
    """The cards of one moment; the scale is None where no row holds token values."""

    title: str
    cards: tuple[Card, ...]
    scale: Scale | None


def before_and_after(run: Recorded) -> tuple[Side, ...]:
    """The cards of a run, without a side that has no samples.

    Both sides share a scale, unless the judge has changed between them: a discriminator's values
    spread out as it learns.
    """
    before, after = (rows[:NUM_CARDS] for rows in run.batches())
    batches = [("before", before), ("after", after)]
    shared = _scale([row for _, rows in batches for row in rows])
    sides = []
    for when, rows in batches:
        if rows:
            scale = _scale(rows) if run.judge_learns else shared
            cards = tuple(_card(row, scale) for row in rows)
            sides.append(Side(_title(when, rows[0], run.played), cards, scale))
    return tuple(sides)


def paired(sides: Sequence[Side]) -> list[tuple[str, tuple[Card | None, ...]]]:
    """The cards of all sides side by side, under the prompt that they share, if they share one.

    Returns:
        A prompt, perhaps empty, and a card for each side, None where one has no more.
    """
    rows = []
    for cards in zip_longest(*(side.cards for side in sides)):
        prompts = {card.prompt for card in cards if card is not None}
        rows.append((prompts.pop() if len(prompts) == 1 else "", cards))
    return rows


def _scale(rows: Sequence[Row]) -> Scale | None:
    return value_scale([value for row in rows for value in _values(row) if value is not None])


def value_scale(values: Sequence[float]) -> Scale | None:
    """The scale of some values, or None of none."""
    if not values:
        return None
    middle = float(np.median(values))
    reach = float(np.quantile(np.abs(np.array(values) - middle), REACH))
    return Scale(middle, reach or 1.0)


def split_text(text: str, tokens: Sequence[str]) -> list[tuple[str, bool]]:
    """For each token, the characters before it in the text, and whether the text holds it.

    A text may be joined by spaces or by nothing; tokens such as an eos are not in it.
    """
    found, position = [], 0
    for token in tokens:
        start = position
        while start < len(text) and text[start].isspace() and not text.startswith(token, start):
            start += 1
        inside = bool(token) and text.startswith(token, start)
        found.append((text[position:start] if inside else " ", inside))
        position = start + len(token) if inside else position
    return found


def _title(when: str, row: Row, played: bool) -> str:
    if when == "before":
        return "Before the game"
    if row.get("phase") == END_OF_RUN:
        return "After the game" if played else "After maximum likelihood"
    return f"In the game, at step {row.get('step')}"


def _card(row: Row, scale: Scale | None) -> Card:
    text, tokens = str(row.get("text", "")), row.get("tokens")
    shown: list[Token] = []
    left_out = max(0, len(text) - MAX_CHARACTERS)
    if isinstance(tokens, list) and tokens:
        left_out = max(0, len(tokens) - MAX_TOKENS)
        places = split_text(text, tokens)
        for token, value, (gap, inside) in list(zip(tokens, _values(row), places, strict=True))[
            :MAX_TOKENS
        ]:
            shade = 0 if value is None or scale is None else scale.shade(value)
            shown.append(Token(gap, token, value, shade, not inside))
    known = [("reward", row.get("reward"), REWARD), ("log-probability", row.get("log_prob"), LOG)]
    known += [
        (name, value, f"of the reward {name.removeprefix('reward_')} alone")
        for name, value in row.items()
        if name.startswith("reward_")
    ]
    facts = tuple(
        (name, f"{value:.3g}", meaning)
        for name, value, meaning in known
        if isinstance(value, int | float)
    )
    return Card(text[:MAX_CHARACTERS], str(row.get("prompt") or ""), tuple(shown), left_out, facts)


def _values(row: Row) -> list[float | None]:
    """A finite value or None for each of a row's tokens."""
    tokens, values = row.get("tokens"), row.get("token_values")
    if not isinstance(tokens, list):
        return []
    if not isinstance(values, list) or len(values) != len(tokens):
        return [None] * len(tokens)
    return [
        float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        for value in values
    ]
