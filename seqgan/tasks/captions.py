"""Image captions from a grammar: readable text whose true distribution is known exactly.

Agreement over a distance makes the captions hard for a small model. The subject's number decides
the verb behind a relative clause. The subject's gender decides a possessive or reflexive near the
end, and the kind of subject decides its activity. The word after an article decides "a" or "an".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import GeneratorConfig
from seqgan.system.checks import Seed, Size, check_settings
from seqgan.tasks.automaton import END, Rules, Symbols, compile_rules
from seqgan.tasks.base import FixedTask, Split, share_of

# Kinds of subject: a man or boy, a woman or girl, people, an animal, animals.
KINDS = ("he", "she", "they", "it", "pack")

# Upper case is a symbol, anything else is a word. "|" separates alternatives. A number in front of
# an alternative is its weight (default 1); a number alone is the weight of the empty alternative. A
# name with kinds after a dot stands for one rule per kind, and ".*" for one rule per each of KINDS.
# "*" in an alternative is replaced by the rule's kind, so that distant words agree. "a" stands for
# "a" and "an".
RULES: Mapping[str, str] = {
    "CAPTION": "3 SCENE.he | 3 SCENE.she | 3 SCENE.they | 2 SCENE.it | 2 SCENE.pack",
    "SCENE.*": """
        2 SUBJECT.* IS.* DOING.* .
      | 2 SUBJECT.* IS.* STAYING.* WHERE .
      | 2 WHERE , SUBJECT.* IS.* STAYING.* .
      | 4 SUBJECT.* LOOKS.* IS.* DOING.* .
      | 5 SUBJECT.* PLACED.* IS.* STAYING.* .
      | 2 SUBJECT.* SEEMS.* GLAD because HE.* IS.* DOING.* .
      | 2 SUBJECT.* IS.* DOING.* while ONLOOKERS HIM.* .
      | 2 there IS.* SOME.* WHERE WHO.* IS.* STAYING.* .""",
    # The subject.
    "SUBJECT.*": "2 SOME.* | THE.*",
    "SOME.he,she,it": "a NOUN.*",
    "SOME.they,pack": "2 two NOUN.* | three NOUN.* | some NOUN.*",
    "THE.he,she,it": "the NOUN.*",
    "THE.they,pack": "2 the NOUN.* | the two NOUN.*",
    "NOUN.he": """6 ADULT man | 4 CHILD boy | 2 ADULT gentleman | ADULT fisherman
      | ADULT grandfather | YOUNG father | YOUNG groom""",
    "NOUN.she": """6 ADULT woman | 4 CHILD girl | 2 ADULT lady | ADULT waitress
      | ADULT grandmother | YOUNG mother | YOUNG bride""",
    "NOUN.they": """4 ADULT men | 4 ADULT women | 3 CHILD boys | 3 CHILD girls | 3 CHILD children
      | 2 ADULT people | 2 ADULT tourists | YOUNG students | YOUNG parents""",
    "NOUN.it": "4 FURRY dog | 3 FURRY cat | 2 TINY puppy | 2 TINY kitten | FURRY poodle",
    "NOUN.pack": "4 FURRY dogs | 3 FURRY cats | 2 TINY puppies | 2 TINY kittens | FURRY poodles",
    "ADULT": "5 | old | elderly | tall | smiling",
    "YOUNG": "4 | young | proud | smiling | excited",
    "CHILD": "5 | 2 little | young | happy | excited",
    "FURRY": "4 | 2 small | big | old | 2 FUR",
    "TINY": "4 | tiny | excited | 2 FUR",
    "FUR": "black | white | brown",
    # Words that agree with the subject.
    "IS.he,she,it": "is",
    "IS.they,pack": "are",
    "HAS.he,she": "has",
    "HAS.they": "have",
    "SEEMS.he,she,it": "seems | looks",
    "SEEMS.they,pack": "seem | look",
    "STANDS.he,she,it": "stands | sits | waits",
    "STANDS.they,pack": "stand | sit | wait",
    "WHO.he,she,they": "who",
    "WHO.it,pack": "that",
    "HE.he": "he",
    "HE.she": "she",
    "HE.it": "it",
    "HE.they,pack": "they",
    "HIM.he": "him",
    "HIM.she": "her",
    "HIM.it": "it",
    "HIM.they,pack": "them",
    "HIS.he": "his",
    "HIS.she": "her",
    "HIS.it": "its",
    "HIS.they,pack": "their",
    "HIMSELF.he": "himself",
    "HIMSELF.she": "herself",
    "HIMSELF.it": "itself",
    "HIMSELF.they,pack": "themselves",
    # Between the subject and its verb, with nouns of another number on the way.
    "LOOKS.he,she": "2 in a COLOUR WEAR.* | with a COLOUR hat on HIS.* head | 2 KNOWN.*",
    "LOOKS.they": "2 in COLOUR WEAR.they | with COLOUR hats on their heads | 2 KNOWN.they",
    "LOOKS.it": "with a COLOUR collar | with white spots on its back | 2 KNOWN.it",
    "LOOKS.pack": "with COLOUR collars | with white spots on their backs | 2 KNOWN.pack",
    "KNOWN.he,she,they": "who HAS.* PETS | who ONLOOKERS",
    "KNOWN.it,pack": "that ONLOOKERS",
    "PLACED.*": "NEAR THINGS | 2 WHO.* STANDS.* NEAR THINGS",
    "NEAR": "3 near | 2 behind | 2 next to | in front of",
    "THINGS": "a THING | the THING | two MANY | the MANY",
    "ONLOOKERS": """a CHILD boy is WATCHING | a CHILD girl is WATCHING | the ADULT man is WATCHING
      | two CHILD girls are WATCHING | the CHILD boys are WATCHING | some tourists are WATCHING""",
    # The subject's activity: any (DOING), or one that stays in its place (STAYING).
    "DOING.*": "STAYING.* | MOVING.*",
    "STAYING.he,she": "eating a FOOD SHARED.* | reading a TEXT SHARED.* | 3 POSING.*",
    "STAYING.they": "eating FOODS SHARED.they | reading TEXTS SHARED.they | 3 POSING.they",
    "SHARED.he,she,they": "2 | with HIS.* friends | with HIS.* FAMILY.*",
    "POSING.he,she,they": """holding HIS.* CARRIED.* in HIS.* HAND.* | brushing HIS.* hair
      | looking at HIMSELF.* in GLASS | taking a picture of HIMSELF.*
      | playing GAME with HIS.* friends | playing the INSTRUMENT for HIS.* FAMILY.*
      | waiting for HIS.* FAMILY.*""",
    "STAYING.it,pack": """sleeping on HIS.* blanket | licking HIS.* PAW.* | washing HIMSELF.*
      | looking at HIMSELF.* in GLASS | drinking water from HIS.* BOWL.*
      | eating HIS.* food | waiting for HIS.* owner""",
    "MOVING.he,she": "riding a RIDE PATH | riding HIS.* RIDE PATH | 2 PLAYING.*",
    "MOVING.they": "riding RIDES PATH | riding their RIDES PATH | 2 PLAYING.they",
    "PLAYING.he,she,they": """walking HIS.* FURRY DOG PATH | throwing a COLOUR TOY to HIS.* DOG
      | running PATH with HIS.* DOG | carrying HIS.* CARRIED.* PATH""",
    "MOVING.it,pack": """chasing HIS.* TAIL.* | chasing a COLOUR TOY PATH | running PATH
      | carrying a COLOUR TOY in HIS.* MOUTH.* | walking PATH with HIS.* owner
      | jumping over a COLOUR fence""",
    # Everything around.
    "WHERE": """in the park | in the garden | on the beach | at the market | in a empty street
      | near the river | in front of a old BUILDING | under a old bridge""",
    "PATH": "along the river | down the street | across the field | on the beach | past the tents",
    "BUILDING": "house | church | castle",
    "GLASS": "the mirror | the window | the water",
    "COLOUR": "6 | 2 red | 2 blue | green | yellow | white | orange | old",
    "THING": "COLOUR bench | COLOUR car | COLOUR boat | COLOUR tent | COLOUR bus | TALL tree",
    "MANY": """COLOUR benches | COLOUR cars | COLOUR boats | COLOUR tents | COLOUR buses
      | TALL trees""",
    "TALL": "2 | tall | old",
    "RIDE": "2 COLOUR bike | COLOUR skateboard | COLOUR motorcycle | 2 FUR horse | elephant",
    "RIDES": "2 COLOUR bikes | COLOUR skateboards | COLOUR motorcycles | 2 FUR horses | elephants",
    "FOOD": "pizza | sandwich | banana | apple | orange | ice cream",
    "FOODS": "pizza | sandwiches | bananas | apples | oranges | ice cream",
    "TEXT": "2 book | newspaper | letter | map",
    "TEXTS": "2 books | newspapers | letters | a map",
    "INSTRUMENT": "guitar | piano | violin | accordion",
    "GAME": "tennis | soccer | cards | chess",
    "TOY": "2 ball | stick | frisbee",
    "PETS": "a FURRY dog | two FURRY dogs | a TINY kitten | three TINY kittens",
    "DOG": "dog | dogs | puppy",
    "WATCHING": "2 watching | photographing | drawing",
    "GLAD": "happy | excited | pleased",
    "WEAR.he": "shirt | jacket | coat | apron | suit",
    "WEAR.she": "dress | skirt | coat | apron | sweater",
    "WEAR.they": "shirts | jackets | coats | aprons | sweaters",
    "CARRIED.he,she": "umbrella | phone | bag | camera",
    "CARRIED.they": "umbrellas | phones | bags | cameras",
    "FAMILY.he,she": "brother | sister | neighbor",
    "FAMILY.they": "brothers | sisters | neighbors",
    "HAND.he,she": "hand | left hand",
    "HAND.they": "hands",
    "PAW.it,pack": "paws",
    "BOWL.it": "bowl",
    "BOWL.pack": "bowls",
    "TAIL.it": "tail",
    "TAIL.pack": "tails",
    "MOUTH.it": "mouth",
    "MOUTH.pack": "mouths",
}


def parse_rules(lines: Mapping[str, str]) -> Rules:
    """Parses a grammar in the notation of `RULES`; weights become probabilities."""
    rules = {}
    for names, line in lines.items():
        name, dot, kinds = names.partition(".")
        for kind in KINDS if kinds == "*" else kinds.split(","):
            alternatives = [_weighted(text) for text in line.replace("*", kind).split("|")]
            total = sum(weight for weight, _ in alternatives)
            rules[name + dot + kind] = [
                (Fraction(weight, total), symbols) for weight, symbols in alternatives
            ]
    return rules


def _weighted(alternative: str) -> tuple[int, Symbols]:
    """The weight and the symbols of an alternative."""
    first, *rest = alternative.split()
    return (int(first), tuple(rest)) if first.isdigit() else (1, (first, *rest))


class CaptionGrammar:
    """The exact distribution of the sentences of a grammar.

    Args:
        lines: the grammar in the notation of `RULES`; every sentence derives from `CAPTION`.
    """

    full_support = False

    def __init__(self, lines: Mapping[str, str] = RULES) -> None:
        self.automaton = compile_rules(parse_rules(lines), "CAPTION")
        self.vocabulary = Vocabulary(self.automaton.words)
        self.max_length = self.automaton.max_length
        # All arcs lie in one row, sorted by state and id, so that a binary search handles a batch.
        # `log_prob` searches `_keys` for an arc by state and id. `sample` searches `_bounds`: the
        # state plus a uniform number falls between the bounds of the drawn arc.
        ids = {word: index for index, word in enumerate((*self.vocabulary.words, END))}
        keys, bounds, log_probs, targets = [], [], [], []
        for state, arcs in enumerate(self.automaton.arcs):
            bound = Fraction(state)
            for word in sorted(arcs, key=ids.__getitem__):
                probability, target = arcs[word]
                bound += probability
                keys.append(state * self.vocabulary.size + ids[word])
                bounds.append(float(bound))
                log_probs.append(math.log(probability))
                targets.append(target)
        self._keys = torch.tensor(keys)
        self._bounds = torch.tensor(bounds, dtype=torch.float64)
        self._log_probs = torch.tensor(log_probs, dtype=torch.float64)
        self._targets = torch.tensor(targets)

    def entropy(self) -> float:
        """H(p), nats per sequence: a sum over the automaton's states."""
        return self.automaton.entropy

    def log_prob(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """log p(sequence), nats per sequence; -inf unless it is a sentence followed by eos."""
        states = torch.full((len(sequences),), self.automaton.start)
        total = torch.zeros(len(sequences), dtype=torch.float64)
        for tokens, real in zip(sequences.tokens.cpu().T, sequences.mask.cpu().T, strict=True):
            keys = states * self.vocabulary.size + tokens
            arcs = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
            steps = torch.where(self._keys[arcs] == keys, self._log_probs[arcs], -torch.inf)
            total += torch.where(real, steps, 0.0)
            # After a wrong token the state is arbitrary; the total stays -inf anyway.
            states = torch.where(real, self._targets[arcs], states)
        return total.masked_fill(states != 0, -torch.inf).float().to(sequences.tokens.device)

    def sample(self, n: int, rng: torch.Generator) -> Sequences:
        """Draws n independent sentences, padded with `vocabulary.pad_id`."""
        tokens = torch.full((n, self.max_length), self.vocabulary.pad_id)
        states = torch.full((n,), self.automaton.start)
        for step in range(self.max_length):
            rows = (states != 0).nonzero()[:, 0]
            # The 64-bit sum of a state and a 32-bit uniform number is exact, so it never rounds up
            # to the next state.
            uniform = torch.rand(len(rows), generator=rng)
            arcs = torch.searchsorted(self._bounds, states[rows] + uniform.double(), right=True)
            tokens[rows, step] = self._keys[arcs] % self.vocabulary.size
            states[rows] = self._targets[arcs]
        return Sequences(tokens, tokens != self.vocabulary.pad_id, vocabulary=self.vocabulary)

    def grammatical(self, texts: Sequence[str]) -> list[bool]:
        """True for each text, words separated by spaces, that is a sentence of the grammar."""
        return [self.automaton.accepts(text.split()) for text in texts]


@dataclass(frozen=True)
class CaptionsConfig:
    """Settings of the caption task: the number of captions in each split, and the seed.

    Raises:
        ConfigurationError: a field breaks the rule that its comment states.
    """

    kind: Literal["captions"] = "captions"  # image captions from a grammar
    train_size: Size = 5000  # training captions, at least 1
    dev_size: Size = 1000  # captions for early stopping and the like, at least 1
    test_size: Size = 2000  # captions for reported likelihoods, at least 1
    seed: Seed = 0  # seed of the drawn captions, 0 to 2**63 - 1

    def __post_init__(self) -> None:
        check_settings("task", self)

    def build(self, generator: GeneratorConfig) -> FixedTask:
        return captions_task(self)


def captions_task(config: CaptionsConfig) -> FixedTask:
    """Draws the three splits from the grammar independently.

    Each split has a seed of its own, derived from `config.seed`, so that another size of one split
    leaves the other two unchanged.
    """
    grammar = CaptionGrammar()
    sizes: dict[Split, int] = {
        "train": config.train_size,
        "dev": config.dev_size,
        "test": config.test_size,
    }
    seeds = torch.randint(2**62, (3,), generator=torch.Generator().manual_seed(config.seed))
    splits = {
        split: grammar.sample(size, torch.Generator().manual_seed(seed))
        for (split, size), seed in zip(sizes.items(), seeds.tolist(), strict=True)
    }
    return FixedTask(
        vocabulary=grammar.vocabulary,
        max_length=grammar.max_length,
        splits=splits,
        exact=grammar,
        measures={"grammatical": share_of(grammar.grammatical)},
        quality="grammatical",
        description=(
            f"captions, {len(grammar.vocabulary.words)} words, {grammar.max_length} tokens or less,"
            f" {grammar.automaton.num_sentences:.1e} sentences, entropy {grammar.entropy():.3f}"
            f" nats per sentence; {config.train_size} train, {config.dev_size} dev,"
            f" {config.test_size} test"
        ),
    )
