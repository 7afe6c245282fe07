"""Code of the user's own that changes the whole process: put back, and said in one line."""

import asyncio
import contextlib
import io
import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.finding import find_reward
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardError
from seqgan.rewards.guard import FailurePolicy, careful_returns
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError
from seqgan.system.surroundings import HANDLERS, RANDOM_STATES, SETTINGS, kept_surroundings

VOCABULARY = Vocabulary(("a", "b"))
BATCH = Sequences.from_rows([[0, 1, 2], [1, 2], [0, 0, 2]], VOCABULARY, 3)


def other_locale() -> object:
    name = "C" if locale.setlocale(locale.LC_CTYPE) != "C" else "C.UTF-8"
    return locale.setlocale(locale.LC_CTYPE, name)


CHANGES: dict[str, Callable[[], object]] = {
    "the working directory": lambda: os.chdir("/"),
    "the mode of new files": lambda: os.umask(os.umask(0) ^ 0o777),
    "the standard streams": lambda: contextlib.redirect_stdout(io.StringIO()).__enter__(),
    "NumPy's treatment of errors": lambda: np.seterr(over="raise"),
    "PyTorch's default type": lambda: torch.set_default_dtype(torch.float64),
    "PyTorch's default device": lambda: torch.set_default_device("meta"),
    "PyTorch's gradient mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "PyTorch's automatic precision": lambda: torch.autocast("cpu", torch.bfloat16).__enter__(),
    "PyTorch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "PyTorch's deterministic mode": lambda: torch.use_deterministic_algorithms(True),
    "PyTorch's precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "the locale": other_locale,
    "the handlers of signals": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "Python's random state": lambda: random.seed(3),
    "NumPy's random state": lambda: np.random.seed(3),  # noqa: NPY002
    "PyTorch's random state": lambda: torch.manual_seed(3),
}
ALL = (*SETTINGS, HANDLERS, *RANDOM_STATES)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = [(one, one.read()) for one in ALL]
    yield
    left = [one.name for one, value in before if not (one.silent or one.same(one.read(), value))]
    for one, value in before:
        one.write(value)
    assert not left


def test_every_surrounding_has_a_change() -> None:
    assert [*CHANGES] == [one.name for one in ALL]


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_reward_changes_is_put_back_and_said(what: str, fails: bool) -> None:
    told: list[str] = []

    def judge(texts: list[str]) -> list[float]:
        CHANGES[what]()
        if fails:
            raise ValueError("no")
        return [1.0] * len(texts)

    policy = FailurePolicy(on_failure="skip")
    values = careful_returns(as_reward(judge), BATCH, policy, on_change=told.append)
    assert values.dtype == torch.float32
    line = f"reward 'judge' changed {what}: put back as it was before the call"
    # Python's own libraries draw from its generator: that is put back without a word.
    assert {*told} == ({line} if what != "Python's random state" else set())


def test_several_changes_are_one_line() -> None:
    told: list[str] = []
    with kept_surroundings("it", told.append):
        os.chdir("/")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.manual_seed(1)
    assert told == [
        "it changed the working directory, PyTorch's number of threads and PyTorch's random state:"
        " put back as it was before the call"
    ]


def test_nothing_is_said_of_a_body_that_changes_nothing() -> None:
    told: list[str] = []
    with kept_surroundings("it", told.append):
        torch.rand(3, generator=torch.Generator())
        with torch.no_grad():
            assert not torch.is_grad_enabled()
    assert told == []


def test_draws_may_be_left_alone_or_taken_back_in_silence() -> None:
    told: list[str] = []
    before = torch.get_rng_state()
    with kept_surroundings("it", told.append, "untold"):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with kept_surroundings("it", told.append, "left"):
        torch.rand(3)
    assert not torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(before)
    assert told == []


def test_a_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    with kept_surroundings("it", lambda line: None):
        os.chdir(tmp_path)
        (tmp_path / "there").rmdir()


def test_rewards_that_are_asked_at_the_same_time() -> None:
    told: list[str] = []

    async def first(text: str) -> float:
        os.chdir("/")
        return 1.0

    async def second(text: str) -> float:
        return 2.0

    rewards = WeightedSum([as_reward(first), as_reward(second)])
    rewards = rewards.observed(nullcontext, print, told.append)
    assert rewards.score(BATCH).tolist() == [3, 3, 3]
    assert len(told) == 1
    assert told[0].startswith("reward 'first+second' changed the working directory")


def test_without_a_listener_the_log_warns(caplog: pytest.LogCaptureFixture) -> None:
    def judge(texts: list[str]) -> torch.Tensor:
        return torch.rand(len(texts))

    WeightedSum([as_reward(judge)]).score(BATCH)
    assert caplog.messages == [
        "reward 'judge' changed PyTorch's random state: put back as it was before the call"
    ]


def test_pythons_random_state_is_put_back_without_a_word() -> None:
    told: list[str] = []
    random.seed(5)
    random.random()
    numbers = random.getstate()[1][:-1]  # without the place among them: tests' checks of types draw
    with kept_surroundings("it", told.append):
        random.seed(6)
    assert random.getstate()[1][:-1] == numbers
    assert told == []


class Own(BaseException):
    """No Exception, as in some libraries of tests and of tasks."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


RAISED = [
    *(SystemExit(0), SystemExit("usage"), GeneratorExit(), asyncio.CancelledError()),
    *(Own("x"), Mute("x")),
]


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("by_row", [True, False])
def test_a_reward_that_raises_what_is_no_exception_has_failed(
    error: BaseException, by_row: bool
) -> None:
    def of_row(text: str) -> float:
        if text == "b":
            raise error
        return 1.0

    def of_batch(texts: list[str]) -> list[float]:
        return [of_row(text) for text in texts]

    reward = as_reward(of_row if by_row else of_batch)
    with pytest.raises(RewardError, match=rf"on row 1 \('b'\): {type(error).__name__}"):
        careful_returns(reward, BATCH)
    values = careful_returns(reward, BATCH, FailurePolicy(on_failure="skip"))
    assert values.isnan().tolist() == [False, True, False]


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_by_the_reward_itself_is_told_from_that_of_a_person() -> None:
    def judge(text: str) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        careful_returns(as_reward(judge), BATCH)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # as in a training run
    try:
        with pytest.raises(RewardError, match="KeyboardInterrupt"):
            careful_returns(as_reward(judge), BATCH)
    finally:
        signal.signal(signal.SIGINT, before)


class TestAtImport:
    @pytest.fixture
    def write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))

        def write(top: str) -> None:
            end = "\n\ndef judge(text):\n    return 1.0\n"
            Path("mine.py").write_text(top + end, encoding="utf-8")

        yield write
        for name in [name for name in sys.modules if name.endswith(str(tmp_path / "mine.py"))]:
            del sys.modules[name]

    @pytest.mark.parametrize(
        ("top", "what"),
        [
            ("import torch; torch.set_grad_enabled(False)", "PyTorch's gradient mode"),
            ("import torch; torch.set_default_dtype(torch.half)", "PyTorch's default type"),
            ("import os; os.chdir('/')", "the working directory"),
        ],
    )
    def test_what_a_file_changes(
        self, write: Any, caplog: pytest.LogCaptureFixture, top: str, what: str
    ) -> None:
        write(top)
        reward = find_reward("./mine.py:judge")
        assert caplog.messages == [
            f"reward './mine.py:judge' changed {what}: put back as it was before the call"
        ]
        assert careful_returns(reward, BATCH).tolist() == [1, 1, 1]

    def test_seeds_are_taken_back_without_a_word(
        self, write: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        write("import random, torch\nrandom.seed(0)\ntorch.manual_seed(0)")
        find_reward("./mine.py:judge")
        assert caplog.messages == []

    @pytest.mark.parametrize("error", ["SystemExit(3)", "GeneratorExit", "BaseException('x')"])
    def test_a_file_that_ends_the_program(self, write: Any, error: str) -> None:
        write(f"raise {error}")
        name = error.partition("(")[0]
        with pytest.raises(ConfigurationError, match=rf"mine.py fails to run: {name}.*line 1\)$"):
            find_reward("./mine.py:judge")

    def test_a_class_that_ends_the_program(self, write: Any) -> None:
        write("class Judge:\n    def __init__(self):\n        raise SystemExit('no key')\n")
        with pytest.raises(ConfigurationError, match=r"Judge': SystemExit: no key \(.*line 3\)$"):
            find_reward("./mine.py:Judge")


def test_outside_the_main_thread_nothing_is_kept() -> None:
    before, told = os.getcwd(), []

    def change() -> None:
        with kept_surroundings("it", told.append):
            os.chdir("/")

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert (os.getcwd(), told) == ("/", [])
    os.chdir(before)
