"""Designs a blinded comparison: pairs texts, draws their sides, and hides their origin.

All pairs of systems are compared equally often. Within a pair each system stands on either side
equally often, and every text is shown once. Some comparisons are repeated with their sides swapped,
to measure a rater's consistency. All raters judge the same items; the page draws each rater's order
from the rater's name.

The page holds texts under random ids. The key, a separate file, maps ids to systems.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from seqgan.data.words import split_clusters, split_words
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.reading import check_shape, read_json

Kind = Literal["comparison", "repeat", "control"]
Pair = tuple[str, str]  # two systems, in the order in which they were named

INTACT, SHUFFLED = "intact", "shuffled"  # the two sides of a control
DEFAULT_QUESTION = "Which text reads more like one that a person wrote?"
# The shape of a key.
OF_KEY = {
    "page": str,
    "question": str,
    "systems": [str],
    "items": {"*": {"kind": str, "left": str, "right": str, "repeats?": str}},
    "identical": list,
    "both_bad?": bool,
}
KEY_FORMAT = "blinded comparison, key 1"


@dataclass(frozen=True)
class Source:
    """The texts of one system, in the order of their use.

    Args:
        name: the system's name in the key and in the results.
        texts: at least `texts_needed` texts.
        prompts: the prompt that each text continues; None if texts have no prompts.
    """

    name: str
    texts: Sequence[str]
    prompts: Sequence[str] | None = None


@dataclass(frozen=True)
class Placement:
    """The key's entry of an item.

    Args:
        kind: a comparison; a repeat of one with swapped sides; or a control, a text beside its own
            words in random order.
        left, right: the systems on either side, or INTACT and SHUFFLED.
        repeats: the id of the comparison that a repeat shows again; else empty.
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
    """The content of the page and the key; items lie in random order."""

    question: str
    both_bad: bool
    systems: tuple[str, ...]
    items: tuple[Item, ...]
    identical: dict[Pair, int]  # number of pairs of equal texts, which are not shown

    def page(self) -> dict[str, Any]:
        """The page's content: texts under random ids, without the systems' names."""
        items = [
            {"id": item.id, "left": item.left, "right": item.right, "prompt": item.prompt}
            for item in self.items
        ]
        content = {"question": self.question, "bothBad": self.both_bad, "items": items}
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return {"page": digest[:12], **content}

    def key(self) -> dict[str, Any]:
        """The key's content: the system on either side of each item."""
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
    """The facts about a page that scoring needs."""

    page: str
    question: str
    systems: tuple[str, ...]
    placements: dict[str, Placement]
    identical: dict[Pair, int]
    both_bad: bool = True  # True if the page offers that answer; older keys lack this field

    def of_kind(self, kind: Kind) -> dict[str, Placement]:
        """The placements of that kind, by item."""
        return {name: place for name, place in self.placements.items() if place.kind == kind}


def pairs_of(systems: Sequence[str]) -> list[Pair]:
    """All pairs of systems, in the order of their names' list."""
    return list(combinations(systems, 2))


def texts_needed(num_systems: int, num_pairs: int) -> int:
    """Number of texts per system: `num_pairs` for the comparisons with each other system."""
    return (num_systems - 1) * num_pairs


def prompts_of(system: int, num_systems: int, num_pairs: int) -> list[int]:
    """Indices of the prompts of a system's texts. Each pair of systems has `num_pairs` prompts."""
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

    Nobody can choose between two equal texts, so such pairs are left out and counted.

    Args:
        sources: at least two systems, each with `texts_needed` texts.
        num_pairs: number of comparisons of each pair of systems.
        both_bad: True lets raters answer that both texts are bad.
        repeats: share of the comparisons that are repeated with swapped sides.
        controls: real texts to show beside their own words in random order.
        seed: the same seed and texts give the same study.

    Raises:
        ConfigurationError: two texts of an item would continue different prompts, or all texts of
            two systems are equal.
    """
    rng = random.Random(seed)
    systems = tuple(source.name for source in sources)
    identical: dict[Pair, int] = {}
    drafts: list[Item] = []  # items with provisional ids: their numbers
    for first, second in combinations(range(len(sources)), 2):
        block = _block(sources, (first, second), num_pairs)
        differing = [row for row in block if _plain(row[1]) != _plain(row[2])]
        pair = systems[first], systems[second]
        if len(differing) < num_pairs:
            identical[pair] = num_pairs - len(differing)
        if not differing:
            raise ConfigurationError(
                f"{pair[0]} and {pair[1]} have {num_pairs} equal texts and none that differ"
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
        placement = Placement("control", INTACT, SHUFFLED)
        item = Item(str(len(drafts)), placement, text, shuffled_words(text, rng), prompt)
        drafts.append(_swap(item, item.id, "control") if swapped else item)
    ids = [f"{number:08x}" for number in rng.sample(range(16**8), len(drafts))]
    named = [
        Item(ids[int(item.id)], _renamed(item.placement, ids), item.left, item.right, item.prompt)
        for item in drafts
    ]
    rng.shuffle(named)
    return Study(question, both_bad, systems, tuple(named), identical)


def shuffled_words(text: str, rng: random.Random) -> str:
    """Puts the parts of a text (see `shuffled_parts`) into another order.

    At least two parts must differ; otherwise no other order exists and this never ends.
    """
    joint, parts = shuffled_parts(text)
    shuffled = list(parts)
    while shuffled == parts:
        rng.shuffle(shuffled)
    return joint.join(shuffled)


def shuffled_parts(text: str) -> tuple[str, list[str]]:
    """Splits a text at white space, or into characters (with their marks) if it has up to 3 words.

    Returns:
        The string that joins the parts (a space or nothing), and the parts.
    """
    words = text.split()
    return (" ", words) if len(words) > 3 else ("", split_clusters(text.strip()))


def repeated_texts(texts: Sequence[str]) -> int:
    """Number of texts that equal an earlier one."""
    return len(texts) - len({_plain(text) for text in texts})


def giveaways(sources: Sequence[Source]) -> list[str]:
    """Lists habits of spelling that reveal the systems to a reader, in a sentence each."""
    traits = {
        "capital letters": lambda text: text != text.lower(),
        "spaces before full stops and commas": lambda text: " ." in text or " ," in text,
    }
    sentences = []
    for trait, has in traits.items():
        shares = {s.name: sum(map(has, s.texts)) / max(len(s.texts), 1) for s in sources}
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        if shares[most] >= 0.5 and shares[least] <= 0.05:
            sentences.append(
                f"{trait}: in {shares[most]:.0%} of the texts of {most}, in {shares[least]:.0%} of"
                f" those of {least}"
            )
    return sentences


def lowercased_words(source: Source) -> Source:
    """Spells a source as the tasks do: lower case, spaces between words and punctuation."""
    prompts = source.prompts
    return Source(
        source.name,
        [" ".join(split_words(text)) for text in source.texts],
        None if prompts is None else [" ".join(split_words(prompt)) for prompt in prompts],
    )


def read_key(path: Path) -> Key:
    """Reads the key of a page.

    Raises:
        ConfigurationError: the file cannot be read, or is no key.
        DataError: it is a named pipe or a device.
    """
    fault = f"{path} is no key: it is not the JSON file that was written with the page"
    try:
        plain = read_json(path)
        if not isinstance(plain, dict) or plain.get("format") != KEY_FORMAT:
            raise ConfigurationError(fault)
        check_shape(plain, OF_KEY, str(path))
    except DataError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise ConfigurationError(f"cannot read the key {path}: {cause.strerror}") from error
        raise ConfigurationError(f"{fault} ({error})") from error
    try:
        return Key(
            plain["page"],
            plain["question"],
            tuple(plain["systems"]),
            {name: Placement(**fields) for name, fields in plain["items"].items()},
            {(first, second): count for first, second, count in plain["identical"]},
            plain.get("both_bad", True),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # somebody has edited it
        raise ConfigurationError(f"{fault} ({type(error).__name__}: {error})") from error


def _block(
    sources: Sequence[Source], pair: tuple[int, int], num_pairs: int
) -> list[tuple[str, str, str]]:
    """The prompt and both texts of every comparison of two systems."""
    sides = []
    for system, other in (pair, pair[::-1]):
        source = sources[system]
        start = (other - (other > system)) * num_pairs  # a system's texts lie in the others' order
        rows = range(start, start + num_pairs)
        sides.append([(source.prompts[i] if source.prompts else "", source.texts[i]) for i in rows])
    block = []
    for (prompt, one), (other_prompt, two) in zip(*sides, strict=True):
        if prompt != other_prompt:
            names = " and ".join(sources[system].name for system in pair)
            raise ConfigurationError(
                f"the texts of {names} continue {prompt!r} and {other_prompt!r}, but both"
                " texts of a comparison must continue one prompt"
            )
        block.append((prompt, one, two))
    return block


def _plain(text: str) -> str:
    return " ".join(text.split())


def _balanced(n: int, rng: random.Random) -> list[bool]:
    """n coin tosses with exactly half True; for odd n chance decides the additional toss."""
    tosses = [index < n // 2 for index in range(n)]
    if n % 2:
        tosses[-1] = rng.random() < 0.5
    rng.shuffle(tosses)
    return tosses


def _swap(item: Item, name: str, kind: Kind, repeats: str = "") -> Item:
    """The item under another name and of another kind, with its sides swapped."""
    placement = Placement(kind, item.placement.right, item.placement.left, repeats)
    return Item(name, placement, item.right, item.left, item.prompt)


def _renamed(placement: Placement, ids: Sequence[str]) -> Placement:
    """The placement with the final id of the repeated item in place of its number."""
    repeats = ids[int(placement.repeats)] if placement.repeats else ""
    return Placement(placement.kind, placement.left, placement.right, repeats)
