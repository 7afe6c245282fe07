"""Compiles a probabilistic grammar to a deterministic automaton, in which every quantity is exact.

A grammar may derive one sentence in several ways; the sentence's probability is the sum over all of
them. The automaton reads each sentence along exactly one path. So a sentence's probability is a
product, and one pass over the states gives entropy, longest sentence or number of sentences.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import NamedTuple

Symbols = tuple[str, ...]
Rules = Mapping[str, Sequence[tuple[Fraction, Symbols]]]

END = "<end>"  # the symbol that the automaton reads after the last word
ARTICLE = "a"  # the word that becomes "an" before a vowel


class Arc(NamedTuple):
    """An arc to another state: its probability and its target."""

    probability: Fraction
    target: int


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic acyclic automaton whose paths from `start` to state 0 are the sentences.

    Args:
        arcs: for each state, the arcs by word; the probabilities of a state sum to 1. Every arc
            leads to a state with a smaller number, so a loop in order sees targets before sources.
    """

    arcs: Sequence[Mapping[str, Arc]]

    @property
    def start(self) -> int:
        return len(self.arcs) - 1

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every word of every sentence, in alphabetical order, without `END`."""
        return tuple(sorted(set().union(*self.arcs) - {END}))

    @cached_property
    def max_length(self) -> int:
        """Symbols of the longest sentence, `END` included."""
        longest = [0]
        for arcs in self.arcs[1:]:
            longest.append(1 + max(longest[arc.target] for arc in arcs.values()))
        return longest[-1]

    @cached_property
    def mean_length(self) -> float:
        """Expected number of symbols, `END` included."""
        mean = [0.0]
        for arcs in self.arcs[1:]:
            mean.append(1 + sum(float(arc.probability) * mean[arc.target] for arc in arcs.values()))
        return mean[-1]

    @cached_property
    def num_sentences(self) -> int:
        """Number of distinct sentences."""
        count = [1]
        for arcs in self.arcs[1:]:
            count.append(sum(count[arc.target] for arc in arcs.values()))
        return count[-1]

    @cached_property
    def entropy(self) -> float:
        """Nats per sentence: H(s) = sum over arcs of p (H(target) - log p), and H(0) = 0."""
        entropy = [0.0]
        for arcs in self.arcs[1:]:
            parts = [(float(arc.probability), entropy[arc.target]) for arc in arcs.values()]
            entropy.append(math.fsum(p * (rest - math.log(p)) for p, rest in parts))
        return entropy[-1]

    def accepts(self, words: Sequence[str]) -> bool:
        """True if the words, without `END`, are a sentence."""
        state = self.start
        for word in (*words, END):
            arc = self.arcs[state].get(word)
            if arc is None:
                return False
            state = arc.target
        return True


def compile_rules(rules: Rules, start: str) -> Automaton:
    """Builds the automaton of all sentences that `start` derives, with exact probabilities.

    Weighted subset construction (Mohri, 1997, sec. 3.3) on leftmost derivations. A form is a row of
    symbols that are not yet derived, and a state is a distribution over forms: all that may still
    come. Reading a word keeps the derivations that produce it and renormalises their weights.
    Prefixes with equal distributions share a state; fractions make that comparison exact.

    Args:
        rules: for each symbol its alternatives, with probabilities that sum to 1. A symbol
            without a rule is a word; the word "a" turns into "an" before a vowel.

    Raises:
        RecursionError: the grammar is recursive, so its sentences have no maximum length.
    """
    arcs: list[dict[str, Arc]] = []
    states: dict[frozenset[tuple[Symbols, Fraction]], int] = {}

    @cache
    def openings(form: Symbols) -> dict[Symbols, Fraction]:
        """The distribution of a form after its first word is derived; {} for an empty form."""
        if not form:
            return {}
        head, rest = form[0], form[1:]
        if head == ARTICLE:
            return {
                ("an" if opened[0][0] in "aeiou" else "a", *opened): probability
                for opened, probability in openings(rest).items()
            }
        if head not in rules:
            return {form: Fraction(1)}
        opened_forms: defaultdict[Symbols, Fraction] = defaultdict(Fraction)
        for weight, alternative in rules[head]:
            for opened, probability in openings(alternative + rest).items():
                opened_forms[opened] += weight * probability
        return dict(opened_forms)

    def state_of(forms: Mapping[Symbols, Fraction]) -> int:
        """The number of the state with this distribution, which is added if it is new."""
        key = frozenset(forms.items())
        if key not in states:
            following: defaultdict[str, defaultdict[Symbols, Fraction]]
            following = defaultdict(lambda: defaultdict(Fraction))
            for form, weight in forms.items():
                for opened, probability in openings(form).items():
                    following[opened[0]][opened[1:]] += weight * probability
            outgoing = {}
            for word, rests in following.items():
                total = sum(rests.values(), Fraction(0))
                target = state_of({rest: weight / total for rest, weight in rests.items()})
                outgoing[word] = Arc(total, target)
            # The recursion has numbered all targets, so this state gets a larger number.
            states[key] = len(arcs)
            arcs.append(outgoing)
        return states[key]

    state_of({(start, END): Fraction(1)})
    return Automaton(tuple(arcs))
