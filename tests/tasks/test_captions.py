"""The caption grammar: exact probabilities against hand computation, and what agreement forbids."""

import math
from fractions import Fraction
from functools import cache
from itertools import pairwise

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.tasks.automaton import Symbols, compile_rules
from seqgan.tasks.base import ExactDistribution
from seqgan.tasks.captions import (
    RULES,
    CaptionGrammar,
    CaptionsConfig,
    captions_task,
    parse_rules,
)

# Ambiguous on purpose: "old" has two derivations, and "runs" agrees with both kinds.
SMALL = {
    "CAPTION": "2 LINE.he | LINE.they | a old dog",
    "LINE.*": "a SIZE dog RUNS.*",
    "SIZE": "2 | old | OLD",
    "OLD": "old | tall",
    "RUNS.he": "runs",
    "RUNS.it,they": "run | runs",
    "RUNS.she,pack": "1",
}

# By hand: no size 1/2, old 1/4 + 1/4 * 1/2, tall 1/4 * 1/2; runs 2/4 + 1/4 * 1/2, run 1/4 * 1/2.
SMALL_PROBABILITIES = {
    "an old dog": Fraction(16, 64),
    "a dog runs": Fraction(20, 64),
    "a dog run": Fraction(4, 64),
    "an old dog runs": Fraction(15, 64),
    "an old dog run": Fraction(3, 64),
    "a tall dog runs": Fraction(5, 64),
    "a tall dog run": Fraction(1, 64),
}

GRAMMATICAL = [
    "a dog is licking its paws .",
    "an old dog that sits near the red cars is licking its paws .",
    "the dogs that sit near an old tree are washing themselves .",
    "a woman who two girls are photographing is holding her umbrella in her left hand .",
    "a man who has two small dogs is taking a picture of himself .",
    "in an empty street , two tourists are playing the accordion for their neighbors .",
    "the girl is riding an elephant along the river while some tourists are watching her .",
    "three boys seem happy because they are riding their orange bikes down the street .",
    "there is a lady in front of an old church who is eating an ice cream with her sister .",
    "there are some kittens under an old bridge that are drinking water from their bowls .",
]

UNGRAMMATICAL = [
    ("number of the verb", "the dogs that sit near an old tree is washing themselves ."),
    (
        "number in the relative clause",
        "the dogs that sits near an old tree are licking their paws .",
    ),
    ("number of the noun", "two dog are licking their paws ."),
    ("number of the possessive", "the dogs near an old tree are licking its paws ."),
    ("number of what is owned", "a dog is chasing its tails ."),
    ("number of the pronoun", "three boys seem happy because he is riding a bike on the beach ."),
    ("number of have", "a man who have two dogs is taking a picture of himself ."),
    ("gender of the possessive", "a woman is holding her umbrella in his hand ."),
    ("gender of the reflexive", "a man near the red cars is taking a picture of herself ."),
    ("gender of the object", "the girl is eating a banana while the man is watching him ."),
    ("gender of the subject", "a woman looks happy because he is reading a book ."),
    ("a before a vowel", "a old dog is licking its paws ."),
    ("an before a consonant", "an dog is licking its paws ."),
    ("an kept from an earlier word", "an small old dog is licking its paws ."),
    ("who reads", "a dog is reading a book ."),
    ("who licks", "a man is licking his paws ."),
    ("who and that", "a man that stands near a bench is reading a book ."),
    ("what is ridden", "a man is riding a banana along the river ."),
    ("no period", "a dog is licking its paws"),
    ("two periods", "a dog is licking its paws . ."),
    ("no verb", "a dog licking its paws ."),
    ("word order", "a dog licking is its paws ."),
    ("no subject", "is licking its paws ."),
    ("an unknown word", "a zebra is licking its paws ."),
    ("a symbol", "a dog is licking its PAW.it ."),
    ("the end mark as a word", "a dog is licking its paws . <end>"),
    ("nothing", ""),
]


@pytest.fixture(scope="module")
def grammar() -> CaptionGrammar:
    return CaptionGrammar()


@pytest.fixture(scope="module")
def samples(grammar: CaptionGrammar) -> Sequences:
    return grammar.sample(5000, torch.Generator().manual_seed(1))


def encode(grammar: CaptionGrammar, *texts: str) -> Sequences:
    vocabulary = grammar.vocabulary
    rows = [[*vocabulary.encode(text.split()), vocabulary.eos_id] for text in texts]
    return Sequences.from_rows(rows, vocabulary, max(map(len, rows)))


def inside(lines: dict[str, str], sentence: str) -> Fraction:
    """The probability of a sentence by parsing it: the sum over all derivations, top down."""
    rules = parse_rules(lines)
    words = sentence.split()
    # Read "an" as the word "a" where the next word has a vowel, and nowhere else.
    for index, (word, following) in enumerate(pairwise(words)):
        if word in ("a", "an"):
            words[index] = "a" if (word == "an") == (following[0] in "aeiou") else "wrong article"

    @cache
    def derives(form: Symbols, start: int) -> Fraction:
        if not form:
            return Fraction(start == len(words))
        if form[0] in rules:
            return sum(
                (weight * derives(body + form[1:], start) for weight, body in rules[form[0]]),
                Fraction(0),
            )
        if start == len(words) or words[start] != form[0]:
            return Fraction(0)
        return derives(form[1:], start + 1)

    return derives(("CAPTION",), 0)


def test_a_small_grammar_has_the_probabilities_computed_by_hand() -> None:
    grammar = CaptionGrammar(SMALL)
    assert grammar.vocabulary.words == ("a", "an", "dog", "old", "run", "runs", "tall")
    assert grammar.automaton.num_sentences == len(SMALL_PROBABILITIES)
    assert grammar.max_length == 5
    log_probs = grammar.log_prob(encode(grammar, *SMALL_PROBABILITIES))
    expected = torch.tensor([float(p) for p in SMALL_PROBABILITIES.values()])
    torch.testing.assert_close(log_probs.exp(), expected)
    assert {text: inside(SMALL, text) for text in SMALL_PROBABILITIES} == SMALL_PROBABILITIES


def test_every_other_row_of_the_small_grammar_is_impossible() -> None:
    grammar = CaptionGrammar(SMALL)
    size = grammar.vocabulary.size  # specials included
    for length in range(1, 5):
        tokens = torch.cartesian_prod(*[torch.arange(size)] * length).reshape(-1, length)
        log_probs = grammar.log_prob(Sequences(tokens, torch.ones_like(tokens, dtype=torch.bool)))
        ended = tokens[:, -1] == grammar.vocabulary.eos_id
        texts = [grammar.vocabulary.decode(row) for row in tokens.tolist()]
        for text, end, value in zip(texts, ended.tolist(), log_probs.tolist(), strict=True):
            complete = end and len(text.split()) == length - 1
            probability = SMALL_PROBABILITIES.get(text, Fraction(0)) if complete else Fraction(0)
            assert math.exp(value) == pytest.approx(float(probability), rel=1e-5)


def test_entropy_and_lengths_of_the_small_grammar() -> None:
    grammar = CaptionGrammar(SMALL)
    probabilities = {text: float(p) for text, p in SMALL_PROBABILITIES.items()}
    entropy = -sum(p * math.log(p) for p in probabilities.values())
    assert grammar.entropy() == pytest.approx(entropy, rel=1e-12)
    mean = sum(p * (len(text.split()) + 1) for text, p in probabilities.items())
    assert grammar.automaton.mean_length == pytest.approx(mean, rel=1e-12)


def test_the_small_grammar_is_sampled_by_its_probabilities() -> None:
    grammar = CaptionGrammar(SMALL)
    n = 6400
    texts = grammar.sample(n, torch.Generator().manual_seed(0)).texts
    assert set(texts) <= set(SMALL_PROBABILITIES)
    chi_square = sum(
        (texts.count(text) - n * float(p)) ** 2 / (n * float(p))
        for text, p in SMALL_PROBABILITIES.items()
    )
    assert chi_square < 22.46  # 6 degrees of freedom, one in a thousand


def test_states_of_equal_future_are_shared() -> None:
    twins = {"CAPTION": "red WHAT | blue WHAT | green car", "WHAT": "car | boat"}
    automaton = CaptionGrammar(twins).automaton
    # The start; after red or blue; after green; before the end; after the end.
    assert len(automaton.arcs) == 5


def test_a_recursive_grammar_is_refused() -> None:
    rules = parse_rules({"CAPTION": "dog | big CAPTION"})
    with pytest.raises(RecursionError):
        compile_rules(rules, "CAPTION")


def test_the_automaton_is_a_distribution_in_every_state(grammar: CaptionGrammar) -> None:
    final, *others = grammar.automaton.arcs
    assert not final
    for state, arcs in enumerate(others, start=1):
        assert sum(arc.probability for arc in arcs.values()) == 1
        assert all(arc.probability > 0 and arc.target < state for arc in arcs.values())


def test_probabilities_are_sums_over_derivations(
    grammar: CaptionGrammar, samples: Sequences
) -> None:
    texts = samples.texts[:40]
    expected = torch.tensor([math.log(inside(dict(RULES), text)) for text in texts])
    torch.testing.assert_close(grammar.log_prob(samples)[:40], expected)


def test_the_entropy_is_the_mean_surprise_of_samples(
    grammar: CaptionGrammar, samples: Sequences
) -> None:
    surprise = -grammar.log_prob(samples).double()
    error = float(surprise.std()) / math.sqrt(len(samples))
    assert abs(float(surprise.mean()) - grammar.entropy()) < 4 * error
    assert error < 0.05  # small enough for the line above to fail


def test_samples_are_sentences_and_padding_follows(
    grammar: CaptionGrammar, samples: Sequences
) -> None:
    assert torch.isfinite(grammar.log_prob(samples)).all()
    assert all(grammar.grammatical(samples.texts))
    ends = samples.tokens.gather(1, samples.lengths[:, None] - 1)[:, 0]
    assert (ends == grammar.vocabulary.eos_id).all()
    assert ((samples.tokens == grammar.vocabulary.pad_id) == ~samples.mask).all()
    assert (samples.mask[:, 1:] <= samples.mask[:, :-1]).all()


def test_the_longest_sentence_has_max_length(grammar: CaptionGrammar, samples: Sequences) -> None:
    longest = (
        "there are three elderly tourists in front of an old church who are playing the accordion"
        " for their neighbors ."
    )
    assert grammar.grammatical([longest]) == [True]
    assert samples.tokens.shape[1] == grammar.max_length
    assert int(samples.lengths.max()) == grammar.max_length == 22
    error = float(samples.lengths.double().std()) / math.sqrt(len(samples))
    mean = float(samples.lengths.double().mean())
    assert abs(mean - grammar.automaton.mean_length) < 4 * error


@pytest.mark.parametrize("text", GRAMMATICAL)
def test_grammatical(grammar: CaptionGrammar, text: str) -> None:
    assert grammar.grammatical([text]) == [True]
    assert torch.isfinite(grammar.log_prob(encode(grammar, text))).all()


@pytest.mark.parametrize(("rule", "text"), UNGRAMMATICAL, ids=[rule for rule, _ in UNGRAMMATICAL])
def test_ungrammatical(grammar: CaptionGrammar, rule: str, text: str) -> None:
    assert grammar.grammatical([text]) == [False]
    if set(text.split()) <= set(grammar.vocabulary.words):
        assert grammar.log_prob(encode(grammar, text)).tolist() == [-torch.inf]


def test_a_sentence_without_its_end_or_with_more_behind_it_is_impossible(
    grammar: CaptionGrammar,
) -> None:
    vocabulary = grammar.vocabulary
    row = vocabulary.encode(GRAMMATICAL[0].split())
    eos, bos = vocabulary.eos_id, vocabulary.bos_id
    rows = [row, row[:-1], [*row, eos, eos], [*row, eos, *row, eos], [bos, *row, eos], [eos]]
    sequences = Sequences.from_rows(rows, vocabulary, 20)
    assert grammar.log_prob(sequences).tolist() == [-torch.inf] * len(rows)
    empty = Sequences(torch.zeros((2, 0), dtype=torch.long), torch.zeros((2, 0), dtype=torch.bool))
    assert grammar.log_prob(empty).tolist() == [-torch.inf] * 2


def test_padding_columns_change_nothing(grammar: CaptionGrammar, samples: Sequences) -> None:
    few = samples.select(torch.arange(50))
    # Whatever stands in the padding: here a word.
    tokens = torch.cat([few.tokens.masked_fill(~few.mask, 3), torch.full((50, 4), 3)], dim=1)
    mask = torch.cat([few.mask, torch.zeros(50, 4, dtype=torch.bool)], dim=1)
    assert torch.equal(grammar.log_prob(Sequences(tokens, mask)), grammar.log_prob(few))


def test_the_vocabulary_is_what_the_rules_can_say(grammar: CaptionGrammar) -> None:
    rules = parse_rules(RULES)
    reached, waiting = set(), ["CAPTION"]
    while waiting:
        symbol = waiting.pop()
        if symbol not in reached:
            reached.add(symbol)
            waiting += [part for _, body in rules.get(symbol, []) for part in body]
    assert set(rules) <= reached
    assert set(grammar.vocabulary.words) == (reached - set(rules)) | {"an"}
    assert 100 <= len(grammar.vocabulary.words) <= 300
    assert all(word == word.lower() for word in grammar.vocabulary.words)


def test_the_splits_are_different_draws_and_follow_the_seed() -> None:
    config = CaptionsConfig(train_size=50, dev_size=40, test_size=30)
    task, again = captions_task(config), captions_task(config)
    assert [task.size(split) for split in ("train", "dev", "test")] == [50, 40, 30]
    for split, sequences in task.splits.items():
        assert torch.equal(sequences.tokens, again.splits[split].tokens)
    texts = {split: sequences.texts for split, sequences in task.splits.items()}
    assert texts["train"][:30] != texts["dev"][:30]
    assert texts["train"][:30] != texts["test"]
    assert texts["dev"][:30] != texts["test"]
    other = captions_task(CaptionsConfig(train_size=50, dev_size=40, test_size=30, seed=1))
    assert all(other.splits[split].texts != texts[split] for split in texts)
    larger = captions_task(CaptionsConfig(train_size=60, dev_size=40, test_size=30))
    assert larger.splits["dev"].texts == texts["dev"]
    assert larger.splits["test"].texts == texts["test"]


def test_the_task_says_what_is_known() -> None:
    task = captions_task(CaptionsConfig(train_size=5, dev_size=4, test_size=3))
    assert isinstance(task.exact, ExactDistribution)
    assert task.exact.full_support is False
    assert task.quality == "grammatical"
    rows = [task.vocabulary.encode(text.split()) for text in ("a dog is running .", GRAMMATICAL[0])]
    texts = Sequences.from_rows(rows, task.vocabulary, task.max_length)
    assert task.measures["grammatical"].score(texts).tolist() == [0, 1]
    words = len(task.vocabulary.words)
    assert task.description.startswith(f"captions, {words} words, 22 tokens or less, ")
    assert f"entropy {task.exact.entropy():.3f} nats per sentence" in task.description
    assert task.description.endswith("; 5 train, 4 dev, 3 test")
    assert "\n" not in task.description


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_size": 0}, "train_size is 0, but must be at least 1"),
        ({"dev_size": -3}, "dev_size is -3, but must be at least 1"),
        ({"test_size": 0}, "test_size is 0, but must be at least 1"),
        ({"seed": -1}, "seed is -1, but must be from 0 to 2\\*\\*63 - 1"),
    ],
)
def test_a_wrong_field_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaptionsConfig(**fields)
