"""A researcher in Python: the environment, an agent of another library, and a run read back."""

from pathlib import Path

import pytest
from typed import SMALL, captions, narrow_enough, typed

AGENT = """
import seqgan
from stable_baselines3 import PPO

words = ["the", "a", "cat", "dog", "sleeps"]
env = seqgan.make_env(words=words, reward=lambda text: text.count("cat") / 6, max_length=6)
env = seqgan.dense_reward(env, num_rollouts=8)
agent = PPO("MultiInputPolicy", env, n_steps=128, gamma=1.0)
env.follow(agent)
agent.learn(256)
observation, info = env.reset(seed=0)
total, ended = 0.0, False
while not ended:
    action, _ = agent.predict(observation)
    observation, reward, ended, _, info = env.step(action)
    total += float(reward)
print(abs(total - info["text"].count("cat") / 6) < 1e-5)
"""
GYMNASIUM = """
import gymnasium
import seqgan

env = gymnasium.make("seqgan/TextGeneration-v0", words=["a", "dog"], reward=lambda text: len(text))
print(env.reset(seed=0)[0]["tokens"])
env.step(1)
print(env.step(2)[1:4])
"""
OWN = """
import seqgan

texts = [f"the {a} {b} in the {c}" for a in ("dog", "cat", "bird", "fox")
    for b in ("runs", "sits") for c in ("park", "house", "field")]
small = {"pretrain.epochs": 2, "adversarial.iterations": 1, "adversarial.batch_size": 8,
    "rule.num_rollouts": 1, "generator.hidden_size": 8, "evaluation.num_samples": 20,
    "evaluation.num_final": 20, "evaluation.temperatures": (1.0, 0.8)}


def mentions_dog(text):
    return float("dog" in text.split())


run = seqgan.train(texts, reward=mentions_dog, progress=False, **small)
print(run.summary())
print(seqgan.as_trl(mentions_dog)(completions=["a dog runs", "a cat"]))
"""
RUN = """
import seqgan

run = seqgan.load("runs/captions")
print(run)
for text in run.sample(2, temperature=0.5):
    print("sample:", text)
print(run.summary())
print(run.metrics)
print(sorted(run.evaluate(n=20))[:2])
"""


@pytest.mark.integration
def test_an_agent_of_stable_baselines_learns_on_dense_rewards(tmp_path: Path) -> None:
    """2,000 steps in the twelve lines, 256 here: the learning has tests of its own."""
    pytest.importorskip("stable_baselines3")
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    shown = typed('"$PYTHON" agent.py', tmp_path)
    assert (shown.code, shown.lines[-2]) == (0, "True"), shown.text


@pytest.mark.slow
def test_gymnasium_makes_the_environment_after_the_import(tmp_path: Path) -> None:
    (tmp_path / "gym.py").write_text(GYMNASIUM, encoding="utf-8")
    shown = typed('"$PYTHON" gym.py', tmp_path)
    assert shown.lines[:2] == ["[3 3 3 3 3 3 3 3]", "(3.0, True, False)"], shown.text


@pytest.mark.slow
def test_a_run_of_the_command_line_is_read_back_in_python(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text(captions(), encoding="utf-8")
    line = f"seqgan train captions.txt --epochs 2 --output runs/captions {SMALL}"
    assert typed(line, tmp_path).code == 0
    (tmp_path / "read.py").write_text(RUN, encoding="utf-8")
    shown = typed('"$PYTHON" read.py', tmp_path)
    assert shown.code == 0, shown.text
    assert "runs/captions" in shown.said
    assert shown.text.count("sample: ") == 2
    assert "The adversarial game is" in shown.said
    assert "eval/" in shown.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("seqgan.load('nosuch')", "nosuch is no run: it has no config.yaml"),
        ("seqgan.train('captons')", "unknown preset 'captons'; did you mean captions?"),
        ("seqgan.train('none.txt')", "cannot read none.txt: no such file"),
        ("seqgan.make_env(['a', 'dog'], max_len=3)", "max_len; did you mean max_length?"),
        ("seqgan.make_env('captions.txt')", "but must be a list of words or of texts"),
        ("seqgan.as_trl(lambda text: 1.0)(['a dog'])", "call it with completions="),
    ],
)
def test_python_says_what_is_wrong_in_the_last_line(call: str, said: str, tmp_path: Path) -> None:
    shown = typed(f'"$PYTHON" -c "import seqgan; {call}"', tmp_path, columns=200)
    assert shown.code == 1
    assert said in shown.lines[-2]


@pytest.mark.slow
def test_a_list_of_texts_and_a_function_are_a_run(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    shown = typed('"$PYTHON" own.py', tmp_path, columns=50)
    assert shown.code == 0, shown.text
    assert "reward mentions_dog" in shown.text
    assert narrow_enough(shown, 50)
    assert shown.lines[-2] == "[1.0, 0.0]"
