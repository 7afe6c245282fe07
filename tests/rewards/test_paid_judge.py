"""A judge behind HTTP that refuses every fifth call: how often it is asked, and what is kept."""

import asyncio
import email.utils
import gc
import json
import math
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardError
from seqgan.rewards.guard import FailurePolicy, careful_returns
from seqgan.rewards.pauses import asked_pause

VOCABULARY = Vocabulary(tuple("abcdefgh"))
BATCH = Sequences.from_rows([[row // 8, row % 8, 8] for row in range(64)], VOCABULARY, 4)
SCORES = [float(ord(text[0]) * 100 + ord(text[2])) for text in BATCH.texts]
# urllib's HTTPError holds a socket until it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "rewards.md"


class Server(ThreadingHTTPServer):
    """Scores a text by its letters.

    Args:
        fails: tells by its number, from 1, if a call fails.
        retry_after: the header of a failure; empty for none.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fails: Any = lambda call: call % 5 == 0, retry_after: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fails, self.retry_after, self.slow = fails, retry_after, 0.0
        self.calls = self.going = self.most = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.calls += 1
            server.going += 1
            server.most = max(server.most, server.going)
            failing = server.fails(server.calls)
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        time.sleep(server.slow)
        body = json.dumps({"score": ord(text[0]) * 100 + ord(text[2])}).encode()
        self.send_response(429 if failing else 200)
        if failing and server.retry_after:
            self.send_header("Retry-After", server.retry_after)
        with server.lock:
            server.going -= 1
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()  # here, where its warnings are expected


def judge_of(server: Server) -> Any:
    """The function that the page on rewards shows, asking this server."""
    (source,) = re.findall(r"```py\n(# judge\.py\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    scope: dict[str, Any] = {"URL": server.url}
    exec(source, scope)
    return scope["judge"]


def policy(**changes: Any) -> FailurePolicy:
    return FailurePolicy(**{"retries": 5, "pause": 0.0, **changes})


def test_a_function_of_one_text_is_asked_some_80_times(server: Server) -> None:
    values = careful_returns(as_reward(judge_of(server)), BATCH, policy())
    assert values.tolist() == SCORES
    assert server.calls == 79  # 64 answers, and 15 refusals
    assert server.most == 1


def test_several_calls_may_be_in_flight(server: Server) -> None:
    server.slow = 0.005
    reward = as_reward(judge_of(server))
    reward.in_flight = 8
    assert careful_returns(reward, BATCH, policy()).tolist() == SCORES
    assert server.calls == 79
    assert 2 <= server.most <= 8


@pytest.mark.parametrize("in_flight", [0, 3])
def test_an_asynchronous_function(server: Server, in_flight: int) -> None:
    server.slow = 0.002
    judge = judge_of(server)

    async def asked(text: str) -> float:
        return await asyncio.to_thread(judge, text)

    reward = as_reward(asked)
    reward.in_flight = in_flight
    assert careful_returns(reward, BATCH, policy()).tolist() == SCORES
    assert server.calls == 79
    assert server.most <= (in_flight or 64)


@pytest.mark.parametrize("failed", [None, math.nan])
def test_a_function_of_a_batch_that_says_where_it_failed(server: Server, failed: Any) -> None:
    judge, sizes = judge_of(server), []

    def of_batch(texts: list[str]) -> list[Any]:
        sizes.append(len(texts))
        answers: list[Any] = []
        for text in texts:
            try:
                answers.append(judge(text))
            except urllib.request.HTTPError as error:
                answers.append(failed or error)
        return answers

    assert careful_returns(as_reward(of_batch), BATCH, policy()).tolist() == SCORES
    assert server.calls == 79
    assert sizes == [64, 12, 3]


def test_a_batch_that_raises_costs_each_text_twice_at_most(server: Server) -> None:
    judge = judge_of(server)
    reward = as_reward(lambda texts: [judge(text) for text in texts], name="batch")
    assert careful_returns(reward, BATCH, policy()).tolist() == SCORES
    assert 79 <= server.calls <= 2 * 64 + 20


def test_without_further_tries_failed_texts_are_skipped_and_none_is_asked_twice(
    server: Server,
) -> None:
    told: list[RewardError] = []
    values = careful_returns(
        as_reward(judge_of(server)), BATCH, FailurePolicy(on_failure="skip"), on_skip=told.append
    )
    assert server.calls == 64
    skipped = list(range(4, 64, 5))
    assert values.isnan().nonzero().flatten().tolist() == skipped == [error.row for error in told]
    assert told[0].problem == "HTTPError: HTTP Error 429: Too Many Requests"


def test_the_first_failure_stops_and_asks_no_further(server: Server) -> None:
    with pytest.raises(RewardError, match=r"on row 4 \('a e'\): HTTPError"):
        careful_returns(as_reward(judge_of(server)), BATCH)
    assert server.calls == 5


class TestPauses:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        pauses: list[float] = []
        monkeypatch.setattr("seqgan.rewards.guard.time.sleep", pauses.append)
        return pauses

    def test_are_doubled(self, server: Server, pauses: list[float]) -> None:
        server.fails = lambda call: call <= 64 + 64 + 64
        reward = as_reward(judge_of(server))
        reward.in_flight = 16
        assert careful_returns(reward, BATCH, policy(pause=1.5)).tolist() == SCORES
        assert [pause for pause in pauses if pause] == [1.5, 3.0, 6.0]
        assert server.calls == 4 * 64

    def test_are_as_long_as_the_server_asks_for(self, server: Server, pauses: list[float]) -> None:
        server.retry_after = "7"
        careful_returns(as_reward(judge_of(server)), BATCH, policy(pause=0.25, retries=2))
        assert [pause for pause in pauses if pause] == [7.0, 7.0]

    def test_end_with_the_time(self, server: Server, pauses: list[float]) -> None:
        server.retry_after = "3600"
        with pytest.raises(RewardError, match=r"on row 4 \('a e'\): HTTPError"):
            careful_returns(as_reward(judge_of(server)), BATCH, policy(seconds=600.0))
        assert server.calls == 64
        assert not any(pauses)
        values = careful_returns(as_reward(judge_of(server)), BATCH, policy(on_failure="skip"))
        assert int(values.isnan().sum()) in (12, 13)

    def test_are_watched(self, server: Server, pauses: list[float]) -> None:
        events: list[str] = []

        class Watching:
            def __init__(self, name: str) -> None:
                events.append(name)

            def __enter__(self) -> None: ...

            def __exit__(self, *arguments: Any) -> None: ...

        server.fails = lambda call: call == 3
        reward = as_reward(judge_of(server))
        careful_returns(reward, BATCH.select(torch.arange(4)), policy(pause=1.0), Watching)
        # rows 0 to 2, row 3, the pause, row 2 again
        assert events == ["judge"] * 4


class Refused(Exception):
    def __init__(self, **attributes: Any) -> None:
        super().__init__("refused")
        for name, value in attributes.items():
            setattr(self, name, value)


class Response:
    def __init__(self) -> None:
        self.headers = {"retry-after": "12"}


IN_AN_HOUR = email.utils.formatdate(time.time() + 3600, usegmt=True)


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (None, 0, 0),
        (Refused(), 0, 0),
        (Refused(retry_after=2.5), 2.5, 2.5),
        (Refused(retry_after=None), 0, 0),
        (Refused(retry_after=math.nan), 0, 0),
        (Refused(headers={"Retry-After": "30"}), 30, 30),
        (Refused(headers={"Retry-After": "-30"}), 0, 0),
        (Refused(headers={"Retry-After": "soon"}), 0, 0),
        (Refused(headers={"Retry-After": IN_AN_HOUR}), 3000, 3600),
        (Refused(headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0, 0),
        (Refused(response=Response()), 12, 12),
        (Refused(__cause__=Refused(retry_after=3)), 3, 3),
    ],
)
def test_asked_pause(error: BaseException | None, least: float, most: float) -> None:
    assert least <= asked_pause(error) <= most
