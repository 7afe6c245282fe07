"""The design of a blinded comparison: which two texts, on which side, under which opaque id.

Every two systems are compared equally often, each system stands on either side equally often
within such a block, and every text is shown once. Some comparisons come again with their sides
swapped, to see whether a rater agrees with himself. All raters judge the same items, each in an
order of his own, which the page draws from his name.

The page and the key are two things: the page holds texts under ids that say nothing, the key says
which system wrote which of them.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from seqgan.data.vocabulary import split_words
from seqgan.system.errors import ConfigurationError

Kind = Literal["comparison", "repeat", "control"]
Pair = tuple[str, str]  # two systems, in the order in which they were named

INTACT, SHUFFLED = "intact", "shuffled"  # the two sides of a control
DEFAULT_QUESTION = "Which text reads more like one that a person wrote?"
KEY_FORMAT = "blinded comparison, key 1"


@dataclass(frozen=True)
class Source:
    """What one system wrote, in the order in which it is used.

    Args:
        name: of the system, as the key and the numbers show it.
        texts: as many as `texts_needed` says.
        prompts: what each text goes on from; None where texts stand alone.
    """

    name: str
    texts: Sequence[str]
    prompts: Sequence[str] | None = None


@dataclass(frozen=True)
class Placement:
    """What the key knows of an item.

    Args:
        kind: a repeat shows a comparison again, sides swapped; a control shows a text beside its
            own words in random order.
        left, right: the systems, or INTACT and SHUFFLED.
        repeats: the id of the comparison that a repeat repeats.
    """

    kind: Kind
    left: str
    right: str
    repeats: str = ""


@dataclass(frozen=True)
class Item:
    """One question to a rater."""

    id: str
    placement: Placement
    left: str
    right: str
    prompt: str = ""


@dataclass(frozen=True)
class Study:
    """Everything that the page and the key are written from; items lie in random order."""

    question: str
    both_bad: bool
    systems: tuple[str, ...]
    items: tuple[Item, ...]
    identical: dict[Pair, int]  # pairs of equal texts, which nobody is asked about

    def page(self) -> dict[str, Any]:
        """What the page holds: nothing that tells one system from another but its texts."""
        items = [
            {"id": item.id, "left": item.left, "right": item.right, "prompt": item.prompt}
            for item in self.items
        ]
        content = {"question": self.question, "bothBad": self.both_bad, "items": items}
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return {"page": digest[:12], **content}

    def key(self) -> dict[str, Any]:
        """What the page does not hold."""
        return {
            "format": KEY_FORMAT,
            "page": self.page()["page"],
            "question": self.question,
            "both_bad": self.both_bad,
            "systems": list(self.systems),
            "identical": [[*pair, count] for pair, count in self.identical.items()],
            "items": {item.id: vars(item.placement) for item in self.items},
        }


@dataclass(frozen=True)
class Key:
    """What scoring needs to know of a page."""

    page: str
    question: str
    systems: tuple[str, ...]
    placements: dict[str, Placement]
    identical: dict[Pair, int]
    both_bad: bool = True  # whether the page offers that answer; older keys do not say

    def of_kind(self, kind: Kind) -> dict[str, Placement]:
        return {name: placed for name, placed in self.placements.items() if placed.kind == kind}


def pairs_of(systems: Sequence[str]) -> list[Pair]:
    """Every two systems, in the order in which they were named."""
    return list(combinations(systems, 2))


def texts_needed(num_systems: int, num_pairs: int) -> int:
    """Texts of each system: it meets each of the others `num_pairs` times, with a text each."""
    return (num_systems - 1) * num_pairs


def prompts_of(system: int, num_systems: int, num_pairs: int) -> list[int]:
    """Which prompts a system's texts continue: each pair of systems has `num_pairs` of its own."""
    blocks = combinations(range(num_systems), 2)
    return [
        block * num_pairs + row
        for block, pair in enumerate(blocks)
        if system in pair
        for row in range(num_pairs)
    ]


def plan(
    sources: Sequence[Source],
    num_pairs: int,
    question: str = DEFAULT_QUESTION,
    both_bad: bool = False,
    repeats: float = 0.1,
    controls: Source = Source("", ()),
    seed: int = 0,
) -> Study:
    """Pairs the texts, draws sides, repeats, controls, order and ids.

    Two equal texts are no question, so such pairs are left out and counted.

    Args:
        sources: at least two, each with `texts_needed` texts.
        num_pairs: comparisons of every two systems.
        both_bad: whether raters may answer that both texts are bad.
        repeats: share of the comparisons that come again with their sides swapped.
        controls: real texts to set beside their own words in random order.
        seed: the same seed and texts, the same study.

    Raises:
        ConfigurationError: two texts of an item would continue different prompts, or all pairs of
            two systems are equal texts.
    """
    rng = random.Random(seed)
    systems = tuple(source.name for source in sources)
    identical: dict[Pair, int] = {}
    drafts: list[Item] = []  # their ids are numbers, until the order is drawn
    for first, second in combinations(range(len(sources)), 2):
        block = _block(sources, (first, second), num_pairs)
        differing = [row for row in block if _plain(row[1]) != _plain(row[2])]
        pair = systems[first], systems[second]
        if len(differing) < num_pairs:
            identical[pair] = num_pairs - len(differing)
        if not differing:
            raise ConfigurationError(
                f"{pair[0]} and {pair[1]} differ in no text, got {num_pairs} equal"
            )
        sides = _balanced(len(differing), rng)
        again = set(rng.sample(range(len(differing)), round(repeats * len(differing))))
        for row, ((prompt, one, other), swapped) in enumerate(zip(differing, sides, strict=True)):
            item = Item(str(len(drafts)), Placement("comparison", *pair), one, other, prompt)
            item = _swap(item, item.id, "comparison") if swapped else item
            drafts.append(item)
            if row in again:
                drafts.append(_swap(item, str(len(drafts)), "repeat", item.id))
    sides = _balanced(len(controls.texts), rng)
    for row, (text, swapped) in enumerate(zip(controls.texts, sides, strict=True)):
        prompt = controls.prompts[row] if controls.prompts else ""
        placed = Placement("control", INTACT, SHUFFLED)
        item = Item(str(len(drafts)), placed, text, shuffled_words(text, rng), prompt)
        drafts.append(_swap(item, item.id, "control") if swapped else item)
    ids = [f"{number:08x}" for number in rng.sample(range(16**8), len(drafts))]
    named = [
        Item(ids[int(item.id)], _renamed(item.placement, ids), item.left, item.right, item.prompt)
        for item in drafts
    ]
    rng.shuffle(named)
    return Study(question, both_bad, systems, tuple(named), identical)


def shuffled_words(text: str, rng: random.Random) -> str:
    """What `shuffled_parts` finds in a text, in another order; at least two of them differ."""
    joint, parts = shuffled_parts(text)
    shuffled = list(parts)
    while shuffled == parts:
        rng.shuffle(shuffled)
    return joint.join(shuffled)


def shuffled_parts(text: str) -> tuple[str, list[str]]:
    """What joins a text's parts, and the parts: words, or characters where few spaces are."""
    words = text.split()
    return (" ", words) if len(words) > 3 else ("", list(text.strip()))


def repeated_texts(texts: Sequence[str]) -> int:
    """How many of the texts equal an earlier one."""
    return len(texts) - len({_plain(text) for text in texts})


def giveaways(sources: Sequence[Source]) -> list[str]:
    """Ways of spelling by which a reader could tell the systems apart, in a sentence each."""
    traits = {
        "capital letters": lambda text: text != text.lower(),
        "spaces before full stops and commas": lambda text: " ." in text or " ," in text,
    }
    found = []
    for trait, has in traits.items():
        shares = {s.name: sum(map(has, s.texts)) / max(len(s.texts), 1) for s in sources}
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        if shares[most] >= 0.5 and shares[least] <= 0.05:
            found.append(
                f"{trait}: in {shares[most]:.0%} of the texts of {most}, in {shares[least]:.0%} of"
                f" those of {least}"
            )
    return found


def lowercased_words(source: Source) -> Source:
    """The same source, spelt as the tasks spell: lower case, words and punctuation apart."""
    prompts = source.prompts
    return Source(
        source.name,
        [" ".join(split_words(text)) for text in source.texts],
        None if prompts is None else [" ".join(split_words(prompt)) for prompt in prompts],
    )


def read_key(path: Path) -> Key:
    """The key that belongs to a page.

    Raises:
        ConfigurationError: the file cannot be read, or is no key.
    """
    rule = f"a key is the JSON file that was written with the page, got {path}"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"a key can be read, got {path} ({error.strerror})") from error
    except ValueError as error:  # no JSON, no UTF-8
        raise ConfigurationError(f"{rule} ({error})") from error
    if not isinstance(plain, dict) or plain.get("format") != KEY_FORMAT:
        raise ConfigurationError(rule)
    try:
        return Key(
            plain["page"],
            plain["question"],
            tuple(plain["systems"]),
            {name: Placement(**placed) for name, placed in plain["items"].items()},
            {(first, second): count for first, second, count in plain["identical"]},
            plain.get("both_bad", True),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # it has been changed
        raise ConfigurationError(f"{rule} ({type(error).__name__}: {error})") from error


def _block(
    sources: Sequence[Source], pair: tuple[int, int], num_pairs: int
) -> list[tuple[str, str, str]]:
    """Prompt and both texts of every meeting of two systems."""
    sides = []
    for system, other in (pair, pair[::-1]):
        source = sources[system]
        start = (other - (other > system)) * num_pairs  # its meetings, by the other's number
        rows = range(start, start + num_pairs)
        sides.append([(source.prompts[i] if source.prompts else "", source.texts[i]) for i in rows])
    block = []
    for (prompt, one), (other_prompt, two) in zip(*sides, strict=True):
        if prompt != other_prompt:
            names = " and ".join(sources[system].name for system in pair)
            raise ConfigurationError(
                f"both texts of a comparison continue one prompt, got {prompt!r} and"
                f" {other_prompt!r} of {names}"
            )
        block.append((prompt, one, two))
    return block


def _plain(text: str) -> str:
    return " ".join(text.split())


def _balanced(n: int, rng: random.Random) -> list[bool]:
    """n coin tosses of which half are True, or one more or less where n is odd."""
    tosses = [index < n // 2 for index in range(n)]
    if n % 2:
        tosses[-1] = rng.random() < 0.5
    rng.shuffle(tosses)
    return tosses


def _swap(item: Item, name: str, kind: Kind, repeats: str = "") -> Item:
    placed = Placement(kind, item.placement.right, item.placement.left, repeats)
    return Item(name, placed, item.right, item.left, item.prompt)


def _renamed(placed: Placement, ids: Sequence[str]) -> Placement:
    repeats = ids[int(placed.repeats)] if placed.repeats else ""
    return Placement(placed.kind, placed.left, placed.right, repeats)
