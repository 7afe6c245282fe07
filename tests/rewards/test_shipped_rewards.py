"""The shipped rewards, each by value: by hand, in plain Python, or against another library."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from nltk.translate import bleu_score
from reward_suite import MAX_LENGTH, ROWS, VOCABULARY, RewardConformance, from_rows, seeded
from trainer_states import trainer_state

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.metrics.ngrams import sentence_bleu
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.base import Reward, RewardError, returns
from seqgan.rewards.shipped.controls import ConstantReward, RandomReward
from seqgan.rewards.shipped.length import Length
from seqgan.rewards.shipped.likelihood import Fluency, TrueLikelihood, true_likelihood
from seqgan.rewards.shipped.ngram_table import NgramTable
from seqgan.rewards.shipped.ngrams import NgramPrecision, Repetition, ngram_precision
from seqgan.rewards.shipped.novelty import SpanNovelty, novelty
from seqgan.rewards.shipped.packages import Profanity, Sentiment
from seqgan.rewards.shipped.texts import Lexicon, Regex, Toxicity, lexicon, toxicity
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import FixedTask
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.networks import build_generator
from seqgan.training.presets import captions_preset
from seqgan.training.run_folders import create_run
from seqgan.training.runs import fluency

NAN = math.nan
WIDE = 12


def letters(*texts):
    """Rows of the texts' letters, a to d, each with its eos."""
    return from_rows([[*("abcd".index(letter) for letter in text), 4] for text in texts], WIDE + 1)


def random_letters(rng, num_texts, num_letters=4):
    lengths = rng.integers(WIDE + 1, size=num_texts)
    return ["".join("abcd"[i] for i in rng.integers(num_letters, size=n)) for n in lengths]


def task_of(*texts):
    train = letters(*texts)
    return FixedTask(VOCABULARY, WIDE + 1, {"train": train, "dev": train, "test": train})


def values(reward, sequences):
    return returns(reward, sequences).tolist()


def assert_equal(actual, expected, tolerance=1e-6):
    np.testing.assert_allclose(np.array(actual), np.array(expected), atol=tolerance, rtol=1e-5)


class Shipped(RewardConformance):
    """Conformance, and that texts, not eos, padding or a cut, decide."""

    def test_a_batch_of_nothing(self, reward):
        assert returns(reward, from_rows([])).shape == (0,)


# ------------------------------------------------------------------------- n-gram precision


class TestNgramPrecision(Shipped):
    def make(self):
        return NgramPrecision(from_rows([[0, 1, 2, 4], [3, 3, 3, 4]]), VOCABULARY.size, 2)

    @pytest.mark.parametrize("max_order", [1, 2, 4, 6])
    @pytest.mark.parametrize("seed", range(4))
    def test_equals_nltk(self, seed, max_order):
        rng = np.random.default_rng(seed)
        references = random_letters(rng, 5, num_letters=3)
        hypotheses = [*random_letters(rng, 40), "", "a", "d", references[0]]
        reward = NgramPrecision(letters(*references), VOCABULARY.size, max_order)
        smoothing = bleu_score.SmoothingFunction(epsilon=0.1).method1
        expected = [
            bleu_score.sentence_bleu(
                references, text, (1 / max_order,) * max_order, smoothing_function=smoothing
            )
            for text in hypotheses
        ]
        assert_equal(values(reward, letters(*hypotheses)), expected)
        assert len({round(value, 6) for value in expected}) > 10

    def test_equals_the_metric(self):
        """`eval/bleu_n` is the mean of this reward, where the references are the same."""
        task = captions_task(CaptionsConfig(train_size=50, dev_size=30))
        real = task.real("dev", 30, seeded())
        shuffled = real.tokens[torch.randperm(30, generator=seeded())]
        texts = Sequences(shuffled, shuffled != task.vocabulary.pad_id, vocabulary=task.vocabulary)
        references = [text.split() for text in task.real("train", 50, seeded()).texts]
        expected = sentence_bleu([text.split() for text in texts.texts], references, 4)
        for order in (2, 3, 4):
            reward = ngram_precision(task, max_order=order)
            assert_equal(values(reward, texts), expected[order])

    def test_clipped_counts_and_brevity_by_hand(self):
        """Of "aaab", two a count (the most in one reference) and b: 3/4. Of two pairs "aa", one."""
        references = letters("aab", "abc")
        plain = NgramPrecision(references, VOCABULARY.size, 2, brevity_penalty=False)
        expected = [math.sqrt(3 / 4 * 2 / 3), 1.0, math.sqrt(1 * 0.1), 0.0]
        assert_equal(values(plain, letters("aaab", "ab", "ba", "ddd")), expected)
        brief = NgramPrecision(references, VOCABULARY.size, 2)
        expected[1] *= math.exp(1 - 3 / 2)
        expected[2] *= math.exp(1 - 3 / 2)
        assert_equal(values(brief, letters("aaab", "ab", "ba", "ddd")), expected)

    def test_references_are_drawn_from_training(self):
        task = task_of("ab", "cd")
        assert values(ngram_precision(task, max_order=2), letters("ab", "cd")) == [1, 1]
        drawn = [
            values(ngram_precision(task, 1, 2, seed=seed), letters("ab", "cd"))
            for seed in range(10)
        ]
        assert {tuple(pair) for pair in drawn} == {(1.0, 0.0), (0.0, 1.0)}

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="max_order is 0, but must be at least 1"):
            ngram_precision(task_of("a"), max_order=0)
        with pytest.raises(ValueError, match="num_references is 0, but must be at least 1"):
            ngram_precision(task_of("a"), num_references=0)
        with pytest.raises(
            ValueError, match="ngram_precision has no references, but needs at least one"
        ):
            NgramPrecision(from_rows([]), VOCABULARY.size)


@pytest.mark.parametrize("seed", range(5))
def test_table_finds_what_is_there(seed):
    rng = np.random.default_rng(seed)
    known, sought = random_letters(rng, 6, 3), random_letters(rng, 15)
    table = NgramTable.of_sequences([letters(*known[:2]), letters(*known[2:])], VOCABULARY.size, 5)
    words = torch.tensor(["abcd".index(letter) for letter in "".join(sought)], dtype=torch.long)
    lengths = torch.tensor([len(text) for text in sought])
    for order, (texts, numbers) in enumerate(table.find(words, lengths), start=1):
        pieces = [
            (row, text[start : start + order])
            for row, text in enumerate(sought)
            for start in range(len(text) - order + 1)
            if any(text[start : start + order] in line for line in known)
        ]
        assert texts.tolist() == [row for row, _ in pieces]
        # Equal numbers are equal n-grams, and each knows how often one text has it.
        names = dict(zip(numbers.tolist(), (piece for _, piece in pieces), strict=True))
        assert [names[number] for number in numbers.tolist()] == [piece for _, piece in pieces]
        assert len(set(names.values())) == len(names)
        for number, piece in names.items():
            starts = range(WIDE)
            most = max(sum(line.startswith(piece, start) for start in starts) for line in known)
            assert int(table.most[order - 1][number]) == most


# ------------------------------------------------------------------------------- repetition


class TestRepetition(Shipped):
    def make(self):
        return Repetition(ngram_size=1, max_penalty=-2.0)

    def test_by_hand(self, reward):
        # Of abcda one letter of five repeats; of "bb" one of two.
        assert_equal(values(reward, from_rows(ROWS)), [-0.4, 0, -1.0, 0, -0.4])

    @pytest.mark.parametrize("ngram_size", [1, 2, 3, 5])
    def test_equals_the_definition(self, ngram_size):
        texts = [*random_letters(np.random.default_rng(0), 40, 2), "", "a" * WIDE, "ababab"]
        expected = []
        for text in texts:
            grams = [text[i : i + ngram_size] for i in range(len(text) - ngram_size + 1)]
            expected.append(-0.5 * (1 - len(set(grams)) / len(grams)) if grams else 0.0)
        assert_equal(values(Repetition(ngram_size, -0.5), letters(*texts)), expected)
        assert min(expected) < -0.25

    @pytest.mark.integration
    def test_equals_trl(self):
        other = pytest.importorskip("trl.rewards.other_rewards").get_repetition_penalty_reward
        texts = random_letters(np.random.default_rng(1), 40, 2)
        ids = [["abcd".index(letter) for letter in text] for text in texts]
        assert_equal(values(Repetition(2, -3.0), letters(*texts)), other(2, -3.0)(ids))

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="ngram_size is 0, but must be at least 1"):
            Repetition(0)
        with pytest.raises(ValueError, match=r"max_penalty is 0\.5, but must be at most 0"):
            Repetition(3, 0.5)


# ----------------------------------------------------------------------------------- length


class TestLength(Shipped):
    def make(self):
        return Length(4, tolerance=1)

    def test_by_hand(self, reward):
        texts = letters("", "a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaa", "aaaaaaaaa")
        linear = [-0.75, -0.5, -0.25, 0, 0, 0, -0.25, -1]
        assert_equal(values(reward, texts), linear)
        squared = Length(4, tolerance=1, falloff="squared")
        assert_equal(values(squared, texts), [-(value**2) for value in linear])
        exact = Length(4)
        assert_equal(values(exact, texts), [-1, -0.75, -0.5, -0.25, 0, -0.25, -0.5, -1.25])

    def test_eos_is_no_word(self):
        assert values(Length(2), from_rows([[0, 1, 4], [0, 1]])) == [0, 0]
        without_eos = Sequences.from_rows(
            [[0, 1, 2]], Vocabulary(("a", "b", "c"), has_eos=False), 4
        )
        assert values(Length(2), without_eos) == [-0.5]

    def test_what_is_refused(self):
        for arguments, rule in [
            ((0,), "target is 0, but must be at least 1"),
            ((3, -1), "tolerance is -1, but must be at least 0"),
            ((3, 0, "cubic"), "length's falloff is 'cubic', but must be linear or squared"),
        ]:
            with pytest.raises(ValueError, match=rule):
                Length(*arguments)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (
            lambda: ConstantReward(math.nan),
            "constant's value is nan, but must be from -1e.12 to 1e.12",
        ),
        (lambda: ConstantReward(3e38), "constant's value is 3e[+]38, but must be from"),
        (lambda: RandomReward(-1), "random's seed is .*, but must be from 0 to 2"),
        (lambda: RandomReward(2**64), "random's seed is .*, but must be from 0 to 2"),
        (lambda: Repetition(3, math.nan), "repetition's max_penalty is nan, but must be at most 0"),
        (lambda: Toxicity(["bad"], -math.inf), "toxicity's penalty is -inf, but must be at most 0"),
        (lambda: Lexicon({"good": math.nan}), "the weight of 'good' is nan, but must be from"),
        (
            lambda: Length(2**64),
            "length's target is 18446744073709551616, but must be at least 1 and at most 2",
        ),
    ],
)
def test_a_reward_of_a_number_that_freezes_a_run_is_refused(make, rule):
    with pytest.raises(ConfigurationError, match=rule):
        make()


# ------------------------------------------------------------------------------------ texts

SPOKEN = Vocabulary(("good", "bad", "dog", ",", "don't", "Fine"))


def spoken(*texts):
    rows = [[*SPOKEN.encode(text.split()), SPOKEN.eos_id] for text in texts]
    return Sequences.from_rows(rows, SPOKEN, 6)


class TestRegex(Shipped):
    def make(self):
        return Regex("^a|c$")

    def test_by_hand(self, reward):
        assert values(reward, from_rows(ROWS)) == [1, 0, 0, 0, 1]  # "a b c d a" ends with a
        assert values(Regex("a b"), from_rows(ROWS)) == [1, 0, 0, 1, 1]
        assert values(Regex("c a b", "fullmatch"), from_rows(ROWS)) == [0, 0, 0, 1, 0]
        assert values(Regex("(?i)FINE"), spoken("Fine", "dog")) == [1, 0]
        assert values(Regex("", "fullmatch"), from_rows(ROWS)) == [0, 1, 0, 0, 0]

    def test_what_is_refused(self):
        with pytest.raises(
            ValueError, match=r"regex's pattern '\(a' is no regular expression: missing \)"
        ):
            Regex("(a")
        with pytest.raises(
            ValueError, match="regex's where is 'match', but must be search or fullmatch"
        ):
            Regex("a", "match")


class TestLexicon(Shipped):
    def make(self):
        return Lexicon({"A": 1.0, "d": -2.0})

    def test_by_hand(self, reward):
        assert_equal(values(reward, from_rows(ROWS)), [0.0, NAN, -2.0, 1 / 3, -1 / 5])
        summed = Lexicon({"A": 1.0, "d": -2.0}, "sum")
        assert_equal(values(summed, from_rows(ROWS)), [0, 0, -4, 1, -1])

    def test_words_are_the_tasks(self):
        texts = spoken("good dog", "Fine , don't", "bad")
        reward = lexicon(words={"fine": 6.0, "good": 1.0, "don't": 3.0, ",": 0.5})
        assert_equal(values(reward, texts), [0.5, 9.5 / 3, 0])
        assert_equal(values(lexicon(words=["bad", "dog"]), texts), [0.5, 0, 1])

    def test_a_word_is_one_word_however_it_is_spelt(self, tmp_path):
        path = tmp_path / "words.txt"
        path.write_text("\ufeffe\u0301te\u0301\t2\n\u0939\u093f\t3\n\u0130\t5\n", encoding="utf-8")
        texts = ["\u00c9t\u00e9", "\u0939\u093f \u0939", "i\u0307"]
        assert lexicon(path=str(path), reduction="sum").judge(texts) == [2, 3, 5]

    def test_reads_a_file(self, tmp_path):
        path = tmp_path / "words.txt"
        path.write_text("good\t2.5\n\nbad\t-1\ndog\n", encoding="utf-8")
        expected = [3.5, -1, 0]
        reward = lexicon(path=str(path), reduction="sum")
        assert_equal(values(reward, spoken("good dog", "bad", "Fine")), expected)

    def test_what_is_refused(self, tmp_path):
        path = tmp_path / "words.txt"
        path.write_text("good\tvery\n", encoding="utf-8")
        for arguments, rule in [
            ({}, ", but it takes one of them"),
            ({"words": ["a"], "path": "b"}, ", but it takes one of them"),
            ({"words": "good"}, "lexicon's words are 'good', but must be a mapping or a list"),
            (
                {"words": ["ice cream"]},
                (
                    "the word list has 'ice cream', but each must be one word without"
                    " spaces or hyphens"
                ),
            ),
            (
                {"words": ["good"], "reduction": "max"},
                "lexicon's reduction is 'max', but must be mean or sum",
            ),
            ({"path": str(path)}, r"words.txt, line 1 is 'good\\tvery', but must be"),
            ({"path": str(tmp_path / "none.txt")}, "cannot read the word list"),
        ]:
            with pytest.raises(ValueError, match=rule):
                lexicon(**arguments)


class TestToxicity(Shipped):
    def make(self):
        return Toxicity(["B"], penalty=-3.0)

    def test_by_hand(self, reward):
        assert values(reward, from_rows(ROWS)) == [-3, 0, 0, -3, -3]

    def test_reads_a_file(self, tmp_path):
        path = tmp_path / "words.txt"
        path.write_text("bad\t0.2\ndog\n", encoding="utf-8")
        reward = toxicity(str(path))
        assert values(reward, spoken("good dog", "Fine", "bad dog", "")) == [-1, 0, -1, 0]

    def test_what_is_refused(self, tmp_path):
        path = tmp_path / "empty.txt"
        path.write_text("\n", encoding="utf-8")
        with pytest.raises(
            ValueError, match="the word list is empty, but must have at least one word"
        ):
            toxicity(str(path))
        with pytest.raises(ValueError, match=r"penalty is 1\.0, but must be at most 0"):
            Toxicity(["bad"], 1.0)


@pytest.mark.integration
class TestSentiment(Shipped):
    def make(self):
        pytest.importorskip("vaderSentiment")
        return Sentiment()

    def test_by_hand(self, reward):
        """VADER's `good` has valence 1.9 and `bad` -2.5: v / sqrt(v^2 + 15)."""
        good, bad = (v / math.sqrt(v * v + 15) for v in (1.9, -2.5))
        assert_equal(values(reward, spoken("good", "bad dog", "dog", "")), [good, bad, 0, 0], 1e-4)


@pytest.mark.integration
class TestProfanity(Shipped):
    def make(self):
        pytest.importorskip("profanity_check")
        return Profanity()

    def test_order(self, reward):
        insult = Vocabulary(("you", "are", "an", "idiot", "artist"))
        rows = [[0, 1, 2, 3, 5], [0, 1, 2, 4, 5]]
        rude, kind = values(reward, Sequences.from_rows(rows, insult, 5))
        assert -1 <= rude < -0.5 < kind <= 0


@pytest.mark.parametrize(
    ("reward", "module", "package"),
    [
        (Sentiment, "vaderSentiment.vaderSentiment", "vaderSentiment"),
        (Profanity, "profanity_check", "alt-profanity-check"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, reward, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    rule = rf"the package {package} is missing, which it needs: pip install 'seqgan\[rewards\]'"
    with pytest.raises(RewardError, match=rule) as caught:
        reward()
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------- likelihood


class Truth:
    """A true model that never starts with d."""

    full_support = False

    def __init__(self):
        self.generator = toys.TableGenerator(VOCABULARY, seed=3, max_length=MAX_LENGTH)

    def log_prob(self, sequences):
        log_probs = toys.token_log_softmax(self.generator, sequences).sum(dim=1).detach()
        return torch.where(sequences.tokens[:, 0] == 3, -math.inf, log_probs)

    def sample(self, n, rng):
        raise NotImplementedError

    def entropy(self):
        raise NotImplementedError


class TestFluency(Shipped):
    def make(self):
        return Fluency(toys.TableGenerator(VOCABULARY, seed=3, max_length=MAX_LENGTH))

    def test_nats_per_token(self, reward):
        generator, sequences = reward.generator, from_rows(ROWS)
        before = generator.logits.clone()
        scores = reward.score(sequences)
        expected = toys.token_log_softmax(generator, sequences).sum(dim=1).detach().numpy()
        assert_equal(scores.tolist(), expected / [5, 1, 3, 4, 5])
        assert not scores.requires_grad
        assert torch.equal(generator.logits, before)
        assert generator.logits.grad is None

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory):
        """A run's folder with two generators, as training leaves it."""
        config = replace(
            captions_preset(),
            task=CaptionsConfig(train_size=20, dev_size=20, test_size=20),
            output=str(tmp_path_factory.mktemp("runs") / "run"),
        )
        task = config.task.build(config.generator)
        folder = create_run(config, task)
        generators = [build_generator(config, task.vocabulary, seeded(seed)) for seed in (0, 1)]
        state = dict(zip(("generator", "pretrained"), generators, strict=True))
        players = {
            "generator": generators[0].state_dict(),
            "reference": generators[1].state_dict(),
        }
        save_checkpoint(folder.checkpoints, 1, trainer_state(players), 1)
        return task, folder.path, state

    def test_of_a_run(self, run):
        task, path, generators = run
        real = task.real("test", 7, seeded())
        scores = {}
        for which, generator in generators.items():
            expected = sequence_log_probs(generator, real) / real.lengths
            scores[which] = values(fluency(task, str(path), which == "pretrained"), real)
            assert_equal(scores[which], expected.tolist())
        assert scores["generator"] != scores["pretrained"]

    def test_what_is_refused(self, run, tmp_path):
        task, path, _ = run
        with pytest.raises(
            ValueError,
            match=r" words\) than the task \(4 words\), but fluency needs a run with the same",
        ):
            fluency(task_of("a"), str(path))
        with pytest.raises(ValueError, match="is no run: it has no config"):
            fluency(task, str(tmp_path))


class TestTrueLikelihood(Shipped):
    def make(self):
        return TrueLikelihood(Truth(), floor=-1.5)

    def test_nats_per_token(self, reward):
        sequences = from_rows(ROWS)
        rates = (Truth().log_prob(sequences) / sequences.lengths).tolist()
        assert rates[2] == -math.inf
        assert_equal(values(reward, sequences), [max(rate, -1.5) for rate in rates])
        assert max(rates) > -1.5

    def test_of_a_task(self):
        task = captions_task(CaptionsConfig(train_size=20, dev_size=20, test_size=20))
        real = task.real("test", 7, seeded())
        expected = (task.exact.log_prob(real) / real.lengths).tolist()
        assert_equal(values(true_likelihood(task), real), expected)
        backwards = real.tokens.flip(1)
        wrong = replace(real, tokens=backwards, mask=backwards != task.vocabulary.pad_id)
        assert min(values(true_likelihood(task, floor=-3.0), wrong)) == -3

    def test_what_is_refused(self):
        with pytest.raises(
            ValueError, match="the task has no known distribution, which true_likelihood needs"
        ):
            true_likelihood(task_of("a"))
        with pytest.raises(ValueError, match=r"floor is 0\.0, but must be below 0 and finite"):
            TrueLikelihood(Truth(), 0.0)


# ---------------------------------------------------------------------------------- novelty


def longest_copied(text, lines):
    spans = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    return max((len(span) for span in spans if any(span in line for line in lines)), default=0)


class TestSpanNovelty(Shipped):
    def make(self):
        return novelty(task_of("abcd", "ddd"))

    def test_by_hand(self, reward):
        # "abcda" has "abcd" of five letters, "dd" is all copied, "cab" has "ab".
        assert_equal(values(reward, from_rows(ROWS)), [1 / 5, NAN, 0, 1 / 3, 1 / 5])

    @pytest.mark.parametrize("seed", range(4))
    def test_equals_the_definition(self, seed):
        rng = np.random.default_rng(seed)
        lines = [text for text in random_letters(rng, 8, 3) if text]
        texts = [*random_letters(rng, 40), lines[0], lines[0][1:]]
        expected = [1 - longest_copied(t, lines) / len(t) if t else NAN for t in texts]
        assert_equal(values(novelty(task_of(*lines)), letters(*texts)), expected)

    def test_reads_all_chunks(self):
        parts = [letters("ab"), letters("cd")]
        reward = SpanNovelty(NgramTable.of_sequences(iter(parts), VOCABULARY.size, 3))
        # "bc" goes over from one text to the next.
        assert_equal(values(reward, letters("ab", "cd", "bc")), [0, 0, 0.5])


class TestNgramNovelty(Shipped):
    def make(self):
        return novelty(task_of("abcd", "ddd"), "ngrams", ngram_size=2)

    def test_by_hand(self, reward):
        # Of the pairs ab bc cd da the last is new; of "cab" the first; db of "abcdb".
        assert_equal(values(reward, from_rows(ROWS)), [1 / 4, NAN, 0, 1 / 2, 1 / 4])

    def test_a_short_text_is_an_ngram(self):
        reward = novelty(task_of("abcd"), "ngrams", ngram_size=3)
        assert_equal(values(reward, letters("a", "bc", "ba", "abd", "bcd")), [0, 0, 1, 1, 0])


class TestTextNovelty(Shipped):
    def make(self):
        return novelty(task_of("cab", "dda"), "text")

    def test_by_hand(self, reward):
        assert values(reward, from_rows(ROWS)) == [1, 1, 1, 0, 1]

    def test_a_text_is_a_copy_with_and_without_its_end(self, reward):
        assert values(reward, from_rows([[2, 0, 1], [2, 0], [2, 0, 1, 2]])) == [0, 1, 1]


def test_what_novelty_refuses():
    with pytest.raises(
        ValueError, match="novelty's measure is 'words', but must be span, ngrams or text"
    ):
        novelty(task_of("a"), "words")
    with pytest.raises(ValueError, match="ngram_size is 0, but must be at least 1"):
        novelty(task_of("a"), "ngrams", ngram_size=0)


def test_cut_and_padded_texts_score_alike():
    """With an eos, without one (a text of full length), and whatever padding holds."""
    task = task_of("abcd", "cab")
    rewards: list[Reward] = [
        ngram_precision(task),
        Repetition(1),
        Length(2),
        *(novelty(task, measure) for measure in ("span", "ngrams", "text")),
    ]
    ended = from_rows([[0, 1, 1, 4], [2, 0, 1, 4]], 4)
    cut = from_rows([[0, 1, 1], [2, 0, 1]], 3)
    dirty = Sequences(
        torch.cat([ended.tokens, torch.full((2, 2), 3)], dim=1),
        torch.cat([ended.mask, torch.zeros(2, 2).bool()], dim=1),
        vocabulary=VOCABULARY,
    )
    for reward in rewards:
        assert values(reward, cut) == values(reward, ended) == values(reward, dirty)
