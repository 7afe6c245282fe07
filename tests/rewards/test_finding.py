"""Rewards by what is written on the command line, and one clear line for what is wrong there."""

import re
import sys

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.finding import SHIPPED, find_reward, find_rewards, spelt_out
from seqgan.rewards.base import returns
from seqgan.rewards.shipped.controls import ConstantReward, RandomReward
from seqgan.tasks.base import FixedTask
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.training.settings import TrainConfig

VOCABULARY = Vocabulary(("a", "b", "c", "d"))
BATCH = Sequences.from_rows([[0, 1, 2, 3, 0], [4], [3, 3, 4]], VOCABULARY, 5)
TASK = FixedTask(VOCABULARY, 5, {"train": BATCH, "dev": BATCH, "test": BATCH})

MINE = '''
import functools
from dataclasses import dataclass

import torch


def length(text):
    return len(text)


def scaled(text, *, scale=1.0, mood="calm"):
    return scale * len(text) + 1000 * (mood == "happy")


def factory(weight, power=1):
    def weighted(texts):
        return [weight * len(text) ** power for text in texts]

    return weighted


def of_the_task(task, sign=1):
    return lambda texts: [sign * task.max_length for text in texts]


@dataclass  # needs its module in sys.modules
class Judge:
    """Like TRL's: an object that is called."""

    weight: float = 2.0

    def __call__(self, completions):
        return [self.weight * len(text) for text in completions]


class Own:
    name = "own"
    per_token = True

    def __init__(self, task, value=1.0):
        self.task, self.value = task, value

    def score(self, sequences):
        return torch.where(sequences.mask, self.value, 0.0)


class Failing:
    def __init__(self, reason="none"):
        raise KeyError(reason)


class Strict:
    def __init__(self, weight):
        raise ValueError(f"weight is {weight}, but must be at least 1")


class Module(torch.nn.Module):
    def forward(self, ids):
        return ids.sum(dim=1).float()


class Holder:
    @staticmethod
    def inner(text):
        return 7


def chat(completions, bonus=0, **kwargs):
    return [len(completion[0]["content"]) + bonus for completion in completions]


def nameless(x, times=1):
    return times * len(x)


def with_messages_of_its_own(text, messages=0):
    return messages


class ChatJudge:
    def __init__(self, bonus=0):
        self.bonus = bonus

    def __call__(self, completions, **kwargs):
        return chat(completions, self.bonus)


instance = Own(None)
number = 3
bound = functools.partial(scaled, scale=3)
shout = lambda text: len(text.upper())
'''


@pytest.fixture(autouse=True)
def folder(own_code):
    """The working directory, with `mine.py`."""
    (own_code / "mine.py").write_text(MINE, encoding="utf-8")
    return own_code


@pytest.mark.parametrize("place", ["mine", "./mine.py", "{folder}/mine.py"])
@pytest.mark.parametrize(
    ("attribute", "name", "scores"),
    [
        ("length", "length", [9, 0, 3]),
        ("scaled", "scaled", [9, 0, 3]),
        ("scaled()", "scaled", [9, 0, 3]),
        ("scaled(scale=2)", "scaled", [18, 0, 6]),
        ("scaled(scale=2, mood='happy')", "scaled", [1018, 1000, 1006]),
        ("bound", "bound", [27, 0, 9]),
        ("chat(messages=True)", "chat", [9, 0, 3]),
        ("chat(messages=True, bonus=1)", "chat", [10, 1, 4]),
        ("chat", "chat", [9, 0, 3]),
        ("nameless(takes='text')", "nameless", [9, 0, 3]),
        ("nameless(takes='text', times=2)", "nameless", [18, 0, 6]),
        ("with_messages_of_its_own(messages=3)", "with_messages_of_its_own", [3, 3, 3]),
        ("ChatJudge(messages=True, bonus=2)", "ChatJudge", [11, 2, 5]),
        ("shout", "shout", [9, 0, 3]),
        ("factory(weight=3)", "weighted", [27, 0, 9]),
        ("factory(weight=1, power=2)", "weighted", [81, 0, 9]),
        ("of_the_task()", "lambda", [5, 5, 5]),
        ("of_the_task(sign=-1)", "lambda", [-5, -5, -5]),
        ("Judge", "Judge", [18, 0, 6]),
        ("Judge(weight=0.5)", "Judge", [4.5, 0, 1.5]),
        ("Judge(0.5)", "Judge", [4.5, 0, 1.5]),
        ("factory(1, 2)", "weighted", [81, 0, 9]),
        ("factory(1, power=2)", "weighted", [81, 0, 9]),
        ("scaled(2, 'happy')", "scaled", [1018, 1000, 1006]),
        ("of_the_task(-1)", "lambda", [-5, -5, -5]),
        ("Own(10)", "own", [50, 10, 30]),
        ("Own", "own", [5, 1, 3]),
        ("Own(value=10)", "own", [50, 10, 30]),
        ("instance", "own", [5, 1, 3]),
        ("Module", "Module", [6, 28, 22]),
        ("Holder.inner", "inner", [7, 7, 7]),
    ],
)
def test_what_is_found(folder, place, attribute, name, scores):
    reward = find_reward(f"{place.format(folder=folder)}:{attribute}", TASK)
    assert reward.name == name
    values = reward.score(BATCH)
    values = values.sum(dim=1) if reward.per_token else values
    assert values.tolist() == scores


def test_a_caller_adds_short_names():
    others = {"shouting": "mine:shout"}
    reward = find_reward("shouting", TASK, others)
    assert (reward.name, reward.score(BATCH).tolist()) == ("shouting", [9, 0, 3])
    with pytest.raises(ValueError, match=r"; did you mean shouting\? .*, shouting, "):
        find_reward("shouting_", TASK, others)
    with pytest.raises(ValueError, match=r"^unknown reward 'shouting' \(short names: "):
        find_reward("shouting", TASK)


def test_the_task_is_passed_on():
    assert find_reward("mine:Own", TASK).task is TASK
    assert find_reward("mine:Own").task is None


def test_the_device_is_passed_on_where_the_reward_has_none(folder):
    (folder / "placed.py").write_text(
        "class Reward:\n"
        "    name, per_token = 'placed', False\n"
        "    def __init__(self, device): self.device = device\n"
        "    def score(self, sequences): return sequences.lengths.float()\n",
        encoding="utf-8",
    )
    (folder / "settled.py").write_text(
        (folder / "placed.py").read_text(encoding="utf-8").replace("device):", "device='cpu'):"),
        encoding="utf-8",
    )
    assert find_reward("placed:Reward", device="meta").device == "meta"
    assert find_reward("placed:Reward(device='cpu')", device="meta").device == "cpu"
    assert find_reward("settled:Reward", device="meta").device == "cpu"


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("models/tone", "classifier('models/tone')"),
        ("./tone", "classifier('./tone')"),
        ("user/name-of.it", "classifier('user/name-of.it')"),
        ("models/tone(label='polite')", "classifier('models/tone', label='polite')"),
        ("models/tone(1, 'probability')", "classifier('models/tone', 1, 'probability')"),
        ("tone", "classifier('tone')"),
        ("sentiment", "sentiment"),
        ("length(3)", "length(3)"),
        ("discriminator", "discriminator"),
        ("unknown", "unknown"),
        ("./mine.py:length", "./mine.py:length"),
        ("./mine.py", "./mine.py"),
        ("regex('a/b')", "regex('a/b')"),
    ],
)
def test_a_folder_or_hub_name_is_a_classifier(folder, written, spec):
    for name in ("tone", "sentiment", "discriminator"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}", encoding="utf-8")
    (folder / "unknown").mkdir()
    assert spelt_out(written) == spec
    assert spelt_out(spec) == spec
    assert TrainConfig(reward=(written,)).reward == (spec,)


def test_the_tasks_vocabulary_decodes():
    bare = Sequences(BATCH.tokens, BATCH.mask)
    assert find_reward("mine:length", TASK).score(bare).tolist() == [9, 0, 3]


def test_shipped_ones():
    assert isinstance(find_reward("constant"), ConstantReward)
    assert find_reward("constant(value=2.5)").score(BATCH).tolist() == [2.5] * 3
    assert isinstance(find_reward("random"), RandomReward)
    seeded = find_reward("random(seed=3)").score(BATCH)
    assert torch.equal(seeded, RandomReward(3).score(BATCH))


# How each shipped reward is written; those beside it need another run, a model or a package.
WRITTEN = {
    "constant": "constant",
    "length": "length(target=5)",
    "lexicon": "lexicon(words={'cat': 1.0, 'dog': -1.0})",
    "ngram_precision": "ngram-precision(num_references=20)",
    "novelty": "novelty",
    "random": "random",
    "rankgan": "rankgan(num_references=4)",
    "regex": "regex(pattern='^a')",
    "repetition": "repetition",
    "toxicity": "toxicity(path='listed.txt')",
    "true_likelihood": "true_likelihood",
}
ELSEWHERE = {"classifier", "profanity", "sentiment"}


def test_every_shipped_reward_is_written_here():
    assert {*WRITTEN, *ELSEWHERE} == {*SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_names_lead_somewhere(name):
    place, _, attribute = SHIPPED[name].partition(":")
    module = __import__(place, fromlist=[attribute])
    assert callable(getattr(module, attribute))


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.slow
def test_shipped_rewards_score_the_texts_of_a_task(name, folder):
    (folder / "listed.txt").write_text("cat\n")
    task = captions_task(CaptionsConfig(train_size=100, dev_size=20, test_size=20))
    reward = find_reward(WRITTEN[name], task)
    assert reward.name == name
    scores = returns(reward, task.real("dev", 20, torch.Generator().manual_seed(0)))
    assert scores.shape == (20,)


def test_a_file_is_run_once_for_all_its_rewards(folder):
    (folder / "counted.py").write_text(
        "from pathlib import Path\n"
        "with Path('runs').open('a') as log:\n    log.write('x')\n"
        "def f(text): return 1\n"
        "def g(text): return 2\n",
        encoding="utf-8",
    )
    find_rewards(["./counted.py:f", "./counted.py:g"])
    assert (folder / "runs").read_text() == "x"


def test_a_file_imports_its_neighbours(folder):
    (folder / "below").mkdir()
    (folder / "below" / "neighbour_of_mine.py").write_text("WEIGHT = 4\n", encoding="utf-8")
    (folder / "below" / "own.py").write_text(
        "def f(text):\n    from neighbour_of_mine import WEIGHT\n    return WEIGHT\n",
        encoding="utf-8",
    )
    assert find_reward("below/own.py:f").score(BATCH).tolist() == [4, 4, 4]


def test_installed_modules_go_before_the_working_directory(folder):
    (folder / "nltk.py").write_text("def f(text): return 1\n", encoding="utf-8")
    (folder / "wheel_of_fortune.py").write_text("def f(text): return 1\n", encoding="utf-8")
    find_reward("wheel_of_fortune:f")
    assert sys.path[-1] == str(folder)
    assert sys.path.count(str(folder)) == 1


FILES = {
    "broken.py": "x = 1\ndef f(text)\n    return 1\n",
    "failing.py": "x = 1\ny = unknown\n",
    "needing.py": "\nimport not_installed_anywhere\n",
    "reading.py": "open('nowhere.txt')\n",
}


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("./nowhere.py:f", r"there is no file \./nowhere.py$"),
        ("./:f", r"there is no file \./$"),
        ("nowhere_at_all:f", r"there is no module 'nowhere_at_all', here or installed$"),
        ("mine.deeper:f", r"there is no module 'mine.deeper', here or installed$"),
        ("mine:lenght", r"there is no 'lenght' in mine; did you mean length\?$"),
        ("mine:zzzzz", r"there is no 'zzzzz' in mine$"),
        ("./mine.py:Holder.iner", r"there is no 'iner' in \./mine.py; did you mean inner\?$"),
        ("./broken.py:f", r"\./broken.py fails to run: SyntaxError: .* \(.*broken.py, line 2\)$"),
        ("broken:f", r"broken fails to import: SyntaxError: .* \(.*broken.py, line 2\)$"),
        ("./failing.py:f", r"fails to run: NameError: name 'unknown' .* \(.*failing.py, line 2\)$"),
        ("failing:f", r"failing fails to import: NameError: .* \(.*failing.py, line 2\)$"),
        (
            "needing:f",
            r"ModuleNotFoundError: No module named 'not_inst.* \(.*needing.py, line 2\)$",
        ),
        ("./needing.py:f", r"No module named 'not_installed_a.*' \(.*needing.py, line 2\)$"),
        ("./reading.py:f", r"fails to run: FileNotFoundError: .* \(.*reading.py, line 1\)$"),
        (
            "mine:number",
            r"the int is no reward: it must be a reward model, a function or a module$",
        ),
        ("mine:number(a=1)", r"3 cannot be called, so it takes no arguments$"),
        ("mine:factory", r"the function takes \(weight, power\), but must take \(text\), .*$"),
        ("mine:factory()", r"missing .* 'weight'; its arguments are \(weight, power=1\)"),
        (
            "mine:scaled(size=2)",
            r".*keyword argument 'size'; its arguments are \(text, \*, scale=1.0",
        ),
        (
            "mine:Judge(size=2)",
            r".*keyword argument 'size'; its arguments are \(weight: float = 2.0\)",
        ),
        ("mine:Strict(weight=0)", r"weight is 0, but must be at least 1$"),
        ("mine:Failing(reason='so')", r"KeyError: 'so' \(.*mine.py, line \d+\)$"),
        ("mine:Judge(2.0, 1)", r"1 is one argument too many; it takes weight$"),
        ("mine:Judge(2.0, weight=1)", r"weight has two values$"),
        ("mine:length(2)", r"2 is one argument too many; it takes none$"),
        ("constant(weight=2)", r".* argument 'weight'; its arguments are \(value: float = 1.0\)"),
        ("classifier(folder='/nowhere')", r"cannot read /nowhere: no such folder$"),
    ],
)
def test_what_is_wrong_is_one_line(folder, spec, rule):
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^reward {re.escape(repr(spec))}: .*{rule}") as caught:
        find_reward(spec, TASK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("constnat", "; did you mean constant"),
        ("politeness(a=1)", ""),
        ("discriminators", ";.*nator"),
    ],
)
def test_unknown_names(spec, hint):
    with pytest.raises(ValueError, match=hint + r".*\(short names: .*, constant, ") as caught:
        find_reward(spec)
    assert str(caught.value).endswith("one of your own: module:attribute or ./file.py:attribute)")


@pytest.fixture
def plugins(folder):
    """Two installed packages that declare rewards."""
    for package, entries in {
        "polite-words": (
            "politeness = polite_words:judge\nbroken = polite_words:nothing\ntwice = mine:length\n"
        ),
        "more-words": "twice = mine:length\nheavy = polite_words:Heavy\n",
    }.items():
        info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[seqgan.rewards]\n{entries}")
    (folder / "polite_words.py").write_text(
        "def judge(text): return 5\n"
        "class Heavy:\n"
        "    def __init__(self, weight=1): self.weight = weight\n"
        "    def __call__(self, texts): return [self.weight] * len(texts)\n",
        encoding="utf-8",
    )
    sys.path.append(str(folder))


@pytest.mark.usefixtures("plugins")
class TestEntryPoints:
    def test_are_found_by_name(self):
        reward = find_reward("politeness", TASK)
        assert reward.name == "politeness"
        assert reward.score(BATCH).tolist() == [5, 5, 5]
        assert find_reward("heavy(weight=3)").score(BATCH).tolist() == [3, 3, 3]

    def test_one_that_fails_names_its_package(self):
        rule = r"^reward 'broken': the package 'polite-words' fails to load it: AttributeError: "
        with pytest.raises(ValueError, match=rule):
            find_reward("broken")

    def test_one_name_of_two_packages(self):
        with pytest.raises(
            ValueError, match=r"more than one package has this name: more-words and polite-words$"
        ):
            find_reward("twice")

    def test_are_among_the_known_names(self):
        with pytest.raises(ValueError, match=r"; did you mean politeness\? .*politeness, "):
            find_reward("politenes")


class TestSeveral:
    def test_names_differ(self):
        specs = ["mine:length", "constant", "constant(value=2.0)", "./mine.py:length", "constant()"]
        rewards = find_rewards(specs, TASK)
        names = [reward.name for reward in rewards]
        assert names == ["length", "constant", "constant_2", "length_2", "constant_3"]
        assert rewards[2].score(BATCH).tolist() == [2, 2, 2]
        assert ConstantReward.name == "constant"

    def test_one_object_twice(self):
        with pytest.raises(
            ValueError, match=r"^reward 'mine:instance' is the same object as another"
        ):
            find_rewards(["mine:instance", "mine:instance"])

    def test_none(self):
        assert find_rewards([]) == []
